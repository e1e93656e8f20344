//! GetSessionToken and GetFederationToken: sessions of a user, and of somebody whom a user vouches for.

use cairn_core::Principal;
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::json;

use super::Sts;
use super::grant::Passed;
use crate::{Caller, Target};

/// How long a session lasts where the call says nothing, in seconds.
const SECONDS_DEFAULT: i64 = 43_200;
/// The longest session, in seconds.
const SECONDS_MAX: i64 = 129_600;
/// The longest session of a root, and what it gets where the call says nothing, in seconds.
const ROOT_SECONDS_MAX: i64 = 3600;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FederationInput {
    name: String,
    #[serde(flatten)]
    passed: Passed,
}

impl Sts {
    pub(super) async fn get_session_token(&self, caller: &Caller, call: &Call) -> Result<Reply, AwsError> {
        let passed: Passed = call.input()?;
        let seconds = seconds(caller, &passed)?;
        let only_duration = Passed { duration_seconds: passed.duration_seconds, ..Passed::default() };
        let mut granted = only_duration.grant(caller.now, seconds, None)?;
        granted.session.mfa_authenticated = caller.mfa_verified;
        let mut reply = json!({});
        self.add_credentials(&mut reply, holder(caller)?, granted);
        Ok(Reply::of(&reply))
    }

    pub(super) async fn get_federation_token(&self, caller: &Caller, call: &Call) -> Result<Reply, AwsError> {
        let input: FederationInput = call.input()?;
        let seconds = seconds(caller, &input.passed)?;
        let granted = input.passed.grant(caller.now, seconds, None)?;
        let principal = Principal::FederatedUser {
            account: caller.account.clone(),
            name: input.name,
            issuer: Box::new(holder(caller)?),
        };
        let mut reply = json!({
            "FederatedUser": {"FederatedUserId": principal.principal_id(), "Arn": principal.arn()},
        });
        self.add_credentials(&mut reply, principal, granted);
        Ok(Reply::of(&reply))
    }

    pub(super) fn federation_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        let input: FederationInput = call.input()?;
        let target = |action: &str| Target {
            action: action.to_owned(),
            resource_arn: format!("arn:aws:sts::{}:federated-user/{}", caller.account, input.name),
            resources: Vec::new(),
            policy: None,
            conditions: input.passed.conditions(),
        };
        let tagged = (!input.passed.tags.is_empty()).then(|| target("sts:TagSession"));
        Ok([target("sts:GetFederationToken")].into_iter().chain(tagged).collect())
    }
}

/// Whom the session is of: a user or a root, who has no session yet.
fn holder(caller: &Caller) -> Result<Principal, AwsError> {
    match &caller.principal {
        Principal::IamUser { .. } | Principal::Root { .. } => Ok(caller.principal.clone()),
        _ => {
            Err(AwsError::with_status(403, "AccessDenied", "Only users and roots get sessions of their own"))
        }
    }
}

fn seconds(caller: &Caller, passed: &Passed) -> Result<i64, AwsError> {
    let over = |max: i64| {
        format!(
            "1 validation error detected: Value '{}' at 'durationSeconds' failed to satisfy constraint: Member must \
             have value less than or equal to {max}",
            passed.duration_seconds.unwrap_or_default()
        )
    };
    if matches!(caller.principal, Principal::Root { .. }) {
        // A root gets no more than an hour, whatever it asks for.
        return Ok(passed.seconds(ROOT_SECONDS_MAX, SECONDS_MAX, &over(SECONDS_MAX))?.min(ROOT_SECONDS_MAX));
    }
    passed.seconds(SECONDS_DEFAULT, SECONDS_MAX, &over(SECONDS_MAX))
}
