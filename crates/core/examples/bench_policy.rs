//! How long one decision takes: 10 policies of 20 statements each, of which the last allows. Prints one JSON object.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement reads the clock and prints"
)]

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_core::policy::{Document, NamedPolicy, Question, Request, Requester, Rights, decide};

const POLICIES: usize = 10;
const STATEMENTS: usize = 20;
/// Rounds of so many decisions; the fastest counts, since a busy machine only ever makes it slower.
const DECISIONS_A_ROUND: u32 = 2_000;
const ROUNDS: usize = 200;

/// Statements as people write them: most are about other services, some about other resources of the same one, some
/// have conditions that do not hold.
fn policy(number: usize) -> NamedPolicy {
    let mut text = String::from(r#"{"Version":"2012-10-17","Statement":["#);
    for at in 0..STATEMENTS {
        let last = number == POLICIES - 1 && at == STATEMENTS - 1;
        let statement = match at % 4 {
            _ if last => {
                r#""Action":["s3:Get*","s3:List*"],"Resource":"arn:aws:s3:::logs/${aws:username}/*""#
                    .to_owned()
            }
            0 => format!(
                r#""Action":["ec2:Describe*","ec2:Start*"],"Resource":"arn:aws:ec2:*:*:instance/i-{at}*""#
            ),
            1 => format!(
                r#""Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket-{number}-{at}/*""#
            ),
            2 => format!(
                r#""Action":"s3:*","Resource":"*","Condition":{{"StringLike":{{"aws:PrincipalTag/team":"team-{at}-*"}},"IpAddress":{{"aws:SourceIp":"10.{at}.0.0/16"}}}}"#
            ),
            _ => format!(
                r#""Action":"cloudtrail:*","Resource":"arn:aws:cloudtrail:*:111122223333:trail/t{at}""#
            ),
        };
        let comma = if at == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"Effect":"Allow",{statement}}}"#).expect("a String takes everything");
    }
    text.push_str("]}");
    let document = Document::parse(&text).expect("a policy written here");
    NamedPolicy { name: format!("policy-{number}"), document: Arc::new(document) }
}

fn request() -> Request {
    let context = [
        ("aws:SourceIp", "203.0.113.9"),
        ("aws:SecureTransport", "true"),
        ("aws:CurrentTime", "2026-11-21T10:00:00Z"),
        ("aws:EpochTime", "1795281866"),
        ("aws:username", "alice"),
        ("aws:userid", "AIDAEXAMPLEALICE"),
        ("aws:PrincipalArn", "arn:aws:iam::111122223333:user/alice"),
        ("aws:PrincipalAccount", "111122223333"),
        ("aws:PrincipalType", "User"),
        ("aws:RequestedRegion", "eu-west-1"),
        ("aws:UserAgent", "aws-cli/2"),
        ("aws:PrincipalTag/team", "red"),
    ];
    Request {
        requester: Requester::Identity {
            account: "111122223333".into(),
            arn: "arn:aws:iam::111122223333:user/alice".into(),
            id: "AIDAEXAMPLEALICE".into(),
            issuer: None,
        },
        action: "s3:GetObject".into(),
        resource: "arn:aws:s3:::logs/alice/2026/11/21/file.json.gz".into(),
        context: context.map(|(key, value)| (key.to_owned(), vec![value.to_owned()])).into(),
    }
}

fn main() {
    let rights = Rights { identity: (0..POLICIES).map(policy).collect(), ..Rights::default() };
    let request = request();
    let question = Question { request: &request, rights: &rights, resource: None };
    assert!(decide(&question).allowed, "the last statement allows");
    let mut fastest = Duration::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..DECISIONS_A_ROUND {
            black_box(decide(black_box(&question)));
        }
        fastest = fastest.min(begun.elapsed());
    }
    let each_us = fastest.as_secs_f64() * 1e6 / f64::from(DECISIONS_A_ROUND);
    println!(r#"{{"policies":{POLICIES},"statements_each":{STATEMENTS},"decision_us":{each_us:.3}}}"#);
}
