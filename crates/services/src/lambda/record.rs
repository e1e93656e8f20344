//! What the records of Lambda's calls show: neither code, nor environment variables, nor what a function is told and says.

use cairn_wire::Call;
use cairn_wire::recorded::{recorded_input, recorded_output};
use serde_json::{Value, json};

/// `requestParameters` of a call.
pub(super) fn request(call: &Call) -> Value {
    let mut shown = recorded_input(&call.service, &call.operation, &call.params);
    let Some(members) = shown.as_object_mut() else { return shown };
    for of_package in ["zipFile", "payload"] {
        members.remove(of_package);
    }
    if let Some(code) = members.get_mut("code").and_then(Value::as_object_mut) {
        code.remove("zipFile");
    }
    bare_environment(&mut shown);
    if call.operation == "Invoke" && shown.get("invocationType").is_none() {
        shown["invocationType"] = "RequestResponse".into();
    }
    shown
}

/// `responseElements` of a write.
pub(super) fn reply(operation: &str, result: &Value) -> Value {
    if operation == "Invoke" {
        return Value::Null;
    }
    let mut shown = recorded_output("lambda", operation, result);
    bare_environment(&mut shown);
    shown
}

/// "The Environment parameter is omitted", says the developer guide.
fn bare_environment(shown: &mut Value) {
    if let Some(environment) = shown.get_mut("environment") {
        *environment = json!({});
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::RequestFacts;

    use super::*;

    fn call(operation: &str, params: Value) -> Call {
        Call {
            service: "lambda".into(),
            operation: operation.into(),
            params,
            body: None,
            request: RequestFacts::default(),
        }
    }

    #[test]
    fn a_record_shows_no_code_variables_or_payload() {
        let create = json!({"FunctionName": "f", "Code": {"ZipFile": "AAAA"}, "Environment": {"Variables": {"K": "secret"}}});
        assert_eq!(
            request(&call("CreateFunction", create)),
            json!({"functionName": "f", "code": {}, "environment": {}})
        );
        let update = json!({"FunctionName": "f", "ZipFile": "AAAA", "Publish": true});
        assert_eq!(
            request(&call("UpdateFunctionCode", update)),
            json!({"functionName": "f", "publish": true})
        );
        let invoke = json!({"FunctionName": "f", "Payload": "e30="});
        assert_eq!(
            request(&call("Invoke", invoke)),
            json!({"functionName": "f", "invocationType": "RequestResponse"})
        );
        let answer = json!({"FunctionName": "f", "Environment": {"Variables": {"K": "secret"}}});
        assert_eq!(reply("CreateFunction", &answer), json!({"functionName": "f", "environment": {}}));
        assert_eq!(reply("Invoke", &json!({"Payload": "e30="})), Value::Null);
    }
}
