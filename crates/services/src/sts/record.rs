//! How records show STS's calls: without codes, identity tokens and secrets; the session token and the key's id stand,
//! as in AWS's records, for they sign nothing without the secret.
//!
//! Source: the IAM user guide, "Logging IAM and AWS STS API calls with AWS CloudTrail".

use cairn_core::Timestamp;
use cairn_wire::{Call, recorded};
use serde_json::{Map, Value, json};

/// Members that prove who calls, which no record shows.
const PROOFS: [&str; 2] = ["TokenCode", "WebIdentityToken"];

/// The parameters of a call.
pub(super) fn request(call: &Call) -> Value {
    let mut params = call.params.clone();
    if let Some(members) = params.as_object_mut() {
        members.retain(|name, _| !PROOFS.contains(&name.as_str()));
    }
    recorded::recorded_input(&call.service, &call.operation, &params)
}

/// The reply of an operation that makes credentials; of others AWS records none.
pub(super) fn reply(operation: &str, result: &Value) -> Option<Value> {
    let credentials = result.get("Credentials")?;
    let expires = Timestamp::from_seconds(credentials["Expiration"].as_i64().unwrap_or_default());
    let mut shown = Map::new();
    shown.insert(
        "credentials".into(),
        json!({
            "accessKeyId": credentials["AccessKeyId"],
            "sessionToken": credentials["SessionToken"],
            "expiration": expires.record_text(),
        }),
    );
    let mut others = result.clone();
    if let Some(members) = others.as_object_mut() {
        members.remove("Credentials");
    }
    if let Value::Object(others) = recorded::recorded_output("sts", operation, &others) {
        shown.extend(others);
    }
    Some(Value::Object(shown))
}
