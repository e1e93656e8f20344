//! Who called: the principal behind a request, and the `userIdentity` element that a record shows of it.
//!
//! Source: the AWS user guide's page on the userIdentity element; member order as in recorded events.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::AccountId;

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

impl Principal {
    /// The account that the principal belongs to; none for services and strangers.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Root { account, .. } | Self::IamUser { account, .. } => Some(account),
            Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => None,
        }
    }

    /// The principal's ARN, where it has one.
    #[must_use]
    pub fn arn(&self) -> Option<String> {
        match self {
            Self::Root { account, .. } => Some(format!("arn:aws:iam::{account}:root")),
            Self::IamUser { account, user_name, path, .. } => {
                Some(format!("arn:aws:iam::{account}:user{path}{user_name}"))
            }
            Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => None,
        }
    }

    /// `aws:userid`: the unique id of the principal, the account id for root.
    #[must_use]
    pub fn principal_id(&self) -> Option<String> {
        match self {
            Self::Root { account, .. } => Some(account.to_string()),
            Self::IamUser { user_id, .. } => Some(user_id.clone()),
            Self::Service { .. } | Self::Anonymous | Self::Unknown { .. } => None,
        }
    }

    /// The `userIdentity` element of a record for a call made with the key `access_key_id`.
    #[must_use]
    pub fn user_identity(&self, access_key_id: Option<&str>) -> Value {
        let mut element = Map::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                element.insert(name.to_owned(), Value::String(value));
            }
        };
        let kind = match self {
            Self::Root { .. } => "Root",
            Self::IamUser { .. } => "IAMUser",
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
            Self::Root { alias, .. } => {
                put("accessKeyId", access_key_id.map(str::to_owned));
                put("userName", alias.clone());
            }
            Self::IamUser { user_name, .. } => {
                put("accessKeyId", access_key_id.map(str::to_owned));
                put("userName", Some(user_name.clone()));
            }
            Self::Unknown { claimed_access_key_id } => put("accessKeyId", claimed_access_key_id.clone()),
            Self::Service { .. } | Self::Anonymous => {}
        }
        Value::Object(element)
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
            user.user_identity(Some("AKIAEXAMPLE")).to_string(),
            r#"{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::123456789012:user/ops/alice","accountId":"123456789012","accessKeyId":"AKIAEXAMPLE","userName":"alice"}"#
        );
        let root = Principal::Root { account, alias: None };
        assert_eq!(
            root.user_identity(Some("AKIAROOT")).to_string(),
            r#"{"type":"Root","principalId":"123456789012","arn":"arn:aws:iam::123456789012:root","accountId":"123456789012","accessKeyId":"AKIAROOT"}"#
        );
        let unknown = Principal::Unknown { claimed_access_key_id: Some("AKIASTRANGER".into()) };
        assert_eq!(
            unknown.user_identity(None).to_string(),
            r#"{"type":"Unknown","accessKeyId":"AKIASTRANGER"}"#
        );
        let service = Principal::Service { name: "cloudtrail.amazonaws.com".into() };
        assert_eq!(
            service.user_identity(None).to_string(),
            r#"{"type":"AWSService","invokedBy":"cloudtrail.amazonaws.com"}"#
        );
    }
}
