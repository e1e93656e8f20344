//! How fast filter patterns go through CloudTrail records, a line each, on one core. Prints one JSON object: MB/s of each
//! pattern, with the search for necessary literals and by the scan alone, and how many of the lines match.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use cairn_core::Timestamp;
use cairn_core::filter_pattern::FilterPattern;
use cairn_testkit::SampleEvents;
use serde_json::{Map, Value, json};

const LINES: u64 = 4096;
/// The fastest of so many rounds counts, since a busy machine only ever makes one slower.
const ROUNDS: usize = 30;

/// What is measured: a name, and a pattern.
const PATTERNS: [(&str, &str); 7] = [
    (
        "three_clauses_rare",
        r#"{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") && ($.userIdentity.type = "IAMUser") }"#,
    ),
    // Each line has what is looked for first, and is scanned until its last clause is decided.
    (
        "three_clauses_always",
        r#"{ ($.eventSource = "*.amazonaws.com") && ($.userIdentity.type = "AssumedRole") && ($.recipientAccountId = "123837392027") }"#,
    ),
    // Decided by the end of the line alone.
    (
        "three_clauses_to_the_end",
        r#"{ ($.eventVersion = "1.*") && ($.eventName != "x") && ($.notThere NOT EXISTS) }"#,
    ),
    ("sixteen_names", SIXTEEN),
    ("deep_wildcard", r#"{ $.requestParameters.filterSet.items[*].name = "subnet-id" }"#),
    ("regular_expression", r#"{ $.eventName = %^Get.*r$% }"#),
    ("terms", r#"AssumedRole -"ConsoleLogin" "us-east-1""#),
];
const SIXTEEN: &str = "{($.eventName=DeleteGroupPolicy) || ($.eventName=DeleteRolePolicy) || ($.eventName=DeleteUserPolicy) || ($.eventName=PutGroupPolicy) || ($.eventName=PutRolePolicy) || ($.eventName=PutUserPolicy) || ($.eventName=CreatePolicy) || ($.eventName=DeletePolicy) || ($.eventName=CreatePolicyVersion) || ($.eventName=DeletePolicyVersion) || ($.eventName=AttachRolePolicy) || ($.eventName=DetachRolePolicy) || ($.eventName=AttachUserPolicy) || ($.eventName=DetachUserPolicy) || ($.eventName=AttachGroupPolicy) || ($.eventName=DetachGroupPolicy)}";

fn lines() -> Vec<Vec<u8>> {
    let samples = SampleEvents::new(1, 512);
    let line = |number| {
        let mut line = Vec::new();
        samples.write(number, Timestamp::from_millis(1_795_281_866_042), &mut line);
        line
    };
    (0..LINES).map(line).collect()
}

/// MB/s of the fastest round, and how many lines match.
fn measured(lines: &[Vec<u8>], matches: impl Fn(&[u8]) -> bool) -> (f64, usize) {
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let mut fastest = Duration::MAX;
    let mut matching = 0;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        matching = lines.iter().filter(|line| matches(black_box(line))).count();
        fastest = fastest.min(begun.elapsed());
    }
    (bytes as f64 / fastest.as_secs_f64() / 1e6, matching)
}

fn main() {
    let lines = lines();
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let mut patterns = Map::new();
    for (name, text) in PATTERNS {
        let pattern = FilterPattern::parse(text).expect("a pattern written here");
        let (with_literals, matching) = measured(&lines, |line| pattern.matches(line));
        let (by_scan, also_matching) = measured(&lines, |line| pattern.matches_by_scan(line));
        assert_eq!(matching, also_matching, "{name}");
        let figures = json!({
            "mb_s": with_literals.round(),
            "scan_mb_s": by_scan.round(),
            "matching": matching,
        });
        patterns.insert(name.to_owned(), figures);
    }
    let (value, _) =
        measured(&lines, |line| serde_json::from_slice::<Value>(line).is_ok_and(|value| value.is_object()));
    println!(
        "{}",
        json!({
            "lines": lines.len(),
            "line_bytes": bytes / lines.len(),
            "patterns": patterns,
            "serde_json_value_mb_s": value.round(),
        })
    );
}
