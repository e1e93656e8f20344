//! How an event record shows the parameters and the result of a call: `requestParameters` and `responseElements`.
//!
//! The model's member names with their first letter in lower case, secrets hidden, times as text, bytes left out.
//! Services that show something else in their records (S3) do so themselves.

use cairn_core::Timestamp;
use serde_json::{Map, Value};

use crate::model::{Kind, Member, Models, Service, Shape};

/// What stands in a record in place of a secret.
pub const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Members that are secret though their models do not say so, in lower case.
const SECRET_MEMBERS: &[&str] = &[
    "authorizationtoken",
    "authtoken",
    "clientsecret",
    "masteruserpassword",
    "newpassword",
    "oldpassword",
    "password",
    "plaintext",
    "privatekey",
    "secretaccesskey",
    "secretbinary",
    "secretstring",
    "sessiontoken",
    "tokencode",
];

/// Services whose records have another event source than their signing or endpoint name.
const EVENT_SOURCES: &[(&str, &str)] = &[
    ("apigatewaymanagementapi", "execute-api"),
    ("iot-data", "iot"),
    ("pinpoint-email", "ses"),
    ("s3control", "s3"),
    ("ses", "ses"),
    ("sesv2", "ses"),
];

/// Operations of S3 whose records have another name, as in delivered log files.
const S3_EVENT_NAMES: &[(&str, &str)] = &[
    ("DeletePublicAccessBlock", "DeleteBucketPublicAccessBlock"),
    ("GetBucketAccelerateConfiguration", "GetAccelerateConfiguration"),
    ("GetBucketLifecycleConfiguration", "GetBucketLifecycle"),
    ("GetBucketNotificationConfiguration", "GetBucketNotification"),
    ("GetObjectLockConfiguration", "GetBucketObjectLockConfiguration"),
    ("GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
    ("ListObjectVersions", "ListBucketVersions"),
    ("ListObjectsV2", "ListObjects"),
    ("PutBucketAccelerateConfiguration", "PutAccelerateConfiguration"),
    ("PutBucketLifecycleConfiguration", "PutBucketLifecycle"),
    ("PutBucketNotificationConfiguration", "PutBucketNotification"),
    ("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    ("PutPublicAccessBlock", "PutBucketPublicAccessBlock"),
];

/// The record's `eventName` of an operation that no service here says it of.
#[must_use]
pub fn event_name<'a>(service: &str, operation: &'a str) -> &'a str {
    let other = S3_EVENT_NAMES.iter().find(|(name, _)| service == "s3" && *name == operation);
    other.map_or(operation, |(_, name)| name)
}

/// The parameters of a call as the record's `requestParameters` shows them; null where there are none.
#[must_use]
pub fn recorded_input(service: &str, operation: &str, params: &Value) -> Value {
    recorded(service, operation, params, Service::input)
}

/// The result of a call as the record's `responseElements` shows it; null where there is none.
#[must_use]
pub fn recorded_output(service: &str, operation: &str, result: &Value) -> Value {
    recorded(service, operation, result, Service::output)
}

fn recorded(
    service: &str,
    operation: &str,
    value: &Value,
    side: for<'a> fn(&'a Service, &crate::model::Operation) -> Option<&'a Shape>,
) -> Value {
    let Value::Object(object) = value else { return Value::Null };
    let service = Models::embedded().service(service);
    let shape = service
        .and_then(|service| Some((service, service.operation(operation)?)))
        .and_then(|(service, operation)| side(service, operation).map(|shape| (service, shape)));
    let shown = match shape {
        Some((service, shape)) => members(service, shape, object),
        None => Map::new(),
    };
    if shown.is_empty() { Value::Null } else { Value::Object(shown) }
}

fn members(service: &Service, shape: &Shape, object: &Map<String, Value>) -> Map<String, Value> {
    shape
        .members()
        .iter()
        .filter_map(|member| {
            let value = object.get(&*member.name).filter(|value| !value.is_null())?;
            Some((first_lower(&member.name), shown(service, member, value)?))
        })
        .collect()
}

