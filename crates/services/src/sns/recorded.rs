//! How records show publishes: whom they were to, and nothing of what they said.
//!
//! <https://docs.aws.amazon.com/sns/latest/dg/logging-using-cloudtrail.html>

use cairn_wire::Call;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use serde_json::Value;

/// The members that say something, as records name them.
const HIDDEN_MEMBERS: [&str; 3] = ["message", "subject", "messageAttributes"];

/// The request parameters, where they are not simply the params in lower camel case.
pub(super) fn request(call: &Call) -> Option<Value> {
    let mut shown = match call.operation.as_str() {
        "Publish" | "PublishBatch" => recorded_input(&call.service, &call.operation, &call.params),
        _ => return None,
    };
    hide(&mut shown);
    if let Some(entries) = shown.get_mut("publishBatchRequestEntries").and_then(Value::as_array_mut) {
        entries.iter_mut().for_each(hide);
    }
    Some(shown)
}

fn hide(shown: &mut Value) {
    let Some(members) = shown.as_object_mut() else { return };
    for name in HIDDEN_MEMBERS {
        if let Some(value) = members.get_mut(name) {
            *value = HIDDEN.into();
        }
    }
}
