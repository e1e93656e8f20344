//! FIFO topics: each message once within five minutes, numbered, in order.
//!
//! One publish of a topic at a time gets its number and is sent. Where something of the same group is still owed to a
//! subscription, what follows waits behind it. What is remembered of a message is written after it was sent, with what is
//! owed: a crash in between leaves a publish that was not acknowledged, and FIFO queues know its second sending by the
//! deduplication id.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use super::arn::{SubscriptionArn, TopicArn};
use super::error::Failure;
use super::fan_out::Debt;
use super::publish::Outgoing;
use super::views::TopicView;
use super::{Sns, owed};

/// How long a message is known by its deduplication id.
const DEDUPLICATION_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Topics that can be published to at a time.
pub(super) const ORDER_LOCKS: usize = 64;
/// The first sequence number, of 20 digits.
const SEQUENCE_BASE: u64 = 10_000_000_000_000_000_000;
/// Sequence numbers of a millisecond. They go with the clock, so that a number is not given again after a crash.
const SEQUENCES_PER_MS: u64 = 1000;
/// Rows of what is remembered that one transaction forgets.
const FORGOTTEN_ROWS_MAX: usize = 1000;

/// Messages by topic, group (where its throughput is by group) and deduplication id.
const DEDUPLICATED: Table<Deduplicated> = Table::new("sns.deduplicated", 1);
/// The same by age.
const DEDUPLICATED_AGES: Table<DeduplicatedName> = Table::new("sns.deduplicated_age", 1);
/// The newest sequence number of a topic.
const NEWEST: Table<u64> = Table::new("sns.newest_sequence", 1);

/// A message that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Deduplicated {
    message_id: String,
    sequence: u64,
    at: Timestamp,
}

/// What finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DeduplicatedName {
    topic: TopicArn,
    group: String,
    id: String,
}

impl DeduplicatedName {
    fn of(view: &TopicView, outgoing: &Outgoing) -> Self {
        let by_group = view.topic.attribute("FifoThroughputScope") == Some("MessageGroup");
        Self {
            topic: view.topic.arn.clone(),
            group: outgoing.group.clone().filter(|_| by_group).unwrap_or_default(),
            id: outgoing.deduplication.clone().unwrap_or_default(),
        }
    }

    fn row(&self) -> Key {
        self.topic.row().text(&self.group).text(&self.id)
    }
}

fn age_row(at: Timestamp, name: &DeduplicatedName) -> Key {
    Key::new()
        .number(u64::try_from(at.millis()).unwrap_or_default())
        .text(&name.topic.to_string())
        .text(&name.group)
        .text(&name.id)
}

/// What is known before a batch is sent.
struct Known {
    /// Of each message, what was published in its place before.
    before: Vec<Option<Deduplicated>>,
    newest: u64,
    /// The subscriptions' groups that something is owed to.
    waiting: BTreeSet<(SubscriptionArn, String)>,
}

impl Sns {
    /// Sends a batch to a FIFO topic. Duplicates come back as what was published before.
    pub(super) async fn send_in_order(
        &self,
        view: &TopicView,
        mut batch: Vec<Outgoing>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut hasher = DefaultHasher::new();
        view.topic.arn.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % ORDER_LOCKS as u64).unwrap_or_default();
        let _turn = self.order[place].lock().await;

