//! Who called: the principal behind a request, and the `userIdentity` element that a record shows of it.
//!
//! Source: the AWS user guide's page on the userIdentity element; member order as in recorded events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{AccountId, Timestamp};

/// Who made a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Principal {
    /// The account itself.
    Root {
        /// The account.
        account: AccountId,
        /// Its alias, which the record shows as the user name.
        alias: Option<String>,
    },
    /// An IAM user with its long-term keys.
    IamUser {
        /// The account of the user.
        account: AccountId,
        /// `AIDA…`, the unique id.
        user_id: String,
        /// The user's name.
        user_name: String,
        /// The user's path, `/` where none was given.
        path: String,
    },
    /// Whoever assumed a role, with the temporary credentials of that session.
    AssumedRole {
        /// The account of the role.
        account: AccountId,
        /// `AROA…`, the role's unique id.
        role_id: String,
        /// The role's name.
        role_name: String,
        /// The role's path, `/` where none was given.
        role_path: String,
        /// The session's name, which whoever assumed the role chose.
        session_name: String,
    },
    /// A user of no account's IAM, for whom GetFederationToken made temporary credentials.
    FederatedUser {
        /// The account of the issuer.
        account: AccountId,
        /// The user's name, which the issuer chose.
        name: String,
        /// The root or the user who called GetFederationToken.
        issuer: Box<Principal>,
    },
    /// A user of an identity provider, who has no account: the caller of AssumeRoleWithWebIdentity, of no other call.
    WebIdentityUser {
        /// The ARN of the IAM identity provider.
        provider: String,
        /// Whom the provider's token is for.
        audience: String,
        /// Whom the token is about.
        subject: String,
    },
    /// A service of AWS, or Cairn in its name: `cloudtrail.amazonaws.com`.
    Service {
        /// The service's principal name.
        name: String,
    },
    /// A request without credentials.
    Anonymous,
    /// Credentials that could not be verified: all that is known is what the request claimed.
    Unknown {
        /// The access key id that the request named, if any.
        claimed_access_key_id: Option<String>,
    },
}

/// What is known of a session besides who holds it: of every call with temporary credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When the credentials were made: `aws:TokenIssueTime`.
    pub created: Timestamp,
    /// When they end.
    pub expires: Timestamp,
    /// Whether an MFA device's code was given for them.
    #[serde(default)]
    pub mfa_authenticated: bool,
    /// The source identity, which stays through every further role.
    #[serde(default)]
    pub source_identity: Option<String>,
    /// The session's tags.
    #[serde(default)]
    pub tags: Vec<(String, String)>,
    /// The keys of the tags that further roles inherit.
    #[serde(default)]
    pub transitive_tag_keys: Vec<String>,
    /// The identity provider's word that the session began with.
    #[serde(default)]
    pub web_identity: Option<WebIdentity>,
    /// The text of the session policy that was passed.
    #[serde(default)]
    pub policy: Option<String>,
    /// The ARNs of the managed policies that were passed as session policies.
    #[serde(default)]
    pub policy_arns: Vec<String>,
}

/// Whom an identity provider vouched for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebIdentity {
    /// The ARN of the IAM identity provider.
    pub provider: String,
    /// Whom the token was for.
    pub audience: String,
    /// Whom the token was about.
    pub subject: String,
}

impl Session {
    /// A session that nothing more is said of.
    #[must_use]
    pub fn between(created: Timestamp, expires: Timestamp) -> Self {
        Self {
            created,
            expires,
            mfa_authenticated: false,
            source_identity: None,
            tags: Vec::new(),
            transitive_tag_keys: Vec::new(),
            web_identity: None,
            policy: None,
            policy_arns: Vec::new(),
        }
    }

    /// Whether session policies bind: they allow nothing by themselves and limit what else is allowed.
    #[must_use]
    pub fn has_policies(&self) -> bool {
        self.policy.is_some() || !self.policy_arns.is_empty()
    }
}

