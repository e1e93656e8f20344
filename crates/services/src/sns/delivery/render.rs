//! What a notification looks like to its subscribers. Pure: of the notification, the subscription and the links alone.

use cairn_core::Timestamp;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::super::arn::SubscriptionArn;
use super::super::envelope::envelope;
use super::super::links::Links;
use super::super::state::{Notification, NotificationKind, Protocol, Subscription, Topic};
use super::transport::{Email, Posting};
use crate::sinks::QueueMessage;

/// The subject of e-mails whose message has none.
const SUBJECT_DEFAULT: &str = "AWS Notification Message";
const SUBJECT_OF_CONFIRMATION: &str = "AWS Notification - Subscription Confirmation";
/// Who sends e-mails for a topic without DisplayName.
const FROM_NAME_DEFAULT: &str = "AWS Notifications";
/// What ends the name of a queue that keeps order.
const FIFO_SUFFIX: &str = ".fifo";

/// The message that a queue gets.
pub(in crate::sns) fn queue_message(
    notification: &Notification,
    subscription: &SubscriptionArn,
    is_raw: bool,
    queue_arn: &str,
    links: &Links,
) -> QueueMessage {
    let (body, attributes) = if is_raw {
        (notification.message.clone(), notification.attributes.clone())
    } else {
        (envelope(notification, subscription, links), Vec::new())
    };
    QueueMessage {
        body,
        attributes,
        group: notification.group.clone(),
        deduplication: notification.deduplication.clone().filter(|_| queue_arn.ends_with(FIFO_SUFFIX)),
        trace_header: None,
    }
}

/// The event that a function gets: the envelope's members, two of them under other names.
pub(super) fn function_event(
    notification: &Notification,
    subscription: &SubscriptionArn,
    links: &Links,
) -> String {
    let members: Map<String, Value> =
        serde_json::from_str(&envelope(notification, subscription, links)).unwrap_or_default();
    let renamed = members.into_iter().map(|(name, value)| match name.as_str() {
        "SigningCertURL" => ("SigningCertUrl".to_owned(), value),
        "UnsubscribeURL" => ("UnsubscribeUrl".to_owned(), value),
        _ => (name, value),
    });
    let mut sns: Map<String, Value> = renamed.collect();
    sns.entry("Subject").or_insert(Value::Null);
    sns.entry("MessageAttributes").or_insert_with(|| json!({}));
    json!({"Records": [{
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription.to_string(),
        "Sns": sns,
    }]})
    .to_string()
}

/// The request that an HTTP endpoint gets.
pub(super) fn posting(
    notification: &Notification,
    subscription: &SubscriptionArn,
    url: &str,
    is_raw: bool,
    content_type: &str,
    links: &Links,
) -> Posting {
    let is_notification = notification.kind == NotificationKind::Notification;
    let is_raw = is_raw && is_notification;
    let mut headers = vec![
        ("x-amz-sns-message-type", notification.kind.name().to_owned()),
        ("x-amz-sns-message-id", notification.message_id.clone()),
        ("x-amz-sns-topic-arn", notification.topic.to_string()),
    ];
    if notification.kind != NotificationKind::SubscriptionConfirmation {
        headers.push(("x-amz-sns-subscription-arn", subscription.to_string()));
    }
    if is_raw {
        headers.push(("x-amz-sns-rawdelivery", "true".to_owned()));
    }
    headers.push(("content-type", content_type.to_owned()));
    let body =
        if is_raw { notification.message.clone() } else { envelope(notification, subscription, links) };
    Posting { url: url.to_owned(), headers, body }
}

/// The e-mail that an address gets.
pub(super) fn email(
    notification: &Notification,
    subscription: &Subscription,
    topic: Option<&Topic>,
    links: &Links,
) -> Email {
    let arn = &subscription.arn;
    let is_json = subscription.protocol == Protocol::EmailJson;
    let (subject, text) = match &notification.token {
        _ if is_json => (subject_of(notification), envelope(notification, arn, links)),
        Some(token) => {
            let link = links.subscribe(&notification.topic, token);
            let text = format!(
                "This address is to get the messages of the topic\n{}\n\nIf you want them, confirm the subscription by this \
                 link. If you know nothing of it, do nothing.\n{link}\n",
                notification.topic
            );
            (SUBJECT_OF_CONFIRMATION.to_owned(), text)
        }
        None => {
            let link = links.unsubscribe(arn);
            let text = format!(
                "{}\n\n--\nYou get this as a subscriber of a topic. To get no more, unsubscribe by this link:\n{link}\n\n\
                 Nobody reads what is answered to this e-mail.\n",
                notification.message
            );
            (subject_of(notification), text)
        }
    };
    let name = topic.and_then(|topic| topic.attribute("DisplayName")).filter(|name| !name.is_empty());
    Email {
        to: subscription.endpoint.clone(),
        from_name: name.unwrap_or(FROM_NAME_DEFAULT).to_owned(),
        subject,
        text,
        message_id: format!("{}-{}@sns", notification.message_id, arn.id),
        date: date(notification.at),
    }
}