        let now = self.clock.now();
        let names: Vec<DeduplicatedName> =
            batch.iter().map(|outgoing| DeduplicatedName::of(view, outgoing)).collect();
        let known = self.known(view, &batch, names.clone(), now).await?;
        let (fresh, newest) = number(&mut batch, &names, &known, now);
        let outgoing: Vec<Outgoing> = fresh.iter().map(|at| batch[*at].clone()).collect();
        if outgoing.is_empty() {
            return Ok(batch);
        }
        let debts = self
            .deliver(view, &outgoing, |subscriber, outgoing| {
                let group = outgoing.group.clone().unwrap_or_default();
                known.waiting.contains(&(subscriber.subscription.arn.clone(), group))
            })
            .await?;
        let remembered =
            fresh.iter().zip(&outgoing).map(|(at, outgoing)| (names[*at].clone(), outgoing.clone()));
        self.remember(view.topic.arn.clone(), remembered.collect(), newest, debts, now).await?;
        Ok(batch)
    }

    async fn known(
        &self,
        view: &TopicView,
        batch: &[Outgoing],
        names: Vec<DeduplicatedName>,
        now: Timestamp,
    ) -> Result<Known, Failure> {
        let lanes: BTreeSet<(SubscriptionArn, String)> = batch
            .iter()
            .flat_map(|outgoing| {
                let group = outgoing.group.clone().unwrap_or_default();
                let lane = move |arn: &SubscriptionArn| (arn.clone(), group.clone());
                view.subscribers.iter().map(move |subscriber| lane(&subscriber.subscription.arn))
            })
            .collect();
        let topic = view.topic.arn.clone();
        let read = move |tx: &mut dyn Tx| {
            let mut before = Vec::with_capacity(names.len());
            for name in &names {
                let found = DEDUPLICATED.get(tx, name.row().bytes())?;
                before.push(found.filter(|found| found.at.plus(DEDUPLICATION_WINDOW) > now));
            }
            let mut waiting = BTreeSet::new();
            for (arn, group) in &lanes {
                if owed::is_owed(tx, arn, Some(group))? {
                    waiting.insert((arn.clone(), group.clone()));
                }
            }
            let newest = NEWEST.get(tx, topic.row().bytes())?.unwrap_or_default();
            Ok::<_, CatalogError>(Known { before, newest, waiting })
        };
        Ok(self.catalog.read(read).await?)
    }

    async fn remember(
        &self,
        topic: TopicArn,
        published: Vec<(DeduplicatedName, Outgoing)>,
        newest: u64,
        debts: Vec<Debt>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let (sealer, owes) = (self.sealer.clone(), !debts.is_empty());
        self.catalog
            .write(move |tx| {
                NEWEST.put(tx, topic.row().bytes(), &newest)?;
                for (name, outgoing) in &published {
                    let number = outgoing.sequence_number.as_deref().and_then(|text| text.parse().ok());
                    let sequence = number.unwrap_or(newest);
                    let message_id = outgoing.message_id.clone();
                    DEDUPLICATED.put(
                        tx,
                        name.row().bytes(),
                        &Deduplicated { message_id, sequence, at: now },
                    )?;
                    DEDUPLICATED_AGES.put(tx, age_row(now, name).bytes(), name)?;
                }
                for (notification, creditors) in &debts {
                    owed::owe(tx, &sealer, notification, creditors.clone())?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        if owes {
            (self.woken)();
        }
        Ok(())
    }

    /// Forgets messages that are known long enough.
    pub(super) async fn forget_duplicates(&self, now: Timestamp) -> Result<(), CatalogError> {
        let until =
            Key::new().number(u64::try_from(now.minus(DEDUPLICATION_WINDOW).millis()).unwrap_or_default());
        loop {
            let until = until.clone();
            let forgotten = self
                .catalog
                .write(move |tx| {
                    let rows = DEDUPLICATED_AGES.scan(tx, &[], Some(until.bytes()), FORGOTTEN_ROWS_MAX)?;
                    for (row, name) in &rows {
                        DEDUPLICATED_AGES.delete(tx, row)?;
                        // It may have been published again since.
                        let kept = DEDUPLICATED.get(tx, name.row().bytes())?;
                        if kept.is_some_and(|kept| kept.at.plus(DEDUPLICATION_WINDOW) <= now) {
                            DEDUPLICATED.delete(tx, name.row().bytes())?;
                        }
                    }
                    Ok::<_, CatalogError>(rows.len())
                })
                .await?;
            if forgotten < FORGOTTEN_ROWS_MAX {
                return Ok(());
            }
        }
    }
}

/// Numbers the messages that are new, also within the batch; returns where they are, and the newest number.
fn number(
    batch: &mut [Outgoing],
    names: &[DeduplicatedName],
    known: &Known,
    now: Timestamp,
) -> (Vec<usize>, u64) {
    let by_clock = u64::try_from(now.millis()).unwrap_or_default().saturating_mul(SEQUENCES_PER_MS);
    let mut newest = known.newest;
    let mut fresh: Vec<usize> = Vec::new();
    for at in 0..batch.len() {
        let same = fresh.iter().copied().find(|earlier| names[*earlier] == names[at]);
        let (message_id, number) = match (&known.before[at], same) {
            (Some(before), _) => (before.message_id.clone(), Some(before.sequence.to_string())),
            (None, Some(earlier)) => {
                (batch[earlier].message_id.clone(), batch[earlier].sequence_number.clone())
            }
            (None, None) => {
                fresh.push(at);
                newest = (newest + 1).max(SEQUENCE_BASE.saturating_add(by_clock));
                (batch[at].message_id.clone(), Some(newest.to_string()))
            }
        };
        batch[at].message_id = message_id;
        batch[at].sequence_number = number;
    }
    (fresh, newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Deduplicated>(r#"{"message_id":"m","sequence":10000000000000000001,"at":1}"#);
        check::<DeduplicatedName>(
            r#"{"topic":"arn:aws:sns:eu-west-1:111122223333:t.fifo","group":"g","id":"d"}"#,
        );
    }
}
