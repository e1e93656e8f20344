//! Event patterns against what AWS and event-ruler decided, and the index against trying each rule.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pattern::Scalar;

fn parse(pattern: &Value) -> EventPattern {
    EventPattern::parse(&pattern.to_string()).unwrap()
}

fn fixture(name: &str) -> Option<String> {
    let folder = cairn_testkit::fixtures("eventbridge")?;
    Some(std::fs::read_to_string(folder.join(name)).unwrap())
}

#[test]
fn patterns_are_decided_as_aws_was_seen_to_decide() {
    let Some(text) = fixture("aws_recorded_test_event_pattern.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= 68);
    for case in cases {
        let text = |member: &Value| member.as_str().map_or_else(|| member.to_string(), str::to_owned);
        let (pattern, event) = (text(&case["pattern"]), text(&case["event"]));
        match EventPattern::parse(&pattern) {
            Ok(pattern) => assert_eq!(json!(pattern.matches(&event)), case["expect"]["match"], "{case}"),
            Err(error) => {
                let message = format!("Event pattern is not valid. Reason: {error}");
                assert_eq!(json!(message), case["expect"]["message"], "{case}");
            }
        }
    }
}

#[test]
fn patterns_are_decided_as_event_ruler_decides() {
    let Some(text) = fixture("event_ruler_cases.jsonl") else { return };
    let mut failures = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let rule = case["rule"].as_str().unwrap();
        let matches = EventPattern::parse(rule).map(|pattern| {
            let mut index = RuleIndex::new();
            index.insert((), pattern.clone());
            let event = case["event"].as_str().unwrap();
            assert_eq!(pattern.matches(event), !index.matching(event).is_empty(), "{line}");
            pattern.matches(event)
        });
        if matches != Ok(case["match"].as_bool().unwrap()) {
            failures.push(format!("{line}\n{matches:?}"));
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_event_ruler_refuses_is_refused() {
    let Some(text) = fixture("event_ruler_validity.jsonl") else { return };
    let mut failures = Vec::new();
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let parsed = EventPattern::parse(case["rule"].as_str().unwrap());
        let said = case["ruler_error"].as_str().unwrap_or_default();
        // Of texts that are no JSON, the parser's own words are of no service.
        let is_json_error =
            said.starts_with("Unexpected") || said.starts_with("Unrecognized character escape");
        let is_as_said = match &parsed {
            Ok(_) => case["valid"] == true,
            Err(error) => case["valid"] == false && (is_json_error || error.to_string() == said),
        };
        if !is_as_said {
            failures.push(format!("{line}\n{:?}", parsed.err()));
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_no_json_is_no_pattern_and_no_event() {
    for text in ["", "{", "x", r#"{"a": [1]} x"#, r#"{"a": [01]}"#, r#"{"a": ["\q"]}"#] {
        assert_eq!(EventPattern::parse(text).unwrap_err().to_string(), "Invalid JSON", "{text}");
    }
    let pattern = parse(&json!({ "a": [1, { "exists": false }] }));
    for (event, expected) in
        [("{}", true), (r#" {"a" : 1 } "#, true), ("[]", false), (r#"{"a": 1"#, false), ("", false)]
    {
        assert_eq!(pattern.matches(event), expected, "{event}");
    }
}

#[test]
fn operators_hold_of_values_as_documented() {
    let cases = [
        (json!({ "wildcard": "a*b*c" }), json!("aXbYc"), true),
        (json!({ "wildcard": "a*b*c" }), json!("abc"), true),
        (json!({ "wildcard": "a*b*c" }), json!("acb"), false),
        (json!({ "wildcard": "ab*ba" }), json!("aba"), false),
        (json!({ "wildcard": "a\\*b" }), json!("a*b"), true),
        (json!({ "wildcard": "a\\*b" }), json!("axb"), false),
        (json!({ "wildcard": "*" }), json!(1), false),
        (json!({ "prefix": { "equals-ignore-case": "ÉT" } }), json!("été"), true),
        (json!({ "suffix": { "equals-ignore-case": ".PNG" } }), json!("a.png"), true),
        (json!({ "prefix": "t" }), json!(true), false),
        (json!({ "anything-but": ["a"] }), json!(["a", "b"]), true),
        (json!({ "anything-but": 1 }), json!("1"), true),
        (json!({ "anything-but": { "wildcard": "*x*" } }), json!("axb"), false),
        (json!({ "exists": true }), json!([]), false),
        (json!({ "exists": false }), json!({}), true),
        (json!("2001:db8::1"), json!("2001:0db8:0:0::1"), true),
        (json!("\u{e9}\""), json!("é\""), true),
        (json!(123_456_789_012_345_678_u64), json!(123_456_789_012_345_678_u64), true),
    ];
    for (operator, value, expected) in cases {
        let pattern = parse(&json!({ "key": [operator] }));
        assert_eq!(pattern.matches(&json!({ "key": value }).to_string()), expected, "{operator} {value}");
    }
}

#[test]
fn a_rule_is_replaced_and_taken_out() {
    let mut index = RuleIndex::new();
    index.insert("a", parse(&json!({ "source": ["x"], "detail": { "n": [1] } })));
    index.insert("b", parse(&json!({ "source": ["x"] })));
    index.insert("a", parse(&json!({ "source": [{ "prefix": "y" }] })));
    let of = |index: &RuleIndex<&'static str>, source: &str| {
        let mut names = index.matching(&json!({ "source": source, "detail": { "n": 1 } }).to_string());
        names.sort_unstable();
        names
    };
    assert_eq!((of(&index, "x"), of(&index, "yes")), (vec!["b"], vec!["a"]));
    assert!(index.remove(&"b") && !index.remove(&"b"));
    assert_eq!((of(&index, "x"), index.len()), (vec![], 1));
}

#[test]
fn an_index_forgets_the_paths_of_rules_that_went() {
    let mut index = RuleIndex::new();
    for number in 0..3000 {
        index.insert(number, parse(&json!({ format!("key{number}"): ["x"] })));
    }
    (0..2900).for_each(|number| assert!(index.remove(&number)));
    assert!(index.fields.count() < 3000, "{}", index.fields.count());
    assert_eq!(index.matching(r#"{"key2950": "x", "key5": "x"}"#), [2950]);
}

fn operator() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["", "a", "ab", "b", "A", "10.0.0.1", "10.0.0.01"]);
    prop_oneof![
        text().prop_map(Value::from),
        prop::sample::select(vec![json!(1), json!(1.0), json!(2), json!(null), json!(true)]),
        text().prop_map(|text| json!({ "prefix": text })),
        text().prop_map(|text| json!({ "suffix": text })),
        text().prop_map(|text| json!({ "prefix": { "equals-ignore-case": text } })),
        text().prop_map(|text| json!({ "equals-ignore-case": text })),
        prop::sample::select(vec!["*", "a*", "*b", "a*b", "a", "*a*"])
            .prop_map(|text| json!({ "wildcard": text })),
        text().prop_map(|text| json!({ "anything-but": [text] })),
        Just(json!({ "anything-but": [1] })),
        Just(json!({ "numeric": [">", 0, "<=", 1] })),
        Just(json!({ "cidr": "10.0.0.0/24" })),
        any::<bool>().prop_map(|exists| json!({ "exists": exists })),
    ]
}

fn members(members: Vec<(&str, Value)>) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn pattern() -> impl Strategy<Value = Value> {
    let values = || prop::collection::vec(operator(), 1..3).prop_map(Value::from);
    let object = || prop::collection::vec((names(), values()), 1..3).prop_map(members);
    let either =
        || prop::collection::vec(object(), 2..3).prop_map(|alternatives| json!({ "$or": alternatives }));
    prop::collection::vec((names(), prop_oneof![3 => values(), 2 => object(), 1 => either()]), 1..4)
        .prop_map(members)
}

fn event() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!("a"),
        json!("ab"),
        json!("B"),
        json!(""),
        json!("10.0.0.1"),
        json!(1),
        json!(0.5),
        json!(null),
        json!(true),
    ]);
    let any = leaf.prop_recursive(4, 30, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names(), inner), 0..3).prop_map(members),
        ]
    });
    prop::collection::vec((names(), any), 0..4).prop_map(members)
}

