//! The attributes of queues as clients give and see them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_core::policy::Document;
use cairn_store::queues::Counts;
use serde_json::Value;

use super::error::{Failure, fail, invalid_attribute, unknown_attribute};
use super::redrive;
use super::state::{Fifo, Kms, Queue, Scope, Settings, ThroughputLimit};

/// The attributes of a call.
pub(super) type Given = BTreeMap<String, String>;

/// For how long the earlier deduplication scope counts after a change: as long as texts of that scope are remembered.
const SCOPE_CHANGE_DELAY: Duration = Duration::from_secs(5 * 60);
const KMS_REUSE: &str = "KmsDataKeyReusePeriodSeconds";
const KMS_REUSE_S_DEFAULT: u32 = 300;

const VISIBILITY_TIMEOUT_S: RangeInclusive<u32> = 0..=43_200;
const MESSAGE_SIZE_BYTES: RangeInclusive<u32> = 1024..=1_048_576;
const RETENTION_S: RangeInclusive<u32> = 60..=1_209_600;
const DELAY_S: RangeInclusive<u32> = 0..=900;
const RECEIVE_WAIT_S: RangeInclusive<u32> = 0..=20;
const KMS_REUSE_S: RangeInclusive<u32> = 60..=86_400;

/// The attributes that are counted or follow from what the queue is.
const READ_ONLY: [&str; 6] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];
/// The attributes that can be set, but those of FIFO queues.
const SETTABLE: [&str; 11] = [
    "DelaySeconds",
    KMS_REUSE,
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];
const OF_FIFO: [&str; 4] =
    ["ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit"];

impl Settings {
    /// What a new queue has where nothing else is asked for.
    pub(super) fn initial(is_fifo: bool) -> Self {
        Self {
            visibility_timeout_s: 30,
            message_size_bytes_max: *MESSAGE_SIZE_BYTES.end(),
            retention_s: 345_600,
            delay_s: 0,
            receive_wait_s: 0,
            policy: None,
            redrive: None,
            redrive_allow: None,
            fifo: is_fifo.then_some(Fifo {
                is_content_based: false,
                scope: Scope::Queue,
                limit: ThroughputLimit::Queue,
                earlier_scope: None,
            }),
            kms: None,
            is_sse_managed: true,
        }
    }

    /// Sets what is given. Nothing is kept of it where anything of it is refused.
    pub(super) fn change(&mut self, given: &Given, now: Timestamp) -> Result<(), Failure> {
        let mut changed = self.clone();
        let wants = |name: &str| given.get(name).is_some_and(|value| !value.is_empty() && value != "false");
        if wants("KmsMasterKeyId") && wants("SqsManagedSseEnabled") {
            return Err(fail(
                "InvalidAttributeName",
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS \
                 SSE.",
            ));
        }
        // The reuse period is one of the key's: the key comes first.
        let (last, first): (Vec<_>, Vec<_>) = given.iter().partition(|(name, _)| *name == KMS_REUSE);
        for (name, value) in first.into_iter().chain(last) {
            changed.set(name, value)?;
        }
        changed.check_throughput_limit()?;
        changed.note_scope_change(self, now);
        *self = changed;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let number = |range| parse_number(name, value, range);
        match name {
            "VisibilityTimeout" => self.visibility_timeout_s = number(VISIBILITY_TIMEOUT_S)?,
            "MaximumMessageSize" => self.message_size_bytes_max = number(MESSAGE_SIZE_BYTES)?,
            "MessageRetentionPeriod" => self.retention_s = number(RETENTION_S)?,
            "DelaySeconds" => self.delay_s = number(DELAY_S)?,
            "ReceiveMessageWaitTimeSeconds" => self.receive_wait_s = number(RECEIVE_WAIT_S)?,
            "Policy" => self.policy = parse_policy(value)?,
            "RedrivePolicy" => self.redrive = redrive::parse(value)?,
            "RedriveAllowPolicy" => self.redrive_allow = redrive::parse_allow(value)?,
            "KmsMasterKeyId" if value.is_empty() => self.kms = None,
            "KmsMasterKeyId" => {
                let reuse_s = self.kms.as_ref().map_or(KMS_REUSE_S_DEFAULT, |kms| kms.reuse_s);
                self.kms = Some(Kms { key: value.to_owned(), reuse_s });
                self.is_sse_managed = false;
            }
            "SqsManagedSseEnabled" => {
                self.is_sse_managed = parse_bool(name, value)?;
                if self.is_sse_managed {
                    self.kms = None;
                }
            }
            KMS_REUSE => {
                let reuse_s = if value.is_empty() { KMS_REUSE_S_DEFAULT } else { number(KMS_REUSE_S)? };
                if let Some(kms) = &mut self.kms {
                    kms.reuse_s = reuse_s;
                }
            }
            _ => return self.set_of_fifo(name, value),
        }
        Ok(())
    }

