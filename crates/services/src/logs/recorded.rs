//! How records show PutLogEvents: where to, and nothing of what was said.

use cairn_wire::Call;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use serde_json::Value;

/// The request parameters, where they are not simply the params.
pub(super) fn request(call: &Call) -> Option<Value> {
    if call.operation != "PutLogEvents" {
        return None;
    }
    // What is hidden is not copied first.
    let mut params = serde_json::Map::new();
    for (name, value) in call.params.as_object()? {
        if name != "logEvents" {
            params.insert(name.clone(), value.clone());
        }
    }
    let mut shown = recorded_input(&call.service, &call.operation, &Value::Object(params));
    shown["logEvents"] = HIDDEN.into();
    Some(shown)
}
