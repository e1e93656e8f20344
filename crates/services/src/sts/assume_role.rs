//! AssumeRole: a session of a role, for whom its trust policy takes in.

use cairn_core::{AccountId, Principal};
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sts;
use super::grant::{Granted, Passed};
use super::identities::RoleFacts;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// How long a session lasts where the call says nothing, in seconds.
pub(super) const ROLE_SECONDS_DEFAULT: i64 = 3600;
/// The longest session of a role that a role's session assumed, in seconds.
const CHAINED_SECONDS_MAX: i64 = 3600;

pub(super) const OVER_ROLES_MAX: &str =
    "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
const OVER_CHAINED_MAX: &str =
    "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Input {
    pub(super) role_arn: String,
    pub(super) role_session_name: String,
    #[serde(default)]
    pub(super) external_id: Option<String>,
    #[serde(flatten)]
    pub(super) passed: Passed,
}

/// The account, path and name of `arn:aws:iam::111122223333:role/path/name`.
pub(super) struct RoleArn {
    pub(super) account: AccountId,
    pub(super) path: String,
    pub(super) name: String,
}

impl RoleArn {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (account, resource) = text.strip_prefix("arn:aws:iam::")?.split_once(':')?;
        let rest = resource.strip_prefix("role")?;
        let (path, name) = rest.rsplit_once('/')?;
        if name.is_empty() || !rest.starts_with('/') {
            return None;
        }
        Some(Self { account: account.parse().ok()?, path: format!("{path}/"), name: name.to_owned() })
    }
}

impl Sts {
    /// The role that a call names; none where there is no such role, which nobody is told.
    pub(super) async fn role(&self, arn: &RoleArn) -> Result<Option<RoleFacts>, AwsError> {
        let found = self.identities.role(&arn.account, &arn.name).await.map_err(AwsError::internal)?;
        Ok(found.filter(|role| role.name == arn.name && role.path == arn.path))
    }

    /// What AssumeRole and its kin are about: a role, under its trust policy.
    pub(super) async fn role_target(
        &self,
        action: &str,
        role_arn: &str,
        conditions: Vec<(String, Vec<String>)>,
    ) -> Result<Target, AwsError> {
        let arn = parse_role_arn(role_arn)?;
        let role = self.role(&arn).await?;
        let resource =
            Resource { kind: "AWS::IAM::Role", arn: role_arn.to_owned(), account: Some(arn.account.clone()) };
        let mut conditions = conditions;
        for (key, value) in role.iter().flat_map(|role| &role.tags) {
            conditions.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
            conditions.push((format!("iam:ResourceTag/{key}"), vec![value.clone()]));
        }
        Ok(Target {
            action: action.to_owned(),
            resource_arn: role_arn.to_owned(),
            resources: vec![resource],
            policy: Some(ResourcePolicy {
                owner: arn.account,
                document: role.map(|role| role.trust_policy),
                must_allow: true,
            }),
            conditions,
        })
    }

    pub(super) async fn assume_role_target(&self, call: &Call) -> Result<Target, AwsError> {
        let input: Input = call.input()?;
        self.role_target("sts:AssumeRole", &input.role_arn, conditions(&input)).await
    }

    /// Passing tags and a source identity needs leave of its own, of the same policies.
    pub(super) async fn assume_role_further(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, AwsError> {
        let input: Input = call.input()?;
        let inherited = caller.session.as_deref();
        let tagged = !input.passed.tags.is_empty()
            || inherited.is_some_and(|session| !session.transitive_tag_keys.is_empty());
        let named = input.passed.source_identity.is_some()
            || inherited.is_some_and(|session| session.source_identity.is_some());
        let mut further = Vec::new();
        for action in
            tagged.then_some("sts:TagSession").into_iter().chain(named.then_some("sts:SetSourceIdentity"))
        {
            further.push(self.role_target(action, &input.role_arn, conditions(&input)).await?);
        }
        Ok(further)
    }

    pub(super) async fn assume_role(&self, caller: &Caller, call: &Call) -> Result<Reply, AwsError> {
        let input: Input = call.input()?;
        if matches!(caller.principal, Principal::Root { .. }) {
            return Err(AwsError::with_status(
                403,
                "AccessDenied",
                "Roles may not be assumed by root accounts.",
            ));
        }
        let arn = parse_role_arn(&input.role_arn)?;
        let role = self.role(&arn).await?.ok_or_else(|| gone(&input.role_arn))?;
        let seconds = match &caller.principal {
            Principal::AssumedRole { .. } => {
                let seconds =
                    input.passed.seconds(ROLE_SECONDS_DEFAULT, CHAINED_SECONDS_MAX, OVER_CHAINED_MAX)?;
                seconds.min(role.session_seconds_max)
            }
            _ => input.passed.seconds(ROLE_SECONDS_DEFAULT, role.session_seconds_max, OVER_ROLES_MAX)?,
        };
        let mut granted = input.passed.grant(caller.now, seconds, caller.session.as_deref())?;
        let with_mfa = caller.session.as_ref().is_some_and(|session| session.mfa_authenticated);
        granted.session.mfa_authenticated = caller.mfa_verified || with_mfa;
        Ok(Reply::of(&self.begin(&arn.account, role, input.role_session_name, granted)))
    }

    /// Begins a session of `role`.
    pub(super) fn begin(
        &self,
        account: &AccountId,
        role: RoleFacts,
        name: String,
        granted: Granted,
    ) -> Value {
        let principal = Principal::AssumedRole {
            account: account.clone(),
            role_id: role.id,
            role_name: role.name,
            role_path: role.path,
            session_name: name,
        };
        let mut reply = json!({
            "AssumedRoleUser": {"AssumedRoleId": principal.principal_id(), "Arn": principal.arn()},
        });
        self.add_credentials(&mut reply, principal, granted);
        reply
    }
}

fn conditions(input: &Input) -> Vec<(String, Vec<String>)> {
    let mut conditions = input.passed.conditions();
    conditions.push(("sts:RoleSessionName".into(), vec![input.role_session_name.clone()]));
    conditions.extend(input.external_id.iter().map(|id| ("sts:ExternalId".to_owned(), vec![id.clone()])));
    let seconds = input.passed.duration_seconds;
    conditions.extend(seconds.map(|seconds| ("sts:DurationSeconds".to_owned(), vec![seconds.to_string()])));
    conditions
}

pub(super) fn parse_role_arn(text: &str) -> Result<RoleArn, AwsError> {
    RoleArn::parse(text).ok_or_else(|| super::grant::invalid(&format!("{text} is invalid")))
}

/// The role went between its authorisation and now.
pub(super) fn gone(role_arn: &str) -> AwsError {
    AwsError::with_status(403, "AccessDenied", format!("The role {role_arn} cannot be assumed"))
}
