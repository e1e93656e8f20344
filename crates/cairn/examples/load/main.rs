//! Puts load on a running server, and measures what the machine itself can do: the hands of `compat/bench.py`.
//!
//! `load COMMAND [NAME=VALUE]…` prints one line of JSON. Everything that is sent is made and signed before the clock
//! starts, and goes over plain sockets, so that the client takes little of the processors that the server is measured
//! on. The credentials come from the environment, as `cairn env` prints them.
//!
//! | command | what it does |
//! |---|---|
//! | `limits dir=DIR` | fdatasync, sequential writes, gzip, SHA-256, JSON: the machine's own limits |
//! | `send pid=PID form=ndjson connections=2 events=300000 per_request=1000 seed=0 [channel=ARN]` | records through `POST /v1/events` (`ndjson`, `records`, `gzip`) or PutAuditEvents (`audit`), until the last of them is found |
//! | `calls clients=1 seconds=3 call=read [user=NAME]` | one recorded call after the other on each connection: GetCallerIdentity, or TagUser |
//! | `queues pid=PID queue=URL clients=1 seconds=3 batch=1 body_bytes=1024` | SendMessage, ReceiveMessage, DeleteMessage, or their batches, on each connection; any server that speaks SQS's JSON protocol |
//! | `lookup rounds=100 seed=0` | from the reply to a record until LookupEvents shows it |

mod calls;
mod connection;
mod limits;
mod lookup;
mod queues;
mod records;
mod send;
mod server;
mod signed;

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Whatever went wrong, to be shown.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The command's settings.
struct Settings(HashMap<String, String>);

impl Settings {
    fn of(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let pairs = arguments.map(|argument| {
            let (name, value) =
                argument.split_once('=').ok_or_else(|| format!("not NAME=VALUE: {argument}"))?;
            Ok::<_, Failure>((name.to_owned(), value.to_owned()))
        });
        Ok(Self(pairs.collect::<Result<_, _>>()?))
    }

    fn text(&self, name: &str) -> Result<&str, Failure> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("the setting {name} is missing").into())
    }

    fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failure>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        self.0.get(name).map_or(Ok(default), |value| Ok(value.parse()?))
    }
}

#[allow(clippy::disallowed_methods, reason = "measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[allow(clippy::disallowed_methods, reason = "waits in real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The value at `quantile` of sorted times, in milliseconds.
fn quantile_ms(sorted: &[Duration], quantile: f64) -> f64 {
    let at = ((sorted.len().saturating_sub(1)) as f64 * quantile) as usize;
    sorted.get(at).map_or(0.0, |time| (time.as_secs_f64() * 1e6).round() / 1e3)
}

#[allow(clippy::print_stdout, reason = "the line is what this program is for")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let settings = Settings::of(arguments)?;
    let measured = match command.as_str() {
        "limits" => limits::run(&settings)?,
        "send" => send::run(&settings)?,
        "calls" => calls::run(&settings)?,
        "queues" => queues::run(&settings)?,
        "lookup" => lookup::run(&settings)?,
        other => return Err(format!("no command {other:?}: limits, send, calls, queues, lookup").into()),
    };
    println!("{measured}");
    Ok(())
}
