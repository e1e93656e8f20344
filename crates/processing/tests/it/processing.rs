//! What a processor does with messages, files and events where nothing is wrong for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_core::Entropy;
use cairn_processing::{Event, FileKinds, HandlerError, LogFile, Options, Outcome, Processor, Progress};
use cairn_testkit::SeededEntropy;

use crate::fakes::{
    Buckets, Handled, Queue, content, file, fill, options, pause, processor, run_until_empty,
};

const LONG: Duration = Duration::from_secs(24 * 60 * 60);

fn parts(seed: u64) -> (Arc<Queue>, Arc<Buckets>, Handled) {
    (Arc::default(), Arc::new(Buckets::new(seed)), Handled::default())
}

#[tokio::test(start_paused = true)]
async fn every_event_is_handled_once_and_no_message_is_left() {
    let (queue, buckets, handled) = parts(1);
    let all = fill(&queue, &buckets, 40, 33);
    let processor = processor(&queue, &buckets, &handled).build().unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!(handled.ids(), all);
    let totals = processor.totals();
    assert_eq!((totals.messages_received, totals.messages_deleted), (40, 40));
    assert_eq!((totals.files_handled, totals.events_handled, totals.failures), (40, 40 * 33, 0));
}

#[tokio::test(start_paused = true)]
async fn downloads_that_break_off_go_on_where_they_were() {
    for seed in 0..20 {
        let (queue, mut buckets, handled) = parts(seed);
        Arc::get_mut(&mut buckets).unwrap().breaks = 60;
        let all = fill(&queue, &buckets, 12, 300);
        queue.receives_fail.store(3, Ordering::SeqCst);
        queue.deletes_fail.store(5, Ordering::SeqCst);
        let options = Options { attempts_max: 1000, pollers: 2, ..options() };
        let processor = processor(&queue, &buckets, &handled).options(options).build().unwrap();
        run_until_empty(&processor, &queue, LONG).await;
        assert_eq!(handled.ids(), all, "seed {seed}");
        assert!(buckets.resumed.load(Ordering::SeqCst) > 0, "seed {seed}");
        assert_eq!(processor.totals().messages_received, 12, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_fail_at_random_lose_nothing() {
    for seed in 0..10 {
        let (queue, mut buckets, handled) = parts(seed);
        Arc::get_mut(&mut buckets).unwrap().breaks = 20;
        let all = fill(&queue, &buckets, 20, 50);
        let (entropy, kept) = (Arc::new(SeededEntropy::new(seed)), handled.clone());
        let handler = move |events: Vec<Event>| {
            let mut chance = [0];
            entropy.fill(&mut chance);
            assert!(chance[0] > 8, "a handler that panics");
            let failed = chance[0] < 40;
            if !failed {
                kept.take(&events);
            }
            async move { if failed { Err::<(), HandlerError>("at random".into()) } else { Ok(()) } }
        };
        let processor =
            Processor::builder(queue.clone(), buckets.clone(), handler).options(options()).build().unwrap();
        run_until_empty(&processor, &queue, LONG).await;
        assert_eq!(queue.left(), 0, "seed {seed}");
        let mut ids = handled.ids();
        assert!(ids.len() >= all.len());
        ids.dedup();
        assert_eq!(ids, all, "seed {seed}");
        assert!(processor.totals().messages_failed > 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_hidden_as_long_as_it_is_worked_on() {
    let (queue, buckets, handled) = parts(1);
    let all = fill(&queue, &buckets, 3, 20);
    let kept = handled.clone();
    let handler = move |events: Vec<Event>| {
        kept.take(&events);
        async {
            pause(Duration::from_secs(100)).await;
            Ok::<(), HandlerError>(())
        }
    };
    let options = Options { visibility_timeout: Duration::from_secs(30), ..options() };
    let processor = Processor::builder(queue.clone(), buckets, handler).options(options).build().unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!(handled.ids(), all);
    // Three batches of 100 seconds each, and a beat every 15 seconds.
    assert!((57..=63).contains(&queue.extensions.load(Ordering::SeqCst)));
    assert_eq!(processor.totals().messages_received, 3);
}

#[tokio::test(start_paused = true)]
async fn batches_keep_to_their_number_and_size_and_the_files_order() {
    for (events_max, size_max, expected) in
        [(7, 1 << 20, 7), (1, 1 << 20, 1), (100, 1, 100), (1000, 1 << 20, 500)]
    {
        let (queue, buckets, _) = parts(1);
        let all = fill(&queue, &buckets, 1, 500);
        let seen: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let handler = move |events: Vec<Event>| {
            let ids = events.iter().map(|event| event.event_id.clone().unwrap()).collect();
            assert!(events.windows(2).all(|pair| pair[1].index() == pair[0].index() + 1));
            kept.lock().unwrap().push(ids);
            async { Ok::<(), HandlerError>(()) }
        };
        let options =
            Options { max_events_per_emit: events_max, emit_size_bytes_max: size_max, ..Options::default() };
        let processor = Processor::builder(queue.clone(), buckets, handler).options(options).build().unwrap();
        run_until_empty(&processor, &queue, LONG).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.concat(), all, "in the file's order");
        assert!(seen.iter().all(|batch| (1..=expected).contains(&batch.len())));
        if size_max > 1 {
            assert!(seen[..seen.len() - 1].iter().all(|batch| batch.len() == expected), "batches are full");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_files_are_read_at_once_than_their_memory_allows() {
    let (queue, buckets, handled) = parts(1);
    let all = fill(&queue, &buckets, 60, 40);
    let mut options = Options { messages_in_parallel: 50, pollers: 3, ..options() };
    options.memory_size_bytes_max = options.file_memory_bytes() * 3;
    let processor = processor(&queue, &buckets, &handled).options(options).build().unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!(handled.ids(), all);
    assert_eq!(buckets.reading_most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn filters_pass_over_events_and_messages() {
    let (queue, buckets, handled) = parts(1);
    fill(&queue, &buckets, 4, 10);
    let processor = processor(&queue, &buckets, &handled)
        .event_filter(|event| event.event_id.as_ref().is_some_and(|id| id.ends_with('3')))
        .source_filter(|message, files| message.receive_count().is_none() && files != [file(2)])
        .build()
        .unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!(handled.ids(), ["0000-0003", "0001-0003", "0003-0003"]);
    assert_eq!((processor.totals().events_filtered_out, queue.left()), (27, 0));
}

#[tokio::test(start_paused = true)]
async fn messages_that_ask_for_nothing_are_deleted() {
    let (queue, buckets, handled) = parts(1);
    let s3_event = |event: &str, key: &str| {
        format!(
            r#"{{"Records":[{{"eventName":"{event}","s3":{{"bucket":{{"name":"logs"}},"object":{{"key":"{key}"}}}}}}]}}"#
        )
    };
    queue.send(r#"{"Message":"CloudTrail validation message."}"#);
    queue.send(s3_event(
        "ObjectCreated:Put",
        "AWSLogs/1/CloudTrail-Digest/r/1_CloudTrail-Digest_r_t_r_20261120T172000Z.json.gz",
    ));
    queue.send(s3_event("ObjectCreated:Put", "AWSLogs/1/CloudTrail/"));
    queue.send(s3_event(
        "ObjectCreated:Put",
        "AWSLogs/1/CloudTrail-Insight/r/1_CloudTrail-Insight_r_20261120T1720Z_a.json.gz",
    ));
    queue.send(s3_event("ObjectRemoved:Delete", &file(0).key));
    let processor = processor(&queue, &buckets, &handled).build().unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!((queue.left(), processor.totals().failures), (0, 0));

    let insight = "AWSLogs/1/CloudTrail-Insight/r/1_CloudTrail-Insight_r_20261120T1720Z_a.json.gz";
    buckets.put(&LogFile { bucket: "logs".into(), key: insight.into() }, content(&["insight".into()]));
    queue.send(s3_event("ObjectCreated:Put", insight));
    let all_kinds = Options { file_kinds: FileKinds::ALL, ..options() };
    let processor = crate::fakes::processor(&queue, &buckets, &handled).options(all_kinds).build().unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    assert_eq!(handled.ids(), ["insight"]);
}

#[tokio::test(start_paused = true)]
async fn progress_tells_each_step() {
    let (queue, buckets, handled) = parts(1);
    fill(&queue, &buckets, 1, 10);
    let steps: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&steps);
    let processor = processor(&queue, &buckets, &handled)
        .progress(move |progress| {
            let step = match progress {
                Progress::Polled { messages: 0 } => return,
                Progress::Polled { messages } => format!("polled {messages}"),
                Progress::MessageRead { message, .. } => format!("read {}", message.id),
                Progress::FileBegun { file, .. } => format!("begun {}", file.account_id().unwrap()),
                Progress::FileHandled { counts, .. } => format!("handled {}", counts.events_handled),
                Progress::MessageDone { outcome, .. } => {
                    assert_eq!(*outcome, Outcome::Handled);
                    "done".to_owned()
                }
                Progress::MessageDeleted { .. } => "deleted".to_owned(),
                _ => "more".to_owned(),
            };
            kept.lock().unwrap().push(step);
        })
        .build()
        .unwrap();
    run_until_empty(&processor, &queue, LONG).await;
    let expected = ["polled 1", "read m0", "begun 111122223333", "handled 10", "done", "deleted"];
    assert_eq!(*steps.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_lets_work_be_finished_and_cuts_off_what_takes_too_long() {
    for (takes_s, is_finished) in [(50, true), (70, false)] {
        let (queue, buckets, handled) = parts(1);
        fill(&queue, &buckets, 2, 5);
        let (kept, begun) = (handled.clone(), Arc::new(AtomicUsize::new(0)));
        let begun_in_handler = Arc::clone(&begun);
        let handler = move |events: Vec<Event>| {
            let kept = kept.clone();
            begun_in_handler.fetch_add(1, Ordering::SeqCst);
            async move {
                pause(Duration::from_secs(takes_s)).await;
                kept.take(&events);
                Ok::<(), HandlerError>(())
            }
        };
        let processor =
            Processor::builder(queue.clone(), buckets, handler).options(options()).build().unwrap();
        processor
            .run(async {
                while begun.load(Ordering::SeqCst) < 2 {
                    pause(Duration::from_millis(10)).await;
                }
            })
            .await;
        assert_eq!(queue.left(), if is_finished { 0 } else { 2 });
        assert_eq!(handled.ids().len(), if is_finished { 10 } else { 0 });
        assert_eq!(processor.totals().failures, if is_finished { 0 } else { 2 });
    }
}
