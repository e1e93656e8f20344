//! What Lambda keeps in the catalog: functions with their versions, aliases, policies and how they are invoked.
//!
//! Keys of all tables begin with region, account and the function's name. Environment variables are sealed; code is a
//! blob, sealed too ([`super::package`]).

use std::collections::BTreeMap;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::{BlobId, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::name::FunctionName;

/// Functions by region, account and name.
pub(super) const FUNCTIONS: Table<Function> = Table::new("lambda.function", 1);
/// Published versions by function and number.
pub(super) const VERSIONS: Table<Config> = Table::new("lambda.version", 1);
/// Aliases by function and name.
pub(super) const ALIASES: Table<Alias> = Table::new("lambda.alias", 1);
/// Policies by function and qualifier, the empty one of the function itself.
pub(super) const POLICIES: Table<Policy> = Table::new("lambda.policy", 1);
/// How a function is invoked asynchronously, by function and qualifier.
pub(super) const INVOKE_CONFIGS: Table<InvokeConfig> = Table::new("lambda.invoke_config", 1);

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Function {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
    pub(super) latest: Config,
    /// The number of the version that is published next.
    pub(super) next_version: u64,
    pub(super) reserved: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
    /// The engine's key of the queue of its asynchronous invocations.
    pub(super) queue: String,
}

/// All that can be set of a function, at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) version: String,
    pub(super) description: String,
    pub(super) runtime: String,
    pub(super) handler: String,
    pub(super) role: String,
    pub(super) timeout_s: u32,
    pub(super) memory_mb: u32,
    pub(super) tmp_mb: u32,
    pub(super) environment: Option<SealedVariables>,
    pub(super) kms_key_arn: Option<String>,
    /// The queue or topic of events that could not be processed.
    pub(super) dead_letters: Option<String>,
    pub(super) logging: Logging,
    pub(super) architectures: Vec<String>,
    pub(super) tracing: String,
    pub(super) code: Code,
    pub(super) last_modified: Timestamp,
    pub(super) revision: String,
}

/// Environment variables, sealed as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedVariables {
    pub(super) sealed: String,
    /// The encrypted data key that they are sealed under, base64; the server's key where there is none.
    pub(super) data_key: Option<String>,
}

/// Where and how a function logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Logging {
    /// `/aws/lambda/NAME` where none was named.
    pub(super) group: Option<String>,
    pub(super) format: Option<String>,
    pub(super) application_level: Option<String>,
    pub(super) system_level: Option<String>,
}

/// A deployment package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) blob: BlobId,
    /// Of the sealed package, as it is stored.
    pub(super) blob_size_bytes: u64,
    pub(super) size_bytes: u64,
    /// Base64.
    pub(super) sha256: String,
}

/// A name for a version, or for two by weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: String,
    /// Another version and its share of the invocations.
    pub(super) other: Option<(String, f64)>,
    pub(super) revision: String,
}

/// Who may do what to a function or one of its versions and aliases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    pub(super) statements: Vec<Value>,
    pub(super) revision: String,
}

/// How a function is invoked asynchronously.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InvokeConfig {
    /// `$LATEST`, or a version or an alias.
    pub(super) qualifier: String,
    pub(super) retries_max: Option<u32>,
    pub(super) age_s_max: Option<u64>,
    pub(super) on_success: Option<String>,
    pub(super) on_failure: Option<String>,
    pub(super) last_modified: Timestamp,
}

impl Function {
    pub(super) fn full_name(&self) -> FunctionName {
        FunctionName { region: self.region.clone(), account: self.account.clone(), name: self.name.clone() }
    }
}

impl Config {
    /// The group that the function logs into.
    pub(super) fn log_group(&self, function: &str) -> String {
        self.logging.group.clone().unwrap_or_else(|| format!("/aws/lambda/{function}"))
    }

    /// Whether a version that is published of `self` would be the same as `other`.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let bare = |config: &Self| Self {
            version: String::new(),
            description: String::new(),
            revision: String::new(),
            last_modified: Timestamp::from_millis(0),
            code: Code { blob: BlobId(String::new()), blob_size_bytes: 0, ..config.code.clone() },
            ..config.clone()
        };
        bare(self) == bare(other)
    }
}

impl Policy {
    /// The document.
    pub(super) fn text(&self) -> String {
        serde_json::json!({"Version": "2012-10-17", "Id": "default", "Statement": self.statements})
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Function>(
            r#"{"region":"eu-west-1","account":"111122223333","name":"f","latest":{"version":"$LATEST","description":"","runtime":"provided.al2023","handler":"h","role":"arn:aws:iam::111122223333:role/r","timeout_s":3,"memory_mb":128,"tmp_mb":512,"environment":{"sealed":"sealed:AQ==","data_key":null},"kms_key_arn":null,"dead_letters":null,"logging":{"group":null,"format":null,"application_level":null,"system_level":null},"architectures":["x86_64"],"tracing":"PassThrough","code":{"blob":"00","blob_size_bytes":2,"size_bytes":1,"sha256":"AA=="},"last_modified":1795281866042,"revision":"r"},"next_version":1,"reserved":null,"tags":{"k":"v"},"queue":"lambda.event:x"}"#,
        );
        check::<Alias>(r#"{"name":"live","version":"1","description":"","other":["2",0.25],"revision":"r"}"#);
        check::<Policy>(r#"{"statements":[{"Sid":"s"}],"revision":"r"}"#);
        check::<InvokeConfig>(
            r#"{"qualifier":"$LATEST","retries_max":0,"age_s_max":60,"on_success":"arn:aws:sqs:eu-west-1:111122223333:q","on_failure":null,"last_modified":1}"#,
        );
    }
}
