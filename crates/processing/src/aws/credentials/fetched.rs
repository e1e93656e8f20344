//! Credentials that a service of the machine hands out: to a container, to an instance.
//!
//! Invariants: they are fetched again some minutes before they end; the instance's service is asked with a session token
//! (IMDSv2) and in no other way.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{Clock, Timestamp};
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Credentials, CredentialsError, ProvideCredentials, variable};
use crate::aws::connection::{Connections, read_all};
use crate::aws::endpoint::Endpoint;
use crate::aws::tls;
use crate::system::SystemClock;

/// How long such a service may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest answer.
const ANSWER_SIZE_BYTES_MAX: usize = 64 * 1024;
/// How long before their end credentials are fetched again.
const REFRESH_BEFORE: Duration = Duration::from_secs(5 * 60);
/// How long a session of the instance's service lasts, in seconds.
const SESSION_SECONDS: &str = "21600";
const CONTAINER_HOST: &str = "http://169.254.170.2";
const INSTANCE_HOST: &str = "http://169.254.169.254";
const INSTANCE_ROLES: &str = "/latest/meta-data/iam/security-credentials/";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// One place that is asked over HTTP, and what it said last.
struct Fetcher {
    name: &'static str,
    kept: Mutex<Option<Credentials>>,
    clock: SystemClock,
}

impl Fetcher {
    fn new(name: &'static str) -> Self {
        Self { name, kept: Mutex::new(None), clock: SystemClock }
    }

    fn error(&self, reason: impl Into<String>) -> CredentialsError {
        CredentialsError::new(self.name, reason)
    }

    /// What is kept, where it holds long enough; otherwise what `fetch` gives.
    async fn get(
        &self,
        fetch: impl Future<Output = Result<Credentials, CredentialsError>>,
    ) -> Result<Credentials, CredentialsError> {
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        let holds = |credentials: &&Credentials, span: Duration| {
            credentials.expires_at().is_none_or(|end| end > now.plus(span))
        };
        if let Some(credentials) = kept.as_ref().filter(|kept| holds(kept, REFRESH_BEFORE)) {
            return Ok(credentials.clone());
        }
        match fetch.await {
            Ok(fetched) => Ok(kept.insert(fetched).clone()),
            // What has not ended yet serves until the service is back.
            Err(error) => kept.as_ref().filter(|kept| holds(kept, Duration::ZERO)).cloned().ok_or(error),
        }
    }

    async fn ask(
        &self,
        method: Method,
        base: &str,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<String, CredentialsError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            self.error("it does not answer").with_source(error)
        };
        let endpoint = Endpoint::of_url(base).map_err(|error| failed(error.into()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", endpoint.path))
            .header(HOST, endpoint.authority.as_str());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::new())).map_err(|error| failed(error.into()))?;
        let connections =
            Connections::new(tls::connector(None).map_err(|error| failed(error.into()))?, TIMEOUT);
        let answer =
            connections.send(&endpoint, request, TIMEOUT).await.map_err(|error| failed(error.into()))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.error(format!("it answers {status}")));
        }
        let body = read_all(answer.into_body(), ANSWER_SIZE_BYTES_MAX, TIMEOUT).await;
        let body = body.map_err(|error| failed(error.into()))?;
        String::from_utf8(body.into()).map_err(|error| failed(error.into()))
    }

    fn credentials_of(&self, text: &str) -> Result<Credentials, CredentialsError> {
        let document: Document = serde_json::from_str(text)
            .map_err(|error| self.error("its answer holds no credentials").with_source(error))?;
        let credentials =
            Credentials::new(document.access_key_id, document.secret_access_key, document.token);
        match document.expiration.as_deref().map(Timestamp::parse_iso) {
            None => Ok(credentials),
            Some(Some(end)) => Ok(credentials.until(end)),
            Some(None) => Err(self.error("its answer has no readable end")),
        }
    }
}

