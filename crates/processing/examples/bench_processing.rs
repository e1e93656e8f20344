//! Consumes so many events from a queue and prints what that took, for `compat/bench.py` and the end-to-end suites.
//!
//! `bench_processing --queue-url URL --events N [--endpoint URL] [--ids FILE] [--fail-percent P] [--idle-seconds S]
//! [--put-off-seconds S]
//! [--pollers N] [--messages N] [--visibility-seconds S] [--emit N]`
//!
//! With `--put-off-seconds` every file is held to the digests of its trail; one that no digest lists yet is put off so long.
//!
//! It ends when N events were handled (each counted once, by its eventID, where `--ids` names a file to write them to)
//! and their messages deleted, or when nothing was handled for S seconds. Prints one line of JSON: `{"events", "seconds",
//! "max_rss_bytes", "cpu_seconds", …}`. The credentials and the region come from the environment.

use std::collections::HashSet;
use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_processing::aws::{Client, Settings};
use cairn_processing::{
    Backoff, DigestCheck, Entropy, Event, HandlerError, Options, Processor, Unlisted, Verification,
};
use cairn_testkit::SeededEntropy;

struct Arguments(Vec<String>);

impl Arguments {
    fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
        self.0.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
        Ok(self.text(name).map_or(Ok(default), str::parse)?)
    }
}

/// What the handler keeps.
struct Seen {
    /// Distinct ids, where they are asked for.
    ids: Option<Mutex<HashSet<String>>>,
    handled: AtomicU64,
    /// Of those, events of files that a digest lists.
    verified: AtomicU64,
    fail_percent: u8,
    entropy: SeededEntropy,
}

impl Seen {
    fn handle(&self, events: &[Event]) -> Result<(), HandlerError> {
        let mut chance = [0];
        self.entropy.fill(&mut chance);
        if chance[0] % 100 < self.fail_percent {
            return Err("the handler fails at random".into());
        }
        if let Some(ids) = &self.ids {
            let mut ids = ids.lock().map_err(|_| "the ids are poisoned")?;
            for event in events {
                ids.insert(event.event_id.clone().ok_or("an event without an id")?);
            }
        }
        let is_verified =
            |event: &&Event| matches!(event.origin().verification, Some(Verification::Verified { .. }));
        self.verified.fetch_add(events.iter().filter(is_verified).count() as u64, Ordering::Relaxed);
        self.handled.fetch_add(events.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Distinct events, as far as that is known.
    fn distinct(&self) -> u64 {
        match &self.ids {
            Some(ids) => ids.lock().map_or(0, |ids| ids.len() as u64),
            None => self.handled.load(Ordering::Relaxed),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "it measures")]
fn now() -> Instant {
    Instant::now()
}

/// CPU seconds and the most memory in bytes of this process.
fn used() -> Result<(f64, u64), Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // utime and stime, in hundredths of a second.
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok((ticks / 100.0, peak * 1024))
}

fn client(arguments: &Arguments) -> Result<Client, Box<dyn Error>> {
    let mut settings =
        Settings::from_environment(arguments.text("queue-url").ok_or("--queue-url is missing")?);
    if let Some(endpoint) = arguments.text("endpoint") {
        settings.sqs_endpoint = Some(endpoint.to_owned());
        settings.s3_endpoint = Some(endpoint.to_owned());
    }
    settings.region.get_or_insert_with(|| "us-east-1".to_owned());
    Ok(Client::new(settings)?)
}

fn options(arguments: &Arguments) -> Result<Options, Box<dyn Error>> {
    let default = Options::default();
    Ok(Options {
        pollers: usize::try_from(arguments.number("pollers", 2)?)?,
        messages_in_parallel: usize::try_from(arguments.number("messages", 20)?)?,
        max_events_per_emit: usize::try_from(arguments.number("emit", default.max_events_per_emit as u64)?)?,
        visibility_timeout: Duration::from_secs(arguments.number("visibility-seconds", 60)?),
        backoff: Backoff { longest: Duration::from_secs(2), ..default.backoff },
        ..default
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments(std::env::args().skip(1).collect());
    let events = arguments.number("events", u64::MAX)?;
    let idle = Duration::from_secs(arguments.number("idle-seconds", 30)?);
    let client = Arc::new(client(&arguments)?);
    let seen = Arc::new(Seen {
        ids: arguments.text("ids").map(|_| Mutex::default()),
        handled: AtomicU64::new(0),
        verified: AtomicU64::new(0),
        fail_percent: u8::try_from(arguments.number("fail-percent", 0)?)?,
        entropy: SeededEntropy::new(arguments.number("seed", 1)?),
    });
    let kept = Arc::clone(&seen);
    let options = options(&arguments)?;
    let mut builder = Processor::builder(client.clone(), client.clone(), move |batch: Vec<Event>| {
        let handled = kept.handle(&batch);
        async move { handled }
    })
    .options(options)
    .exceptions(|failure| eprintln!("{}", text_of(&failure.error)));
    if let Some(seconds) = arguments.text("put-off-seconds") {
        let put_off = Unlisted::PutOff(Duration::from_secs(seconds.parse()?));
        builder = builder.digest_check(DigestCheck::new(client, put_off));
    }
    let processor = builder.build()?;
    let begun = now();
    let mut ended = begun;
    let done = async {
        let (mut last, mut last_at) = (0, begun);
        while seen.distinct() < events {
            let handled = seen.handled.load(Ordering::Relaxed);
            if handled != last {
                (last, last_at) = (handled, now());
            } else if last_at.elapsed() > idle {
                break;
            }
            let _ = tokio::time::timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
        }
        ended = now();
    };
    let totals = processor.run(done).await;
    let (cpu_seconds, max_rss_bytes) = used()?;
    if let (Some(file), Some(ids)) = (arguments.text("ids"), &seen.ids) {
        let mut text = String::new();
        for id in ids.lock().map_err(|_| "the ids are poisoned")?.iter() {
            text.push_str(id);
            text.push('\n');
        }
        std::fs::write(file, text)?;
    }
    let report = serde_json::json!({
        "events": seen.distinct(),
        "events_handled": totals.events_handled,
        "events_verified": seen.verified.load(Ordering::Relaxed),
        "seconds": ended.duration_since(begun).as_secs_f64(),
        "max_rss_bytes": max_rss_bytes,
        "cpu_seconds": cpu_seconds,
        "messages_received": totals.messages_received,
        "messages_deleted": totals.messages_deleted,
        "failures": totals.failures,
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

/// An error with all that caused it.
fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
