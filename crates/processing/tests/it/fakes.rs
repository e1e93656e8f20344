//! A queue and a bucket in memory, which break off as often as a test wants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Entropy;
use cairn_processing::{
    AccessError, Event, GetRequest, HandlerError, ListRequest, LogFile, Message, MessageSource, Object,
    ObjectSource, Options, Processor, ProcessorBuilder, ReceiveRequest,
};
use cairn_testkit::SeededEntropy;
use futures::StreamExt;
use futures::stream;
use tokio::sync::Notify;
use tokio::time::Instant;

struct Entry {
    message: Message,
    visible_at: Instant,
    receives: u32,
}

/// A queue whose time is tokio's.
#[derive(Default)]
pub(crate) struct Queue {
    entries: Mutex<Vec<Entry>>,
    changed: Notify,
    /// How many of the next receives, extensions and deletions fail.
    pub(crate) receives_fail: AtomicUsize,
    pub(crate) deletes_fail: AtomicUsize,
    pub(crate) extensions: AtomicUsize,
}

fn is_due(failures: &AtomicUsize) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Queue {
    pub(crate) fn send(&self, body: impl Into<String>) {
        let mut entries = self.entries.lock().unwrap();
        let id = format!("m{}", entries.len());
        let message = Message::new(id.clone(), id, body);
        entries.push(Entry { message, visible_at: Instant::now(), receives: 0 });
        self.changed.notify_waiters();
    }

    pub(crate) fn announce(&self, file: &LogFile) {
        let message = serde_json::json!({"s3Bucket": file.bucket, "s3ObjectKey": [file.key]}).to_string();
        self.send(serde_json::json!({"Type": "Notification", "Message": message}).to_string());
    }

    pub(crate) fn left(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    pub(crate) fn receives(&self) -> Vec<u32> {
        self.entries.lock().unwrap().iter().map(|entry| entry.receives).collect()
    }
}

#[async_trait]
impl MessageSource for Queue {
    async fn receive(&self, request: ReceiveRequest) -> Result<Vec<Message>, AccessError> {
        if is_due(&self.receives_fail) {
            return Err(AccessError::passing("ReceiveMessage", "cut"));
        }
        let until = Instant::now() + request.wait;
        loop {
            let now = Instant::now();
            let (found, next) = {
                let mut entries = self.entries.lock().unwrap();
                let visible = entries.iter_mut().filter(|entry| entry.visible_at <= now);
                let found: Vec<Message> = visible
                    .take(request.messages_max)
                    .map(|entry| {
                        entry.visible_at = now + request.visibility_timeout;
                        entry.receives += 1;
                        entry.message.clone()
                    })
                    .collect();
                (found, entries.iter().map(|entry| entry.visible_at).min())
            };
            if !found.is_empty() || now >= until {
                return Ok(found);
            }
            let next = next
                .unwrap_or(until)
                .clamp(now + Duration::from_millis(1), until.max(now + Duration::from_millis(1)));
            let _ = tokio::time::timeout_at(next, self.changed.notified()).await;
        }
    }

    async fn extend(&self, receipt_handle: &str, visibility_timeout: Duration) -> Result<(), AccessError> {
        self.extensions.fetch_add(1, Ordering::SeqCst);
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.iter_mut().find(|entry| entry.message.receipt_handle == receipt_handle);
        let gone = || AccessError::refused("ChangeMessageVisibility", "ReceiptHandleIsInvalid", "gone");
        entry.ok_or_else(gone)?.visible_at = Instant::now() + visibility_timeout;
        self.changed.notify_waiters();
        Ok(())
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<Vec<Result<(), AccessError>>, AccessError> {
        assert!((1..=10).contains(&receipt_handles.len()));
        if is_due(&self.deletes_fail) {
            return Err(AccessError::passing("DeleteMessageBatch", "cut"));
        }
        let mut results = Vec::new();
        for handle in receipt_handles {
            if is_due(&self.deletes_fail) {
                results.push(Err(AccessError::passing("DeleteMessageBatch", "busy")));
                continue;
            }
            self.entries.lock().unwrap().retain(|entry| entry.message.receipt_handle != *handle);
            results.push(Ok(()));
        }
        Ok(results)
    }
}

/// What is in a bucket of one object.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    pub(crate) body: Bytes,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) last_modified: Option<String>,
}

/// Buckets whose objects come in pieces.
pub(crate) struct Buckets {
    objects: Mutex<BTreeMap<(String, String), Stored>>,
    entropy: SeededEntropy,
    /// A body breaks off after each piece with this chance in 256.
    pub(crate) breaks: u8,
    pub(crate) piece_bytes_max: u8,
    pub(crate) reading: Arc<AtomicUsize>,
    pub(crate) reading_most: AtomicUsize,
    pub(crate) resumed: AtomicUsize,
}

impl Buckets {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            objects: Mutex::default(),
            entropy: SeededEntropy::new(seed),
            breaks: 0,
            piece_bytes_max: 255,
            reading: Arc::default(),
            reading_most: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
        }
    }

    pub(crate) fn put(&self, file: &LogFile, body: Vec<u8>) {
        self.store(file, Stored { body: body.into(), ..Stored::default() });
    }

    pub(crate) fn store(&self, file: &LogFile, stored: Stored) {
        self.objects.lock().unwrap().insert((file.bucket.clone(), file.key.clone()), stored);
    }

    fn chance(&self) -> u8 {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        byte[0]
    }
}

