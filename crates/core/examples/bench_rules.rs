//! How many events a second are matched against many rules, by the index and by trying each. Prints one JSON object.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use cairn_core::event_pattern::{EventPattern, RuleIndex};
use serde_json::{Value, json};

const COUNTS: [usize; 3] = [10, 1_000, 10_000];
const EVENTS: usize = 500;
/// The fastest round counts, since a busy machine only ever makes it slower.
const ROUNDS: usize = 20;
const TRIED_EVENTS: usize = 20;
const EVENT_NAMES: usize = 400;

/// An event as EventBridge has it, around a CloudTrail record of the usual size.
fn event(number: usize) -> String {
    let name = format!("Operation{}", number % EVENT_NAMES);
    json!({
        "version": "0", "id": format!("3e3c153a-8339-4e30-8c35-{number:012}"),
        "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "account": "111122223333",
        "time": "2026-11-21T10:00:00Z", "region": "us-east-1", "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole", "principalId": "AROAEXAMPLEROLE00000:session",
                "arn": format!("arn:aws:sts::111122223333:assumed-role/role-{}/session", number % 50),
                "accountId": "111122223333", "accessKeyId": "ASIAEXAMPLE000000000",
                "sessionContext": {
                    "sessionIssuer": { "type": "Role", "principalId": "AROAEXAMPLEROLE00000", "arn": "arn:aws:iam::111122223333:role/role", "accountId": "111122223333", "userName": "role" },
                    "attributes": { "creationDate": "2026-11-21T09:00:00Z", "mfaAuthenticated": "false" },
                },
            },
            "eventTime": "2026-11-21T10:00:00Z", "eventSource": "ec2.amazonaws.com", "eventName": name,
            "awsRegion": "us-east-1", "sourceIPAddress": "203.0.113.9",
            "userAgent": "aws-cli/2.15.0 Python/3.11.6 Linux/6.1 source/x86_64 prompt/off command/ec2",
            "requestParameters": { "instancesSet": { "items": [{ "instanceId": format!("i-{number:017x}") }] }, "bucketName": format!("bucket-{}", number % 3000) },
            "responseElements": { "requestId": "59dbff89-35bd-4eac-99ed-be587EXAMPLE", "instancesSet": { "items": [{ "instanceId": format!("i-{number:017x}"), "currentState": { "code": 64, "name": "stopping" }, "previousState": { "code": 16, "name": "running" } }] } },
            "requestID": "59dbff89-35bd-4eac-99ed-be587EXAMPLE", "eventID": format!("7a2b1f0e-0000-4000-8000-{number:012}"),
            "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true,
            "recipientAccountId": "111122223333", "eventCategory": "Management",
        },
    })
    .to_string()
}

/// Rules that share nothing but the service: each is for an operation of its own.
fn apart(number: usize) -> Value {
    json!({
        "source": ["aws.ec2"], "detail-type": ["AWS API Call via CloudTrail"],
        "detail": { "eventSource": ["ec2.amazonaws.com"], "eventName": [format!("Operation{number}")] },
    })
}

/// Rules that all are for the same few operations, and differ in whom and what they are about.
fn sharing(number: usize) -> Value {
    json!({
        "source": ["aws.ec2"], "detail-type": ["AWS API Call via CloudTrail"],
        "detail": {
            "eventSource": ["ec2.amazonaws.com"],
            "eventName": ["Operation1", "Operation2", "Operation3", { "prefix": "Operation4" }],
            "userIdentity": { "arn": [{ "wildcard": format!("arn:aws:sts::*:assumed-role/role-{}/*", number % 100) }] },
            "requestParameters": { "bucketName": [{ "anything-but": { "prefix": format!("bucket-{number}") } }] },
            "errorCode": [{ "exists": false }],
        },
    })
}

fn fastest(mut run: impl FnMut()) -> Duration {
    (0..ROUNDS).fold(Duration::MAX, |fastest, _| {
        let begun = Instant::now();
        run();
        fastest.min(begun.elapsed())
    })
}

#[allow(clippy::cast_precision_loss, reason = "small counts")]
fn main() {
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let mut rows = Vec::new();
    for (kind, rule) in [("apart", apart as fn(usize) -> Value), ("sharing", sharing)] {
        for count in COUNTS {
            let patterns: Vec<EventPattern> = (0..count)
                .map(|number| EventPattern::parse(&rule(number).to_string()).expect("a pattern written here"))
                .collect();
            let mut index = RuleIndex::new();
            patterns.iter().enumerate().for_each(|(number, pattern)| index.insert(number, pattern.clone()));
            let mut matches = 0;
            let indexed = fastest(|| {
                matches = events.iter().map(|event| black_box(index.matching(event)).len()).sum();
            });
            let each = fastest(|| {
                for event in &events[..TRIED_EVENTS] {
                    black_box(patterns.iter().filter(|pattern| pattern.matches(event)).count());
                }
            });
            rows.push(json!({
                "rules": kind, "count": count, "matches_an_event": matches as f64 / EVENTS as f64,
                "indexed_per_second": EVENTS as f64 / indexed.as_secs_f64(),
                "each_per_second": TRIED_EVENTS as f64 / each.as_secs_f64(),
            }));
        }
    }
    let bytes = events.iter().map(String::len).sum::<usize>() / EVENTS;
    println!("{}", json!({ "event_bytes": bytes, "rows": rows }));
}
