//! What filter patterns refuse and match: AWS's documented cases, tables, and a plain evaluator as judge.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn pattern(text: &str) -> FilterPattern {
    FilterPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn matches(text: &str, line: &str) -> bool {
    let pattern = pattern(text);
    let is_match = pattern.matches(line.as_bytes());
    assert_eq!(is_match, pattern.matches_by_scan(line.as_bytes()), "{text} on {line}");
    is_match
}

fn check(text: &str, wanted: &[&str], unwanted: &[&str]) {
    for line in wanted {
        assert!(matches(text, line), "{text} is to match {line}");
    }
    for line in unwanted {
        assert!(!matches(text, line), "{text} is not to match {line}");
    }
}

fn fixture(name: &str) -> Option<Value> {
    let path = cairn_testkit::fixtures(&format!("filter_patterns/{name}.json"))?;
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

#[test]
fn what_the_documentation_says_matches_does_and_nothing_else() {
    let Some(cases) = fixture("doc_cases") else { return };
    for case in cases.as_array().unwrap() {
        let (text, line) = (case["pattern"].as_str().unwrap(), case["message"].as_str().unwrap());
        assert_eq!(Value::Bool(matches(text, line)), case["match"], "{case}");
    }
}

#[test]
fn terms_are_all_wanted_or_excluded_or_optional_where_they_are_alone() {
    check("", &["", "x"], &[]);
    check("\" \"", &["a b"], &["ab"]);
    check("ERROR Exception", &["[ERROR] IllegalException"], &["ERROR", "Exception"]);
    check("?ERROR ?\"a b\"", &["ERROR", "xa bx"], &["WARN", ""]);
    check("-\"a b\"", &["a", ""], &["a b"]);
    check("ERROR - \"Exiting\"", &["ERROR"], &["Exiting with ERROR"]);
    // Optional ones beside others are ignored.
    check("INFO ?ERROR", &["INFO"], &["ERROR"]);
    check(r#""a \"b\" \\""#, &[r#"xa "b" \x"#], &["a b"]);
    check("%AUTHORIZED%", &["UNAUTHORIZED", "AUTHORIZED"], &["authorized"]);
    check("%^[Ee]rror|[Ff]ail$%", &["error", "to Fail"], &["an Error "]);
    check(r"%10\.10\.0\.\d{1,3}%", &["at 10.10.0.250"], &["10a10.0.1"]);
    check(r"ERROR -%40[0-3]%", &["ERROR 404"], &["ERROR 401", "404"]);
}

#[test]
fn fields_are_counted_and_asked_one_by_one() {
    let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    for text in [
        "[ip, user, username, timestamp, request, status_code, bytes]",
        "[..., status_code, bytes]",
        "[ip, user, ..., status_code, bytes]",
        "[ip, user, ...]",
        "[...]",
        "[]",
        "[ip, user, username, timestamp, request, status_code, bytes > 1000]",
        "[..., request =*.html*, status_code = 4*,]",
        "[..., status_code = 403 || status_code = 404, bytes]",
        "[..., status_code = 4* && status_code != 403, bytes]",
        "[..., status_code = %4\\d{2}%, bytes]",
        "[,,,,,,]",
        "[w1 = \"127.0.0.1\", ...]",
        "[..., bytes >= 1.534e3]",
        "[ip, user, username, timestamp, request, status_code, bytes, ...]",
    ] {
        check(text, &[line], &[""; 0]);
    }
    for text in [
        "[ip, user]",
        "[a, b, c, d, e, f, g, ..., h]",
        "[..., bytes > 2000]",
        "[..., status_code = 5*, bytes]",
        "[..., request < 3, s, b]",
        "[ip = 127, ...]",
    ] {
        check(text, &[], &[line]);
    }
    check(
        "[w1=ERROR || w1=WARN, w2]",
        &["ERROR message", "  WARN\tmessage\n"],
        &["ERROR WARN message", "ERROR"],
    );
    check("[a, b]", &["[x y] \"\"", "\"open [again"], &["[x y z]"]);
}

#[test]
fn members_of_json_are_compared_as_texts_or_numbers() {
    let line = r#" {"a":"x","n":404,"f":-1.5e3,"t":true,"z":null,"o":{"b":["v",{"c":2},[7,8]]},"s":"404","e":"a\"\u0041\/"} "#;
    for text in [
        "{ $.a = x }",
        "{ $.a = \"x\" }",
        "{ $.a = * }",
        "{$.a=x&&$.n=404}",
        "{ $.n = 404.0 && $.n = 4.04e2 && $.n = \"404\" && $.n = 40* }",
        "{ $.s = 404 && $.s >= 404 && $.s < 405 }",
        "{ $.f < -1499 && $.f = -1500 }",
        "{ $.n > +403 }",
        "{ $.t IS TRUE && $.t = true }",
        "{ $.z IS NULL }",
        "{ $.z EXISTS && $.q NOT EXISTS && $.a.b NOT EXISTS }",
        "{ $.o.b[0] = \"v\" }",
        "{ $.o.b[1].c = 2 && $.o.b[2][1] = 8 }",
        "{ $.o.b[*] = v }",
        "{ $.q != x && $.z != x }",
        "{ $.o.*[0] = v }",
        "{ $.o['b'][0] = v && $.o.[\"b\"][0] = v }",
        "{ $.e = \"a\\\"A/\" }",
        "{ $.a = y || $.n = 404 && $.a = x }",
        "{ (($.a = y || $.n = 404)) && ($.a != \"y\") }",
        "{ $.a = %^[x-z]$% }",
        "{ $.a is not null || $.a exists }",
    ] {
        if text.contains("is not") {
            assert_eq!(
                FilterPattern::parse(text).unwrap_err().to_string(),
                "Invalid character(s) in term 'i'"
            );
            continue;
        }
        check(text, &[line], &[]);
    }
    for text in [
        "{ $.a != x }",
        "{ $.q = * }",
        "{ $.o.b[*] != v && $.q EXISTS }",
        "{ $.q[*] != v }",
        "{ $.o = x }",
        "{ $.o != x }",
        "{ $.z = null }",
        "{ $.a > 3 }",
        "{ $.t IS FALSE }",
        "{ $.o.b[3] EXISTS }",
        "{ $.o.b[*] NOT EXISTS }",
        "{ $.a[0] = x }",
        "{ $.a = \"X\" }",
        "{ $.A = x }",
    ] {
        check(text, &[], &[line]);
    }
}

#[test]
fn asterisks_within_a_text_stand_for_themselves() {
    check("{ $.a = \"Ev*ent\" }", &[r#"{"a":"Ev*ent"}"#], &[r#"{"a":"Event"}"#]);
    check("{ $.a = \"*Ev*ent*\" }", &[r#"{"a":"xEv*enty"}"#], &[r#"{"a":"xEventy"}"#]);
    check("{ $.a = \"**\" }", &[r#"{"a":""}"#], &[]);
}

#[test]
fn of_members_of_one_name_the_first_counts() {
    check(
        "{ $.a = 1 }",
        &[r#"{"a":1,"a":2}"#, r#"{"\u0061":1}"#],
        &[r#"{"a":2,"a":1}"#, r#"{"a":2,"\u0061":1}"#],
    );
    check(
        "{ $.a.b = 1 && $.c EXISTS }",
        &[r#"{"a":{"b":1,"b":2},"c":0}"#],
        &[r#"{"a":{"b":2,"b":1},"c":0}"#],
    );
}

#[test]
fn what_is_no_json_does_not_match() {
    let absent = "{ $.a NOT EXISTS }";
    check(
        absent,
        &["{}", " { } ", "[]", "1", "\"x\"", r#"{"b":[{}]}"#],
        &[
            "",
            "x",
            "{",
            "{\"b\"}",
            "{b:1}",
            "{\"b\":1",
            "{}}",
            "{\"b\":x}",
            "{\"b\":\"\\",
            "{\"b\":[1}",
            "{\"b\":1,}",
        ],
    );
}

#[test]
fn large_integers_are_compared_exactly() {
    check("{ $.n = 9007199254740993 }", &[r#"{"n":9007199254740993}"#], &[r#"{"n":9007199254740992}"#]);
    check(
        "{ $.n > 123456789012345678 }",
        &[r#"{"n":"123456789012345679"}"#],
        &[r#"{"n":123456789012345678}"#],
    );
    check("{ $.n = 0 }", &[r#"{"n":-0.0}"#, r#"{"n":0e5}"#], &[r#"{"n":"-"}"#, r#"{"n":"inf"}"#]);
}

#[test]
fn what_is_refused_is_refused_in_the_words_of_aws() {
    let error = |text: &str| FilterPattern::parse(text).unwrap_err().to_string();
    for (text, message) in [
        ("?Status: timeout", "Invalid character(s) in term ':'"),
        ("a(b", "Invalid character(s) in term '('"),
        ("`x", "Invalid character(s) in term '`'"),
        ("\"x\":[", "Invalid character(s) in term ':'"),
        ("{ $.\"sc-status\" = 5* }", "Invalid character(s) in term '$.\"'"),
        ("{ $.a = 'Root' }", "Invalid character(s) in term '''"),
        ("%something!%", "Invalid character(s) in term '!'"),
        ("%a(b)%", "Invalid character(s) in term '('"),
        ("%é%", "Invalid character(s) in term 'é'"),
        ("\"open", "Invalid filter pattern"),
        ("{ $.a = 1", "Invalid filter pattern"),
        ("{ $.a = }", "Invalid filter pattern"),
        ("{ $.a }", "Invalid filter pattern"),
        ("{ }", "Invalid filter pattern"),
        ("{ $ = 1 }", "Invalid filter pattern"),
        ("{ $.a > \"x\" }", "Invalid filter pattern"),
        ("{ $.a[*].b[*] = 1 }", "Invalid filter pattern"),
        ("{ $.a[*]=1 || $.b[*]=1 || $.c[*]=1 || $.d[*]=1 }", "Invalid filter pattern"),
        ("{ $.a = %a% || $.a = %b% || $.a = %c% }", "Invalid filter pattern"),
        ("[a, ..., b, ...]", "Invalid filter pattern"),
        ("[a, status = 4* && bytes > 1000]", "Invalid filter pattern"),
        ("[a", "Invalid filter pattern"),
        ("[a b]", "Invalid character(s) in term 'b'"),
        ("%[%", "Invalid filter pattern"),
        ("%a{1000}{1000}%", "Invalid filter pattern"),
        ("-", "Invalid filter pattern"),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
    assert_eq!(error(&"x".repeat(1025)), "Invalid filter pattern");
    assert_eq!(error(&format!("{{{}$.a=1{}}}", "(".repeat(65), ")".repeat(65))), "Invalid filter pattern");
    pattern(&format!("{{{}$.a=1{}}}", "(".repeat(64), ")".repeat(64)));
    pattern(&"x".repeat(1024));
}

#[test]
fn what_is_named_is_extracted() {
    let extracted = |text: &str, line: &str| {
        pattern(text).extract(line.as_bytes()).into_iter().collect::<BTreeMap<_, _>>()
    };
    let line = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        extracted("[..., request=*.html*, status_code=4*,]", line),
        of(&[
            ("$status_code", "404"),
            ("$request", "GET /index.html HTTP/1.0"),
            ("$7", "1534"),
            ("$4", "10/Oct/2000:13:25:15 -0700"),
            ("$3", "frank"),
            ("$2", "-"),
            ("$1", "127.0.0.1"),
        ])
    );
    assert_eq!(
        extracted("{ $.a.b[1] = 2 && $.c = * || $.d = x }", r#"{"c":"\u00e9","a":{"b":[1,2]},"d":{}}"#),
        of(&[("$.a.b[1]", "2"), ("$.c", "é")])
    );
    assert_eq!(extracted("ERROR", "ERROR"), BTreeMap::new());
}

#[test]
fn a_selector_names_a_value_of_the_form_that_the_pattern_has() {
    let selected = |text: &str, selector: &str, line: &str| {
        let (pattern, selector) = (pattern(text), ValueSelector::parse(selector).unwrap());
        pattern.can_select(&selector).then(|| pattern.select(&selector, line.as_bytes()))
    };
    let json = r#"{"latency":50,"o":{"a":[1,"x"]}}"#;
    assert_eq!(selected("{ $.latency = * }", "$.latency", json), Some(Some("50".to_owned())));
    assert_eq!(selected("{ $.latency = * }", "$.o.a[1]", json), Some(Some("x".to_owned())));
    assert_eq!(selected("{ $.latency = * }", "$.o", json), Some(None));
    assert_eq!(selected("{ $.latency = * }", "$latency", json), None);
    assert_eq!(selected("[a, size]", "$size", "x 12"), Some(Some("12".to_owned())));
    assert_eq!(selected("[a, , b]", "$2", "x 12 y"), Some(Some("12".to_owned())));
    assert_eq!(selected("[..., b]", "$1", "x 12 y"), Some(Some("x".to_owned())));
    for selector in ["$1", "$b", "$.a", "$4"] {
        assert_eq!(selected("[a]", selector, "x"), None, "{selector}");
    }
    assert_eq!(selected("ERROR", "$.a", json), None);
    for wrong in ["", "1", "$", "$.", "latency", "$.a b", "$a.b"] {
        assert!(ValueSelector::parse(wrong).is_err(), "{wrong}");
    }
}

/// The records of a fixture folder by the name that the expectations call them.
fn records(source: &str) -> Vec<(String, String)> {
    let Some(folder) = cairn_testkit::fixtures(if source == "panther" { "panther" } else { "events" }) else {
        return Vec::new();
    };
    let folder = if source == "panther" { folder } else { folder.join(source) };
    let mut records = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(plain) = name.strip_suffix(".gz") {
            let length = u32::from_le_bytes(*bytes.last_chunk().unwrap()) as usize;
            let mut unpacked = vec![0; length];
            libdeflater::Decompressor::new().gzip_decompress(&bytes, &mut unpacked).unwrap();
            let stem = plain.to_owned();
            bytes = unpacked;
            records.extend(of_file(source, &stem, &bytes));
        } else {
            records.extend(of_file(source, &name, &bytes));
        }
    }
    records
}

fn of_file(source: &str, name: &str, bytes: &[u8]) -> Vec<(String, String)> {
    let numbered = |values: Vec<Value>| {
        let numbered = values.into_iter().enumerate();
        numbered.map(|(at, record)| (format!("{name}#{at}"), record.to_string())).collect()
    };
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        if source == "panther" {
            let tests = value["tests"].as_array().unwrap();
            let rule = value["rule_id"].as_str().or_else(|| value["id"].as_str()).unwrap_or(name);
            let events = tests.iter().enumerate();
            let named = events.map(|(at, test)| {
                let at = test["index"].as_u64().map_or(at, |index| index as usize);
                (format!("{rule}#{at}"), test["event"].to_string())
            });
            return named.collect();
        }
        return numbered(value["Records"].as_array().or_else(|| value.as_array()).unwrap().clone());
    }
    let text = std::str::from_utf8(bytes).unwrap();
    numbered(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn the_fourteen_security_hub_patterns_find_what_they_should_in_real_records() {
    let (Some(controls), Some(expected)) =
        (fixture("securityhub_cloudwatch_1_14"), fixture("securityhub_expected_on_events"))
    else {
        return;
    };
    let mut hits = 0;
    for source in ["invictus", "stratus", "otrf", "panther"] {
        let records = records(source);
        assert!(!records.is_empty());
        for control in controls.as_array().unwrap() {
            let filter = pattern(control["pattern"].as_str().unwrap());
            let found: Vec<&str> = records
                .iter()
                .filter(|(_, record)| {
                    let is_match = filter.matches(record.as_bytes());
                    assert_eq!(is_match, filter.matches_by_scan(record.as_bytes()));
                    is_match
                })
                .map(|(name, _)| name.as_str())
                .collect();
            let name = control["control"].as_str().unwrap();
            let wanted = &expected[name][source];
            assert_eq!(
                found.len() as u64,
                wanted["count"].as_u64().unwrap_or(0),
                "{name} in {source}: {found:?}"
            );
            for reference in wanted["refs"].as_array().into_iter().flatten() {
                assert!(found.contains(&reference.as_str().unwrap()), "{name}: {reference}, found {found:?}");
            }
            hits += found.len();
        }
    }
    assert!(hits > 50, "{hits}");
}

/// The judge: walks a value as serde_json builds it.
fn judge(value: &Value, steps: &[&str], asked: &dyn Fn(&Value) -> bool) -> bool {
    let Some((step, rest)) = steps.split_first() else { return asked(value) };
    match (*step, value) {
        ("[*]", Value::Array(elements)) => elements.iter().any(|element| judge(element, rest, asked)),
        (".*", Value::Object(members)) => members.values().any(|member| judge(member, rest, asked)),
        (step, Value::Array(elements)) => {
            let index = step.strip_prefix('[').and_then(|step| step.strip_suffix(']'));
            let index = index.and_then(|index| index.parse::<usize>().ok());
            index.and_then(|index| elements.get(index)).is_some_and(|element| judge(element, rest, asked))
        }
        (step, Value::Object(members)) => {
            let member = step.strip_prefix('.').and_then(|name| members.get(name));
            member.is_some_and(|member| judge(member, rest, asked))
        }
        _ => false,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn arbitrary_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop::sample::select(vec!["abc", "abcd", "xabc", "", "\"\\/é\u{1}", "abc abc"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_plain_evaluator_decides_alike(
        value in arbitrary_json(),
        is_pretty in any::<bool>(),
        conditions in prop::collection::vec((
            prop::collection::vec(prop::sample::select(vec![".a", ".b", ".c", "[0]", "[1]"]), 1..4),
            prop::option::of(prop::sample::select(vec!["[*]", ".*"])),
            0_usize..6,
        ), 1..4),
        is_any in any::<bool>(),
    ) {
        let line = if is_pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut texts = Vec::new();
        let mut held = Vec::new();
        for (mut steps, wildcard, kind) in conditions {
            steps.extend(wildcard);
            let path = steps.concat();
            let is_there = judge(&value, &steps, &|_| true);
            let (text, holds) = match kind {
                0 => ("= \"abc*\"", judge(&value, &steps, &|found| text_of(found).is_some_and(|text| text.starts_with("abc")))),
                1 => ("!= \"abc\"", (!is_there && wildcard.is_none()) || judge(&value, &steps, &|found| {
                    found.is_null() || text_of(found).is_some_and(|text| text != "abc")
                })),
                2 => (">= 1", judge(&value, &steps, &|found| found.as_i64().is_some_and(|number| number >= 1))),
                3 => ("NOT EXISTS", !is_there),
                4 => ("IS NULL", judge(&value, &steps, &Value::is_null)),
                _ => ("EXISTS", is_there),
            };
            texts.push(format!("(${path} {text})"));
            held.push(holds);
        }
        let text = format!("{{ {} }}", texts.join(if is_any { " || " } else { " && " }));
        let wanted = if is_any { held.contains(&true) } else { !held.contains(&false) };
        let filter = pattern(&text);
        prop_assert_eq!(filter.matches(line.as_bytes()), wanted, "{} on {}", text, line);
        prop_assert_eq!(filter.matches_by_scan(line.as_bytes()), wanted);
        // A line that is cut off is no JSON, or was decided before; in no case does it panic.
        for cut in 0..line.len() {
            let _ = filter.matches(&line.as_bytes()[..cut]);
            let _ = filter.extract(&line.as_bytes()[..cut]);
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_refused_and_any_line_matches_or_not(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", "$", ".a", "[0]", "[*]", ".*", "=", "!=", ">", "\"", "%", "\\", "*", "x", "1", "-", "?", ",", "...",
            "&&", "||", "(", ")", " ", "IS NULL", "NOT EXISTS", "$.a = 1", "é", "\u{0}", "1e5", ":",
        ]), 0..16),
        line in ".{0,40}",
    ) {
        let text = parts.concat();
        for text in [text.clone(), format!("{{{text}}}"), format!("[{text}]")] {
            if let Ok(pattern) = FilterPattern::parse(&text) {
                for line in [line.as_str(), text.as_str(), "{\"a\":[1,{\"a\":\"x\"}]}"] {
                    prop_assert_eq!(pattern.matches(line.as_bytes()), pattern.matches_by_scan(line.as_bytes()));
                    let _ = pattern.extract(line.as_bytes());
                }
            }
            let _ = ValueSelector::parse(&text);
        }
    }
}
