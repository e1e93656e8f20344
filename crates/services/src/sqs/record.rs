//! What the records of SQS's calls show of their parameters: never what a message says.

use cairn_wire::Call;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use serde_json::Value;

/// The members that hold what a message says.
const OF_MESSAGES: [&str; 3] = ["messageBody", "messageAttributes", "messageSystemAttributes"];

/// `requestParameters` of a call.
pub(super) fn request(call: &Call) -> Value {
    let mut shown = recorded_input(&call.service, &call.operation, &call.params);
    hide(&mut shown);
    if let Some(entries) = shown.get_mut("entries").and_then(Value::as_array_mut) {
        entries.iter_mut().for_each(hide);
    }
    shown
}

fn hide(shown: &mut Value) {
    let Some(members) = shown.as_object_mut() else { return };
    for name in OF_MESSAGES {
        if let Some(value) = members.get_mut(name) {
            *value = HIDDEN.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::RequestFacts;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_does_not_show_what_a_message_says() {
        let call = |operation: &str, params: Value| Call {
            service: "sqs".into(),
            operation: operation.into(),
            params,
            body: None,
            request: RequestFacts::default(),
        };
        let message = json!({"QueueUrl": "u", "MessageBody": "b", "MessageGroupId": "g",
            "MessageAttributes": {"a": {"DataType": "String", "StringValue": "v"}}});
        assert_eq!(
            request(&call("SendMessage", message)),
            json!({"queueUrl": "u", "messageBody": HIDDEN, "messageAttributes": HIDDEN, "messageGroupId": "g"})
        );
        let batch = json!({"QueueUrl": "u", "Entries": [{"Id": "1", "MessageBody": "b"}]});
        assert_eq!(
            request(&call("SendMessageBatch", batch)),
            json!({"queueUrl": "u", "entries": [{"id": "1", "messageBody": HIDDEN}]})
        );
    }
}
