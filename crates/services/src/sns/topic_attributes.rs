//! Attributes of topics: which there are, what they may be, how they are shown.

use std::collections::BTreeMap;

use cairn_core::policy::Document;
use serde_json::{Map, Value, json};

use super::arn::TopicArn;
use super::delivery_policy;
use super::state::{Counts, Topic};

/// Characters of a display name.
const DISPLAY_NAME_CHARS_MAX: usize = 100;
/// Bytes of a policy.
const POLICY_SIZE_BYTES_MAX: usize = 30 * 1024;
/// Characters of any other attribute.
const VALUE_CHARS_MAX: usize = 2048;
/// Percent.
const SAMPLE_RATE_MAX: u32 = 100;

/// What a topic's policy can be about.
const POLICY_ACTIONS: &[&str] = &[
    "addpermission",
    "deletetopic",
    "getdataprotectionpolicy",
    "gettopicattributes",
    "listsubscriptionsbytopic",
    "listtagsforresource",
    "publish",
    "putdataprotectionpolicy",
    "receive",
    "removepermission",
    "settopicattributes",
    "subscribe",
];

/// The kinds of deliveries whose status AWS can log; the attributes are kept.
const FEEDBACK_PROTOCOLS: &[&str] = &["Application", "Firehose", "HTTP", "Lambda", "SMS", "SQS"];

/// Sets an attribute of a topic; an empty text takes away what can be taken away.
///
/// # Errors
/// What is wrong, behind "Invalid parameter: ". [`None`] where there is no such attribute.
pub(super) fn set(topic: &mut Topic, name: &str, value: &str) -> Result<(), Option<String>> {
    let is_fifo = topic.arn.is_fifo();
    let wrong = |reason: &str| Err(Some(format!("{name} Reason: {reason}")));
    let one_of = |known: &[&str]| match known.contains(&value) {
        true => Ok(()),
        false => Err(Some(format!("{name} Reason: must be one of [{}]", known.join(", ")))),
    };
    match name {
        "Policy" => {
            topic.policy = check_policy(value).map_err(Some)?;
            return Ok(());
        }
        "DeliveryPolicy" if value.is_empty() => {}
        "DeliveryPolicy" => {
            let kept = delivery_policy::check_topic(value)
                .map_err(|problem| Some(format!("DeliveryPolicy: {problem}")))?;
            topic.attributes.insert(name.to_owned(), kept);
            return Ok(());
        }
        "DisplayName" if value.chars().count() > DISPLAY_NAME_CHARS_MAX => return Err(Some(name.to_owned())),
        "DisplayName" => {
            topic.attributes.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        "KmsMasterKeyId" => {}
        "SignatureVersion" => one_of(&["1", "2"])?,
        "TracingConfig" => one_of(&["PassThrough", "Active"])?,
        "ContentBasedDeduplication" if is_fifo => one_of(&["true", "false"])?,
        "FifoThroughputScope" if is_fifo => one_of(&["Topic", "MessageGroup"])?,
        "ContentBasedDeduplication" | "FifoThroughputScope" => {
            return wrong("it is an attribute of FIFO topics");
        }
        _ => check_feedback(name, value)?,
    }
    if value.chars().count() > VALUE_CHARS_MAX {
        return Err(Some(name.to_owned()));
    }
    if value.is_empty() {
        topic.attributes.remove(name);
    } else {
        topic.attributes.insert(name.to_owned(), value.to_owned());
    }
    Ok(())
}

fn check_feedback(name: &str, value: &str) -> Result<(), Option<String>> {
    let rest = FEEDBACK_PROTOCOLS.iter().find_map(|protocol| name.strip_prefix(protocol)).ok_or(None)?;
    match rest {
        "SuccessFeedbackRoleArn" | "FailureFeedbackRoleArn" => {
            if value.is_empty() || value.starts_with("arn:") { Ok(()) } else { Err(Some(name.to_owned())) }
        }
        "SuccessFeedbackSampleRate" => match value.parse::<u32>() {
            Ok(rate) if rate <= SAMPLE_RATE_MAX => Ok(()),
            _ if value.is_empty() => Ok(()),
            _ => Err(Some(name.to_owned())),
        },
        _ => Err(None),
    }
}

/// A policy as it is kept: the text as it was given.
fn check_policy(text: &str) -> Result<String, String> {
    if text.len() > POLICY_SIZE_BYTES_MAX {
        return Err("Policy too large".to_owned());
    }
    let document = Document::parse(text).map_err(|error| format!("Policy Error: {error}"))?;
    if document.statements.iter().any(|statement| statement.principals.is_none()) {
        return Err("Policy Error: a statement has no Principal".to_owned());
    }
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    if actions(&value).iter().all(|action| is_of_topics(action)) {
        Ok(text.to_owned())
    } else {
        Err("Policy statement action out of service scope!".to_owned())
    }
}

fn actions(policy: &Value) -> Vec<String> {
    let listed = |value: Option<&Value>| match value {
        Some(Value::Array(values)) => values.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    };
    let statements = listed(policy.get("Statement"));
    let named = statements.iter().flat_map(|statement| {
        let both = [statement.get("Action"), statement.get("NotAction")];
        both.into_iter().flat_map(listed).collect::<Vec<_>>()
    });
    named.filter_map(|action| action.as_str().map(str::to_owned)).collect()
}

/// Whether a policy of a topic can be about the action.
pub(super) fn is_of_topics(action: &str) -> bool {
    let lower = action.to_ascii_lowercase();
    lower.strip_prefix("sns:").is_some_and(|name| POLICY_ACTIONS.contains(&name))
}

/// The policy that a topic begins with. Its condition holds for nobody who comes by themselves: what the owner's own
/// principals may do, their policies say.
pub(super) fn default_policy(arn: &TopicArn) -> String {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": [
                "SNS:GetTopicAttributes",
                "SNS:SetTopicAttributes",
                "SNS:AddPermission",
                "SNS:RemovePermission",
                "SNS:DeleteTopic",
                "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic",
                "SNS:Publish",
            ],
            "Resource": arn.to_string(),
            "Condition": {"StringEquals": {"AWS:SourceOwner": arn.account}},
        }],
    })
    .to_string()
}

