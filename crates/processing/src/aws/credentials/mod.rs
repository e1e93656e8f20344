//! Who calls: credentials, and the places where AWS's tools find them.
//!
//! Sources: "Configuration and credential file settings in the AWS CLI", "Container credential provider" and "IMDS
//! credential provider" of the AWS SDKs and Tools reference guide.

mod fetched;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_wire::sigv4::Secret;

pub use fetched::{ContainerCredentials, InstanceCredentials};

/// Credentials, and for how long they hold.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    secret: Secret,
    session_token: Option<String>,
    expires_at: Option<Timestamp>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Credentials, with a session token if they are temporary ones.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret: Secret::new(secret_access_key),
            session_token,
            expires_at: None,
        }
    }

    /// The same, until a time.
    #[must_use]
    pub fn until(mut self, expires_at: Timestamp) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// Until when they hold, where they end.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    pub(super) fn for_signing(&self) -> cairn_wire::sigv4::Credentials {
        cairn_wire::sigv4::Credentials {
            access_key_id: self.access_key_id.clone(),
            secret: self.secret.clone(),
            session_token: self.session_token.clone(),
        }
    }
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct CredentialsError {
    place: String,
    reason: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CredentialsError {
    /// No credentials in a place, and why.
    #[must_use]
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: place.into(), reason: reason.into(), source: None }
    }

    /// The same, with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Where credentials come from. Asked before every call; keep what holds for a while.
///
/// ```
/// use cairn_processing::aws::{Credentials, CredentialsError, ProvideCredentials};
///
/// struct Vault;
///
/// #[async_trait::async_trait]
/// impl ProvideCredentials for Vault {
///     async fn credentials(&self) -> Result<Credentials, CredentialsError> {
///         Ok(Credentials::new("AKIDEXAMPLE", "from the vault", None))
///     }
/// }
/// ```
#[async_trait]
pub trait ProvideCredentials: Send + Sync + 'static {
    /// The credentials to sign the next call with.
    async fn credentials(&self) -> Result<Credentials, CredentialsError>;
}

/// Credentials that are known beforehand.
#[derive(Clone, Debug)]
pub struct StaticCredentials(Credentials);

impl StaticCredentials {
    /// These credentials.
    #[must_use]
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
        session_token: Option<String>,
    ) -> Self {
        Self(Credentials::new(access_key_id, secret_access_key, session_token))
    }
}

#[async_trait]
impl ProvideCredentials for StaticCredentials {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        Ok(self.0.clone())
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
#[derive(Clone, Copy, Debug, Default)]
pub struct EnvironmentCredentials;

#[async_trait]
impl ProvideCredentials for EnvironmentCredentials {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let missing = || {
            CredentialsError::new(
                "the environment",
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set",
            )
        };
        let id = variable("AWS_ACCESS_KEY_ID").ok_or_else(missing)?;
        let secret = variable("AWS_SECRET_ACCESS_KEY").ok_or_else(missing)?;
        Ok(Credentials::new(id, secret, variable("AWS_SESSION_TOKEN")))
    }
}

/// The keys of a profile in the shared credentials file, or else in the configuration file. Profiles that take a role or
/// start a program are not understood.
#[derive(Clone, Debug)]
pub struct ProfileCredentials {
    files: Vec<PathBuf>,
    profile: String,
}

impl ProfileCredentials {
    /// The profile in these files, the first that has it.
    #[must_use]
    pub fn new(files: impl IntoIterator<Item = PathBuf>, profile: impl Into<String>) -> Self {
        Self { files: files.into_iter().collect(), profile: profile.into() }
    }

    /// `AWS_PROFILE`, `AWS_SHARED_CREDENTIALS_FILE`, `AWS_CONFIG_FILE`, and what counts where they are not set.
    #[must_use]
    pub fn of_environment() -> Self {
        let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
        let file =
            |name: &str, default: &str| variable(name).map_or_else(|| home.join(default), PathBuf::from);
        let files =
            [file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), file("AWS_CONFIG_FILE", ".aws/config")];
        Self::new(files, variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()))
    }
}

