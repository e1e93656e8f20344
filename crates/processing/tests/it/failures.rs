//! What a processor does where something is wrong for good.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_processing::{Failure, Options, ProcessingError};

use crate::fakes::{Buckets, Handled, Queue, content, file, options, processor, run_until_empty};

/// Compresses.
fn gzip(text: &[u8]) -> Vec<u8> {
    cairn_core::logfile::gzip(text).into()
}

const SHORT: Duration = Duration::from_secs(50);

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

/// Runs with one message that announces `body`, and holds what is reported to `expected`.
async fn check(body: Option<Vec<u8>>, message: Option<&str>, expected: &[&str]) -> Handled {
    for is_deleted in [false, true] {
        let (queue, buckets, handled) =
            (Arc::<Queue>::default(), Arc::new(Buckets::new(1)), Handled::default());
        if let Some(body) = &body {
            buckets.put(&file(0), body.clone());
        }
        message.map_or_else(|| queue.announce(&file(0)), |message| queue.send(message));
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let options = Options { delete_message_upon_failure: is_deleted, ..options() };
        let processor = processor(&queue, &buckets, &handled)
            .options(options)
            .exceptions(move |failure: &Failure| {
                assert!(failure.message.is_some());
                kept.lock().unwrap().push(chain(&failure.error));
            })
            .build()
            .unwrap();
        run_until_empty(&processor, &queue, SHORT).await;
        assert_eq!(*seen.lock().unwrap(), expected);
        assert_eq!(queue.left(), usize::from(!is_deleted));
        let totals = processor.totals();
        assert_eq!((totals.messages_failed, totals.messages_deleted), (1, u64::from(is_deleted)));
        if is_deleted {
            return handled;
        }
    }
    unreachable!("the second turn returns")
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_not_understood_is_left_or_deleted_as_one_likes() {
    check(None, Some("hello"), &["the message is in no known form"]).await;
    let other = r#"{"s3Bucket":"logs","s3ObjectKey":["notes.txt"]}"#;
    check(None, Some(other), &["the message names no log file"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_had_is_reported() {
    let expected = "the log file could not be downloaded: GetObject failed: NoSuchKey: there is none";
    check(None, None, &[expected]).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_no_log_file_is_reported() {
    let format = |rest: &str| format!("the log file could not be read: {rest}");
    check(Some(gzip(b"[]")), None, &[&format("no log file at byte 0: expected the object of a log file")])
        .await;
    check(Some(gzip(b"{\"Records\":[{}")), None, &[&format("the log file ends early, at byte 14")]).await;
    check(
        Some(b"{\"Records\":[]}".to_vec()),
        None,
        &[&format("the log file is not gzip: invalid gzip header")],
    )
    .await;
    let whole = content(&["a".to_owned(), "b".to_owned()]);
    let mut damaged = whole.clone();
    let crc_at = damaged.len() - 8;
    damaged[crc_at] ^= 1;
    let expected = format("the log file is not gzip: corrupt gzip stream does not have a matching checksum");
    check(Some(damaged), None, &[&expected]).await;
    check(Some(Vec::new()), None, &[&expected]).await;
    let large = format!("{{\"Records\":[{{\"a\":\"{}\"}}]}}", "x".repeat(1 << 20));
    let expected = format("a record before byte 1048596 has more than 1048576 bytes");
    check(Some(gzip(large.as_bytes())), None, &[&expected]).await;
}

#[tokio::test(start_paused = true)]
async fn a_truncated_file_is_reported_after_the_events_that_are_there() {
    let ids: Vec<String> = (0..2000).map(|number| format!("{number:05}")).collect();
    let mut cut = content(&ids);
    cut.truncate(cut.len() - 9);
    let (queue, buckets, handled) = (Arc::<Queue>::default(), Arc::new(Buckets::new(1)), Handled::default());
    buckets.put(&file(0), cut);
    queue.announce(&file(0));
    let processor = processor(&queue, &buckets, &handled).build().unwrap();
    run_until_empty(&processor, &queue, SHORT).await;
    assert_eq!((queue.left(), processor.totals().files_handled), (1, 0));
    assert!(processor.totals().failures > 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_no_event_is_reported_and_the_others_are_handled() {
    let body = gzip(br#"{"Records":[{"eventID":"a"},{"eventID":},{"eventID":"c"},{"x":1}}]}"#);
    let expected = [
        "record 1 of the log file is no event: the record is not a JSON object: expected value at line 1 column 12",
        "the log file could not be read: no log file at byte 64: expected a comma or the end of the records",
    ];
    let handled = check(Some(body), None, &expected[1..]).await;
    assert_eq!(handled.ids(), Vec::<String>::new());
    let body = gzip(br#"{"Records":[{"eventID":"a"},{"eventID":},{"eventID":"c"}]}"#);
    let handled = check(Some(body), None, &[expected[0], "1 records of the log file are no events"]).await;
    assert_eq!(handled.ids(), ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_larger_than_allowed_is_not_read_to_its_end() {
    let (queue, buckets, handled) = (Arc::<Queue>::default(), Arc::new(Buckets::new(1)), Handled::default());
    buckets.put(&file(0), gzip(format!("{{\"Records\":[{}", " ".repeat(100 << 20)).as_bytes()));
    queue.announce(&file(0));
    let options = Options { file_size_bytes_max: 1 << 20, ..options() };
    let too_large: Arc<Mutex<u32>> = Arc::default();
    let seen = Arc::clone(&too_large);
    let processor = processor(&queue, &buckets, &handled)
        .options(options)
        .exceptions(move |failure| {
            assert!(matches!(failure.error, ProcessingError::Format(_)), "{failure:?}");
            *seen.lock().unwrap() += 1;
        })
        .build()
        .unwrap();
    run_until_empty(&processor, &queue, SHORT).await;
    assert_eq!(*too_large.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_failed_comes_back_when_it_is_told_to() {
    for (delay, receives) in [(None, 2), (Some(Duration::from_secs(10)), 9)] {
        let (queue, buckets, handled) =
            (Arc::<Queue>::default(), Arc::new(Buckets::new(1)), Handled::default());
        queue.announce(&file(0));
        let options = Options { redelivery_delay: delay, ..options() };
        let processor = processor(&queue, &buckets, &handled).options(options).build().unwrap();
        run_until_empty(&processor, &queue, Duration::from_secs(85)).await;
        assert_eq!(queue.receives(), [receives], "{delay:?}");
    }
}