fn subject_of(notification: &Notification) -> String {
    let subject = match notification.kind {
        NotificationKind::Notification => notification.subject.as_deref().unwrap_or(SUBJECT_DEFAULT),
        NotificationKind::SubscriptionConfirmation | NotificationKind::UnsubscribeConfirmation => {
            SUBJECT_OF_CONFIRMATION
        }
    };
    subject.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// `Sat, 21 Nov 2026 17:24:26 +0000`.
fn date(at: Timestamp) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc2822).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:news";

    fn notification(kind: &str, token: &str) -> Notification {
        let text = format!(
            r#"{{"kind":"{kind}","message_id":"m-1","topic":"{TOPIC}","subject":null,"message":"hello","at":1795281866042,"attributes":[{{"name":"a","data_type":"String","value":{{"Text":"v"}}}}],"group":"g","deduplication":"d","token":{token}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn subscription(protocol: &str) -> Subscription {
        let text = format!(
            r#"{{"arn":"{TOPIC}:s-1","owner":"111122223333","principal":"p","protocol":"{protocol}","endpoint":"a@example.com","created":1,"state":{{"Pending":{{"until":2}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn links() -> Links {
        let links = Links::default();
        links.reached_at("http://h");
        links
    }

    #[test]
    fn raw_messages_come_alone_and_others_in_their_envelope() {
        let (notification, arn) = (notification("Notification", "null"), subscription("sqs").arn);
        let raw =
            queue_message(&notification, &arn, true, "arn:aws:sqs:eu-west-1:111122223333:q.fifo", &links());
        assert_eq!((raw.body.as_str(), raw.attributes.len()), ("hello", 1));
        assert_eq!((raw.group.as_deref(), raw.deduplication.as_deref()), (Some("g"), Some("d")));
        let not_raw =
            queue_message(&notification, &arn, false, "arn:aws:sqs:eu-west-1:111122223333:q", &links());
        assert!(not_raw.body.contains("\"Type\" : \"Notification\""));
        assert_eq!((not_raw.attributes.len(), not_raw.deduplication), (0, None));
    }

    #[test]
    fn requests_have_awss_headers() {
        let arn = subscription("http").arn;
        let shown = |kind, token, is_raw| {
            let notification = notification(kind, token);
            let posting =
                posting(&notification, &arn, "http://e/", is_raw, "text/plain; charset=UTF-8", &links());
            let headers: Vec<String> =
                posting.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            (headers.join("\n"), posting.body)
        };
        let (headers, body) = shown("Notification", "null", true);
        assert_eq!(
            headers,
            "x-amz-sns-message-type: Notification\nx-amz-sns-message-id: m-1\n\
             x-amz-sns-topic-arn: arn:aws:sns:eu-west-1:111122223333:news\n\
             x-amz-sns-subscription-arn: arn:aws:sns:eu-west-1:111122223333:news:s-1\n\
             x-amz-sns-rawdelivery: true\ncontent-type: text/plain; charset=UTF-8"
        );
        assert_eq!(body, "hello");
        // Confirmations are never raw.
        let (headers, body) = shown("SubscriptionConfirmation", "\"00\"", true);
        assert_eq!(
            headers,
            "x-amz-sns-message-type: SubscriptionConfirmation\nx-amz-sns-message-id: m-1\n\
             x-amz-sns-topic-arn: arn:aws:sns:eu-west-1:111122223333:news\ncontent-type: text/plain; charset=UTF-8"
        );
        assert!(body.contains("SubscribeURL"));
    }

    #[test]
    fn mails_have_the_link_that_ends_or_begins_them() {
        let of = |kind, token, protocol| {
            email(&notification(kind, token), &subscription(protocol), None, &links())
        };
        let mail = of("Notification", "null", "email");
        assert_eq!((mail.subject.as_str(), mail.from_name.as_str()), (SUBJECT_DEFAULT, FROM_NAME_DEFAULT));
        assert_eq!(mail.date, "Sat, 21 Nov 2026 17:24:26 +0000");
        assert_eq!(mail.message_id, "m-1-s-1@sns");
        assert!(mail.text.starts_with("hello\n"));
        assert!(mail.text.contains(
            "http://h/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:eu-west-1:111122223333:news:s-1"
        ));
        let mail = of("SubscriptionConfirmation", "\"00\"", "email");
        assert!(mail.text.contains(
            "http://h/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:111122223333:news&Token=00\n"
        ));
        let mail = of("Notification", "null", "email-json");
        assert!(mail.text.starts_with("{\n  \"Type\" : \"Notification\""));
    }
}