/// The credentials of a task of ECS or of a pod of EKS.
pub struct ContainerCredentials {
    base: String,
    path: String,
    token: Option<String>,
    token_file: Option<String>,
    fetcher: Fetcher,
}

impl fmt::Debug for ContainerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerCredentials").field("base", &self.base).finish_non_exhaustive()
    }
}

impl ContainerCredentials {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `_FULL_URI`, with `AWS_CONTAINER_AUTHORIZATION_TOKEN` or `_TOKEN_FILE`;
    /// none where no place is named.
    #[must_use]
    pub fn of_environment() -> Option<Self> {
        let (base, path) = match variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            Some(path) => (CONTAINER_HOST.to_owned(), path),
            None => split_url(&variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?)?,
        };
        Some(Self {
            base,
            path,
            token: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
            token_file: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            fetcher: Fetcher::new("the container's credentials"),
        })
    }

    async fn fetch(&self) -> Result<Credentials, CredentialsError> {
        let token =
            match &self.token_file {
                Some(file) => Some(tokio::fs::read_to_string(file).await.map_err(|error| {
                    self.fetcher.error("the token's file cannot be read").with_source(error)
                })?),
                None => self.token.clone(),
            };
        let header = token.as_deref().map(|token| (AUTHORIZATION.as_str(), token.trim()));
        let text = self.fetcher.ask(Method::GET, &self.base, &self.path, header).await?;
        self.fetcher.credentials_of(&text)
    }
}

#[async_trait]
impl ProvideCredentials for ContainerCredentials {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        self.fetcher.get(self.fetch()).await
    }
}

/// `http://host/path` as `http://host` and `/path`.
fn split_url(url: &str) -> Option<(String, String)> {
    let host_at = url.find("://")? + 3;
    let path_at = url[host_at..].find('/').map_or(url.len(), |at| host_at + at);
    let path = if path_at == url.len() { "/" } else { &url[path_at..] };
    Some((url[..path_at].to_owned(), path.to_owned()))
}

/// The credentials of the role of an EC2 instance.
pub struct InstanceCredentials {
    base: String,
    fetcher: Fetcher,
}

impl fmt::Debug for InstanceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceCredentials").field("base", &self.base).finish_non_exhaustive()
    }
}

impl InstanceCredentials {
    /// The metadata service, at `AWS_EC2_METADATA_SERVICE_ENDPOINT` where that is set.
    #[must_use]
    pub fn of_environment() -> Self {
        let base = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE_HOST.to_owned());
        Self::at(base.trim_end_matches('/'))
    }

    /// The metadata service at a URL.
    #[must_use]
    pub fn at(base: impl Into<String>) -> Self {
        Self { base: base.into(), fetcher: Fetcher::new("the instance's credentials") }
    }

    async fn fetch(&self) -> Result<Credentials, CredentialsError> {
        let ask = |method, path, header| self.fetcher.ask(method, &self.base, path, Some(header));
        let life = ("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        let token = ask(Method::PUT, "/latest/api/token", life).await?;
        let session = ("x-aws-ec2-metadata-token", token.trim());
        let roles = ask(Method::GET, INSTANCE_ROLES, session).await?;
        let role = roles.lines().next().ok_or_else(|| self.fetcher.error("the instance has no role"))?.trim();
        let text = ask(Method::GET, &format!("{INSTANCE_ROLES}{role}"), session).await?;
        self.fetcher.credentials_of(&text)
    }
}

#[async_trait]
impl ProvideCredentials for InstanceCredentials {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        self.fetcher.get(self.fetch()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        let split = |url| split_url(url).map(|(base, path)| format!("{base} {path}"));
        assert_eq!(
            split("http://169.254.170.23/v1/credentials").as_deref(),
            Some("http://169.254.170.23 /v1/credentials")
        );
        assert_eq!(split("http://h:1").as_deref(), Some("http://h:1 /"));
        assert_eq!(split("h"), None);
    }
}
