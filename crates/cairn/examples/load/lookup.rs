//! How soon after the reply to a record it can be found.

use serde_json::{Value, json};

use super::connection::Connection;
use super::records::Maker;
use super::send::found;
use super::signed::{Signer, present};
use super::{Failure, Settings, now, quantile_ms};

/// Sends one record after the other and asks for each, again and again, until it is found.
pub(super) fn run(settings: &Settings) -> Result<Value, Failure> {
    let signer = Signer::of_environment()?;
    let maker = Maker::new(settings.text("account")?, &present().iso(), settings.or("seed", 0)?);
    let mut connection = Connection::open(&signer.place)?;
    let (mut times, mut asked) = (Vec::new(), 0_u64);
    for number in 0..settings.or("rounds", 100_u64)? {
        let id = maker.event_id(number);
        let record = maker.record(number);
        let headers = [("content-type", "application/json")];
        let put = signer.post("/v1/events", "cairn", &headers, record.as_bytes())?;
        let ask = signer.lookup(&id)?;
        connection.exchange(&put)?;
        let replied = now();
        asked += 1;
        while !found(connection.exchange(&ask)?, &id) {
            asked += 1;
        }
        times.push(replied.elapsed());
    }
    times.sort_unstable();
    Ok(json!({
        "rounds": times.len(),
        "asked": asked,
        "p50_ms": quantile_ms(&times, 0.5),
        "p99_ms": quantile_ms(&times, 0.99),
    }))
}
