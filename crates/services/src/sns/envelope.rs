//! The JSON that subscribers get, in AWS's order of members and with AWS's spaces.
//!
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::arn::SubscriptionArn;
use super::links::Links;
use super::state::{Notification, NotificationKind};
use crate::sinks::{Attribute, AttributeValue};

/// The envelope of `notification` for one of its subscriptions.
pub(super) fn envelope(notification: &Notification, subscription: &SubscriptionArn, links: &Links) -> String {
    let mut members: Vec<(&str, String)> =
        vec![("Type", quoted(notification.kind.name())), ("MessageId", quoted(&notification.message_id))];
    let mut put = |name: &'static str, value: &str| members.push((name, quoted(value)));
    if let Some(number) = &notification.sequence_number {
        put("SequenceNumber", number);
    }
    if let Some(token) = &notification.token {
        put("Token", token);
    }
    put("TopicArn", &notification.topic.to_string());
    if let Some(subject) = &notification.subject {
        put("Subject", subject);
    }
    put("Message", &notification.message);
    if let Some(token) = &notification.token {
        put("SubscribeURL", &links.subscribe(&notification.topic, token));
    }
    put("Timestamp", &notification.at.iso_millis());
    if let Some(signature) = &notification.signature {
        put("SignatureVersion", &signature.version);
        put("Signature", &signature.text);
        put("SigningCertURL", &links.certificate(&signature.certificate));
    }
    if notification.kind == NotificationKind::Notification {
        put("UnsubscribeURL", &links.unsubscribe(subscription));
    }
    if !notification.attributes.is_empty() {
        members.push(("MessageAttributes", attributes(&notification.attributes)));
    }
    let lines: Vec<String> = members.iter().map(|(name, value)| format!("  \"{name}\" : {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

fn attributes(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) => text.clone(),
                AttributeValue::Bytes(bytes) => STANDARD.encode(bytes),
            };
            let (name, kind) = (quoted(&attribute.name), quoted(&attribute.data_type));
            format!("    {name} : {{\"Type\":{kind},\"Value\":{}}}", quoted(&value))
        })
        .collect();
    format!("{{\n{}\n  }}", lines.join(",\n"))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use cairn_core::Timestamp;

    use super::*;
    use crate::sns::state::Signature;

    fn notification() -> Notification {
        Notification {
            kind: NotificationKind::Notification,
            message_id: "m".to_owned(),
            topic: "arn:aws:sns:eu-west-1:111122223333:news".parse().unwrap(),
            subject: Some("S \"q\"".to_owned()),
            message: "line\nline".to_owned(),
            at: Timestamp::from_millis(1_795_281_866_042),
            attributes: vec![
                Attribute {
                    name: "a".to_owned(),
                    data_type: "String".to_owned(),
                    value: AttributeValue::Text("v".to_owned()),
                },
                Attribute {
                    name: "b".to_owned(),
                    data_type: "Binary".to_owned(),
                    value: AttributeValue::Bytes(vec![1, 2]),
                },
            ],
            group: None,
            deduplication: None,
            sequence_number: None,
            token: None,
            signature: Some(Signature {
                version: "1".to_owned(),
                text: "c2ln".to_owned(),
                certificate: "SimpleNotificationService-0.pem".to_owned(),
            }),
        }
    }

    fn links() -> Links {
        let links = Links::default();
        links.reached_at("http://127.0.0.1:4599/");
        links
    }

    #[test]
    fn a_notification_has_awss_members_in_awss_order() {
        let subscription = "arn:aws:sns:eu-west-1:111122223333:news:1234".parse().unwrap();
        let expected = r#"{
  "Type" : "Notification",
  "MessageId" : "m",
  "TopicArn" : "arn:aws:sns:eu-west-1:111122223333:news",
  "Subject" : "S \"q\"",
  "Message" : "line\nline",
  "Timestamp" : "2026-11-21T17:24:26.042Z",
  "SignatureVersion" : "1",
  "Signature" : "c2ln",
  "SigningCertURL" : "http://127.0.0.1:4599/SimpleNotificationService-0.pem",
  "UnsubscribeURL" : "http://127.0.0.1:4599/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:eu-west-1:111122223333:news:1234",
  "MessageAttributes" : {
    "a" : {"Type":"String","Value":"v"},
    "b" : {"Type":"Binary","Value":"AQI="}
  }
}"#;
        assert_eq!(envelope(&notification(), &subscription, &links()), expected);
    }

    #[test]
    fn a_confirmation_has_the_token_and_where_to_bring_it() {
        let asked = Notification {
            kind: NotificationKind::SubscriptionConfirmation,
            subject: None,
            token: Some("00ff".to_owned()),
            attributes: Vec::new(),
            ..notification()
        };
        let subscription = "arn:aws:sns:eu-west-1:111122223333:news:1234".parse().unwrap();
        let text = envelope(&asked, &subscription, &links());
        let names: Vec<&str> = text.lines().filter_map(|line| line.split('"').nth(1)).collect();
        assert_eq!(
            names.join(" "),
            "Type MessageId Token TopicArn Message SubscribeURL Timestamp SignatureVersion Signature SigningCertURL"
        );
        let url = "http://127.0.0.1:4599/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:111122223333:news&Token=00ff";
        assert!(text.contains(url), "{text}");
    }
}