    fn set_of_fifo(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let Some(fifo) = &mut self.fifo else {
            return Err(match name {
                "DeduplicationScope" | "FifoThroughputLimit" => fail(
                    "InvalidAttributeName",
                    format!("You can specify the {name} only when FifoQueue is set to true."),
                ),
                _ => unknown_attribute(name),
            });
        };
        match name {
            "FifoQueue" if value == "true" => {}
            "FifoQueue" => {
                return Err(fail(
                    "InvalidAttributeValue",
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
                ));
            }
            "ContentBasedDeduplication" => fifo.is_content_based = parse_bool(name, value)?,
            "DeduplicationScope" => {
                fifo.scope = serde_json::from_value(value.into()).map_err(|_| invalid_attribute(name))?;
            }
            "FifoThroughputLimit" => {
                fifo.limit = serde_json::from_value(value.into()).map_err(|_| invalid_attribute(name))?;
            }
            _ => return Err(unknown_attribute(name)),
        }
        Ok(())
    }

    fn check_throughput_limit(&self) -> Result<(), Failure> {
        match self.fifo {
            Some(Fifo { limit: ThroughputLimit::MessageGroup, scope: Scope::Queue, .. }) => Err(fail(
                "InvalidAttributeValue",
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
            )),
            _ => Ok(()),
        }
    }

    fn note_scope_change(&mut self, before: &Self, now: Timestamp) {
        let (Some(fifo), Some(earlier)) = (&mut self.fifo, &before.fifo) else { return };
        if fifo.scope != earlier.scope {
            fifo.earlier_scope = Some((earlier.scope_at(now), now.plus(SCOPE_CHANGE_DELAY)));
        }
    }
}

impl Fifo {
    /// The scope that counts at `now`. On AWS too a change shows only after a while.
    pub(super) fn scope_at(&self, now: Timestamp) -> Scope {
        match self.earlier_scope {
            Some((earlier, until)) if now < until => earlier,
            _ => self.scope,
        }
    }
}

/// The settings of a new queue.
pub(super) fn of_new(given: &Given, now: Timestamp) -> Result<Settings, Failure> {
    // A standard queue has no such attribute, whatever its value.
    let is_fifo = given.get("FifoQueue").is_some_and(|value| value == "true");
    let mut settings = Settings::initial(is_fifo);
    settings.change(given, now)?;
    if let Some(fifo) = &mut settings.fifo {
        fifo.earlier_scope = None;
    }
    Ok(settings)
}

/// The first attribute given that the queue has another value of.
pub(super) fn first_difference<'a>(queue: &Queue, given: &'a Given, wanted: &Settings) -> Option<&'a str> {
    let asked = Queue { settings: wanted.clone(), ..queue.clone() };
    given.keys().map(String::as_str).find(|name| shown(queue, name) != shown(&asked, name))
}