/// All attributes of a topic, as GetTopicAttributes shows them.
pub(super) fn shown(topic: &Topic, counts: Counts) -> Value {
    let mut shown: BTreeMap<String, String> = topic.attributes.clone();
    let mut put = |name: &str, value: String| shown.insert(name.to_owned(), value);
    put("TopicArn", topic.arn.to_string());
    put("Owner", topic.arn.account.to_string());
    put("Policy", topic.policy.clone());
    put("DisplayName", topic.attribute("DisplayName").unwrap_or_default().to_owned());
    put("SubscriptionsConfirmed", counts.confirmed.to_string());
    put("SubscriptionsPending", counts.pending.to_string());
    put("SubscriptionsDeleted", counts.deleted.to_string());
    put("EffectiveDeliveryPolicy", delivery_policy::shown_for_topic(topic.attribute("DeliveryPolicy")));
    if topic.arn.is_fifo() {
        put("FifoTopic", "true".to_owned());
        let by_content = topic.attribute("ContentBasedDeduplication").unwrap_or("false");
        put("ContentBasedDeduplication", by_content.to_owned());
    }
    Value::Object(shown.into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use cairn_core::Timestamp;

    use super::*;

    fn topic(name: &str) -> Topic {
        let arn: TopicArn = format!("arn:aws:sns:eu-west-1:111122223333:{name}").parse().unwrap();
        Topic {
            policy: default_policy(&arn),
            arn,
            created: Timestamp::from_seconds(1),
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    fn check(name: &str, value: &str, expected: &str) {
        let told = match set(&mut topic("t"), name, value) {
            Ok(()) => "ok".to_owned(),
            Err(None) => "no such attribute".to_owned(),
            Err(Some(problem)) => problem,
        };
        assert_eq!(told, expected, "{name} = {value}");
    }

    #[test]
    fn attributes_are_checked() {
        check("DisplayName", "d", "ok");
        check("DisplayName", &"d".repeat(101), "DisplayName");
        check("SignatureVersion", "2", "ok");
        check("SignatureVersion", "3", "SignatureVersion Reason: must be one of [1, 2]");
        check("FifoTopic", "false", "no such attribute");
        check("Made", "up", "no such attribute");
        check(
            "ContentBasedDeduplication",
            "true",
            "ContentBasedDeduplication Reason: it is an attribute of FIFO topics",
        );
        check("SQSSuccessFeedbackSampleRate", "100", "ok");
        check("SQSSuccessFeedbackSampleRate", "101", "SQSSuccessFeedbackSampleRate");
        check("HTTPFailureFeedbackRoleArn", "arn:aws:iam::111122223333:role/r", "ok");
        check("KmsMasterKeyId", "alias/aws/sns", "ok");
        check("DeliveryPolicy", "", "ok");
        let policy = |action: &str| {
            let resource = "arn:aws:sns:eu-west-1:111122223333:t";
            json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource}})
            .to_string()
        };
        check("Policy", &policy("sns:Publish"), "ok");
        check("Policy", &policy("SQS:SendMessage"), "Policy statement action out of service scope!");
        check("Policy", &policy("sns:*"), "Policy statement action out of service scope!");
        assert!(set(&mut topic("t"), "Policy", "").is_err());
    }

    #[test]
    fn an_empty_text_takes_an_attribute_away() {
        let mut topic = topic("t");
        set(&mut topic, "KmsMasterKeyId", "alias/a").unwrap();
        set(&mut topic, "KmsMasterKeyId", "").unwrap();
        assert_eq!(topic.attributes, BTreeMap::new());
    }
}