/// Counts a body as being read until it is dropped.
struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl ObjectSource for Buckets {
    async fn get(&self, request: GetRequest<'_>) -> Result<Object, AccessError> {
        let name = (request.bucket.to_owned(), request.key.to_owned());
        let stored = self.objects.lock().unwrap().get(&name).cloned();
        let stored = stored.ok_or_else(|| AccessError::refused("GetObject", "NoSuchKey", "there is none"))?;
        if request.offset > 0 {
            assert!(request.etag.is_some(), "a download is resumed for the same object only");
            self.resumed.fetch_add(1, Ordering::SeqCst);
        }
        if self.chance() < self.breaks {
            return Err(AccessError::passing("GetObject", "refused"));
        }
        let mut rest = stored.body.slice(usize::try_from(request.offset).unwrap()..);
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            if self.chance() < self.breaks {
                pieces.push(Err(AccessError::passing("GetObject", "cut")));
                break;
            }
            let size = usize::from(self.chance() % self.piece_bytes_max) + 1;
            pieces.push(Ok(rest.split_to(size.min(rest.len()))));
        }
        let now = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
        self.reading_most.fetch_max(now, Ordering::SeqCst);
        let reading = Reading(Arc::clone(&self.reading));
        let body = stream::iter(pieces).map(move |piece| {
            let _ = &reading;
            piece
        });
        // Others get their turn between the pieces, as they would with a network.
        let mut object = Object::new(
            body.then(|piece| async {
                tokio::task::yield_now().await;
                piece
            })
            .boxed(),
        );
        object.etag = Some(format!("\"{}\"", stored.body.len()));
        object.metadata = stored.metadata;
        object.last_modified = stored.last_modified;
        Ok(object)
    }

    async fn list(&self, request: ListRequest<'_>) -> Result<Vec<String>, AccessError> {
        let objects = self.objects.lock().unwrap();
        let keys = objects.keys().filter(|(bucket, _)| bucket == request.bucket).map(|(_, key)| key);
        let wanted = keys.filter(|key| key.starts_with(request.prefix) && key.as_str() > request.start_after);
        Ok(wanted.take(2).cloned().collect())
    }
}

/// A log file's name, of which there are as many as numbers.
pub(crate) fn file(number: usize) -> LogFile {
    let key = format!(
        "AWSLogs/111122223333/CloudTrail/us-east-1/2026/11/20/111122223333_CloudTrail_us-east-1_20261120T1720Z_{number:016}.json.gz"
    );
    LogFile { bucket: "logs".to_owned(), key }
}

/// A log file with events of these ids, compressed.
pub(crate) fn content(ids: &[String]) -> Vec<u8> {
    let records: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"eventID":"{id}","eventName":"A","requestParameters":{{"text":"}}]\"{{"}}}}"#))
        .collect();
    cairn_core::logfile::gzip(format!(r#"{{"Records":[{}]}}"#, records.join(",")).as_bytes()).into()
}

/// Puts and announces `files` files of `events` events each; gives all ids, sorted.
pub(crate) fn fill(queue: &Queue, buckets: &Buckets, files: usize, events: usize) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0..files {
        let ids: Vec<String> = (0..events).map(|event| format!("{number:04}-{event:04}")).collect();
        buckets.put(&file(number), content(&ids));
        queue.announce(&file(number));
        all.extend(ids);
    }
    all
}

/// The ids of handled events.
#[derive(Clone, Default)]
pub(crate) struct Handled(Arc<Mutex<Vec<String>>>);

impl Handled {
    pub(crate) fn take(&self, events: &[Event]) {
        let ids = events.iter().map(|event| event.event_id.clone().unwrap());
        self.0.lock().unwrap().extend(ids);
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids = self.0.lock().unwrap().clone();
        ids.sort();
        ids
    }
}

/// A processor with short waits whose handler keeps the ids.
pub(crate) fn processor(queue: &Arc<Queue>, buckets: &Arc<Buckets>, handled: &Handled) -> ProcessorBuilder {
    let handled = handled.clone();
    let handler = move |events: Vec<Event>| {
        handled.take(&events);
        async { Ok::<(), HandlerError>(()) }
    };
    Processor::builder(queue.clone(), buckets.clone(), handler).options(options())
}

pub(crate) fn options() -> Options {
    Options { max_events_per_emit: 7, ..Options::default() }
}

/// Runs until nothing is left on the queue, or for `limit`.
pub(crate) async fn run_until_empty(processor: &Processor, queue: &Queue, limit: Duration) {
    let empty = async {
        while queue.left() > 0 {
            pause(Duration::from_millis(20)).await;
        }
    };
    processor.run(async { drop(tokio::time::timeout(limit, empty).await) }).await;
}

pub(crate) async fn pause(span: Duration) {
    let _ = tokio::time::timeout(span, std::future::pending::<()>()).await;
}