impl Principal {
    /// The account that the principal belongs to; none for services, web identities and strangers.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Root { account, .. }
            | Self::IamUser { account, .. }
            | Self::AssumedRole { account, .. }
            | Self::FederatedUser { account, .. } => Some(account),
            Self::WebIdentityUser { .. } | Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => {
                None
            }
        }
    }

    /// The principal's ARN, where it has one: that of the session for temporary credentials of a role.
    #[must_use]
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Root { account, .. } => Some(format!("arn:aws:iam::{account}:root")),
            Self::IamUser { account, user_name, path, .. } => {
                Some(format!("arn:aws:iam::{account}:user{path}{user_name}"))
            }
            Self::AssumedRole { account, role_name, session_name, .. } => {
                Some(format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"))
            }
            Self::FederatedUser { account, name, .. } => {
                Some(format!("arn:aws:sts::{account}:federated-user/{name}"))
            }
            Self::WebIdentityUser { .. } | Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => {
                None
            }
        }
    }

    /// `aws:userid`: the unique id of the principal, the account id for root.
    #[must_use]
    pub fn principal_id(&self) -> Option<String> {
        match self {
            Self::Root { account, .. } => Some(account.to_string()),
            Self::IamUser { user_id, .. } => Some(user_id.clone()),
            Self::AssumedRole { role_id, session_name, .. } => Some(format!("{role_id}:{session_name}")),
            Self::FederatedUser { account, name, .. } => Some(format!("{account}:{name}")),
            Self::WebIdentityUser { .. } | Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => {
                None
            }
        }
    }

    /// The ARN of the role behind an assumed role: `arn:aws:iam::111122223333:role/path/name`.
    #[must_use]
    pub fn role_arn(&self) -> Option<String> {
        match self {
            Self::AssumedRole { account, role_name, role_path, .. } => {
                Some(format!("arn:aws:iam::{account}:role{role_path}{role_name}"))
            }
            _ => None,
        }
    }

    /// The ARN and the unique id of who stands behind the session: the role, or the user or root who federated.
    #[must_use]
    pub fn issuer(&self) -> Option<(String, String)> {
        match self {
            Self::AssumedRole { role_id, .. } => Some((self.role_arn()?, role_id.clone())),
            Self::FederatedUser { issuer, .. } => Some((issuer.arn()?, issuer.principal_id()?)),
            _ => None,
        }
    }

    /// The `userIdentity` element of a record for a call made with the key `access_key_id`, of `session` where the key
    /// is a temporary one.
    #[must_use]
    pub fn user_identity(&self, access_key_id: Option<&str>, session: Option<&Session>) -> Value {
        let mut element = Map::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                element.insert(name.to_owned(), Value::String(value));
            }
        };
        let kind = match self {
            Self::Root { .. } => "Root",
            Self::IamUser { .. } => "IAMUser",
            Self::AssumedRole { .. } => "AssumedRole",
            Self::FederatedUser { .. } => "FederatedUser",
            Self::WebIdentityUser { provider, audience, subject } => {
                return json!({
                    "type": "WebIdentityUser",
                    "principalId": format!("{provider}:{audience}:{subject}"),
                    "userName": subject,
                    "identityProvider": provider,
                });
            }
            Self::Service { name } => return json!({"type": "AWSService", "invokedBy": name}),
            Self::Anonymous => {
                return json!({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"});
            }
            Self::Unknown { .. } => "Unknown",
        };
        put("type", Some(kind.to_owned()));
        put("principalId", self.principal_id());
        put("arn", self.arn());
        put("accountId", self.account().map(ToString::to_string));
        match self {
            Self::Unknown { claimed_access_key_id } => put("accessKeyId", claimed_access_key_id.clone()),
            _ => put("accessKeyId", access_key_id.map(str::to_owned)),
        }
        put("userName", self.user_name());
        if let Some(session) = session {
            element.insert("sessionContext".to_owned(), self.session_context(session));
        }
        Value::Object(element)
    }

    /// The `userIdentity` element as the record in another account, whose resource the call was about, shows it.
    #[must_use]
    pub fn foreign_identity(&self) -> Value {
        match (self.principal_id(), self.account()) {
            (Some(id), Some(account)) => {
                json!({"type": "AWSAccount", "principalId": id, "accountId": account})
            }
            _ => self.user_identity(None, None),
        }
    }

    /// The name as the record shows it: of a user, or an account's alias.
    fn user_name(&self) -> Option<String> {
        match self {
            Self::Root { alias, .. } => alias.clone(),
            Self::IamUser { user_name, .. } => Some(user_name.clone()),
            _ => None,
        }
    }

    fn session_context(&self, session: &Session) -> Value {
        let mut context = Map::new();
        let issuer = match self {
            Self::AssumedRole { account, role_id, role_name, .. } => Some(json!({
                "type": "Role",
                "principalId": role_id,
                "arn": self.role_arn(),
                "accountId": account,
                "userName": role_name,
            })),
            Self::FederatedUser { issuer, .. } => Some(issuer.user_identity(None, None)),
            _ => None,
        };
        if let Some(issuer) = issuer {
            context.insert("sessionIssuer".into(), issuer);
        }
        if let Some(web) = &session.web_identity {
            let data = json!({"federatedProvider": web.provider, "attributes": {}});
            context.insert("webIdFederationData".into(), data);
        }
        let attributes = json!({
            "creationDate": session.created.iso(),
            "mfaAuthenticated": session.mfa_authenticated.to_string(),
        });
        context.insert("attributes".into(), attributes);
        if let Some(source_identity) = &session.source_identity {
            context.insert("sourceIdentity".into(), json!(source_identity));
        }
        Value::Object(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_identity_has_the_members_of_each_kind_in_awss_order() {
        let account: AccountId = "123456789012".parse().unwrap();
        let user = Principal::IamUser {
            account: account.clone(),
            user_id: "AIDAEXAMPLE".into(),
            user_name: "alice".into(),
            path: "/ops/".into(),
        };
        assert_eq!(
            user.user_identity(Some("AKIAEXAMPLE"), None).to_string(),
            r#"{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::123456789012:user/ops/alice","accountId":"123456789012","accessKeyId":"AKIAEXAMPLE","userName":"alice"}"#
        );
        let root = Principal::Root { account, alias: None };
        assert_eq!(
            root.user_identity(Some("AKIAROOT"), None).to_string(),
            r#"{"type":"Root","principalId":"123456789012","arn":"arn:aws:iam::123456789012:root","accountId":"123456789012","accessKeyId":"AKIAROOT"}"#
        );
        let unknown = Principal::Unknown { claimed_access_key_id: Some("AKIASTRANGER".into()) };
        assert_eq!(
            unknown.user_identity(None, None).to_string(),
            r#"{"type":"Unknown","accessKeyId":"AKIASTRANGER"}"#
        );
        let service = Principal::Service { name: "cloudtrail.amazonaws.com".into() };
        assert_eq!(
            service.user_identity(None, None).to_string(),
            r#"{"type":"AWSService","invokedBy":"cloudtrail.amazonaws.com"}"#
        );
    }

    fn session() -> Session {
        Session {
            created: Timestamp::from_seconds(1_700_000_000),
            expires: Timestamp::from_seconds(1_700_003_600),
            mfa_authenticated: false,
            source_identity: None,
            tags: Vec::new(),
            transitive_tag_keys: Vec::new(),
            web_identity: None,
            policy: None,
            policy_arns: Vec::new(),
        }
    }

    fn role() -> Principal {
        Principal::AssumedRole {
            account: "123456789012".parse().unwrap(),
            role_id: "AROAEXAMPLE".into(),
            role_name: "reader".into(),
            role_path: "/ops/".into(),
            session_name: "alice".into(),
        }
    }

    /// Order and members as in records of 2026 (`AWS.CloudTrail.SES.CheckSendQuota` of the fixtures).
    #[test]
    fn an_assumed_role_shows_its_session_and_its_issuer() {
        assert_eq!(
            role().user_identity(Some("ASIAEXAMPLE"), Some(&session())).to_string(),
            r#"{"type":"AssumedRole","principalId":"AROAEXAMPLE:alice","arn":"arn:aws:sts::123456789012:assumed-role/reader/alice","accountId":"123456789012","accessKeyId":"ASIAEXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::123456789012:role/ops/reader","accountId":"123456789012","userName":"reader"},"attributes":{"creationDate":"2023-11-14T22:13:20Z","mfaAuthenticated":"false"}}}"#
        );
        assert_eq!(
            role().foreign_identity().to_string(),
            r#"{"type":"AWSAccount","principalId":"AROAEXAMPLE:alice","accountId":"123456789012"}"#
        );
    }

    #[test]
    fn a_web_identitys_session_names_its_provider_and_keeps_its_source_identity() {
        let mut session = session();
        let provider = "arn:aws:iam::123456789012:oidc-provider/idp.example.com".to_owned();
        session.web_identity =
            Some(WebIdentity { provider: provider.clone(), audience: "app".into(), subject: "bob".into() });
        session.source_identity = Some("bob".into());
        let context = &role().user_identity(None, Some(&session))["sessionContext"];
        assert_eq!(
            context["webIdFederationData"].to_string(),
            r#"{"federatedProvider":"arn:aws:iam::123456789012:oidc-provider/idp.example.com","attributes":{}}"#
        );
        assert_eq!(context["sourceIdentity"], "bob");
        let caller = Principal::WebIdentityUser { provider, audience: "app".into(), subject: "bob".into() };
        assert_eq!(
            caller.user_identity(None, None).to_string(),
            r#"{"type":"WebIdentityUser","principalId":"arn:aws:iam::123456789012:oidc-provider/idp.example.com:app:bob","userName":"bob","identityProvider":"arn:aws:iam::123456789012:oidc-provider/idp.example.com"}"#
        );
    }

    #[test]
    fn a_federated_user_shows_who_issued_its_session_and_a_users_session_shows_mfa() {
        let account: AccountId = "123456789012".parse().unwrap();
        let user = Principal::IamUser {
            account: account.clone(),
            user_id: "AIDAEXAMPLE".into(),
            user_name: "alice".into(),
            path: "/".into(),
        };
        let federated =
            Principal::FederatedUser { account, name: "bob".into(), issuer: Box::new(user.clone()) };
        assert_eq!(
            federated.user_identity(Some("ASIAEXAMPLE"), Some(&session())).to_string(),
            r#"{"type":"FederatedUser","principalId":"123456789012:bob","arn":"arn:aws:sts::123456789012:federated-user/bob","accountId":"123456789012","accessKeyId":"ASIAEXAMPLE","sessionContext":{"sessionIssuer":{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::123456789012:user/alice","accountId":"123456789012","userName":"alice"},"attributes":{"creationDate":"2023-11-14T22:13:20Z","mfaAuthenticated":"false"}}}"#
        );
        let with_mfa = Session { mfa_authenticated: true, ..session() };
        assert_eq!(
            user.user_identity(Some("ASIAEXAMPLE"), Some(&with_mfa))["sessionContext"].to_string(),
            r#"{"attributes":{"creationDate":"2023-11-14T22:13:20Z","mfaAuthenticated":"true"}}"#
        );
    }

    /// Sessions are kept in tokens that outlive the program: this text must stay readable.
    #[test]
    fn sessions_are_read_as_they_were_first_written() {
        let text = r#"{"created":1700000000000,"expires":1700003600000}"#;
        assert_eq!(serde_json::from_str::<Session>(text).unwrap(), session());
        let text = serde_json::to_string(&role()).unwrap();
        assert_eq!(
            text,
            r#"{"type":"AssumedRole","account":"123456789012","role_id":"AROAEXAMPLE","role_name":"reader","role_path":"/ops/","session_name":"alice"}"#
        );
        assert_eq!(serde_json::from_str::<Principal>(&text).unwrap(), role());
    }
}
