//! STS: who the caller is, and temporary credentials.
//!
//! On the road: a service like any other; the front door asks [`Sessions`] who holds a temporary key, and
//! [`Sts::recognise`] what a call itself proves of its caller. Nothing is stored: a session is in its token ([`tokens`]).
//!
//! Invariants: a secret leaves only in the reply that makes it; it is in no record, no log and no Debug text. A session
//! begins only under its role's trust policy, which authorisation has asked before a handler runs.

mod assume_role;
mod federation;
mod grant;
mod iam;
mod identities;
mod jwt;
mod limits;
mod message;
mod providers;
mod record;
mod service_roles;
mod sessions;
mod tokens;
mod web_identity;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{AccountId, Clock, Entropy, Principal};
use cairn_store::seal::Sealer;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::{Value, json};

pub use identities::{Identities, ProviderFacts, RoleFacts};
pub(crate) use limits::check as check_session;
pub use providers::{Fetch, FetchError};
pub use service_roles::ServiceRoles;
pub use sessions::{Found, Sessions};
pub use tokens::{OpenedToken, TemporaryCredentials, Tokens, account_of_temporary_key};

use crate::{Access, Caller, EventKind, Operation, Service, Target};
use grant::Granted;
use providers::Providers;

/// What everybody who has an identity may do, whatever policies say: where "no permissions are required" in the API
/// reference.
pub(crate) const UNCONDITIONAL_ACTIONS: [&str; 2] = ["sts:GetCallerIdentity", "sts:GetSessionToken"];

/// All of them are reads in AWS's records: what they make is kept nowhere.
const fn operation(name: &'static str) -> Operation {
    Operation { name, event_name: name, access: Access::Read, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("AssumeRole"),
    operation("AssumeRoleWithWebIdentity"),
    operation("DecodeAuthorizationMessage"),
    operation("GetAccessKeyInfo"),
    operation("GetCallerIdentity"),
    operation("GetFederationToken"),
    operation("GetSessionToken"),
];

/// The STS service.
pub struct Sts {
    tokens: Tokens,
    identities: Arc<dyn Identities>,
    providers: Providers,
    sealer: Sealer,
    entropy: Arc<dyn Entropy>,
}

impl Sts {
    /// STS for the roles and users of `identities`.
    #[must_use]
    pub fn new(
        sealer: Sealer,
        identities: Arc<dyn Identities>,
        fetch: Arc<dyn Fetch>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let tokens = Tokens::new(sealer.clone());
        Self { tokens, identities, providers: Providers::new(fetch, clock), sealer, entropy }
    }

    /// What the front door asks of temporary keys.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.tokens.clone(), Arc::clone(&self.identities))
    }

    /// The reasons of a refusal, for who may call DecodeAuthorizationMessage in the account.
    #[must_use]
    pub fn encode_authorization_message(&self, account: &AccountId, message: &str) -> String {
        message::encode(&self.sealer, account, message)
    }

    /// Adds credentials of `principal` to a reply.
    fn add_credentials(&self, reply: &mut Value, principal: Principal, granted: Granted) {
        let expires = granted.session.expires;
        if let Some(source_identity) = &granted.session.source_identity {
            reply["SourceIdentity"] = json!(source_identity);
        }
        if let Some(percent) = granted.packed_percent {
            reply["PackedPolicySize"] = json!(percent);
        }
        let made = self.tokens.issue(&*self.entropy, principal, granted.session);
        reply["Credentials"] = json!({
            "AccessKeyId": made.access_key_id,
            "SecretAccessKey": made.secret.expose(),
            "SessionToken": made.token,
            "Expiration": expires.seconds(),
        });
    }

    /// What a call is about, and what else it needs.
    async fn targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        match call.operation.as_str() {
            "AssumeRole" => {
                let mut targets = vec![self.assume_role_target(call).await?];
                targets.extend(self.assume_role_further(caller, call).await?);
                Ok(targets)
            }
            "AssumeRoleWithWebIdentity" => self.web_identity_targets(call).await,
            "GetFederationToken" => self.federation_targets(caller, call),
            _ => Ok(vec![Target {
                action: format!("sts:{}", call.operation),
                resource_arn: "*".to_owned(),
                resources: Vec::new(),
                policy: None,
                conditions: Vec::new(),
            }]),
        }
    }

    async fn verify_mfa(&self, caller: &mut Caller, call: &Call) -> Result<(), AwsError> {
        let text = |name: &str| call.params.get(name).and_then(Value::as_str);
        let (serial, code) = match (text("SerialNumber"), text("TokenCode")) {
            (None, None) => return Ok(()),
            (Some(serial), Some(code)) => (serial, code),
            (Some(_), None) => {
                return Err(grant::invalid("MFA TokenCode must be provided with a SerialNumber."));
            }
            (None, Some(_)) => {
                return Err(grant::invalid("MFA SerialNumber must be provided with a TokenCode."));
            }
        };
        let verified = self.identities.verify_mfa(&caller.principal, serial, code, caller.now);
        if verified.await.map_err(AwsError::internal)? {
            caller.mfa_verified = true;
            return Ok(());
        }
        let message = "MultiFactorAuthentication failed with invalid MFA one time pass code. ";
        Err(AwsError::with_status(403, "AccessDenied", message))
    }

    async fn get_access_key_info(&self, call: &Call) -> Result<Reply, AwsError> {
        let id = call.params["AccessKeyId"].as_str().unwrap_or_default();
        let account = match account_of_temporary_key(id) {
            Some(account) => Some(account),
            None => self.identities.account_of_key(id).await.map_err(AwsError::internal)?,
        };
        let account = account.ok_or_else(|| grant::invalid("Invalid Access Key ID"))?;
        Ok(Reply::of(&json!({ "Account": account })))
    }
}

