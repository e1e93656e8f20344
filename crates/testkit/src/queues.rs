//! Durable queues on a simulated disk, in one thread: what is asked of them is committed by who waits for it.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_store::Queues;
use cairn_store::disk::Disk;
use cairn_store::queues::{
    Ask, Counts, JournalQueues, NewMessage, QueueError, QueueKey, QueueSettings, Receipt, ReceiptFault,
    Received, Sent,
};
use futures::FutureExt;
use prometheus::Registry;

use crate::disk::{DiskFaults, Machine};

/// Where the queues lie on the disk.
const DIRECTORY: &str = "/data/queues";
/// Small segments, so that tests come by their ends.
const SEGMENT_SIZE_BYTES: u64 = 256 << 10;

pub(crate) struct NoFaults;

impl DiskFaults for NoFaults {
    fn strikes(&self, _kind: &'static str) -> bool {
        false
    }
}

/// No queues yet, on a disk in memory that does not fail.
///
/// # Panics
/// Where they cannot be opened.
#[must_use]
pub fn memory_queues() -> Arc<dyn Queues> {
    let machine = Machine::new(0, Arc::new(NoFaults));
    machine.make_directory(Path::new("/data"));
    let disk: Arc<dyn Disk> = Arc::new(machine.process(1, &Arc::default()));
    let settings = QueueSettings { segment_size_bytes: SEGMENT_SIZE_BYTES, ..QueueSettings::default() };
    let registry = Registry::new();
    let opening = JournalQueues::open_undriven(&disk, Path::new(DIRECTORY), settings, &registry);
    let queues = opening.now_or_never().expect("without a thread nothing is waited for");
    Arc::new(SteppedQueues(queues.expect("an empty disk without faults opens")))
}

/// Queues without a thread of their own: whoever waits for something lets them commit.
pub struct SteppedQueues(pub JournalQueues);

impl SteppedQueues {
    /// Commits until `asked` is answered.
    async fn settle<T>(&self, asked: impl Future<Output = T>) -> T {
        let mut asked = pin!(asked);
        loop {
            if let Poll::Ready(answer) = futures::poll!(asked.as_mut()) {
                return answer;
            }
            self.0.commit().await;
        }
    }
}

#[async_trait]
impl Queues for SteppedQueues {
    async fn create(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.settle(self.0.create(queue)).await
    }

    async fn remove(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.settle(self.0.remove(queue)).await
    }

    fn names(&self) -> Vec<QueueKey> {
        self.0.names()
    }

    async fn send(&self, messages: Vec<NewMessage>) -> Result<Vec<Sent>, QueueError> {
        self.settle(self.0.send(messages)).await
    }

    async fn receive(&self, queue: &QueueKey, ask: &Ask) -> Result<Vec<Received>, QueueError> {
        self.settle(self.0.receive(queue, ask)).await
    }

    async fn wait_past(&self, queue: &QueueKey, seen: u64) {
        self.0.wait_past(queue, seen).await;
    }

    fn arrivals(&self, queue: &QueueKey) -> u64 {
        self.0.arrivals(queue)
    }

    fn next_visible(&self, queue: &QueueKey, now: Timestamp) -> Option<Timestamp> {
        self.0.next_visible(queue, now)
    }

    async fn delete(
        &self,
        queue: &QueueKey,
        receipts: &[Receipt],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        self.settle(self.0.delete(queue, receipts, now)).await
    }

    async fn change_visibility(
        &self,
        queue: &QueueKey,
        changes: &[(Receipt, Timestamp)],
        now: Timestamp,
    ) -> Result<Vec<Result<(), ReceiptFault>>, QueueError> {
        self.settle(self.0.change_visibility(queue, changes, now)).await
    }

    async fn purge(&self, queue: &QueueKey) -> Result<(), QueueError> {
        self.settle(self.0.purge(queue)).await
    }

    async fn expire(&self, queue: &QueueKey, until: Timestamp, now: Timestamp) -> Result<u64, QueueError> {
        self.settle(self.0.expire(queue, until, now)).await
    }

    async fn move_messages(
        &self,
        from: &QueueKey,
        to: Option<&QueueKey>,
        messages_max: usize,
        now: Timestamp,
    ) -> Result<usize, QueueError> {
        self.settle(self.0.move_messages(from, to, messages_max, now)).await
    }

    fn counts(&self, queue: &QueueKey, now: Timestamp) -> Result<Counts, QueueError> {
        self.0.counts(queue, now)
    }
}