type Flat = Vec<(String, Value, Vec<(usize, usize)>)>;

/// Every value, its path, and the elements of arrays around it.
fn flatten(value: &Value, path: &str, around: &[(usize, usize)], flat: &mut Flat, arrays: &mut usize) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(member, &path, around, flat, arrays);
            }
        }
        Value::Array(elements) => {
            *arrays += 1;
            let array = *arrays;
            for (index, element) in elements.iter().enumerate() {
                let within = [around, &[(array, index)]].concat();
                let is_container = element.is_array() || element.is_object();
                flatten(element, path, if is_container { &within } else { around }, flat, arrays);
            }
        }
        scalar => flat.push((path.to_owned(), scalar.clone(), around.to_vec())),
    }
}

/// The slow and plain way: one key after the other, every choice.
fn holds(keys: &[Key], event: &Flat, chosen: &[(usize, usize)]) -> bool {
    let Some((key, rest)) = keys.split_first() else { return true };
    let agrees = |around: &[(usize, usize)]| {
        around.iter().all(|(array, element)| chosen.iter().all(|(other, is)| other != array || is == element))
    };
    let there: Vec<_> =
        event.iter().filter(|(path, _, around)| *path == key.name && agrees(around)).collect();
    let only = |value: &Value| {
        let number = value.as_number().map(ToString::to_string).unwrap_or_default();
        let scalar = match value {
            Value::Null => Scalar::Null,
            Value::Bool(is) => Scalar::Boolean(*is),
            Value::String(text) => Scalar::Text(text),
            _ => Scalar::Number(number.as_str().into()),
        };
        key.patterns.iter().any(|pattern| pattern.matches(&scalar))
    };
    let by_value =
        there.iter().any(|(_, value, around)| only(value) && holds(rest, event, &[chosen, around].concat()));
    by_value || (key.can_be_absent() && there.is_empty() && holds(rest, event, chosen))
}

