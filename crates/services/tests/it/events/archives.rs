//! Archives and replays.

use std::time::Duration;

use cairn_core::Clock;
use serde_json::{Value, json};

use super::{Bench, body};

const BUS: &str = "arn:aws:events:us-east-1:111122223333:event-bus/default";
const ARCHIVE: &str = "arn:aws:events:us-east-1:111122223333:archive/a";

async fn archive(bench: &Bench) {
    let made = bench
        .ok(
            "CreateArchive",
            json!({"ArchiveName": "a", "EventSourceArn": BUS, "EventPattern": r#"{"source":["s"]}"#,
                   "RetentionDays": 7}),
        )
        .await;
    assert_eq!((made["ArchiveArn"].as_str(), made["State"].as_str()), (Some(ARCHIVE), Some("ENABLED")));
}

async fn replay(bench: &Bench, name: &str) -> Value {
    let now = bench.world.clock.now().seconds();
    let params = json!({"ReplayName": name, "EventSourceArn": ARCHIVE, "EventStartTime": now - 3600,
                        "EventEndTime": now + 1, "Destination": {"Arn": BUS}});
    bench.ok("StartReplay", params).await
}

#[tokio::test]
async fn what_an_archive_kept_comes_once_more_over_a_crash_too() {
    let bench = Bench::new();
    archive(&bench).await;
    let mut ids = Vec::new();
    for at in 0..3 {
        ids.push(bench.put("s", json!({ "at": at })).await);
        bench.put("other", json!({})).await;
    }
    let shown = bench.ok("DescribeArchive", json!({"ArchiveName": "a"})).await;
    assert_eq!((shown["EventCount"].as_u64(), shown["RetentionDays"].as_u64()), (Some(3), Some(7)));
    bench.rule("r", "s", "q").await;
    assert_eq!(replay(&bench, "again").await["State"], "STARTING");
    bench.events.run_replays().await.unwrap();
    let bench = bench.restarted();
    bench.events.run_replays().await.unwrap();
    bench.pay().await;
    let received = bench.received("q");
    let mut found: Vec<String> =
        received.iter().map(|message| body(message)["id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    ids.sort();
    assert_eq!(found, ids);
    assert_eq!(body(&received[0])["replay-name"], "again");
    let shown = bench.ok("DescribeReplay", json!({"ReplayName": "again"})).await;
    assert_eq!(shown["State"], "COMPLETED");
    assert_eq!(shown["Destination"], json!({ "Arn": BUS }));
    let archived = bench.ok("ListArchives", json!({})).await;
    assert_eq!(archived["Archives"][0]["EventCount"], 3, "a replay is not archived");
    assert_eq!(
        bench.ok("ListReplays", json!({"State": "COMPLETED"})).await["Replays"][0]["ReplayName"],
        "again"
    );
}

#[tokio::test]
async fn archives_let_go_of_what_is_old_and_replays_are_cancelled() {
    let bench = Bench::new();
    archive(&bench).await;
    bench.put("s", json!({})).await;
    replay(&bench, "again").await;
    let cancelled = bench.ok("CancelReplay", json!({"ReplayName": "again"})).await;
    assert_eq!(cancelled["State"], "CANCELLING");
    bench.events.run_replays().await.unwrap();
    assert_eq!(bench.ok("DescribeReplay", json!({"ReplayName": "again"})).await["State"], "CANCELLED");
    assert_eq!(
        bench.refused("CancelReplay", json!({"ReplayName": "again"})).await,
        "400 IllegalStatusException: Replay again is not in a valid state for this operation."
    );
    bench.world.clock.advance(Duration::from_secs(8 * 24 * 3600));
    bench.events.expire_archives().await.unwrap();
    assert_eq!(bench.ok("DescribeArchive", json!({"ArchiveName": "a"})).await["EventCount"], 0);
    bench.ok("DeleteArchive", json!({"ArchiveName": "a"})).await;
    assert_eq!(
        bench.refused("DescribeArchive", json!({"ArchiveName": "a"})).await,
        "400 ResourceNotFoundException: Archive a does not exist."
    );
}
