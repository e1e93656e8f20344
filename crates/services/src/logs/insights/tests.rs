//! Queries over a few rows, as text.

use super::parse::parse;
use super::*;

/// What a query makes of lines, a row a line: the shown values between ` | `.
fn check(query: &str, lines: &[&str], expected: &[&str]) {
    let commands = parse(query).unwrap_or_else(|malformed| panic!("{query}: {malformed}"));
    let rows = lines.iter().enumerate().map(|(at, line)| {
        let timestamp_ms = 1_795_281_866_000 + i64::try_from(at).unwrap() * 60_000;
        let fields = [("@message", *line), ("@timestamp", &time_text(timestamp_ms))];
        let fields = fields.map(|(name, text)| (name.to_owned(), Cell::Text(text.to_owned())));
        Row { fields: fields.into(), json: serde_json::from_str(line).ok(), timestamp_ms }
    });
    let (first, rest) = commands.split_at(streaming(&commands));
    let rows = finish(rest, rows.filter_map(|row| step(first, row)).collect());
    let names = shown_names(&commands);
    let shown: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = names.iter().map(|name| row.value_of(name).shown().unwrap_or_else(|| "-".to_owned()));
            cells.collect::<Vec<_>>().join(" | ")
        })
        .collect();
    assert_eq!(shown, expected, "{query}");
}

const CALLS: [&str; 4] = [
    r#"{"eventName":"PutObject","errorCode":"AccessDenied","bytes":10,"user":{"name":"alice"}}"#,
    r#"{"eventName":"GetObject","bytes":30,"user":{"name":"bob"}}"#,
    r#"{"eventName":"PutObject","bytes":20,"user":{"name":"alice"}}"#,
    r#"{"eventName":"ListBuckets","user":{"name":"carol"}}"#,
];

#[test]
fn lines_are_filtered_by_their_fields() {
    check("fields eventName | filter user.name = 'alice'", &CALLS, &["PutObject", "PutObject"]);
    check("fields user.name as who | filter ispresent(errorCode)", &CALLS, &["alice"]);
    check("fields eventName | filter bytes >= 20 and not eventName like 'Get'", &CALLS, &["PutObject"]);
    check(
        "fields eventName | filter eventName in ['ListBuckets', \"GetObject\"]",
        &CALLS,
        &["GetObject", "ListBuckets"],
    );
    check(
        "fields eventName | filter (bytes = 10 or bytes = 30) and eventName like /^Get/",
        &CALLS,
        &["GetObject"],
    );
    check("fields eventName | filter eventName not like /Object/", &CALLS, &["ListBuckets"]);
    check("fields eventName | filter errorCode != 'AccessDenied' | limit 1", &CALLS, &["GetObject"]);
    check("fields @message | filter @message like 'ERROR'", &["ok", "ERROR x"], &["ERROR x"]);
}

#[test]
fn statistics_are_made_by_group() {
    check(
        "stats count(*) as calls, sum(bytes), max(bytes) by eventName | sort calls desc, eventName",
        &CALLS,
        &["PutObject | 2 | 30 | 20", "GetObject | 1 | 30 | 30", "ListBuckets | 1 | 0 | -"],
    );
    check("stats count_distinct(user.name) as users, avg(bytes) as mean", &CALLS, &["3 | 20"]);
    check(
        "stats pct(bytes, 50) as median, min(bytes), latest(eventName)",
        &CALLS,
        &["20 | 10 | ListBuckets"],
    );
    check(
        "stats count(*) by bin(2m)",
        &CALLS,
        &["2026-11-21 17:24:00.000 | 2", "2026-11-21 17:26:00.000 | 2"],
    );
}

#[test]
fn texts_are_taken_apart_sorted_and_seen_once() {
    let lines = ["GET /a 200", "GET /b 404", "PUT /a 200", "nothing"];
    check(
        "parse @message '* * *' as method, path, code | filter code = 200 | display path, method | sort method desc",
        &lines,
        &["/a | PUT", "/a | GET"],
    );
    check(
        "parse '* * *' as method, path, code | filter ispresent(path) | dedup path | display path",
        &lines,
        &["/a", "/b"],
    );
    check(
        "fields toupper(@message) as loud | sort @timestamp desc | limit 1 # the last",
        &lines,
        &["NOTHING"],
    );
}

#[test]
fn what_is_not_understood_is_refused() {
    for wrong in [
        "",
        "fields",
        "fields a |",
        "unknown x",
        "filter a = ",
        "filter (a = 1",
        "stats median(a)",
        "limit 0",
        "limit 1.5",
        "fields a b",
        "filter a like /(?<x>",
        "parse @message 'a*' as b, c",
        "filter a not b",
        "fields nosuch(a)",
        "stats count(*) by bin(5y)",
        "filter a = 'b",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
    let deep = format!("filter {}a{}", "(".repeat(1000), ")".repeat(1000));
    assert!(parse(&deep).is_err());
}
