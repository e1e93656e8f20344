//! A bucket's notification configuration: what is kept of it, what is refused, how it is shown, and which events it takes.
//!
//! Source: the S3 API reference of PutBucketNotificationConfiguration and the user guide's page on filters; refusals as
//! recorded from the service and as its clients report them.

use cairn_core::{AccountId, Region};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Kind;
use crate::s3::error::{Failure, fail, invalid_argument, malformed_xml};
use crate::s3::params::Params;
use crate::s3::state::Bucket;

/// Configurations of one bucket.
const CONFIGURATIONS_MAX: usize = 100;
/// The longest id of a configuration, in characters.
const ID_LENGTH_MAX: usize = 255;
/// The longest value of a filter rule, in bytes.
const FILTER_VALUE_SIZE_BYTES_MAX: usize = 1024;

/// Every event that a configuration can name. Of some the server has no occasion: nothing is replicated or restored.
const EVENTS: [&str; 27] = [
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectAcl:Put",
    "s3:LifecycleExpiration:*",
    "s3:LifecycleExpiration:Delete",
    "s3:LifecycleExpiration:DeleteMarkerCreated",
    "s3:ObjectTagging:*",
    "s3:ObjectTagging:Put",
    "s3:ObjectTagging:Delete",
];

/// Where events go, by ARN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::s3) enum Destination {
    Queue(String),
    Topic(String),
    Function(String),
    /// The default event bus of the bucket's account and region.
    Bus(String),
}

impl Destination {
    pub(super) fn arn(&self) -> &str {
        match self {
            Self::Queue(arn) | Self::Topic(arn) | Self::Function(arn) | Self::Bus(arn) => arn,
        }
    }
}

/// The configuration that sends everything to the event bus: it has no id of its own.
const BUS_ID: &str = "EventBridge";
/// Every event.
const EVERYTHING: &str = "s3:*";

/// One configuration of a bucket: which events go where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::s3) struct Notification {
    pub(super) id: String,
    pub(super) destination: Destination,
    /// As they were named: `s3:ObjectCreated:*`.
    events: Vec<String>,
    /// None where there is no such rule; the empty text is a rule that every key fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suffix: Option<String>,
}

impl Notification {
    /// Whether it asks for such an event of the key.
    pub(super) fn takes(&self, kind: Kind, key: &str) -> bool {
        self.events.iter().any(|event| covers(event, kind.name()))
            && key.starts_with(self.prefix.as_deref().unwrap_or_default())
            && key.ends_with(self.suffix.as_deref().unwrap_or_default())
    }

    /// Whether some event of some key would go both ways.
    fn overlaps(&self, other: &Self) -> bool {
        fn text(rule: Option<&String>) -> &str {
            rule.map_or("", String::as_str)
        }
        let (prefix, other_prefix) = (text(self.prefix.as_ref()), text(other.prefix.as_ref()));
        let (suffix, other_suffix) = (text(self.suffix.as_ref()), text(other.suffix.as_ref()));
        let same_event = self
            .events
            .iter()
            .any(|one| other.events.iter().any(|two| covers(one, bare(two)) || covers(two, bare(one))));
        same_event
            && (prefix.starts_with(other_prefix) || other_prefix.starts_with(prefix))
            && (suffix.ends_with(other_suffix) || other_suffix.ends_with(suffix))
    }

    fn shown(&self, arn_member: &str) -> Value {
        let mut shown = Map::new();
        shown.insert("Id".into(), self.id.as_str().into());
        shown.insert(arn_member.into(), self.destination.arn().into());
        shown.insert("Events".into(), json!(self.events));
        let rules: Vec<Value> = [("Prefix", &self.prefix), ("Suffix", &self.suffix)]
            .into_iter()
            .filter_map(|(name, value)| Some(json!({"Name": name, "Value": value.as_ref()?})))
            .collect();
        if !rules.is_empty() {
            shown.insert("Filter".into(), json!({"Key": {"FilterRules": rules}}));
        }
        Value::Object(shown)
    }
}

