//! How an event record shows the parameters and the result of a call.

use serde_json::Value;

/// The parameters of a call as the record's `requestParameters` shows them; null where there are none.
#[must_use]
pub fn recorded_input(_service: &str, _operation: &str, params: &Value) -> Value {
    params.clone()
}

/// The result of a call as the record's `responseElements` shows it; null where there is none.
#[must_use]
pub fn recorded_output(_service: &str, _operation: &str, result: &Value) -> Value {
    result.clone()
}

/// The record's `eventSource` of a service: `cloudtrail.amazonaws.com`.
#[must_use]
pub fn event_source(service: &str) -> String {
    format!("{service}.amazonaws.com")
}
