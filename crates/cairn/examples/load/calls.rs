//! Recorded API calls, one after the other on each of many connections.

use std::time::Duration;

use serde_json::{Value, json};

use super::connection::Connection;
use super::signed::Signer;
use super::{Failure, Settings, now, quantile_ms};

/// The request that is sent again and again: a signature holds for minutes.
fn request(signer: &Signer, settings: &Settings) -> Result<Vec<u8>, Failure> {
    match settings.text("call")? {
        "read" => signer.query("sts", "Action=GetCallerIdentity&Version=2011-06-15"),
        "write" => {
            let user = settings.text("user")?;
            let form = format!(
                "Action=TagUser&Version=2010-05-08&UserName={user}&Tags.member.1.Key=k&Tags.member.1.Value=v"
            );
            signer.query("iam", &form)
        }
        other => Err(format!("no call {other:?}: read, write").into()),
    }
}

/// Calls for `seconds` on `clients` connections.
pub(super) fn run(settings: &Settings) -> Result<Value, Failure> {
    let signer = Signer::of_environment()?;
    let request = request(&signer, settings)?;
    let clients = settings.or("clients", 1_usize)?;
    let span = Duration::from_secs_f64(settings.or("seconds", 3.0)?);
    let connections: Vec<_> =
        (0..clients).map(|_| Connection::open(&signer.place)).collect::<Result<_, _>>()?;
    let begun = now();
    let mut times = std::thread::scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .map(|mut connection| {
                let request = &request;
                scope.spawn(move || {
                    let mut times = Vec::new();
                    let mut sent = now();
                    while sent.duration_since(begun) < span {
                        connection.exchange(request)?;
                        let answered = now();
                        times.push(answered - sent);
                        sent = answered;
                    }
                    Ok::<_, Failure>(times)
                })
            })
            .collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| "a client panicked")??);
        }
        Ok::<_, Failure>(times)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(json!({
        "calls": times.len(),
        "calls_per_second": (times.len() as f64 / seconds).round(),
        "p50_ms": quantile_ms(&times, 0.5),
        "p99_ms": quantile_ms(&times, 0.99),
    }))
}