/// An event's name in messages, of one as configurations name it.
fn bare(event: &str) -> &str {
    event.strip_prefix("s3:").unwrap_or(event)
}

/// Whether a configuration's `event`, which may end in a star, covers the event of that name.
fn covers(event: &str, name: &str) -> bool {
    let event = bare(event);
    match event.strip_suffix('*') {
        Some(family) => name.starts_with(family),
        None => event == name,
    }
}

/// One kind of destination, as requests and answers write it.
struct List {
    /// The member of the configuration, and its name in XML.
    member: &'static str,
    xml_member: &'static str,
    /// The member that has the ARN, and its name in XML.
    arn: &'static str,
    xml_arn: &'static str,
    /// The service in the ARN.
    service: &'static str,
    destination: fn(String) -> Destination,
}

const LISTS: [List; 3] = [
    List {
        member: "TopicConfigurations",
        xml_member: "TopicConfiguration",
        arn: "TopicArn",
        xml_arn: "Topic",
        service: "sns",
        destination: Destination::Topic,
    },
    List {
        member: "QueueConfigurations",
        xml_member: "QueueConfiguration",
        arn: "QueueArn",
        xml_arn: "Queue",
        service: "sqs",
        destination: Destination::Queue,
    },
    List {
        member: "LambdaFunctionConfigurations",
        xml_member: "CloudFunctionConfiguration",
        arn: "LambdaFunctionArn",
        xml_arn: "CloudFunction",
        service: "lambda",
        destination: Destination::Function,
    },
];

/// What GetBucketNotificationConfiguration answers.
pub(in crate::s3) fn shown(bucket: &Bucket) -> Value {
    let mut shown = Map::new();
    for list in LISTS {
        let items: Vec<Value> = bucket
            .notifications
            .iter()
            .filter(|one| (list.destination)(one.destination.arn().to_owned()) == one.destination)
            .map(|notification| notification.shown(list.arn))
            .collect();
        if !items.is_empty() {
            shown.insert(list.member.into(), items.into());
        }
    }
    if bucket.notifications.iter().any(|one| matches!(one.destination, Destination::Bus(_))) {
        shown.insert("EventBridgeConfiguration".into(), json!({}));
    }
    Value::Object(shown)
}

/// Reads what a request asks for; `new_id` makes ids for configurations without one. The destinations are yet to be
/// looked at.
///
/// # Errors
/// The refusal of what cannot be.
pub(super) fn wanted(
    params: Params<'_>,
    bucket: &Bucket,
    new_id: impl Fn() -> String,
) -> Result<Vec<Notification>, Failure> {
    let configuration = params.part("NotificationConfiguration").ok_or_else(malformed_xml)?;
    let bus = configuration.has("EventBridgeConfiguration").then(|| Notification {
        id: BUS_ID.to_owned(),
        destination: Destination::Bus(bus_arn(bucket)),
        events: vec![EVERYTHING.to_owned()],
        prefix: None,
        suffix: None,
    });
    let mut wanted = Vec::new();
    for list in LISTS {
        for item in configuration.list(list.member) {
            let item = Params(item);
            let arn = item.text(list.arn).ok_or_else(malformed_xml)?;
            check_arn(arn, &list, &bucket.region)?;
            wanted.push(notification(item, (list.destination)(arn.to_owned()), &new_id)?);
        }
    }
    check(&wanted)?;
    // What goes to the event bus overlaps with everything.
    wanted.extend(bus);
    Ok(wanted)
}

fn bus_arn(bucket: &Bucket) -> String {
    format!("arn:aws:events:{}:{}:event-bus/default", bucket.region, bucket.owner)
}

