//! What subscription filters owe: a durable queue for each filter, paid in order, each filter apart from all others.
//!
//! Invariants: what is owed lies sealed; it is deleted once its destination took it, or after a day. A destination that
//! takes nothing delays its own filter alone, and is tried again after a pause that grows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::lines::GroupId;
use cairn_store::queues::{Ask, NewMessage, QueueError, QueueKey, Queues, Received};
use cairn_wire::AwsError;
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::logs::Logs;
use crate::logs::encryption::{Opener, SealingKey};
use crate::logs::error::{Failure, internal};
use crate::logs::metric_filters::filter_row;
use crate::logs::subscription_filters::{
    Distribution, Envelope, Parcel, SUBSCRIPTION_FILTERS, SentLine, SubscriptionFilter,
};

/// What the queues of filters are called, before the filter's number.
const QUEUE_PREFIX: &str = "logs.subscription/";
/// How long a debt is tried to be paid.
const PAID_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// The most parcels that a filter owes: what comes beyond it is dropped and counted.
const PARCELS_MAX: u64 = 10_000;
/// Parcels that are taken from a queue at a time.
const RECEIVED_MAX: usize = 10;
/// For how long they are hidden meanwhile.
const VISIBILITY: Duration = Duration::from_secs(600);
/// The pause after a failure, which doubles, and its most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often queues are looked at without a reason.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
/// What a line counts for beside its text, in bytes.
const LINE_OVERHEAD_BYTES: usize = 120;

/// Lines of a stream that a filter wants sent.
pub(super) struct Owed {
    filter: SubscriptionFilter,
    stream: String,
    lines: Vec<SentLine>,
    pub(super) text_bytes: usize,
}

impl Owed {
    pub(super) fn new(filter: SubscriptionFilter, stream: &str) -> Self {
        Self { filter, stream: stream.to_owned(), lines: Vec::new(), text_bytes: 0 }
    }

    pub(super) fn add(&mut self, lines: Vec<SentLine>) {
        self.text_bytes += lines.iter().map(|line| line.message.len() + LINE_OVERHEAD_BYTES).sum::<usize>();
        self.lines.extend(lines);
    }
}

/// A filter that owes, or did.
struct Debtor {
    filter: SubscriptionFilter,
    /// Whether its queue may have something.
    is_owing: bool,
    is_paying: bool,
    /// Failures since the last success.
    failures: u32,
    not_before: Option<Timestamp>,
}

/// All debts.
pub(super) struct Debts {
    logs: Arc<Logs>,
    queues: Arc<dyn Queues>,
    key: [u8; 32],
    debtors: Mutex<HashMap<u64, Debtor>>,
    /// Grows whenever there may be something to pay.
    mark: watch::Sender<u64>,
    metrics: Arc<Metrics>,
}

fn queue_of(filter_id: u64) -> QueueKey {
    QueueKey(format!("{QUEUE_PREFIX}{filter_id}"))
}

fn of_queues(error: QueueError) -> Failure {
    match error {
        QueueError::Full(_) => {
            AwsError::with_status(503, "ServiceUnavailableException", "There is no room on the disk.").into()
        }
        other => internal(other),
    }
}

impl Debts {
    /// Finds the filters that have queues; queues whose filter is gone are removed.
    pub(super) async fn open(
        logs: Arc<Logs>,
        queues: Arc<dyn Queues>,
        key: [u8; 32],
        metrics: Arc<Metrics>,
    ) -> Result<Self, Failure> {
        let filters =
            logs.catalog.read(|tx| SUBSCRIPTION_FILTERS.scan_prefix(tx, Key::new().bytes())).await?;
        let mut debtors: HashMap<u64, Debtor> =
            filters.into_iter().map(|(_, filter)| (filter.id, Debtor::new(filter))).collect();
        let owed_by = |queue: &QueueKey| queue.0.strip_prefix(QUEUE_PREFIX)?.parse::<u64>().ok();
        let mut with_queue = HashSet::new();
        for queue in queues.names() {
            match owed_by(&queue) {
                Some(id) if debtors.contains_key(&id) => {
                    with_queue.insert(id);
                }
                Some(_) => queues.remove(&queue).await.map_err(of_queues)?,
                None => {}
            }
        }
        debtors.retain(|id, _| with_queue.contains(id));
        Ok(Self { logs, queues, key, debtors: Mutex::new(debtors), mark: watch::Sender::new(0), metrics })
    }

