//! The stage that looks at each line that arrives: metric filters count it, subscription filters owe it to somebody.
//!
//! On the road: behind PutLogEvents, from the journal of lines, by a cursor of its own. What is owed is paid by another
//! stage ([`debts`]).
//!
//! Invariants: a line is counted once: metrics change in the transaction that moves the cursor. It is owed at least once:
//! debts are durable before the cursor moves; after a crash between the two, what is owed twice is one message where the
//! same lines are read together again. A filter sees the lines that came after it was put.

mod counting;
mod debts;
mod metrics;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::lines::{Batch, GroupId, LineId, StreamId};
use cairn_store::queues::Queues;
use cairn_store::{LogPosition, Table};
use cairn_wire::AwsError;
use prometheus::Registry;

use self::counting::{MINUTE_GRACE, Tally};
pub use self::debts::SubscriptionStage;
use self::debts::{Debts, Owed};
use self::metrics::Metrics;
use super::Logs;
use super::encryption::Opener;
use super::error::{Failure, of_lines};
use super::filter_views::{CompiledSubscription, GroupFilters};
use super::read::digits;
use super::state::Group;
use super::subscription_filters::SentLine;

/// The next position to look at.
const CURSOR: Table<LogPosition> = Table::new("logs.filter_cursor", 1);
/// About how much text is looked at before the cursor moves, in bytes.
const READ_BYTES: usize = 4 << 20;
/// How much text is collected of a stream before it is owed, in bytes.
const OWED_TEXT_BYTES: usize = 1 << 20;
/// How often it is looked by the clock, for minutes that are over.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// What both stages work with.
pub struct FilterDeps {
    /// The service.
    pub logs: Arc<Logs>,
    /// Where debts are kept.
    pub queues: Arc<dyn Queues>,
    /// What debts are sealed under.
    pub debt_key: [u8; 32],
}

/// Looks at lines.
pub struct FilterStage {
    logs: Arc<Logs>,
    debts: Arc<Debts>,
    cursor: AtomicU64,
    metrics: Arc<Metrics>,
}

/// What is known of a batch's group and stream.
struct Known {
    group: Arc<Group>,
    filters: Arc<GroupFilters>,
    opener: Option<Opener>,
}

/// What came of some batches.
#[derive(Default)]
struct Seen {
    tally: Tally,
    owed: BTreeMap<(u64, StreamId), Owed>,
    full: Vec<Owed>,
}

impl FilterStage {
    /// The stage that looks, and the one that pays.
    ///
    /// # Errors
    /// Where the catalog cannot be read, or metrics have a wrong name.
    pub async fn open(deps: FilterDeps, registry: &Registry) -> Result<(Self, SubscriptionStage), AwsError> {
        let FilterDeps { logs, queues, debt_key } = deps;
        let metrics = Arc::new(Metrics::new(registry).map_err(AwsError::internal)?);
        let debts = Debts::open(Arc::clone(&logs), queues, debt_key, Arc::clone(&metrics)).await?;
        let debts = Arc::new(debts);
        let row = Key::new();
        let cursor = logs.catalog.read(move |tx| CURSOR.get(tx, row.bytes())).await;
        let cursor = cursor.map_err(Failure::from)?.unwrap_or(LogPosition(0));
        let paying = SubscriptionStage::new(Arc::clone(&debts));
        Ok((Self { logs, debts, cursor: AtomicU64::new(cursor.0), metrics }, paying))
    }

    /// From where on the journal of lines is still needed.
    #[must_use]
    pub fn needed_from(&self) -> LogPosition {
        LogPosition(self.cursor.load(Ordering::SeqCst))
    }