#[async_trait]
impl Service for Sts {
    fn model(&self) -> &'static str {
        "sts"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn recognise(&self, caller: &mut Caller, call: &Call) -> Result<(), AwsError> {
        match call.operation.as_str() {
            "AssumeRoleWithWebIdentity" => self.recognise_web_identity(caller, call).await,
            "AssumeRole" | "GetSessionToken" => self.verify_mfa(caller, call).await,
            _ => Ok(()),
        }
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let mut targets = self.targets(caller, call).await?;
        Ok(targets.swap_remove(0))
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(self.targets(caller, call).await?.split_off(1))
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        match call.operation.as_str() {
            "AssumeRole" => self.assume_role(caller, &call).await,
            "AssumeRoleWithWebIdentity" => self.assume_role_with_web_identity(caller, &call).await,
            "DecodeAuthorizationMessage" => message::decode(&self.sealer, caller, &call),
            "GetAccessKeyInfo" => self.get_access_key_info(&call).await,
            "GetCallerIdentity" => get_caller_identity(caller),
            "GetFederationToken" => self.get_federation_token(caller, &call).await,
            "GetSessionToken" => self.get_session_token(caller, &call).await,
            other => {
                let message = format!("The action {other} is not valid for this web service.");
                Err(AwsError::invalid("InvalidAction", message))
            }
        }
    }

    /// A role that another account's principal assumed is also that role's account's business.
    fn also_concerned(&self, call_operation: &str, target: &Target) -> Option<AccountId> {
        let owner = || target.policy.as_ref().map(|policy| policy.owner.clone());
        if call_operation == "AssumeRole" { owner() } else { None }
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        Some(record::request(call))
    }

    fn recorded_read(&self, operation: &Operation, result: &Value) -> Option<Value> {
        record::reply(operation.name, result)
    }
}

fn get_caller_identity(caller: &Caller) -> Result<Reply, AwsError> {
    let principal = &caller.principal;
    match (principal.principal_id(), principal.account(), principal.arn()) {
        (Some(id), Some(account), Some(arn)) => {
            Ok(Reply::of(&json!({"UserId": id, "Account": account, "Arn": arn})))
        }
        _ => Err(AwsError::with_status(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        )),
    }
}