fn check(wanted: &[Notification]) -> Result<(), Failure> {
    if wanted.len() > CONFIGURATIONS_MAX {
        let message = format!("A bucket can have at most {CONFIGURATIONS_MAX} notification configurations");
        return Err(fail(400, "InvalidArgument", message));
    }
    for (at, one) in wanted.iter().enumerate() {
        for other in &wanted[..at] {
            if one.id == other.id {
                return Err(invalid_argument(
                    "Same ID used for multiple configurations. IDs must be unique",
                    "Id",
                    &one.id,
                ));
            }
            if one.overlaps(other) {
                return Err(fail(
                    400,
                    "InvalidArgument",
                    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the \
                     prefixes are overlapping for the same event type.",
                ));
            }
        }
    }
    Ok(())
}

fn notification(
    item: Params<'_>,
    destination: Destination,
    new_id: impl Fn() -> String,
) -> Result<Notification, Failure> {
    let id = item.text("Id").filter(|id| !id.is_empty()).map_or_else(new_id, str::to_owned);
    if id.chars().count() > ID_LENGTH_MAX {
        return Err(invalid_argument("The configuration ID is too long", "Id", &id));
    }
    let mut events: Vec<String> = Vec::new();
    for event in item.list("Events") {
        let event = event.as_str().unwrap_or_default();
        if !EVENTS.contains(&event) {
            let message = format!("The event '{event}' is not supported for notifications");
            return Err(invalid_argument(&message, "Event", event));
        }
        if !events.iter().any(|known| known == event) {
            events.push(event.to_owned());
        }
    }
    if events.is_empty() {
        return Err(malformed_xml());
    }
    let (prefix, suffix) = filter(item)?;
    Ok(Notification { id, destination, events, prefix, suffix })
}

fn filter(item: Params<'_>) -> Result<(Option<String>, Option<String>), Failure> {
    let rules = item.part("Filter").and_then(|filter| filter.part("Key"));
    let (mut prefix, mut suffix) = (None, None);
    for rule in rules.map_or(&[][..], |key| key.list("FilterRules")) {
        let rule = Params(rule);
        let (Some(name), Some(value)) = (rule.text("Name"), rule.text("Value")) else {
            return Err(malformed_xml());
        };
        let side = match name.to_ascii_lowercase().as_str() {
            "prefix" => &mut prefix,
            "suffix" => &mut suffix,
            _ => {
                return Err(invalid_argument(
                    "filter rule name must be either prefix or suffix",
                    "FilterRule.Name",
                    name,
                ));
            }
        };
        if value.len() > FILTER_VALUE_SIZE_BYTES_MAX {
            return Err(invalid_argument(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
                "FilterRule.Value",
                value,
            ));
        }
        if side.replace(value.to_owned()).is_some() {
            let name = name.to_ascii_lowercase();
            let message = format!("Cannot specify more than one {name} rule in a filter.");
            return Err(invalid_argument(&message, "FilterRule.Name", &name));
        }
    }
    Ok((prefix, suffix))
}

fn check_arn(arn: &str, list: &List, region: &Region) -> Result<(), Failure> {
    let unparsed = || invalid_argument("The ARN could not be parsed", list.xml_arn, arn);
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, service, of_region, account, name] = parts[..] else { return Err(unparsed()) };
    let of_region: Region = of_region.parse().map_err(|_| unparsed())?;
    if service != list.service || account.parse::<AccountId>().is_err() || name.is_empty() {
        return Err(unparsed());
    }
    if of_region != *region {
        return Err(invalid_argument(
            "The notification destination service region is not valid for the bucket location constraint",
            list.xml_arn,
            arn,
        ));
    }
    Ok(())
}

