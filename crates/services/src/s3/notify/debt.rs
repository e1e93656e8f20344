//! What is owed: rows that are written with the change of an object and deleted once their event is sent.
//!
//! Invariants: rows of [`OWED`] sort by destination, then by the order in which things happened; [`DEBTS`] has a row for
//! exactly those destinations that are owed something, and says how much. Both are written in one transaction.

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::Happening;
use super::configuration::Destination;
use super::event::OwedEvent;
use crate::s3::state::Bucket;

/// The most events that one destination is owed, about 100 MB: what happens beyond is dropped and counted.
pub(super) const OWED_PER_DESTINATION_MAX: u64 = 100_000;
/// Sequences per millisecond: sequencers follow the clock, as AWS's do, and never go back.
const SEQUENCES_PER_MS: u64 = 1024;

/// The events owed, keyed by [`owed_key`].
pub(super) const OWED: Table<OwedEvent> = Table::new("s3.event_owed", 1);
/// The destinations that are owed something, keyed by [`debt_key`].
pub(super) const DEBTS: Table<Debt> = Table::new("s3.event_debt", 1);
/// The last sequence that was given out: one row, [`sequence_key`].
const SEQUENCE: Table<u64> = Table::new("s3.event_sequence", 1);

/// How much one destination is owed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Debt {
    pub(super) destination: Destination,
    pub(super) events: u64,
}

/// What a transaction came to owe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "who pays is to be woken once the transaction has committed"]
pub(in crate::s3) struct Owed {
    pub(super) events: u64,
    /// Not kept: their destination is owed too many.
    pub(super) dropped: u64,
}

impl Owed {
    /// This and `other`.
    pub(in crate::s3) fn and(self, other: Self) -> Self {
        Self { events: self.events + other.events, dropped: self.dropped + other.dropped }
    }
}

/// Writes down what the bucket's configuration makes owed for something that happened. The transaction must be the one in
/// which it happens; once it has committed, the result goes to [`super::Events::announce`].
pub(in crate::s3) fn owe(
    tx: &mut dyn Tx,
    bucket: &Bucket,
    happening: &Happening<'_>,
) -> Result<Owed, CatalogError> {
    let mut owed = Owed::default();
    let mut sequence = None;
    for notification in &bucket.notifications {
        if !notification.takes(happening.kind, happening.key) {
            continue;
        }
        let destination = &notification.destination;
        let row = debt_key(destination);
        let events = DEBTS.get(tx, row.bytes())?.map_or(0, |debt| debt.events);
        if events >= OWED_PER_DESTINATION_MAX {
            owed.dropped += 1;
            continue;
        }
        let sequence = match sequence {
            Some(sequence) => sequence,
            None => *sequence.insert(next_sequence(tx, happening.at)?),
        };
        let event = OwedEvent::of(bucket, &notification.id, happening, sequence);
        OWED.put(tx, owed_key(destination, sequence, &notification.id).bytes(), &event)?;
        DEBTS.put(tx, row.bytes(), &Debt { destination: destination.clone(), events: events + 1 })?;
        owed.events += 1;
    }
    Ok(owed)
}

/// Takes rows of [`OWED`] away, which were sent or dropped.
pub(super) fn settle(
    tx: &mut dyn Tx,
    destination: &Destination,
    rows: &[Vec<u8>],
) -> Result<(), CatalogError> {
    let mut settled = 0;
    for row in rows {
        settled += u64::from(OWED.delete(tx, row)?);
    }
    let debt = debt_key(destination);
    let events = DEBTS.get(tx, debt.bytes())?.map_or(0, |debt| debt.events.saturating_sub(settled));
    if events == 0 {
        DEBTS.delete(tx, debt.bytes())?;
        return Ok(());
    }
    DEBTS.put(tx, debt.bytes(), &Debt { destination: destination.clone(), events })
}

