//! Redrive policies: where a queue's messages go that were received too often, and who may send such messages here.

use serde_json::{Value, json};

use super::error::{Failure, invalid_attribute, invalid_value};
use super::name::QueueName;
use super::state::{Queue, Redrive};

const RECEIVES_MAX: std::ops::RangeInclusive<u32> = 1..=1000;
/// The most source queues that a redrive allow policy names.
const SOURCES_MAX: usize = 10;

/// Reads a RedrivePolicy; an empty one takes it away.
pub(super) fn parse(text: &str) -> Result<Option<Redrive>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |reason: &str| invalid_value(text, "RedrivePolicy", reason);
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
        return Err(invalid("Redrive policy is not a valid JSON map."));
    };
    if policy.is_empty() {
        return Ok(None);
    }
    let member = |name: &str| {
        let missing = format!("Redrive policy does not contain mandatory attribute: {name}.");
        policy.get(name).ok_or_else(|| invalid(&missing))
    };
    let target = member("deadLetterTargetArn")?;
    let receives = member("maxReceiveCount")?;
    let target = target.as_str().and_then(QueueName::of_arn);
    let target = target.ok_or_else(|| invalid("Invalid value for deadLetterTargetArn."))?;
    let number = receives.as_u64().and_then(|number| u32::try_from(number).ok());
    let number = number.or_else(|| receives.as_str()?.parse().ok());
    let receives_max = number.filter(|number| RECEIVES_MAX.contains(number)).ok_or_else(|| {
        let given = receives.as_str().map_or_else(|| receives.to_string(), str::to_owned);
        let reason = "valid values are from 1 to 1000 both inclusive.";
        invalid(&format!("Invalid value for maxReceiveCount: {given}, {reason}"))
    })?;
    Ok(Some(Redrive { target, receives_max }))
}

/// A RedrivePolicy as clients see it.
pub(super) fn text(redrive: &Redrive) -> String {
    json!({"deadLetterTargetArn": redrive.target.arn(), "maxReceiveCount": redrive.receives_max}).to_string()
}

/// Refuses a dead-letter queue that is not there, is of another kind, or does not take letters of `source`.
pub(super) fn check_target(
    source: &QueueName,
    redrive: &Redrive,
    target: Option<&Queue>,
) -> Result<(), Failure> {
    let invalid = |reason: &str| invalid_value(&text(redrive), "RedrivePolicy", reason);
    if redrive.target.region != source.region || redrive.target.account != source.account {
        return Err(invalid("Dead-letter target owner should be same as the source."));
    }
    let target = target.ok_or_else(|| invalid("Dead letter target does not exist."))?;
    if target.name.is_fifo() != source.is_fifo() {
        return Err(invalid("Dead-letter queue must be same type of queue as the source."));
    }
    if !allows(target, source) {
        return Err(invalid("Dead letter target does not allow this source queue."));
    }
    Ok(())
}

/// Reads a RedriveAllowPolicy; an empty one takes it away.
pub(super) fn parse_allow(text: &str) -> Result<Option<String>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || invalid_attribute("RedriveAllowPolicy");
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return Err(invalid()) };
    if policy.is_empty() {
        return Ok(None);
    }
    let sources = policy.get("sourceQueueArns");
    let is_right = match policy.get("redrivePermission").and_then(Value::as_str) {
        Some("allowAll" | "denyAll") => sources.is_none(),
        Some("byQueue") => {
            let sources = sources.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let are_queues =
                sources.iter().all(|arn| arn.as_str().is_some_and(|arn| QueueName::of_arn(arn).is_some()));
            (1..=SOURCES_MAX).contains(&sources.len()) && are_queues
        }
        _ => false,
    };
    if is_right { Ok(Some(text.to_owned())) } else { Err(invalid()) }
}

/// Whether `target` takes the dead letters of `source`. A stored policy that cannot be read takes none.
pub(super) fn allows(target: &Queue, source: &QueueName) -> bool {
    let Some(text) = &target.settings.redrive_allow else { return true };
    let Ok(policy) = serde_json::from_str::<Value>(text) else { return false };
    match policy["redrivePermission"].as_str() {
        Some("allowAll") => true,
        Some("byQueue") => {
            let arn = source.arn();
            policy["sourceQueueArns"].as_array().is_some_and(|sources| sources.iter().any(|own| *own == arn))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::*;

    fn check(policy: &str, expected: &str) {
        let found = match parse(policy) {
            Ok(redrive) => redrive.as_ref().map(text).unwrap_or_default(),
            Err(failure) => AwsError::from(failure).message,
        };
        assert_eq!(found, expected, "{policy}");
    }

    #[test]
    fn a_redrive_policy_names_a_queue_and_a_count() {
        let (arn, good) = (
            "arn:aws:sqs:eu-west-1:111122223333:d",
            r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:d","maxReceiveCount":3}"#,
        );
        check(good, good);
        check(&format!(r#"{{"maxReceiveCount":"3","deadLetterTargetArn":"{arn}"}}"#), good);
        check("", "");
        let refused = |policy: &str, reason: &str| {
            check(
                policy,
                &format!("Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"),
            );
        };
        refused("x", "Redrive policy is not a valid JSON map.");
        refused(
            &format!(r#"{{"deadLetterTargetArn":"{arn}"}}"#),
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        );
        refused(
            r#"{"deadLetterTargetArn":"dummy","maxReceiveCount":42}"#,
            "Invalid value for deadLetterTargetArn.",
        );
        refused(
            &format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":0}}"#),
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        );
    }

    #[test]
    fn a_redrive_allow_policy_names_sources_where_it_is_by_queue_alone() {
        let arn = r#""arn:aws:sqs:eu-west-1:111122223333:s""#;
        let kept = |text: &str| parse_allow(text).is_ok_and(|kept| kept.as_deref() == Some(text));
        assert!(kept(r#"{"redrivePermission":"allowAll"}"#));
        assert!(kept(&format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":[{arn}]}}"#)));
        assert!(!kept(r#"{"redrivePermission":"byQueue"}"#));
        assert!(!kept(&format!(r#"{{"redrivePermission":"denyAll","sourceQueueArns":[{arn}]}}"#)));
        assert!(!kept(r#"{"redrivePermission":"byQueue","sourceQueueArns":["x"]}"#));
        assert!(!kept("[]") && !kept(""));
    }
}