/// The attributes that were asked for.
pub(super) fn show(
    queue: &Queue,
    names: &[String],
    counts: Counts,
) -> Result<serde_json::Map<String, Value>, Failure> {
    let known = READ_ONLY.iter().chain(&SETTABLE).chain(&OF_FIFO);
    if let Some(other) = names.iter().find(|name| *name != "All" && !known.clone().any(|known| known == name))
    {
        return Err(unknown_attribute(other));
    }
    if let Some(other) =
        names.iter().find(|name| queue.settings.fifo.is_none() && OF_FIFO.contains(&name.as_str()))
    {
        return Err(unknown_attribute(other));
    }
    let is_wanted = |name: &str| names.iter().any(|wanted| wanted == "All" || wanted == name);
    let value = |name: &str| counted(queue, name, counts).or_else(|| shown(queue, name));
    Ok(known
        .filter(|name| is_wanted(name))
        .filter_map(|name| Some(((*name).to_owned(), Value::from(value(name)?))))
        .collect())
}

fn counted(queue: &Queue, name: &str, counts: Counts) -> Option<String> {
    Some(match name {
        "ApproximateNumberOfMessages" => counts.visible.to_string(),
        "ApproximateNumberOfMessagesDelayed" => counts.delayed.to_string(),
        "ApproximateNumberOfMessagesNotVisible" => counts.in_flight.to_string(),
        "CreatedTimestamp" => queue.created.seconds().to_string(),
        "LastModifiedTimestamp" => queue.modified.seconds().to_string(),
        "QueueArn" => queue.name.arn(),
        _ => return None,
    })
}

/// A setting as text; none where it has no value.
fn shown(queue: &Queue, name: &str) -> Option<String> {
    let settings = &queue.settings;
    Some(match name {
        "VisibilityTimeout" => settings.visibility_timeout_s.to_string(),
        "MaximumMessageSize" => settings.message_size_bytes_max.to_string(),
        "MessageRetentionPeriod" => settings.retention_s.to_string(),
        "DelaySeconds" => settings.delay_s.to_string(),
        "ReceiveMessageWaitTimeSeconds" => settings.receive_wait_s.to_string(),
        "Policy" => settings.policy.clone()?,
        "RedrivePolicy" => redrive::text(settings.redrive.as_ref()?),
        "RedriveAllowPolicy" => settings.redrive_allow.clone()?,
        "KmsMasterKeyId" => settings.kms.as_ref()?.key.clone(),
        KMS_REUSE => settings.kms.as_ref()?.reuse_s.to_string(),
        "SqsManagedSseEnabled" => settings.is_sse_managed.to_string(),
        "FifoQueue" => settings.fifo.map(|_| true.to_string())?,
        "ContentBasedDeduplication" => settings.fifo?.is_content_based.to_string(),
        "DeduplicationScope" => word(settings.fifo?.scope),
        "FifoThroughputLimit" => word(settings.fifo?.limit),
        _ => return None,
    })
}

/// A value of an enum as AWS writes it.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

fn parse_number(name: &str, value: &str, range: RangeInclusive<u32>) -> Result<u32, Failure> {
    let number = value.parse().map_err(|_| invalid_attribute(name))?;
    if range.contains(&number) { Ok(number) } else { Err(invalid_attribute(name)) }
}

fn parse_bool(name: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        _ => Err(invalid_attribute(name)),
    }
}