#[async_trait]
impl ProvideCredentials for ProfileCredentials {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        for file in &self.files {
            if let Some(found) = read_profile(file, &self.profile).await? {
                return Ok(found);
            }
        }
        Err(CredentialsError::new(format!("the profile {}", self.profile), "no file has keys for it"))
    }
}

async fn read_profile(file: &Path, profile: &str) -> Result<Option<Credentials>, CredentialsError> {
    match tokio::fs::read_to_string(file).await {
        Ok(text) => Ok(profile_of(&text, profile)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(CredentialsError::new(file.display().to_string(), "it cannot be read").with_source(error))
        }
    }
}

fn profile_of(text: &str, profile: &str) -> Option<Credentials> {
    let (mut is_ours, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let section = section.trim();
            is_ours = section == profile
                || section.strip_prefix("profile ").is_some_and(|name| name.trim() == profile);
        } else if let Some((name, value)) =
            line.split_once('=').filter(|_| is_ours && !line.starts_with(['#', ';']))
        {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Credentials::new(id?, secret?, token))
}

/// Several places, the first that has credentials.
#[derive(Clone)]
pub struct Chain(Vec<Arc<dyn ProvideCredentials>>);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chain").field(&self.0.len()).finish()
    }
}

impl Chain {
    /// These places, in this order.
    #[must_use]
    pub fn new(places: Vec<Arc<dyn ProvideCredentials>>) -> Self {
        Self(places)
    }

    /// The environment's variables, the profile, the container's endpoint where one is named, and the instance's
    /// metadata service, unless `AWS_EC2_METADATA_DISABLED` is `true`.
    ///
    /// Web identity tokens, single sign-on and profiles that take a role are not among them: for those, hand in a
    /// [`ProvideCredentials`] of your own.
    #[must_use]
    pub fn of_environment() -> Self {
        let mut places: Vec<Arc<dyn ProvideCredentials>> =
            vec![Arc::new(EnvironmentCredentials), Arc::new(ProfileCredentials::of_environment())];
        if let Some(container) = ContainerCredentials::of_environment() {
            places.push(Arc::new(container));
        }
        if variable("AWS_EC2_METADATA_DISABLED").is_none_or(|text| !text.eq_ignore_ascii_case("true")) {
            places.push(Arc::new(InstanceCredentials::of_environment()));
        }
        Self(places)
    }
}

#[async_trait]
impl ProvideCredentials for Chain {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut reasons = Vec::new();
        for place in &self.0 {
            match place.credentials().await {
                Ok(found) => return Ok(found),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(CredentialsError::new("no credentials", reasons.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_either_file() {
        let text = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[profile audit]\n; no\naws_access_key_id=C\n#aws_secret_access_key=X\naws_secret_access_key = D \naws_session_token=E\n[half]\naws_access_key_id=F\n";
        let keys = |profile| {
            profile_of(text, profile).map(|found| {
                (found.access_key_id.clone(), found.secret.expose().to_owned(), found.session_token)
            })
        };
        assert_eq!(keys("default"), Some(("A".into(), "B=".into(), None)));
        assert_eq!(keys("audit"), Some(("C".into(), "D".into(), Some("E".into()))));
        assert_eq!(keys("half"), None);
        assert_eq!(keys("none"), None);
    }

    #[tokio::test]
    async fn the_first_place_that_has_credentials_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[default]\naws_access_key_id=A\naws_secret_access_key=B\n").unwrap();
        let nowhere = ProfileCredentials::new([folder.path().join("none")], "default");
        let profile = ProfileCredentials::new([folder.path().join("none"), file], "default");
        let fixed = StaticCredentials::new("C", "D", None);
        let chain = Chain::new(vec![Arc::new(nowhere.clone()), Arc::new(profile), Arc::new(fixed)]);
        assert_eq!(chain.credentials().await.unwrap().access_key_id, "A");
        let error = Chain::new(vec![Arc::new(nowhere)]).credentials().await.unwrap_err();
        assert_eq!(error.to_string(), "no credentials: the profile default: no file has keys for it");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", StaticCredentials::new("A", "hidden", Some("hidden".into())));
        assert!(shown.contains('A') && !shown.contains("hidden"), "{shown}");
    }
}
