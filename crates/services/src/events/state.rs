//! What EventBridge keeps: buses, and rules with their targets. Keys of all tables begin with region and account.

use std::collections::BTreeMap;

use cairn_core::{AccountId, Timestamp};
use cairn_store::Table;
use cairn_store::catalog::Key;
use serde::{Deserialize, Serialize};

use super::names::BusArn;

/// The buses that were made, and default buses that somebody has changed.
pub(super) const BUSES: Table<Bus> = Table::new("events.bus", 1);
/// The rules, by bus and name.
pub(super) const RULES: Table<Rule> = Table::new("events.rule", 1);

/// Tags, in the order they were given.
pub(super) type Tags = Vec<(String, String)>;

/// An event bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bus {
    pub(super) arn: BusArn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kms_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dead_letter_arn: Option<String>,
    /// Who of others may do what, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) tags: Tags,
    /// None of a default bus, which nobody made.
    #[serde(default)]
    pub(super) created: Option<Timestamp>,
    #[serde(default)]
    pub(super) modified: Option<Timestamp>,
}

impl Bus {
    /// A bus without anything.
    pub(super) fn new(arn: BusArn, created: Option<Timestamp>) -> Self {
        Self {
            arn,
            description: None,
            kms_key: None,
            dead_letter_arn: None,
            policy: None,
            tags: Vec::new(),
            created,
            modified: created,
        }
    }
}

/// Whether a rule does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RuleState {
    #[serde(rename = "ENABLED")]
    Enabled,
    #[serde(rename = "DISABLED")]
    Disabled,
    /// Also for management events that only read.
    #[serde(rename = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")]
    EnabledWithReads,
}

/// A rule of a bus, with its targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    pub(super) bus: BusArn,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schedule: Option<String>,
    pub(super) state: RuleState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role_arn: Option<String>,
    pub(super) created_by: AccountId,
    pub(super) created: Timestamp,
    #[serde(default)]
    pub(super) tags: Tags,
    #[serde(default)]
    pub(super) targets: Vec<RuleTarget>,
}

impl Rule {
    pub(super) fn arn(&self) -> String {
        self.bus.rule_arn(&self.name)
    }

    pub(super) fn row(&self) -> Key {
        rule_row(&self.bus, &self.name)
    }
}

/// The key of a rule in [`RULES`].
pub(super) fn rule_row(bus: &BusArn, name: &str) -> Key {
    bus.row().text(name)
}

/// A target of a rule, with the members that AWS has: as it is given, kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RuleTarget {
    pub(super) id: String,
    pub(super) arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) role_arn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) input_transformer: Option<Transformer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kinesis_parameters: Option<KinesisParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sqs_parameters: Option<SqsParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) http_parameters: Option<HttpParameters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry_policy: Option<RetryPolicy>,
}

/// How what a target gets is made of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Transformer {
    #[serde(default)]
    pub(super) input_paths_map: BTreeMap<String, String>,
    pub(super) input_template: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KinesisParameters {
    pub(super) partition_key_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SqsParameters {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message_group_id: Option<String>,
}

/// What an API destination is sent besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HttpParameters {
    #[serde(default)]
    pub(super) path_parameter_values: Vec<String>,
    #[serde(default)]
    pub(super) header_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) query_string_parameters: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeadLetterConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) arn: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RetryPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) maximum_retry_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) maximum_event_age_in_seconds: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as version 1 wrote them: a change that cannot read them needs a new version of the table.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Bus>(
            r#"{"arn":"arn:aws:events:us-east-1:111122223333:event-bus/orders","description":"d","kms_key":"k","dead_letter_arn":"arn:aws:sqs:us-east-1:111122223333:q","policy":"{}","tags":[["a","b"]],"created":1795281866042,"modified":1795281866042}"#,
        );
        check::<Rule>(
            r#"{"bus":"arn:aws:events:us-east-1:111122223333:event-bus/default","name":"r","pattern":"{\"source\":[\"a\"]}","schedule":"rate(1 day)","state":"ENABLED","description":"d","role_arn":"arn:aws:iam::111122223333:role/r","created_by":"111122223333","created":1795281866042,"tags":[["a","b"]],"targets":[{"Id":"1","Arn":"arn:aws:sqs:us-east-1:111122223333:q.fifo","RoleArn":"arn:aws:iam::111122223333:role/r","InputPath":"$.detail","InputTransformer":{"InputPathsMap":{"a":"$.b"},"InputTemplate":"<a>"},"KinesisParameters":{"PartitionKeyPath":"$.id"},"SqsParameters":{"MessageGroupId":"g"},"HttpParameters":{"PathParameterValues":["p"],"HeaderParameters":{"h":"v"},"QueryStringParameters":{"q":"v"}},"DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:111122223333:d"},"RetryPolicy":{"MaximumRetryAttempts":3,"MaximumEventAgeInSeconds":60}}]}"#,
        );
    }
}
