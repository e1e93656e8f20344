//! Messages through a queue: each client sends, receives and deletes, one call after the other, on a connection of its own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connection::Connection;
use super::server::Process;
use super::signed::Signer;
use super::{Failure, Settings, now, quantile_ms};

/// Calls that find nothing, one after the other, before a queue counts as empty.
const EMPTY_CALLS: usize = 3;

/// The calls of one queue.
struct Queue<'a> {
    signer: &'a Signer,
    url: &'a str,
    batch: usize,
    /// Signed once: a signature holds for minutes.
    send: Vec<u8>,
    receive: Vec<u8>,
}

impl<'a> Queue<'a> {
    fn new(signer: &'a Signer, url: &'a str, batch: usize, body_bytes: usize) -> Result<Self, Failure> {
        let body = "m".repeat(body_bytes);
        let (operation, sent) = if batch == 1 {
            ("SendMessage", json!({"QueueUrl": url, "MessageBody": body}))
        } else {
            let entry = |number: usize| json!({"Id": number.to_string(), "MessageBody": body});
            let entries: Vec<_> = (0..batch).map(entry).collect();
            ("SendMessageBatch", json!({"QueueUrl": url, "Entries": entries}))
        };
        let asked = json!({"QueueUrl": url, "MaxNumberOfMessages": batch});
        let send = call(signer, operation, &sent)?;
        let receive = call(signer, "ReceiveMessage", &asked)?;
        Ok(Self { signer, url, batch, send, receive })
    }

    fn delete(&self, handles: &[String]) -> Result<Vec<u8>, Failure> {
        if self.batch == 1 {
            let handle = handles.first().ok_or("nothing to delete")?;
            let deleted = json!({"QueueUrl": self.url, "ReceiptHandle": handle});
            return call(self.signer, "DeleteMessage", &deleted);
        }
        let entry = |(number, handle)| json!({"Id": usize::to_string(&number), "ReceiptHandle": handle});
        let entries: Vec<_> = handles.iter().enumerate().map(entry).collect();
        call(self.signer, "DeleteMessageBatch", &json!({"QueueUrl": self.url, "Entries": entries}))
    }
}

fn call(signer: &Signer, operation: &str, input: &Value) -> Result<Vec<u8>, Failure> {
    let target = format!("AmazonSQS.{operation}");
    let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
    signer.post("/", "sqs", &headers, input.to_string().as_bytes())
}

/// What one client did.
#[derive(Default)]
struct Work {
    sent: usize,
    deleted: usize,
    times: Vec<Duration>,
}

impl Work {
    fn exchange<'a>(&mut self, connection: &'a mut Connection, request: &[u8]) -> Result<&'a [u8], Failure> {
        let begun = now();
        let answer = connection.exchange(request)?;
        self.times.push(begun.elapsed());
        Ok(answer)
    }

    fn send(&mut self, connection: &mut Connection, queue: &Queue<'_>) -> Result<(), Failure> {
        let answer = self.exchange(connection, &queue.send)?;
        complete(answer)?;
        self.sent += queue.batch;
        Ok(())
    }

    /// Receives and deletes; gives how many messages that were.
    fn take(&mut self, connection: &mut Connection, queue: &Queue<'_>) -> Result<usize, Failure> {
        let handles = handles(self.exchange(connection, &queue.receive)?)?;
        if !handles.is_empty() {
            let request = queue.delete(&handles)?;
            complete(self.exchange(connection, &request)?)?;
            self.deleted += handles.len();
        }
        Ok(handles.len())
    }
}

/// Refuses an answer of a batch that failed in part.
fn complete(answer: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(answer);
    match serde_json::from_str::<Value>(&text) {
        Ok(answer) if answer["Failed"].as_array().is_some_and(|failed| !failed.is_empty()) => {
            Err(text.into_owned().into())
        }
        _ => Ok(()),
    }
}

fn handles(answer: &[u8]) -> Result<Vec<String>, Failure> {
    let answer: Value = serde_json::from_slice(answer)?;
    let handle = |message: &Value| message["ReceiptHandle"].as_str().map(str::to_owned);
    let found = answer["Messages"].as_array().into_iter().flatten().map(handle);
    found.collect::<Option<_>>().ok_or_else(|| "a message without a receipt handle".into())
}

fn work(queue: &Queue<'_>, begun: Instant, span: Duration) -> Result<Work, Failure> {
    let mut connection = Connection::open(&queue.signer.place)?;
    let mut work = Work::default();
    while begun.elapsed() < span {
        work.send(&mut connection, queue)?;
        work.take(&mut connection, queue)?;
    }
    Ok(work)
}

/// Works for `seconds` with `clients` connections; then takes what is left, so that no message was lost.
pub(super) fn run(settings: &Settings) -> Result<Value, Failure> {
    let signer = Signer::of_environment()?;
    let process = Process::new(settings.text("pid")?.parse()?);
    let (batch, clients) = (settings.or("batch", 1)?, settings.or("clients", 1_usize)?);
    let queue = Queue::new(&signer, settings.text("queue")?, batch, settings.or("body_bytes", 1024)?)?;
    let span = Duration::from_secs_f64(settings.or("seconds", 3.0)?);
    let watch = process.watch_memory();
    let (cpu, begun) = (process.cpu_seconds()?, now());
    let mut all = Work::default();
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(|| work(&queue, begun, span))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client panicked")?).collect()
    });
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process.cpu_seconds()? - cpu);
    for work in done {
        let work = work?;
        all.sent += work.sent;
        all.deleted += work.deleted;
        all.times.extend(work.times);
    }
    let through = all.deleted;
    all.times.sort_unstable();
    let (p50_ms, p99_ms) = (quantile_ms(&all.times, 0.5), quantile_ms(&all.times, 0.99));
    let mut connection = Connection::open(&signer.place)?;
    let mut empty = 0;
    while empty < EMPTY_CALLS {
        empty = if all.take(&mut connection, &queue)? == 0 { empty + 1 } else { 0 };
    }
    // More is at least once, as queues promise: moto's threads take some twice.
    if all.deleted < all.sent {
        return Err(format!("{} messages were sent, {} were received", all.sent, all.deleted).into());
    }
    Ok(json!({
        "messages": through,
        "messages_per_second": (through as f64 / seconds).round(),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "cpu_seconds_per_million": cpu * 1e6 / through as f64,
        "resident_mb_max": watch.end(),
    }))
}
