//! The control plane against recorded events of the real service: the same request answers the same.

use cairn_services::service::{Access, Service};
use cairn_wire::recorded::{recorded_input, recorded_output};
use serde_json::{Map, Value, json};

use super::{World, made};

/// The recorded events of CloudTrail's own calls; none where the fixtures are not there.
fn recorded_calls() -> Vec<Value> {
    let Some(folder) = cairn_testkit::fixtures("events") else { return Vec::new() };
    let mut events = Vec::new();
    for kind in ["invictus", "stratus"] {
        for file in std::fs::read_dir(folder.join(kind)).unwrap() {
            let mut of_file = events_of(&std::fs::read(file.unwrap().path()).unwrap());
            of_file.retain(|event| event["eventSource"] == "cloudtrail.amazonaws.com");
            events.extend(of_file);
        }
    }
    events
}

/// The events of a log file as delivered, or of a plain list.
fn events_of(bytes: &[u8]) -> Vec<Value> {
    if !bytes.starts_with(b"\x1f\x8b") {
        return serde_json::from_slice(bytes).unwrap();
    }
    let size_bytes = u32::from_le_bytes(bytes[bytes.len() - 4..].try_into().unwrap()) as usize;
    let mut plain = vec![0; size_bytes];
    libdeflater::Decompressor::new().gzip_decompress(bytes, &mut plain).unwrap();
    let mut file: Value = serde_json::from_slice(&plain).unwrap();
    serde_json::from_value(file["Records"].take()).unwrap()
}

/// Recorded parameters as the model names them: records begin members with a small letter.
fn params(operation: &str, recorded: &Value) -> Value {
    match recorded {
        Value::Object(members) => {
            let named = members.iter().map(|(name, value)| {
                let name = if operation == "DescribeTrails" {
                    name.clone()
                } else {
                    name[..1].to_ascii_uppercase() + &name[1..]
                };
                (name, params(operation, value))
            });
            Value::Object(named.collect::<Map<_, _>>())
        }
        Value::Array(values) => values.iter().map(|value| params(operation, value)).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn recorded_requests_answer_and_are_recorded_as_they_were() {
    let events = recorded_calls();
    for event in &events {
        let operation = event["eventName"].as_str().unwrap();
        let world = World::new();
        let caller =
            world.caller(event["recipientAccountId"].as_str().unwrap(), event["awsRegion"].as_str().unwrap());
        let params = params(operation, &event["requestParameters"]);
        world.bucket.open.lock().unwrap().extend(params["S3BucketName"].as_str().map(str::to_owned));
        assert_eq!(
            recorded_input("cloudtrail", operation, &params),
            event["requestParameters"],
            "{operation}"
        );
        if event.get("errorCode").is_none() && operation != "CreateTrail" {
            for name in [&params["Name"], &params["TrailName"], &params["ResourceIdList"][0]] {
                if let Some(name) = name.as_str() {
                    let name = name.rsplit('/').next().unwrap();
                    let create = json!({"Name": name, "S3BucketName": "logs"});
                    world.call_as(&caller, "CreateTrail", create).await.unwrap();
                }
            }
        }
        let known = world.service().operations().iter().find(|known| known.name == operation).unwrap();
        assert_eq!(Value::Bool(known.access == Access::Read), event["readOnly"], "{operation}");
        match world.service().handle(&caller, made(operation, params)).await {
            Ok(reply) => {
                assert!(event.get("errorCode").is_none(), "{operation} ended in {}", event["errorCode"]);
                let own = world.service().recorded_reply(known, &reply.result);
                let elements = own.unwrap_or_else(|| recorded_output("cloudtrail", operation, &reply.result));
                let expected = &event["responseElements"];
                assert!(
                    known.access == Access::Read || elements == *expected,
                    "{elements} is not {expected}"
                );
                // The order of members too, in the set of files as they were delivered (the other set sorts them).
                let ordered = event["responseElements"]["name"].is_string();
                if ordered {
                    assert_eq!(elements.to_string(), expected.to_string());
                }
            }
            Err(error) => {
                assert_eq!(
                    (error.code.as_ref(), error.message.as_str()),
                    (
                        event["errorCode"].as_str().unwrap_or_default(),
                        event["errorMessage"].as_str().unwrap_or_default(),
                    )
                );
            }
        }
    }
    assert!(events.is_empty() || events.len() == 23, "{} recorded calls", events.len());
}