fn parse_policy(value: &str) -> Result<Option<String>, Failure> {
    if value.is_empty() {
        return Ok(None);
    }
    Document::parse(value).map_err(|_| invalid_attribute("Policy"))?;
    Ok(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::super::fixtures::caller;
    use super::super::name::QueueName;
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Given {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_795_281_866)
    }

    fn queue(name: &str, pairs: &[(&str, &str)]) -> Queue {
        let name = QueueName::own(&caller(), name);
        Queue {
            key: name.key("1").0,
            name,
            created: now(),
            modified: now(),
            settings: of_new(&given(pairs), now()).unwrap(),
            tags: BTreeMap::new(),
            purged: None,
        }
    }

    fn check(pairs: &[(&str, &str)], expected: &str) {
        let error =
            AwsError::from(of_new(&given(pairs), now()).expect_err("the attributes are to be refused"));
        assert_eq!(format!("{}: {}", error.code, error.message), expected, "{pairs:?}");
    }

    #[test]
    fn a_standard_queue_has_none_of_the_attributes_of_fifo_queues() {
        check(&[("FifoQueue", "false")], "InvalidAttributeName: Unknown Attribute FifoQueue.");
        check(
            &[("ContentBasedDeduplication", "true")],
            "InvalidAttributeName: Unknown Attribute ContentBasedDeduplication.",
        );
        check(
            &[("DeduplicationScope", "queue")],
            "InvalidAttributeName: You can specify the DeduplicationScope only when FifoQueue is set to true.",
        );
        check(&[("QueueArn", "x")], "InvalidAttributeName: Unknown Attribute QueueArn.");
        let names = ["FifoQueue".to_owned()];
        assert!(show(&queue("q", &[]), &names, Counts::default()).is_err());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (name, value) in [
            ("VisibilityTimeout", "43201"),
            ("MaximumMessageSize", "1023"),
            ("MaximumMessageSize", "1048577"),
            ("MessageRetentionPeriod", "59"),
            ("DelaySeconds", "-1"),
            ("ReceiveMessageWaitTimeSeconds", "21"),
            ("Policy", "{"),
            ("SqsManagedSseEnabled", "yes"),
        ] {
            let expected = format!("InvalidAttributeValue: Invalid value for the parameter {name}.");
            check(&[(name, value)], &expected);
        }
        check(
            &[("FifoQueue", "true"), ("FifoThroughputLimit", "perMessageGroupId")],
            "InvalidAttributeValue: The perMessageGroupId value is allowed only when the value for DeduplicationScope is \
             messageGroup.",
        );
    }

    #[test]
    fn a_key_of_kms_takes_the_place_of_the_managed_encryption_and_goes_without_a_trace() {
        let mut queue = queue("q", &[]);
        let shown = |queue: &Queue| {
            let names = ["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"];
            let found = show(queue, &names.map(str::to_owned), Counts::default()).unwrap();
            serde_json::to_string(&found).unwrap()
        };
        assert_eq!(shown(&queue), r#"{"SqsManagedSseEnabled":"true"}"#);
        let key = given(&[("KmsMasterKeyId", "k"), ("KmsDataKeyReusePeriodSeconds", "6000")]);
        queue.settings.change(&key, now()).unwrap();
        assert_eq!(
            shown(&queue),
            r#"{"KmsDataKeyReusePeriodSeconds":"6000","KmsMasterKeyId":"k","SqsManagedSseEnabled":"false"}"#
        );
        queue.settings.change(&given(&[("KmsMasterKeyId", "")]), now()).unwrap();
        assert_eq!(shown(&queue), r#"{"SqsManagedSseEnabled":"false"}"#);
        check(
            &[("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")],
            "InvalidAttributeName: You can use one type of server-side encryption (SSE) at one time. You can either \
             enable KMS SSE or SQS SSE.",
        );
    }

    #[test]
    fn a_change_of_the_deduplication_scope_counts_once_the_earlier_texts_are_forgotten() {
        let mut queue = queue("q.fifo", &[("FifoQueue", "true")]);
        let scope = |queue: &Queue, at| queue.settings.fifo.unwrap().scope_at(at);
        queue.settings.change(&given(&[("DeduplicationScope", "messageGroup")]), now()).unwrap();
        assert_eq!(scope(&queue, now()), Scope::Queue);
        assert_eq!(scope(&queue, now().plus(SCOPE_CHANGE_DELAY)), Scope::MessageGroup);
    }

    #[test]
    fn a_queue_differs_in_what_was_asked_for_alone() {
        let queue = queue("q", &[("DelaySeconds", "1")]);
        let differs = |pairs: &[(&str, &str)]| {
            let asked = given(pairs);
            first_difference(&queue, &asked, &of_new(&asked, now()).unwrap()).map(str::to_owned)
        };
        assert_eq!(differs(&[]), None);
        assert_eq!(differs(&[("DelaySeconds", "1"), ("VisibilityTimeout", "30")]), None);
        assert_eq!(differs(&[("DelaySeconds", "2")]).as_deref(), Some("DelaySeconds"));
    }
}