/// How a record shows a request's configuration: by the names that its XML has, a list of one as its only element.
pub(in crate::s3) fn recorded(configuration: Params<'_>) -> Map<String, Value> {
    let one_or_all = |mut items: Vec<Value>| match items.len() {
        1 => items.remove(0),
        _ => Value::Array(items),
    };
    let mut shown = Map::new();
    for list in LISTS {
        let record = |item: &Value| {
            let (item, mut record) = (Params(item), Map::new());
            for (member, name) in [("Id", "Id"), (list.arn, list.xml_arn)] {
                if let Some(text) = item.text(member) {
                    record.insert(name.into(), text.into());
                }
            }
            record.insert("Event".into(), one_or_all(item.list("Events").to_vec()));
            if let Some(key) = item.part("Filter").and_then(|filter| filter.part("Key")) {
                let rules = one_or_all(key.list("FilterRules").to_vec());
                record.insert("Filter".into(), json!({"S3Key": {"FilterRule": rules}}));
            }
            Value::Object(record)
        };
        let items: Vec<Value> = configuration.list(list.member).iter().map(record).collect();
        if !items.is_empty() {
            shown.insert(list.xml_member.into(), one_or_all(items));
        }
    }
    if configuration.has("EventBridgeConfiguration") {
        shown.insert("EventBridgeConfiguration".into(), "".into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(events: &[&str], prefix: &str, suffix: &str) -> Notification {
        Notification {
            id: "id".into(),
            destination: Destination::Queue("arn:aws:sqs:us-east-1:123456789012:q".into()),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            prefix: Some(prefix.to_owned()),
            suffix: Some(suffix.to_owned()),
        }
    }

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        for text in [
            r#"{"id":"i","destination":{"Queue":"arn:aws:sqs:us-east-1:123456789012:q"},"events":["s3:ObjectCreated:*"],"prefix":"a","suffix":""}"#,
            r#"{"id":"i","destination":{"Topic":"arn:aws:sns:us-east-1:123456789012:t"},"events":["s3:ObjectAcl:Put"]}"#,
            r#"{"id":"i","destination":{"Function":"arn:aws:lambda:us-east-1:123456789012:function:f"},"events":["s3:ObjectAcl:Put"]}"#,
        ] {
            let row: Notification = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&row).unwrap(), text);
        }
    }

    #[test]
    fn a_configuration_takes_its_events_of_the_keys_that_fit_its_filter() {
        let logs = notification(&["s3:ObjectCreated:*", "s3:ObjectAcl:Put"], "AWSLogs/", ".gz");
        for (kind, key, takes) in [
            (Kind::Put, "AWSLogs/a.gz", true),
            (Kind::CompleteMultipartUpload, "AWSLogs/a.gz", true),
            (Kind::AclPut, "AWSLogs/a.gz", true),
            (Kind::TaggingPut, "AWSLogs/a.gz", false),
            (Kind::Delete, "AWSLogs/a.gz", false),
            (Kind::Put, "AWSLogs/a.json", false),
            (Kind::Put, "other/a.gz", false),
        ] {
            assert_eq!(logs.takes(kind, key), takes, "{kind:?} {key}");
        }
        assert!(notification(&["s3:ObjectRemoved:Delete"], "", "").takes(Kind::Delete, "any"));
        assert!(!notification(&["s3:ObjectRemoved:Delete"], "", "").takes(Kind::DeleteMarkerCreated, "any"));
    }

    #[test]
    fn configurations_overlap_where_one_event_of_one_key_would_fit_both() {
        let of = |event: &str, prefix: &str, suffix: &str| notification(&[event], prefix, suffix);
        let created = "s3:ObjectCreated:*";
        for (one, other, overlap) in [
            (of(created, "", ""), of("s3:ObjectCreated:Put", "images/", ""), true),
            (of(created, "", ""), of("s3:ObjectRemoved:*", "", ""), false),
            (of("s3:ObjectCreated:Copy", "", ""), of("s3:ObjectCreated:Put", "", ""), false),
            (of(created, "a/", ""), of(created, "b/", ""), false),
            (of(created, "a", ""), of(created, "ab", ""), true),
            (of(created, "a", ".jpg"), of(created, "a", ".png"), false),
            (of(created, "a", "jpg"), of(created, "", "pg"), true),
            (of("s3:LifecycleTransition", "", ""), of("s3:LifecycleExpiration:*", "", ""), false),
        ] {
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (overlap, overlap), "{one:?} {other:?}");
        }
    }
}
