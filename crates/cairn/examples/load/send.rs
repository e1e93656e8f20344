//! Sends records and measures how fast they become durable, and when the last can be found.

use std::time::Duration;

use libdeflater::{CompressionLvl, Compressor};
use serde_json::{Value, json};

use super::connection::Connection;
use super::records::Maker;
use super::server::Process;
use super::signed::{Signer, present};
use super::{Failure, Settings, now, pause, quantile_ms};

/// How often it is asked whether the last record can be found.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// What producers' gzip has by default.
const GZIP_LEVEL: i32 = 6;

/// The requests of one connection, and the id of the last record in them.
struct Share {
    requests: Vec<Vec<u8>>,
    last: String,
}

/// Makes the requests for records `first..end`.
fn share(
    signer: &Signer,
    maker: &Maker,
    settings: &Settings,
    (first, end): (u64, u64),
) -> Result<Share, Failure> {
    let (form, step) = (settings.text("form")?, settings.or("per_request", 1000_u64)?.max(1));
    let mut requests = Vec::new();
    let mut from = first;
    while from < end {
        let numbers = from..(from + step).min(end);
        from = numbers.end;
        let request = match form {
            "audit" => {
                let events: Vec<_> = numbers.map(|number| maker.audit_event(number)).collect();
                let body = format!(r#"{{"auditEvents":[{}]}}"#, events.join(","));
                let path = format!("/PutAuditEvents?channelArn={}", escaped(settings.text("channel")?));
                let headers = [("content-type", "application/json")];
                signer.post(&path, "cloudtrail-data", &headers, body.as_bytes())?
            }
            _ => {
                let records: Vec<_> = numbers.map(|number| maker.record(number)).collect();
                let body = match form {
                    "records" => format!(r#"{{"Records":[{}]}}"#, records.join(",")),
                    _ => records.join("\n"),
                };
                let body = if form == "gzip" { gzip(body.as_bytes()) } else { body.into_bytes() };
                signer.post("/v1/events", "cairn", &[("content-type", "application/json")], &body)?
            }
        };
        requests.push(request);
    }
    Ok(Share { requests, last: maker.event_id(end - 1) })
}

fn escaped(arn: &str) -> String {
    arn.replace(':', "%3A").replace('/', "%2F")
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut compressor =
        Compressor::new(CompressionLvl::new(GZIP_LEVEL).expect("a level that libdeflate has"));
    let mut compressed = vec![0; compressor.gzip_compress_bound(body.len())];
    let size = compressor.gzip_compress(body, &mut compressed).expect("the bound is enough");
    compressed.truncate(size);
    compressed
}

/// How many records an answer says were taken.
fn taken(form: &str, answer: &[u8]) -> Result<u64, Failure> {
    let answer: Value = serde_json::from_slice(answer)?;
    let taken = match form {
        "audit" => answer["successful"].as_array().map(|taken| taken.len() as u64),
        _ => answer["accepted"].as_u64(),
    };
    taken.ok_or_else(|| answer.to_string().into())
}

/// Sends all requests, one connection a thread: how long each took, and how many records were taken.
fn send_all(place: &str, form: &str, shares: &[Share]) -> Result<(Vec<Duration>, u64), Failure> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .iter()
            .map(|share| {
                scope.spawn(move || {
                    let mut connection = Connection::open(place)?;
                    let (mut times, mut records) = (Vec::new(), 0);
                    for request in &share.requests {
                        let begun = now();
                        let answer = connection.exchange(request)?;
                        times.push(begun.elapsed());
                        records += taken(form, answer)?;
                    }
                    Ok::<_, Failure>((times, records))
                })
            })
            .collect();
        let (mut times, mut records) = (Vec::new(), 0);
        for thread in threads {
            let (own, own_records) = thread.join().map_err(|_| "a sender panicked")??;
            times.extend(own);
            records += own_records;
        }
        Ok((times, records))
    })
}

/// Sends `events` records over `connections`, and waits until the last ones are found.
pub(super) fn run(settings: &Settings) -> Result<Value, Failure> {
    let signer = Signer::of_environment()?;
    let process = Process::new(settings.text("pid")?.parse()?);
    let maker = Maker::new(settings.text("account")?, &present().iso(), settings.or("seed", 0)?);
    let (events, connections) = (settings.or("events", 300_000_u64)?, settings.or("connections", 2_u64)?);
    let form = settings.text("form")?;
    let bounds = |number: u64| (events * number / connections, events * (number + 1) / connections);
    let shares: Vec<_> = (0..connections)
        .map(|number| share(&signer, &maker, settings, bounds(number)))
        .collect::<Result<_, _>>()?;
    let sent_bytes: usize = shares.iter().flat_map(|share| &share.requests).map(Vec::len).sum();
    let watch = process.watch_memory();
    let (cpu, begun) = (process.cpu_seconds()?, now());
    let (mut times, records) = send_all(&signer.place, form, &shares)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_accepted = process.cpu_seconds()? - cpu;
    if records != events {
        return Err(format!("{records} of {events} records were taken as new").into());
    }
    if form != "audit" {
        let mut connection = Connection::open(&signer.place)?;
        for share in &shares {
            let request = signer.lookup(&share.last)?;
            while !found(connection.exchange(&request)?, &share.last) {
                pause(ASK_EVERY);
            }
        }
    }
    let searchable_seconds = begun.elapsed().as_secs_f64();
    let cpu_searchable = process.cpu_seconds()? - cpu;
    times.sort_unstable();
    Ok(json!({
        "events": events,
        "sent_bytes": sent_bytes,
        "seconds": seconds,
        "events_per_second": (events as f64 / seconds).round(),
        "searchable_per_second": (events as f64 / searchable_seconds).round(),
        "searchable_lag_ms": ((searchable_seconds - seconds) * 1e3).round(),
        "cpu_seconds_per_million": cpu_accepted * 1e6 / events as f64,
        "cpu_seconds_per_million_searchable": cpu_searchable * 1e6 / events as f64,
        "request_p50_ms": quantile_ms(&times, 0.5),
        "request_p99_ms": quantile_ms(&times, 0.99),
        "resident_mb_max": watch.end(),
    }))
}

/// Whether an answer of LookupEvents shows `event_id`.
pub(super) fn found(answer: &[u8], event_id: &str) -> bool {
    // The question is not in the answer, so the id there is the event's.
    answer.windows(event_id.len()).any(|window| window == event_id.as_bytes())
}