proptest! {
    #[test]
    fn a_pattern_matches_as_the_plain_way_decides(pattern in pattern(), event in event()) {
        let pattern = parse(&pattern);
        let mut flat = Flat::new();
        flatten(&event, "", &[], &mut flat, &mut 0);
        let plain = pattern.0.alternatives.iter().any(|keys| {
            let mut keys = keys.clone();
            keys.sort_by(|one, other| one.name.cmp(&other.name));
            holds(&keys, &flat, &[])
        });
        prop_assert_eq!(pattern.matches(&event.to_string()), plain);
    }

    #[test]
    fn an_index_finds_what_trying_each_finds(
        patterns in prop::collection::vec(pattern(), 1..20),
        gone in prop::collection::vec(0_usize..20, 0..10),
        events in prop::collection::vec(event(), 1..5),
    ) {
        let mut patterns: Vec<_> = patterns.iter().map(parse).enumerate().collect();
        let mut index = RuleIndex::new();
        patterns.iter().for_each(|(number, pattern)| index.insert(*number, pattern.clone()));
        patterns.retain(|(number, _)| !gone.contains(number));
        gone.iter().for_each(|number| { index.remove(number); });
        for event in events {
            let event = event.to_string();
            let each: Vec<_> = patterns.iter().filter(|(_, pattern)| pattern.matches(&event)).map(|(number, _)| *number).collect();
            let mut found = index.matching(&event);
            found.sort_unstable();
            prop_assert_eq!(found, each);
        }
    }

    #[test]
    fn nothing_makes_it_panic(pattern in ".*", event in ".*") {
        if let Ok(pattern) = EventPattern::parse(&pattern) {
            let _ = pattern.matches(&event);
        }
        let _ = parse(&json!({ "a": [{ "exists": true }] })).matches(&format!("{{\"a\": {event}}}"));
    }
}