    /// Where the journal ends.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.logs.lines.end()
    }

    /// Returns once there is more to look at than there was.
    pub async fn wait_past(&self, end: LogPosition) {
        self.logs.lines.wait_past(end).await;
    }

    /// Looks at all lines that have come, then at the minutes that are over. Says when to look again.
    ///
    /// # Errors
    /// Where a store fails; what was not done is done again.
    pub async fn run_once(&self) -> Result<Timestamp, AwsError> {
        loop {
            let from = self.needed_from();
            let batches = self.logs.lines.appended(from, READ_BYTES).await.map_err(of_lines)?;
            let Some((last, _)) = batches.last() else { break };
            let next = LogPosition(last.0 + 1);
            let seen = self.look_at(&batches).await?;
            self.finish(seen, next).await?;
        }
        let end = self.logs.lines.end();
        self.metrics.lag(end.0.saturating_sub(self.needed_from().0));
        let now = self.logs.clock.now();
        self.settle_minutes(now).await?;
        Ok(now.plus(LOOK_INTERVAL.min(MINUTE_GRACE)))
    }

    async fn look_at(&self, batches: &[(LogPosition, Batch)]) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        let mut known = HashMap::new();
        for (position, batch) in batches {
            let Some(known) = self.known(&mut known, batch.group).await? else { continue };
            if known.filters.is_empty() {
                continue;
            }
            self.look_at_batch(&mut seen, known, *position, batch).await?;
        }
        Ok(seen)
    }

    /// The group and its filters; none where it was deleted.
    async fn known<'k>(
        &self,
        known: &'k mut HashMap<GroupId, Option<Known>>,
        id: GroupId,
    ) -> Result<Option<&'k Known>, Failure> {
        let known = match known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(self.find(id).await?),
        };
        Ok(known.as_ref())
    }

    async fn find(&self, id: GroupId) -> Result<Option<Known>, Failure> {
        let Some(group) = self.logs.group_of(id).await? else { return Ok(None) };
        let filters = self.logs.filters.of(&self.logs.catalog, &group.name).await?;
        let opener = match filters.is_empty() {
            true => None,
            false => Some(self.logs.opener(&group).await?),
        };
        Ok(Some(Known { group, filters, opener }))
    }

    async fn look_at_batch(
        &self,
        seen: &mut Seen,
        known: &Known,
        position: LogPosition,
        batch: &Batch,
    ) -> Result<(), Failure> {
        let lines = self.texts(known, position, batch);
        let came_before = |created: Timestamp| batch.ingested_at < created;
        for compiled in &known.filters.metric {
            if !came_before(compiled.filter.created) {
                let matched = seen.tally.count(compiled, &known.group.name, &lines, batch.ingested_at);
                self.metrics.matched("metric", matched);
            }
        }
        for compiled in &known.filters.subscription {
            if came_before(compiled.filter.created) {
                continue;
            }
            let wanted = lines.iter().filter(|(_, text)| compiled.pattern.matches(text));
            let sent: Vec<SentLine> = wanted.map(|(id, text)| sent_line(compiled, *id, text)).collect();
            if sent.is_empty() {
                continue;
            }
            self.metrics.matched("subscription", sent.len());
            // A stream that was deleted meanwhile has lost its name.
            let Some(stream) = self.logs.stream_name(batch.stream).await? else { continue };
            let place = (compiled.filter.id, batch.stream);
            let owed =
                seen.owed.entry(place).or_insert_with(|| Owed::new(compiled.filter.clone(), stream.as_ref()));
            owed.add(sent);
            if owed.text_bytes >= OWED_TEXT_BYTES {
                seen.full.extend(seen.owed.remove(&place));
            }
        }
        Ok(())
    }

    /// The texts of a batch's lines. What cannot be opened is counted, and nobody sees it.
    fn texts(&self, known: &Known, position: LogPosition, batch: &Batch) -> Vec<(LineId, Bytes)> {
        let indexed = (0_u32..).zip(&batch.lines);
        let opened = indexed.filter_map(|(index, line)| {
            let id = LineId { timestamp_ms: line.timestamp_ms, position, index };
            match &known.opener {
                None => Some((id, line.message.clone())),
                Some(opener) => match opener.open(&line.message) {
                    Ok(text) => Some((id, text)),
                    Err(error) => {
                        self.logs.metrics.unreadable.inc();
                        tracing::debug!(group = %known.group.name, %error, "a line cannot be filtered");
                        None
                    }
                },
            }
        });
        opened.collect()
    }

    /// Writes the debts, then counts and moves the cursor.
    async fn finish(&self, seen: Seen, next: LogPosition) -> Result<(), Failure> {
        let Seen { tally, owed, full } = seen;
        self.debts.owe(full.into_iter().chain(owed.into_values()).collect()).await?;
        let switchboard = self.logs.switchboard.clone();
        let has_data = tally.has_data();
        let counted = self.logs.catalog.write(move |tx| {
            tally.write(tx, &switchboard)?;
            CURSOR.put(tx, Key::new().bytes(), &next)?;
            Ok::<_, Failure>(())
        });
        counted.await?;
        self.cursor.store(next.0, Ordering::SeqCst);
        if has_data {
            self.logs.switchboard.metrics().map_err(counting::of_sink)?.wake();
        }
        Ok(())
    }

    /// Adds the default values of minutes that are over, in which lines came and none matched.
    async fn settle_minutes(&self, now: Timestamp) -> Result<(), Failure> {
        let switchboard = self.logs.switchboard.clone();
        let settled = self.logs.catalog.write(move |tx| counting::settle_minutes(tx, &switchboard, now));
        if settled.await? > 0 {
            self.logs.switchboard.metrics().map_err(counting::of_sink)?.wake();
        }
        Ok(())
    }
}

fn sent_line(compiled: &CompiledSubscription, id: LineId, text: &[u8]) -> SentLine {
    // Names without the dollar sign, as AWS sends them.
    let fields = || {
        let extracted = compiled.pattern.extract(text).into_iter();
        extracted.map(|(name, value)| (name.trim_start_matches('$').to_owned(), value)).collect()
    };
    SentLine {
        id: digits(id),
        timestamp: id.timestamp_ms,
        message: String::from_utf8_lossy(text).into_owned(),
        extracted_fields: compiled.pattern.has_fields().then(fields),
    }
}
