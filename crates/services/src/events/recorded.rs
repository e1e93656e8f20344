//! How records show what is put on buses, and connections: nothing of what events say, and no secret.

use cairn_wire::Call;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use serde_json::Value;

/// The request parameters, where they are not simply the params in lower camel case.
pub(super) fn request(call: &Call) -> Option<Value> {
    let mut shown = match call.operation.as_str() {
        "PutEvents" | "CreateConnection" | "UpdateConnection" | "TestEventPattern" => {
            recorded_input(&call.service, &call.operation, &call.params)
        }
        _ => return None,
    };
    for name in ["authParameters", "event"] {
        hide(&mut shown, name);
    }
    if let Some(entries) = shown.get_mut("entries").and_then(Value::as_array_mut) {
        entries.iter_mut().for_each(|entry| hide(entry, "detail"));
    }
    Some(shown)
}

fn hide(shown: &mut Value, name: &str) {
    if let Some(value) = shown.get_mut(name) {
        *value = HIDDEN.into();
    }
}