fn shown(service: &Service, member: &Member, value: &Value) -> Option<Value> {
    let shape = service.shape(member.shape);
    if member.is_sensitive || SECRET_MEMBERS.iter().any(|name| name.eq_ignore_ascii_case(&member.name)) {
        return Some(Value::from(HIDDEN));
    }
    Some(match (&shape.kind, value) {
        (Kind::Blob, _) => return None,
        (Kind::Structure { .. }, Value::Object(object)) => Value::Object(members(service, shape, object)),
        (Kind::List(item), Value::Array(values)) => {
            Value::Array(values.iter().filter_map(|value| shown(service, item, value)).collect())
        }
        (Kind::Map(_, item), Value::Object(entries)) => Value::Object(
            entries
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), shown(service, item, value)?)))
                .collect(),
        ),
        (Kind::Timestamp, Value::Number(number)) => {
            let ms = crate::codec::timestamp::from_number(number).unwrap_or(0);
            Value::String(Timestamp::from_millis(ms).record_text())
        }
        _ => value.clone(),
    })
}

fn first_lower(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

/// The record's `eventSource` of a service: `cloudtrail.amazonaws.com`.
#[must_use]
pub fn event_source(service: &str) -> String {
    let own = EVENT_SOURCES.iter().find(|(name, _)| *name == service).map(|(_, source)| *source);
    let source = own.or_else(|| {
        let (endpoint, signing) = Models::embedded().endpoint_names(service)?;
        // An endpoint prefix with a dot names a part of a service: `runtime.lex`, `data.mediastore`.
        Some(if endpoint.contains('.') { signing } else { endpoint })
    });
    format!("{}.amazonaws.com", source.unwrap_or(service))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_begin_with_a_lower_case_letter_and_keep_the_rest() {
        let params = json!({"Name": "t", "S3BucketName": "b", "KmsKeyId": "k", "TagsList": [{"Key": "A", "Value": "B"}]});
        assert_eq!(
            recorded_input("cloudtrail", "CreateTrail", &params),
            json!({"name": "t", "s3BucketName": "b", "kmsKeyId": "k", "tagsList": [{"key": "A", "value": "B"}]})
        );
        assert_eq!(
            recorded_output("cloudtrail", "CreateTrail", &json!({"TrailARN": "a", "Unknown": 1})),
            json!({"trailARN": "a"})
        );
    }

    #[test]
    fn secrets_are_hidden_and_times_are_text() {
        let result = json!({"AccessKey": {"AccessKeyId": "AKIA", "SecretAccessKey": "s", "CreateDate": 1_795_281_866}});
        assert_eq!(
            recorded_output("iam", "CreateAccessKey", &result),
            json!({"accessKey": {"accessKeyId": "AKIA", "secretAccessKey": HIDDEN, "createDate": "Nov 21, 2026 5:24:26 PM"}})
        );
        let params = json!({"UserName": "u", "Password": "p"});
        assert_eq!(
            recorded_input("iam", "CreateLoginProfile", &params),
            json!({"userName": "u", "password": HIDDEN})
        );
    }

    #[test]
    fn nothing_is_null_and_keys_of_maps_are_kept() {
        assert_eq!(recorded_input("cloudtrail", "ListTrails", &json!({})), Value::Null);
        assert_eq!(recorded_input("cloudtrail", "NoSuchOperation", &json!({"A": 1})), Value::Null);
        assert_eq!(
            recorded_input(
                "sqs",
                "CreateQueue",
                &json!({"QueueName": "q", "Attributes": {"VisibilityTimeout": "1"}})
            ),
            json!({"queueName": "q", "attributes": {"VisibilityTimeout": "1"}})
        );
        assert_eq!(
            recorded_input("kms", "Encrypt", &json!({"KeyId": "k", "Plaintext": "AAAA"})),
            json!({"keyId": "k", "plaintext": HIDDEN})
        );
    }

    #[test]
    fn settings_of_buckets_have_the_names_of_delivered_records() {
        assert_eq!(event_name("s3", "PutBucketLifecycleConfiguration"), "PutBucketLifecycle");
        assert_eq!(event_name("s3", "PutBucketCors"), "PutBucketCors");
        assert_eq!(event_name("glacier", "ListObjectsV2"), "ListObjectsV2");
    }

    #[test]
    fn event_sources_are_those_of_cloudtrail() {
        for (service, source) in [
            ("cloudtrail", "cloudtrail"),
            ("s3", "s3"),
            ("s3control", "s3"),
            ("sts", "sts"),
            ("cloudwatch", "monitoring"),
            ("elbv2", "elasticloadbalancing"),
            ("ses", "ses"),
            ("ecr", "ecr"),
            ("events", "events"),
            ("stepfunctions", "states"),
            ("lex-runtime", "lex"),
        ] {
            assert_eq!(event_source(service), format!("{source}.amazonaws.com"), "{service}");
        }
    }
}
