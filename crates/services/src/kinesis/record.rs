//! What the records of Kinesis's calls show: never what a stream's records say, nor their keys by the hundred.

use cairn_wire::Call;
use cairn_wire::recorded::{HIDDEN, recorded_input};
use serde_json::Value;

/// `requestParameters` of a call.
pub(super) fn request(call: &Call) -> Value {
    let mut shown = recorded_input(&call.service, &call.operation, &call.params);
    // Blobs, as the data of one record, are never shown.
    if let Some(records) = shown.get_mut("records") {
        *records = HIDDEN.into();
    }
    shown
}

/// `responseElements` of a write: of PutRecords only how many were not taken.
pub(super) fn reply(operation: &str, result: &Value) -> Option<Value> {
    match operation {
        "PutRecords" => Some(serde_json::json!({
            "failedRecordCount": result["FailedRecordCount"],
            "encryptionType": result["EncryptionType"],
        })),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::RequestFacts;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_does_not_show_what_was_put() {
        let call = |operation: &str, params: Value| Call {
            service: "kinesis".into(),
            operation: operation.into(),
            params,
            body: None,
            request: RequestFacts::default(),
        };
        let one = json!({"StreamName": "s", "PartitionKey": "k", "Data": "c2VjcmV0"});
        assert_eq!(request(&call("PutRecord", one)), json!({"streamName": "s", "partitionKey": "k"}));
        let many = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": "c2VjcmV0"}]});
        assert_eq!(request(&call("PutRecords", many)), json!({"streamName": "s", "records": HIDDEN}));
        let result = json!({"FailedRecordCount": 0, "EncryptionType": "NONE", "Records": []});
        assert_eq!(reply("PutRecords", &result).unwrap()["failedRecordCount"], 0);
    }
}
