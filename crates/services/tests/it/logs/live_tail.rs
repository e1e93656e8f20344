//! Sessions that follow groups.

use cairn_services::Service;
use cairn_wire::{Event, Events};
use serde_json::{Value, json};

use super::{ACCOUNT, Bench};
use crate::world::call;

async fn follow(bench: &Bench, params: Value) -> Box<dyn Events> {
    let call = call("logs", "StartLiveTail", params);
    bench.logs.handle(&bench.root(), call).await.unwrap().events.unwrap()
}

async fn next(events: &mut Box<dyn Events>) -> Event {
    events.next().await.unwrap().unwrap()
}

fn texts(event: &Event) -> Vec<&str> {
    assert_eq!(event.name, "sessionUpdate");
    let results = event.value["sessionResults"].as_array().unwrap();
    results.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_session_sees_what_arrives_after_it_began() {
    let bench = Bench::with_stream().await;
    bench.stream("t").await;
    bench.put("s", &[(0, "before")]).await;
    let mut all = follow(&bench, json!({"logGroupIdentifiers": [super::group_arn("g")]})).await;
    let of_t = json!({"logGroupIdentifiers": [super::group_arn("g")], "logStreamNamePrefixes": ["t"]});
    let mut of_t = follow(&bench, of_t).await;
    assert_eq!(next(&mut all).await.name, "sessionStart");
    let start = next(&mut of_t).await;
    assert_eq!(start.value["logStreamNamePrefixes"], json!(["t"]));
    assert!(texts(&next(&mut all).await).is_empty(), "updates come also where nothing has arrived");
    bench.put("t", &[(9_000_000, "late"), (0, "now")]).await;
    bench.put("s", &[(0, "s")]).await;
    let update = next(&mut all).await;
    assert_eq!(texts(&update), ["late", "now", "s"]);
    let first = &update.value["sessionResults"][0];
    assert_eq!(first["logGroupIdentifier"], format!("{ACCOUNT}:g"));
    assert_eq!(first["logStreamName"], "t");
    assert_eq!(update.value["sessionMetadata"]["sampled"], false);
    assert_eq!(texts(&next(&mut of_t).await), ["late", "now"]);
    assert!(texts(&next(&mut all).await).is_empty());
}

#[tokio::test]
async fn more_lines_than_an_update_takes_are_sampled_and_the_session_ends() {
    let bench = Bench::with_stream().await;
    let mut tail = follow(&bench, json!({"logGroupIdentifiers": [super::group_arn("g")]})).await;
    next(&mut tail).await;
    let lines: Vec<(i64, &str)> = (0..501).map(|_| (0, "m")).collect();
    bench.put("s", &lines).await;
    let update = next(&mut tail).await;
    assert_eq!((texts(&update).len(), &update.value["sessionMetadata"]["sampled"]), (500, &json!(true)));
    bench.advance(3 * 3600);
    let end = tail.next().await.unwrap().unwrap_err();
    assert_eq!(end.code, "SessionTimeoutException");
}
