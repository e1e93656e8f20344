//! What filter policies refuse and match: AWS's recorded answers, tables, and a plain matcher as judge.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse(text: &str, scope: FilterPolicyScope) -> Result<FilterPolicy, String> {
    FilterPolicy::parse(text, scope).map_err(|error| error.to_string())
}

fn on_body(policy: &Value) -> FilterPolicy {
    parse(&policy.to_string(), FilterPolicyScope::MessageBody).unwrap()
}

fn attribute<'a>(data_type: &'a str, text: &'a str) -> MessageAttribute<'a> {
    MessageAttribute { name: "key", data_type, text: Some(text) }
}

/// Whether `{"key": patterns}` wants a message with the attribute `key`.
fn wants(patterns: &Value, data_type: &str, text: &str) -> bool {
    let policy = json!({ "key": patterns }).to_string();
    let policy = parse(&policy, FilterPolicyScope::MessageAttributes).unwrap();
    policy.matches_attributes(&[attribute(data_type, text)])
}

#[test]
fn every_refusal_that_aws_was_seen_to_make_is_made_word_for_word() {
    let Some(folder) = cairn_testkit::fixtures("aws_recorded_responses/sns") else { return };
    let packed = std::fs::read(folder.join("test_sns_filter_policy.snapshot.json.gz")).unwrap();
    let mut plain = vec![0; 1 << 20];
    let length = libdeflater::Decompressor::new().gzip_decompress(&packed, &mut plain).unwrap();
    let recorded: Value = serde_json::from_slice(&plain[..length]).unwrap();
    let mut seen = 0;
    for answers in recorded.as_object().unwrap().values() {
        for answer in answers["recorded-content"].as_object().unwrap().values() {
            let Some(message) = answer["Error"]["Message"].as_str() else { continue };
            // Where AWS says the place, it quotes the policy.
            let Some((_, rest)) = message.split_once("[Source: (String)\"") else { continue };
            let (policy, _) = rest.rsplit_once("\"; line:").unwrap();
            let error = parse(policy, FilterPolicyScope::MessageAttributes).unwrap_err();
            let of_set = format!("Invalid parameter: {error}");
            let of_subscribe = format!("Invalid parameter: Attributes Reason: {error}");
            assert!(message == of_set || message == of_subscribe, "\n{message}\n{of_set}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen} refusals with a place are in the recording");
}

#[test]
fn a_text_that_is_no_policy_is_refused_in_awss_words() {
    let many = |count: usize| (0..count).map(|index| format!("value{index}")).collect::<Vec<_>>();
    let six_keys = json!({ "a": [1], "b": [1], "c": [1], "d": [1], "e": [1], "f": [1] });
    let cases = [
        ("{", "FilterPolicy: failed to parse JSON."),
        ("[1]", "FilterPolicy: Filter is not an object\n at [Source: (String)\"[1]\"; line: 1, column: 2]"),
        (
            r#"{"a": {}}"#,
            "FilterPolicy: Empty objects are not allowed\n at [Source: (String)\"{\"a\":{}}\"; line: 1, column: 8]",
        ),
        (r#"{"key": [{"cidr": "bad"}]}"#, "FilterPolicy: Malformed CIDR, one '/' required"),
        (r#"{"key": [{"cidr": "bad/64"}]}"#, "FilterPolicy: Nonstandard IP address: bad"),
        (
            r#"{"key": [{"cidr": "10.0.0.0/x"}]}"#,
            "FilterPolicy: Malformed CIDR, mask bits must be an integer",
        ),
        (r#"{"key": [{"cidr": "10.0.0.0/32"}]}"#, "FilterPolicy: IPv4 mask bits must be < 32"),
        (
            r#"{"key": [{"numeric": ["=", 1e10]}]}"#,
            "FilterPolicy: Value must be between -1.0E9 and 1.0E9, inclusive\n at [Source: (String)\"{\"key\":[{\"numeric\":[\"=\",10000000000.0]}]}\"; line: 1, column: 38]",
        ),
        (
            r#"{"key": [{"wildcard": "a*"}]}"#,
            "FilterPolicy: Unrecognized match type wildcard\n at [Source: (String)\"{\"key\":[{\"wildcard\":\"a*\"}]}\"; line: 1, column: 22]",
        ),
        (
            r#"{"a": {"b": [1]}}"#,
            "Filter policy scope MessageAttributes does not support nested filter policy",
        ),
        (
            r#"{"$or": [{"a": [1]}]}"#,
            "FilterPolicy: There must have at least 2 Objects in $or relationship.\n at [Source: (String)\"{\"$or\":[{\"a\":[1]}]}\"; line: 1, column: 19]",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text, FilterPolicyScope::MessageAttributes).unwrap_err(), expected, "{text}");
    }
    let too_complex = "FilterPolicy: Filter policy is too complex";
    let refused = [
        (json!({ "key": many(151) }), too_complex),
        (json!({ "key1": many(100), "key2": many(51) }), too_complex),
        (six_keys, "FilterPolicy: Filter policy can not have more than 5 keys"),
    ];
    for (policy, expected) in refused {
        assert_eq!(parse(&policy.to_string(), FilterPolicyScope::MessageAttributes).unwrap_err(), expected);
    }
    assert!(parse(&json!({ "key": many(150) }).to_string(), FilterPolicyScope::MessageAttributes).is_ok());
}

#[test]
fn a_long_policy_is_quoted_in_part() {
    let policy = json!({ "key": [{ "wrong": "x".repeat(600) }] }).to_string();
    let error = parse(&policy, FilterPolicyScope::MessageAttributes).unwrap_err();
    let length = policy.len() - 500;
    assert!(error.contains(&format!("x\"[truncated {length} chars]; line: 1, column: 19]")), "{error}");
}

#[test]
fn depth_and_alternatives_count_as_aws_counts_them() {
    let fits = |policy: Value| parse(&policy.to_string(), FilterPolicyScope::MessageBody).is_ok();
    // 3 x 4 x 2 x 3 = 72; with further 3 values 216.
    let mut nested = json!({ "a": { "b": { "c": ["1", "2", "3", "4"] } }, "d": { "e": ["1", "2", "3"] } });
    assert!(fits(nested.clone()));
    nested["f"] = json!(["1", "2", "3"]);
    assert!(!fits(nested));
    let or = |sources: usize, spaces: usize| {
        json!({
            "source": vec!["s"; sources],
            "$or": [
                { "metricName": ["1", "2", "3", "4", "5", "6"] },
                { "metricType": ["1", "2", "3", "4"], "$or": [{ "metricId": [1, 2, 3, 4] }, { "spaceId": vec![1; spaces] }] },
            ],
        })
    };
    assert!(fits(or(3, 7)), "18 + 48 + 84 = 150");
    assert!(!fits(or(4, 4)), "24 + 64 + 64 = 152");
}

#[test]
fn attributes_match_by_type_and_value() {
    let cases = [
        (json!(["v"]), "String", "v", true),
        (json!(["v"]), "String.label", "v", true),
        (json!(["v"]), "String", "V", false),
        (json!(["99"]), "Number", "99", false),
        (json!([99]), "Number", "99.0", true),
        (json!([99]), "Number.int", "9.9e1", true),
        (json!([99]), "String", "99", false),
        (json!([123456789012_i64]), "Number", "123456789012", true),
        (json!([{ "numeric": [">", 0, "<=", 100] }]), "Number", "100", true),
        (json!([{ "numeric": [">", 0, "<=", 100] }]), "Number", "0", false),
        (json!([{ "numeric": [">", 0, "<=", 100] }]), "String", "50", false),
        (json!([{ "numeric": ["=", 0.00001] }]), "Number", "0.00002", false),
        (json!(["v"]), "String.Array", r#"["u","v"]"#, true),
        (json!([true, null]), "String.Array", r#"["u",null]"#, true),
        (json!([1]), "String.Array", "[2,1]", true),
        (json!(["v"]), "String.Array", "no array", false),
        (json!([{ "exists": true }]), "String.Array", "no array", false),
        (json!([{ "exists": true }]), "Number", "1", true),
        (json!([{ "exists": false }]), "Number", "1", false),
        (json!([{ "anything-but": ["a", "b"] }]), "String", "c", true),
        (json!([{ "anything-but": ["a", "b"] }]), "String", "a", false),
        (json!([{ "anything-but": ["a", "b"] }]), "String.Array", r#"["a","c"]"#, true),
        (json!([{ "anything-but": [1, 2] }]), "Number", "2.0", false),
        (json!([{ "anything-but": 1 }]), "Number", "3", true),
        (json!([{ "anything-but": { "prefix": "test-" } }]), "String", "test-1", false),
        (json!([{ "anything-but": { "prefix": "test-" } }]), "String", "1-test", true),
        (json!([{ "prefix": "bas" }]), "String", "baseball", true),
        (json!([{ "suffix": "ball" }]), "String", "baseball", true),
        (json!([{ "suffix": "ball" }]), "String", "ballad", false),
        (json!([{ "equals-ignore-case": "Tennis" }]), "String", "tEnNiS", true),
        (json!([{ "cidr": "10.0.0.0/24" }]), "String", "10.0.0.255", true),
        (json!([{ "cidr": "10.0.0.0/24" }]), "String", "10.0.1.0", false),
        (json!([{ "cidr": "2001:db8:1234:1a00::/64" }]), "String", "2001:0db8:1234:1a00:0::1", true),
        (json!(["2001:db8::1"]), "String", "2001:0db8:0:0:0:0:0:1", true),
    ];
    for (patterns, data_type, text, expected) in cases {
        assert_eq!(wants(&patterns, data_type, text), expected, "{patterns} of {data_type} {text}");
    }
}

#[test]
fn an_attribute_that_is_not_there_or_binary_is_absent() {
    let policy = |patterns: Value| {
        parse(&json!({ "key": patterns }).to_string(), FilterPolicyScope::MessageAttributes).unwrap()
    };
    let binary = MessageAttribute { name: "key", data_type: "Binary", text: None };
    for attributes in [&[][..], &[binary][..]] {
        assert!(!policy(json!([null, { "anything-but": "x" }])).matches_attributes(attributes));
        assert!(!policy(json!([{ "exists": true }])).matches_attributes(attributes));
        assert!(policy(json!(["x", { "exists": false }])).matches_attributes(attributes));
    }
    let all = parse("{}", FilterPolicyScope::MessageAttributes).unwrap();
    assert!(all.matches_attributes(&[]));
}

#[test]
fn alternatives_of_attributes_are_weighed_one_by_one() {
    let policy = json!({ "a": ["1"], "$or": [{ "b": ["2"] }, { "c": ["3"] }] }).to_string();
    let policy = parse(&policy, FilterPolicyScope::MessageAttributes).unwrap();
    let text = |name, text| MessageAttribute { name, data_type: "String", text: Some(text) };
    assert!(policy.matches_attributes(&[text("a", "1"), text("c", "3")]));
    assert!(policy.matches_attributes(&[text("a", "1"), text("b", "2"), text("c", "x")]));
    assert!(!policy.matches_attributes(&[text("a", "1"), text("b", "x")]));
    assert!(!policy.matches_attributes(&[text("b", "2"), text("c", "3")]));
}

#[test]
fn bodies_match_by_their_nested_members() {
    let policy = on_body(&json!({
        "object": { "key": [{ "prefix": "auto-" }, "hardcodedvalue"], "nested_key": [{ "exists": false }] },
        "test": [{ "exists": false }],
    }));
    let cases = [
        (r#"{"object": {"key": "auto-test"}}"#, true),
        (r#"{"object": {"key": "hardcodedvalue"}}"#, true),
        (r#"{"object": {"key": "test-auto"}}"#, false),
        (r#"{"object": {"key": "auto-test"}, "test": "just-exists"}"#, false),
        (r#"{"object": {"key": "auto-test", "nested_key": "just-exists"}}"#, false),
        (r#"{"object": {"test": "auto-test"}}"#, false),
        (r#"{"test": "auto-test"}"#, false),
        ("Regular string message", false),
        (r#""Regular string message""#, false),
        ("[1]", false),
    ];
    for (body, expected) in cases {
        assert_eq!(policy.matches_body(body), expected, "{body}");
    }
}

#[test]
fn dots_join_names_in_policies_and_bodies_alike() {
    let policy = on_body(&json!({ "object.nested.test": ["v"] }));
    for body in [
        json!({ "object": { "nested": { "test": "v" } } }),
        json!({ "object.nested.test": "v" }),
        json!({ "object.nested": { "test": "v" } }),
        json!({ "object": { "nested.test": "v" } }),
    ] {
        assert!(policy.matches_body(&body.to_string()), "{body}");
    }
    assert!(!policy.matches_body(r#"{"object": {"nested": {"test": "w"}}}"#));
    let apart = on_body(&json!({ "a": { "b": [1], "c": [2] } }));
    assert!(apart.matches_body(r#"{"a": {"b": 1}, "a.c": 2}"#));
}

#[test]
fn one_element_of_an_array_must_have_all_that_is_asked() {
    let policy = on_body(&json!({
        "Records": { "s3": { "object": { "key": [{ "prefix": "auto-" }] } }, "eventName": [{ "prefix": "ObjectCreated:" }] },
    }));
    let record = |name: &str, key: &str| json!({ "eventName": name, "s3": { "object": [[{ "key": key }]] } });
    let body = |records: Vec<Value>| json!({ "Records": records }).to_string();
    let (created, removed) = ("ObjectCreated:Put", "ObjectRemoved:Delete");
    assert!(policy.matches_body(&body(vec![record(created, "auto-1"), record(removed, "home-1")])));
    assert!(!policy.matches_body(&body(vec![record(removed, "auto-1")])));
    assert!(!policy.matches_body(&body(vec![record(created, "home-1"), record(removed, "auto-1")])));
}

#[test]
fn empty_arrays_are_no_values() {
    let policy = on_body(&json!({ "detail": { "eventVersion": [""], "responseElements": [null] } }));
    let event = json!({ "resources": [], "detail": { "eventVersion": "", "responseElements": null } });
    assert!(policy.matches_body(&event.to_string()));
    let absent = on_body(&json!({ "resources": [{ "exists": false }] }));
    assert!(absent.matches_body(&event.to_string()));
}

#[test]
fn alternatives_of_bodies_combine() {
    let policy = on_body(&json!({
        "$or": [{ "metricName": ["CPUUtilization", "ReadLatency"] }, { "namespace": ["AWS/EC2", "AWS/ES"] }],
        "detail": {
            "scope": ["Service"],
            "$or": [{ "source": ["aws.cloudwatch"] }, { "type": ["CloudWatch Alarm State Change"] }],
        },
    }));
    let alarm = "CloudWatch Alarm State Change";
    let cases = [
        (
            json!({ "metricName": "CPUUtilization", "detail": { "scope": "aws.cloudwatch", "type": alarm } }),
            false,
        ),
        (json!({ "metricName": "CPUUtilization", "detail": { "scope": "Service", "type": "x" } }), false),
        (json!({ "metricName": "CPUUtilization", "detail": { "type": alarm } }), false),
        (json!({ "metricName": "CPUUtilization", "detail": { "scope": "Service" } }), false),
        (json!({ "metricName": "AWS/EC2", "detail": { "scope": "Service", "type": alarm } }), false),
        (
            json!({ "metricName": "ReadLatency", "detail": { "scope": "Service", "source": "aws.cloudwatch" } }),
            true,
        ),
        (json!({ "namespace": "AWS/ES", "detail": { "scope": "Service", "type": alarm } }), true),
    ];
    for (body, expected) in cases {
        assert_eq!(policy.matches_body(&body.to_string()), expected, "{body}");
    }
}

/// JSON that is often nearly a policy.
fn nearly_a_policy() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "a",
        "b",
        "a.b",
        "$or",
        "prefix",
        "suffix",
        "numeric",
        "anything-but",
        "exists",
        "cidr",
        "equals-ignore-case",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["x", "<", ">=", "=", "10.0.0.0/8", "é\"\\\u{1F600}\n"])
            .prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| {
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()
            }),
        ]
    })
}

/// Policies on bodies, of few names and values, and so often matched.
fn policy_on_few() -> impl Strategy<Value = Value> {
    let values = prop::collection::vec(
        prop_oneof![
            Just(json!("x")),
            Just(json!(1)),
            Just(json!({ "exists": false })),
            Just(json!({ "anything-but": "x" })),
        ],
        1..3,
    )
    .prop_map(Value::from);
    let names = || prop::sample::select(vec!["a", "b", "c"]);
    let object = prop::collection::vec((names(), values.clone()), 1..3).prop_map(members);
    prop::collection::vec((names(), prop_oneof![values, object]), 1..4).prop_map(members)
}

fn members(members: Vec<(&str, Value)>) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn body_of_few() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!("x")), Just(json!("y")), Just(json!(1)), Just(Value::Null)];
    let any = leaf.prop_recursive(4, 30, 3, |inner| {
        let names = prop::sample::select(vec!["a", "b", "c"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..3).prop_map(members),
        ]
    });
    prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), any), 0..4).prop_map(members)
}

/// All the ways to choose one element of each array: what is left are paths with one value each, or none.
fn choices(value: &Value, path: &str) -> Vec<Vec<(String, Value)>> {
    match value {
        Value::Object(members) => members.iter().fold(vec![Vec::new()], |before, (name, member)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let further = choices(member, &path);
            before
                .iter()
                .flat_map(|one| further.iter().map(move |two| [one.clone(), two.clone()].concat()))
                .collect()
        }),
        Value::Array(elements) if elements.is_empty() => vec![Vec::new()],
        Value::Array(elements) => elements.iter().flat_map(|element| choices(element, path)).collect(),
        scalar => vec![vec![(path.to_owned(), scalar.clone())]],
    }
}

/// The slow and plain way to decide on policies without `$or`.
fn holds(policy: &Value, body: &Value) -> bool {
    let all = choices(body, "");
    let there = |path: &str| all.iter().flatten().any(|(name, _)| name == path);
    let asked = choices_of_policy(policy, "");
    all.iter().any(|chosen| {
        asked.iter().all(|(path, patterns)| {
            patterns.iter().any(|pattern| match pattern {
                Value::Object(operator) if operator.contains_key("exists") => !there(path),
                Value::Object(_) => chosen.iter().any(|(name, value)| name == path && value != "x"),
                wanted => chosen.iter().any(|(name, value)| name == path && value == wanted),
            })
        })
    })
}

fn choices_of_policy(policy: &Value, path: &str) -> Vec<(String, Vec<Value>)> {
    let members = policy.as_object().unwrap().iter();
    members
        .flat_map(|(name, member)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match member {
                Value::Array(patterns) => vec![(path, patterns.clone())],
                object => choices_of_policy(object, &path),
            }
        })
        .collect()
}

proptest! {
    #[test]
    fn nothing_that_is_said_makes_it_panic(policy in nearly_a_policy(), body in nearly_a_policy(), text in ".*") {
        for scope in [FilterPolicyScope::MessageAttributes, FilterPolicyScope::MessageBody] {
            for policy in [policy.to_string(), json!({ "k": [policy] }).to_string(), text.clone()] {
                let Ok(policy) = FilterPolicy::parse(&policy, scope) else { continue };
                let body = body.to_string();
                let attributes = [attribute("String.Array", &body), attribute("Number", &text)];
                prop_assert_eq!(policy.matches(&attributes, &body), policy.matches(&attributes, &body));
            }
        }
    }

    #[test]
    fn bodies_match_as_the_plain_way_decides(policy in policy_on_few(), body in body_of_few()) {
        prop_assume!(parse(&policy.to_string(), FilterPolicyScope::MessageBody).is_ok());
        prop_assert_eq!(on_body(&policy).matches_body(&body.to_string()), holds(&policy, &body));
    }
}