    /// Writes down what is owed: durable on return.
    pub(super) async fn owe(&self, owed: Vec<Owed>) -> Result<(), Failure> {
        let now = self.logs.clock.now();
        let mut messages = Vec::new();
        for owed in owed {
            if self.has_room(&owed.filter, now).await? {
                messages.extend(self.messages(&owed, now)?);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.metrics.owed.inc_by(messages.len() as u64);
        let queues: HashSet<QueueKey> = messages.iter().map(|message| message.queue.clone()).collect();
        self.queues.send(messages).await.map_err(of_queues)?;
        for debtor in self.debtors().values_mut() {
            debtor.is_owing |= queues.contains(&queue_of(debtor.filter.id));
        }
        self.wake();
        Ok(())
    }

    /// Makes the filter's queue where it has none yet. Whether more fits into it.
    async fn has_room(&self, filter: &SubscriptionFilter, now: Timestamp) -> Result<bool, Failure> {
        let queue = queue_of(filter.id);
        if !self.debtors().contains_key(&filter.id) {
            self.queues.create(&queue).await.map_err(of_queues)?;
            self.debtors().entry(filter.id).or_insert_with(|| Debtor::new(filter.clone()));
        }
        let counts = self.queues.counts(&queue, now).map_err(of_queues)?;
        let has_room = counts.visible + counts.in_flight + counts.delayed < PARCELS_MAX;
        if !has_room {
            self.metrics.count_dropped("too_many", 1);
        }
        Ok(has_room)
    }

    fn messages(&self, owed: &Owed, now: Timestamp) -> Result<Vec<NewMessage>, Failure> {
        let filter = &owed.filter;
        let envelope = Envelope {
            message_type: "DATA_MESSAGE",
            owner: filter.group.account.as_str(),
            log_group: &filter.group.name,
            log_stream: &owed.stream,
            subscription_filters: vec![&filter.name],
            lines: &owed.lines,
        };
        let for_function = filter.destination_arn.split(':').nth(2) == Some("lambda");
        let packed = envelope.pack(for_function)?;
        self.metrics.count_dropped("too_large", packed.too_large as u64);
        let sealing = SealingKey::of_debts(GroupId(filter.id), self.key);
        let mut first = 0;
        let mut messages = Vec::with_capacity(packed.parcels.len());
        for (data, count) in packed.parcels {
            let name = format!("{}+{count}", owed.lines.get(first).map_or("", |line| &line.id));
            first += count;
            let partition_key = match filter.distribution {
                Distribution::ByLogStream => owed.stream.clone(),
                Distribution::Random => self.logs.entropy.event_id().to_string(),
            };
            messages.push(NewMessage {
                queue: queue_of(filter.id),
                id: name.clone(),
                payload: sealing.seal(&encoded(&partition_key, &data)?)?,
                group: None,
                deduplication: Some(name),
                sent_at: now,
                visible_at: now,
            });
        }
        Ok(messages)
    }

    fn wake(&self) {
        self.mark.send_modify(|mark| *mark += 1);
    }

    fn debtors(&self) -> MutexGuard<'_, HashMap<u64, Debtor>> {
        self.debtors.lock().expect("nothing panics while the debtors are held")
    }

    /// The debtors whose time it is, which are paying from now on; and when the next one's time is.
    fn take_due(&self, now: Timestamp) -> (Vec<SubscriptionFilter>, Timestamp) {
        let mut debtors = self.debtors();
        let mut next = now.plus(LOOK_INTERVAL);
        let mut due = Vec::new();
        for debtor in debtors.values_mut().filter(|debtor| debtor.is_owing && !debtor.is_paying) {
            match debtor.not_before {
                Some(at) if now < at => next = next.min(at),
                _ => {
                    (debtor.is_owing, debtor.is_paying) = (false, true);
                    due.push(debtor.filter.clone());
                }
            }
        }
        (due, next)
    }

    /// Pays what a filter owes until nothing is left or the destination takes no more.
    async fn pay(&self, filter: &SubscriptionFilter) {
        let paid = self.pay_all(filter).await;
        let now = self.logs.clock.now();
        let mut debtors = self.debtors();
        let Some(debtor) = debtors.get_mut(&filter.id) else { return };
        debtor.is_paying = false;
        match paid {
            Ok(true) => (debtor.failures, debtor.not_before) = (0, None),
            Ok(false) | Err(_) => {
                debtor.is_owing = true;
                debtor.failures = debtor.failures.saturating_add(1);
                let pause = PAUSE_MIN * 2_u32.saturating_pow(debtor.failures.min(16) - 1);
                debtor.not_before = Some(now.plus(pause.min(PAUSE_MAX)));
            }
        }
        if let Err(failure) = paid {
            tracing::error!(group = %filter.group, filter = filter.name, %failure, "debts cannot be paid");
        }
        let is_owing = debtor.is_owing;
        drop(debtors);
        if is_owing {
            self.wake();
        }
    }

    /// Whether all was paid.
    async fn pay_all(&self, known: &SubscriptionFilter) -> Result<bool, Failure> {
        let queue = queue_of(known.id);
        let row = filter_row(&known.group, &known.name);
        let found = self.logs.catalog.read(move |tx| SUBSCRIPTION_FILTERS.get(tx, row.bytes())).await?;
        let Some(filter) = found.filter(|found| found.id == known.id) else {
            // Nothing is owed for a filter that was deleted.
            self.debtors().remove(&known.id);
            self.queues.remove(&queue).await.map_err(of_queues)?;
            return Ok(true);
        };
        loop {
            let now = self.logs.clock.now();
            let expired = self.queues.expire(&queue, now.minus(PAID_WITHIN), now).await.map_err(of_queues)?;
            self.metrics.count_dropped("expired", expired);
            let ask = Ask {
                messages_max: RECEIVED_MAX,
                now,
                visibility: VISIBILITY,
                expired_until: now.minus(PAID_WITHIN),
                in_flight_max: RECEIVED_MAX,
                dead_letters: None,
            };
            let received = self.queues.receive(&queue, &ask).await.map_err(of_queues)?;
            if received.is_empty() {
                return Ok(true);
            }
            if !self.pay_some(&filter, &queue, &received).await? {
                return Ok(false);
            }
        }
    }

    async fn pay_some(
        &self,
        filter: &SubscriptionFilter,
        queue: &QueueKey,
        received: &[Received],
    ) -> Result<bool, Failure> {
        let opener = Opener::of_debts(GroupId(filter.id), self.key);
        for (at, message) in received.iter().enumerate() {
            let parcel = opener.open(&message.payload).ok().and_then(|plain| decoded(&plain));
            let sent = match parcel {
                Some(parcel) => self.logs.send_parcel(filter, parcel).await,
                None => {
                    tracing::error!(filter = filter.name, "a debt cannot be read and is dropped");
                    self.metrics.count_dropped("unreadable", 1);
                    Ok(())
                }
            };
            let now = self.logs.clock.now();
            if let Err(failure) = sent {
                self.metrics.retried.inc();
                tracing::debug!(filter = filter.name, %failure, "a destination took nothing");
                let again: Vec<_> = received[at..].iter().map(|message| (message.receipt, now)).collect();
                self.queues.change_visibility(queue, &again, now).await.map_err(of_queues)?;
                return Ok(false);
            }
            self.metrics.sent.inc();
            self.queues.delete(queue, &[message.receipt], now).await.map_err(of_queues)?;
        }
        Ok(true)
    }
}

impl Debtor {
    fn new(filter: SubscriptionFilter) -> Self {
        Self { filter, is_owing: true, is_paying: false, failures: 0, not_before: None }
    }
}

/// The length of the partition key, itself, and the data.
fn encoded(partition_key: &str, data: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = u16::try_from(partition_key.len()).map_err(internal)?;
    Ok([&length.to_be_bytes(), partition_key.as_bytes(), data].concat())
}

fn decoded(plain: &Bytes) -> Option<Parcel> {
    let (length, rest) = plain.split_first_chunk::<2>()?;
    let (partition_key, data) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let partition_key = String::from_utf8(partition_key.to_vec()).ok()?;
    Some(Parcel { partition_key, data: data.to_vec() })
}

/// Pays what subscription filters owe.
pub struct SubscriptionStage(Arc<Debts>);

impl SubscriptionStage {
    pub(super) fn new(debts: Arc<Debts>) -> Self {
        Self(debts)
    }

    /// Begins to pay what is due, each filter in a task of its own; says when the next one is due.
    pub fn run_once(&self) -> Timestamp {
        let (due, next) = self.0.take_due(self.0.logs.clock.now());
        for filter in due {
            let debts = Arc::clone(&self.0);
            tokio::spawn(async move { debts.pay(&filter).await });
        }
        next
    }

    /// Pays what is due, and returns once that is done.
    pub async fn settle(&self) {
        let (due, _) = self.0.take_due(self.0.logs.clock.now());
        for filter in due {
            self.0.pay(&filter).await;
        }
    }

    /// A count that grows whenever there may be something to pay.
    #[must_use]
    pub fn mark(&self) -> u64 {
        *self.0.mark.borrow()
    }

    /// Returns once the count is past `seen`.
    pub async fn wait_past(&self, seen: u64) {
        if self.0.mark.subscribe().wait_for(|mark| *mark > seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
