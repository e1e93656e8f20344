//! Transformers against the messages that AWS was recorded to send, and by tables.

use proptest::prelude::*;

use super::*;

const PATHS: [(&str, &str); 8] = [
    ("detail-type", "$.detail-type"),
    ("timestamp", "$.time"),
    ("command", "$.detail.command"),
    ("payload", "$.detail.payload"),
    ("userId", "$.detail.payload.acc_id"),
    ("listsingle", "$.detail.listsingle"),
    ("listmulti", "$.detail.listmulti"),
    ("valid", "$.detail.valid"),
];

fn event() -> Value {
    json!({
        "version": "0", "id": "<uuid:2>", "detail-type": "core.update-account-command",
        "source": "core.update-account-command", "account": "111111111111", "time": "date", "region": "<region>",
        "resources": [],
        "detail": {
            "command": "update-account", "payload": { "acc_id": "0a787ecb-4015", "sf_id": "baz" },
            "listsingle": ["HIGH"], "listmulti": ["ACTIVE", "INACTIVE"], "valid": true,
        },
    })
}

fn apply(template: &str, event: &Value) -> Option<String> {
    let paths = PATHS.into_iter().chain([("systemstring", "$.detail.awsAccountId")]);
    let context = RuleContext {
        rule_arn: "arn:<partition>:events:<region>:111111111111:rule/<bus-name>/<rule-name>",
        rule_name: "<rule-name>",
        ingestion_time: Timestamp::from_seconds(0),
    };
    InputTransformer::parse(paths, template).unwrap().apply(event, &context)
}

/// The first message's body of a recorded answer, of a string without its escapes.
fn recorded_body(content: &Value) -> Option<Value> {
    let messages = content.as_object()?.values().next()?;
    Some(messages.get(0)?["Body"].clone())
}

#[test]
fn messages_are_as_aws_was_seen_to_send_them() {
    let Some(folder) = cairn_testkit::fixtures("aws_recorded_responses/events") else { return };
    let packed = std::fs::read(folder.join("test_events_inputs.snapshot.json.gz")).unwrap();
    let mut plain = vec![0; 1 << 20];
    let length = libdeflater::Decompressor::new().gzip_decompress(&packed, &mut plain).unwrap();
    let recorded: Value = serde_json::from_slice(&plain[..length]).unwrap();
    let mut seen = 0;
    for (name, case) in recorded.as_object().unwrap() {
        let Some((_, template)) =
            name.split_once("InputTransformer::").and_then(|(_, rest)| rest.split_once('['))
        else {
            continue;
        };
        let template = &template.strip_suffix(']').unwrap().replace("\\n", "\n");
        let mut event = event();
        if name.contains("predefined") {
            event["detail"] = json!({ "command": "update-account", "payload": event["detail"]["payload"] });
        }
        let made = apply(template, &event);
        let times = |text: String| text.replace("1970-01-01T00:00:00Z", "date");
        let made = made.map(times);
        let expected = recorded_body(&case["recorded-content"]);
        match (made, expected) {
            (Some(made), Some(Value::String(expected))) => assert_eq!(made, expected, "{name}"),
            (Some(made), Some(mut expected)) => {
                let made: Value = serde_json::from_str(&made).unwrap();
                if let Some(original) = expected.get_mut("originalEvent") {
                    original["time"] = json!("date");
                }
                assert_eq!(made, expected, "{name}");
            }
            (made, expected) => assert_eq!((made, expected), (None, None), "{name}"),
        }
        seen += 1;
    }
    assert!(seen >= 19, "{seen}");
}

#[test]
fn a_member_that_is_not_there_is_an_empty_string() {
    let event = json!({ "detail-type": "t", "time": "date" });
    assert_eq!(
        apply(r#"{"command": <command>, "said": "x<command>"}"#, &event).unwrap(),
        r#"{"command": "", "said": "x"}"#
    );
    assert_eq!(apply(r#""detail <command>""#, &event).unwrap(), r#""detail ""#);
}

#[test]
fn a_variable_that_is_not_defined_is_refused_by_name() {
    let error = InputTransformer::parse([("a", "$.a")], r#"{"x": <a>, "y": <notdefinedkey>}"#).unwrap_err();
    assert_eq!(error.to_string(), "contains invalid placeholder notdefinedkey.");
    assert_eq!(
        InputTransformer::parse([("AWS.x", "$.a")], "\"\"").unwrap_err(),
        InputTransformerError::Reserved("AWS.x".into())
    );
    assert!(InputTransformer::parse([], "\"a < b and c > d, <>\"").is_ok());
    assert!(matches!(InputTransformer::parse([("a", "b")], "<a>"), Err(InputTransformerError::Path(_))));
}

#[test]
fn a_quote_that_is_escaped_ends_no_string() {
    let made = apply(r#"{"a": "say \"<command>\" <valid>"}"#, &event()).unwrap();
    assert_eq!(made, r#"{"a": "say \"update-account\" true"}"#);
}

#[test]
fn paths_select_members_elements_and_all_of_them() {
    let event = json!({ "a-b": { "c/d": [1, { "e": "x" }, { "e": "y" }] }, "n": null });
    let cases = [
        ("$", Some(event.clone())),
        ("$.n", Some(Value::Null)),
        ("$.a-b.c/d[1].e", Some(json!("x"))),
        ("$.a-b.c/d[*].e", Some(json!(["x", "y"]))),
        ("$['a-b']", Some(event["a-b"].clone())),
        ("$.a-b.c/d[7]", None),
        ("$.none.at.all", None),
    ];
    for (path, expected) in cases {
        assert_eq!(InputPath::parse(path).unwrap().select(&event), expected, "{path}");
    }
    for wrong in ["", "a", ".a", "$a", "$.", "$..a", "$[", "$[x]", "$[-1]"] {
        assert!(InputPath::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(template in "[{}\\[\\]\"\\\\<>a-c. ]*", path in "[$.\\[\\]*'a-c0-9]*") {
        let Ok(transformer) = InputTransformer::parse([("a", path.as_str())], &template) else { return Ok(()) };
        let context = RuleContext { rule_arn: "", rule_name: "", ingestion_time: Timestamp::from_seconds(0) };
        let made = transformer.apply(&json!({ "a": ["b"] }), &context);
        prop_assert!(made.is_none_or(|made| made.trim_start().starts_with('"') || serde_json::from_str::<Value>(&made).is_ok()));
    }
}
