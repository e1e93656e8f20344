//! AssumeRoleWithWebIdentity: a session of a role for whom an OpenID Connect provider vouches. The call is not signed;
//! the provider's token is what proves its caller.
//!
//! Invariant: a caller is a web identity only once the token's signature, issuer, audience and time have been checked.

use cairn_core::{Principal, Timestamp, WebIdentity};
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::json;

use super::Sts;
use super::assume_role::{OVER_ROLES_MAX, ROLE_SECONDS_DEFAULT, gone, parse_role_arn};
use super::grant::{Passed, Tag};
use super::identities::ProviderFacts;
use super::jwt::{Claims, Token};
use crate::{Caller, Target};

/// How far a provider's clock may be ahead of ours, in seconds.
const CLOCK_SKEW_SECONDS: f64 = 300.0;

const NO_KEYS: &str = "Couldn't retrieve verification key from your identity provider,  please reference \
     AssumeRoleWithWebIdentity documentation for requirements";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    role_arn: String,
    role_session_name: String,
    web_identity_token: String,
    #[serde(flatten)]
    passed: Passed,
}

impl Input {
    /// What the token's tags and source identity add to what the call passes.
    fn passed_with(self, claims: &Claims) -> Passed {
        let tags = claims.tags.clone().unwrap_or_default();
        let tag = |(key, values): (String, Vec<String>)| Tag {
            key,
            value: values.into_iter().next().unwrap_or_default(),
        };
        Passed {
            tags: tags.principal_tags.into_iter().map(tag).collect(),
            transitive_tag_keys: tags.transitive_tag_keys,
            source_identity: claims.source_identity.clone(),
            ..self.passed
        }
    }
}

impl Sts {
    /// Finds out who calls, from the token.
    pub(super) async fn recognise_web_identity(
        &self,
        caller: &mut Caller,
        call: &Call,
    ) -> Result<(), AwsError> {
        let input: Input = call.input()?;
        let account = parse_role_arn(&input.role_arn)?.account;
        let token = Token::parse(&input.web_identity_token)
            .ok_or_else(|| invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"))?;
        if !is_trustworthy(&token.claims.iss) {
            return Err(invalid("The issuer of the token is not behind TLS"));
        }
        let issuer = without_scheme(&token.claims.iss);
        let found = self.identities.provider(&account, issuer).await.map_err(AwsError::internal)?;
        let provider = found.ok_or_else(|| {
            invalid(format!("No OpenIDConnect provider found in your account for {}", token.claims.iss))
        })?;
        caller.account = account;
        match self.providers.vouches(&token, &provider.thumbprints).await {
            Some(true) => {}
            Some(false) => return Err(invalid(NO_KEYS)),
            None => return Err(AwsError::invalid("IDPCommunicationError", NO_KEYS)),
        }
        let in_time = check(&token.claims, &provider, caller.now);
        caller.principal = Principal::WebIdentityUser {
            provider: provider.arn,
            audience: token.claims.audience().to_owned(),
            subject: token.claims.sub,
        };
        in_time
    }

    pub(super) async fn web_identity_targets(&self, call: &Call) -> Result<Vec<Target>, AwsError> {
        let input: Input = call.input()?;
        let claims = claims(&input)?;
        let issuer = without_scheme(&claims.iss).to_owned();
        let role_arn = input.role_arn.clone();
        let mut conditions = vec![
            (format!("{issuer}:aud"), vec![claims.audience().to_owned()]),
            (format!("{issuer}:sub"), vec![claims.sub.clone()]),
            (format!("{issuer}:amr"), claims.amr.clone()),
            ("sts:RoleSessionName".to_owned(), vec![input.role_session_name.clone()]),
        ];
        if claims.azp.is_some() {
            conditions.push((format!("{issuer}:oaud"), claims.aud.clone()));
        }
        let passed = input.passed_with(&claims);
        conditions.extend(passed.conditions());
        let mut targets = Vec::new();
        let tagged = (!passed.tags.is_empty()).then_some("sts:TagSession");
        let named = passed.source_identity.is_some().then_some("sts:SetSourceIdentity");
        for action in ["sts:AssumeRoleWithWebIdentity"].into_iter().chain(tagged).chain(named) {
            targets.push(self.role_target(action, &role_arn, conditions.clone()).await?);
        }
        Ok(targets)
    }

    pub(super) async fn assume_role_with_web_identity(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Reply, AwsError> {
        let Principal::WebIdentityUser { provider, audience, subject } = caller.principal.clone() else {
            return Err(invalid("The token was not verified"));
        };
        let input: Input = call.input()?;
        let claims = claims(&input)?;
        let (role_arn, name) = (input.role_arn.clone(), input.role_session_name.clone());
        let arn = parse_role_arn(&role_arn)?;
        let role = self.role(&arn).await?.ok_or_else(|| gone(&role_arn))?;
        let passed = input.passed_with(&claims);
        let seconds = passed.seconds(ROLE_SECONDS_DEFAULT, role.session_seconds_max, OVER_ROLES_MAX)?;
        let mut granted = passed.grant(caller.now, seconds, None)?;
        granted.session.web_identity = Some(WebIdentity {
            provider: provider.clone(),
            audience: audience.clone(),
            subject: subject.clone(),
        });
        let mut reply = self.begin(&arn.account, role, name, granted);
        reply["SubjectFromWebIdentityToken"] = json!(subject);
        reply["Provider"] = json!(provider);
        reply["Audience"] = json!(audience);
        Ok(Reply::of(&reply))
    }
}

/// The claims of a token that [`Sts::recognise_web_identity`] has verified.
fn claims(input: &Input) -> Result<Claims, AwsError> {
    let token = Token::parse(&input.web_identity_token).ok_or_else(|| invalid("The ID Token is no JWT"))?;
    Ok(token.claims)
}

fn check(claims: &Claims, provider: &ProviderFacts, now: Timestamp) -> Result<(), AwsError> {
    let known = |audience: &String| provider.client_ids.contains(audience);
    if !claims.azp.iter().chain(&claims.aud).any(known) {
        return Err(invalid("Incorrect token audience"));
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age are far below a float's precision")]
    let seconds = now.seconds() as f64;
    let Some(expires) = claims.exp else { return Err(invalid("Missing a required claim: exp")) };
    if expires <= seconds {
        let message = format!(
            "Token expired: current date/time {seconds} must be before the expiration date/time {expires}"
        );
        return Err(AwsError::invalid("ExpiredTokenException", message));
    }
    let begins = claims.nbf.into_iter().chain(claims.iat).fold(f64::NEG_INFINITY, f64::max);
    if begins > seconds + CLOCK_SKEW_SECONDS {
        return Err(invalid("Token is not yet valid"));
    }
    Ok(())
}

/// IAM names providers without their scheme, so a token must not choose one whose keys somebody on the way could
/// replace. On this machine nobody is on the way.
fn is_trustworthy(issuer: &str) -> bool {
    let Some(rest) = issuer.strip_prefix("http://") else { return issuer.starts_with("https://") };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn without_scheme(issuer: &str) -> &str {
    issuer.strip_prefix("https://").or(issuer.strip_prefix("http://")).unwrap_or(issuer).trim_end_matches('/')
}

fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidIdentityToken", message.into())
}