fn next_sequence(tx: &mut dyn Tx, at: Timestamp) -> Result<u64, CatalogError> {
    let by_clock = u64::try_from(at.millis()).unwrap_or_default() * SEQUENCES_PER_MS;
    let last = SEQUENCE.get(tx, sequence_key().bytes())?;
    let sequence = last.map_or(by_clock, |last| by_clock.max(last + 1));
    SEQUENCE.put(tx, sequence_key().bytes(), &sequence)?;
    Ok(sequence)
}

fn sequence_key() -> Key {
    Key::new().text("last")
}

pub(super) fn debt_key(destination: &Destination) -> Key {
    Key::new().text(destination.arn())
}

pub(super) fn owed_key(destination: &Destination, sequence: u64, configuration: &str) -> Key {
    debt_key(destination).number(sequence).text(configuration)
}

#[cfg(test)]
mod tests {
    use cairn_core::EventId;

    use super::*;
    use crate::golden::check;
    use crate::s3::notify::{Cause, Kind, Origin};

    /// Rows as version 1 wrote them: a change that cannot read them needs a new version of the table.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Debt>(r#"{"destination":{"Queue":"arn:aws:sqs:us-east-1:123456789012:q"},"events":2}"#);
        check::<Debt>(r#"{"destination":{"Topic":"arn:aws:sns:us-east-1:123456789012:t"},"events":1}"#);
        check::<u64>("1838368630784000");
        check::<OwedEvent>(
            r#"{"bucket":"logs","owner":"123456789012","region":"us-east-1","configuration":"id","name":"ObjectCreated:Put","version":"2.1","at":1795281866042,"key":"a b","size_bytes":9,"etag":"437b930db84b8079c2dd804a71936b5f","version_id":"v","sequencer":1838368630784000,"origin":{"principal_id":"AWS:AIDAEXAMPLE","source":"127.0.0.1","request_id":"07070707-0707-4707-8707-070707070707","trace_header":"Root=1"}}"#,
        );
        check::<OwedEvent>(
            r#"{"bucket":"logs","owner":"123456789012","region":"us-east-1","configuration":"id","name":"ObjectAcl:Put","version":"2.3","at":1795281866042,"key":"a","size_bytes":null,"etag":null,"version_id":null,"sequencer":null,"origin":{"principal_id":null,"source":"cloudtrail.amazonaws.com","request_id":"07070707-0707-4707-8707-070707070707"}}"#,
        );
    }

    #[tokio::test]
    async fn a_destination_is_owed_no_more_than_its_limit() {
        let bucket: Bucket = serde_json::from_str(
            r#"{"name":"logs","owner":"123456789012","region":"us-east-1","created_at":0,"versioning":"Never","policy":null,"tags":[],"public_access_block":null,"notifications":[{"id":"i","destination":{"Queue":"arn:aws:sqs:us-east-1:123456789012:q"},"events":["s3:ObjectCreated:*"]}]}"#,
        )
        .unwrap();
        let cause = Cause {
            kind: Kind::Put,
            at: Timestamp::from_seconds(1_795_281_866),
            origin: Origin::of_service("cloudtrail.amazonaws.com", EventId::from_random([7; 16])),
        };
        let catalog = cairn_testkit::memory_catalog();
        let outcomes = catalog
            .write(move |tx| {
                let destination = bucket.notifications[0].destination.clone();
                let row = debt_key(&destination);
                let debt = Debt { destination: destination.clone(), events: OWED_PER_DESTINATION_MAX - 1 };
                DEBTS.put(tx, row.bytes(), &debt)?;
                let first = owe(tx, &bucket, &cause.of_key("a"))?;
                let second = owe(tx, &bucket, &cause.of_key("b"))?;
                let kept: Vec<_> = OWED.scan_prefix(tx, &[])?.into_iter().map(|(row, _)| row).collect();
                settle(tx, &destination, &kept)?;
                let third = owe(tx, &bucket, &cause.of_key("c"))?;
                Ok::<_, CatalogError>([first, second, third])
            })
            .await
            .unwrap();
        let (kept, dropped) = (Owed { events: 1, dropped: 0 }, Owed { events: 0, dropped: 1 });
        assert_eq!(outcomes, [kept, dropped, kept]);
    }
}
