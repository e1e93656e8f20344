//! SQS: queues of messages that others take, one at a time, until they say that they are done.
//!
//! On the road: a service like any other, over the engine of durable queues; SNS and S3 reach its queues through
//! [`QueueSink`](crate::sinks::QueueSink), under the queues' policies. Fair queues' groups are kept and shown; no order
//! among tenants is made of them.
//!
//! Invariants: a queue's settings are read from memory, which changes only after the catalog did, under one lock; a
//! message is sealed before it reaches the engine; what was acknowledged is received at least once unless it is deleted,
//! purged or expires.

mod attributes;
mod batch;
mod cipher;
mod delete;
mod dispatch;
mod error;
#[cfg(test)]
mod fixtures;
mod handle;
mod maintain;
mod message;
mod metrics;
mod move_tasks;
mod name;
mod permissions;
mod queues;
mod receive;
mod record;
mod redrive;
mod send;
mod sink;
mod state;
mod tags;
mod target;
mod visibility;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use cairn_core::{Clock, Entropy, Timestamp};
use cairn_store::queues::{QueueError, QueueKey, Queues};
use cairn_store::{Catalog, CatalogError};
use prometheus::Registry;

use self::cipher::Cipher;
use self::error::{Failure, no_queue};
use self::handle::Handles;
use self::metrics::Metrics;
use self::move_tasks::Running;
use self::name::QueueName;
use self::receive::Attempts;
use self::state::{MOVE_TASKS, QUEUES, Queue, TaskStatus};
use crate::Caller;
use crate::kms::{Asker, DATA_KEY_BYTES, DataKeys};

/// How a long poll waits: the service knows no timers of its own.
#[async_trait]
pub trait Pause: Send + Sync + 'static {
    /// Returns once the clock shows `at`, or it is in vain to wait.
    async fn until(&self, at: Timestamp);

    /// Whether it is in vain to wait: the server stops, or the client has gone away.
    fn is_in_vain(&self) -> bool;
}

/// What the service works with.
pub struct Deps {
    /// Its configuration.
    pub catalog: Catalog,
    /// Its messages.
    pub queues: Arc<dyn Queues>,
    /// Data keys, of queues that are encrypted under a key of KMS.
    pub data_keys: Arc<dyn DataKeys>,
    /// The key of all other messages.
    pub server_key: [u8; DATA_KEY_BYTES],
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// How long polls wait.
    pub pause: Arc<dyn Pause>,
    /// Wakes the stage of move tasks.
    pub changed: Arc<dyn Fn() + Send + Sync>,
}

/// Why the service cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalog failed.
    #[error("the queues cannot be read")]
    Catalog(#[from] CatalogError),
    /// The engine failed.
    #[error("the queues cannot be made ready")]
    Engine(#[from] QueueError),
    /// The metrics are registered already.
    #[error("the metrics of queues cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The SQS service.
pub struct Sqs {
    catalog: Catalog,
    engine: Arc<dyn Queues>,
    cipher: Cipher,
    handles: Handles,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pause: Arc<dyn Pause>,
    changed: Arc<dyn Fn() + Send + Sync>,
    metrics: Metrics,
    queues: RwLock<BTreeMap<QueueName, Arc<Queue>>>,
    /// Held while a queue is changed, from before it is read until memory shows what the catalog has.
    changing: tokio::sync::Mutex<()>,
    running: tokio::sync::Mutex<Running>,
    attempts: Attempts,
}

impl Sqs {
    /// SQS as the catalog has it. The engine's queues are brought in line: what a crash left of a queue half made or half
    /// deleted is mended.
    ///
    /// # Errors
    /// Where the catalog or the engine fails.
    pub async fn open(deps: Deps, registry: &Registry) -> Result<Self, OpenError> {
        let (queues, tasks) = deps
            .catalog
            .read(|tx| {
                Ok::<_, CatalogError>((QUEUES.scan_prefix(tx, &[])?, MOVE_TASKS.scan_prefix(tx, &[])?))
            })
            .await?;
        let queues: BTreeMap<QueueName, Arc<Queue>> =
            queues.into_iter().map(|(_, queue)| (queue.name.clone(), Arc::new(queue))).collect();
        for queue in queues.values() {
            deps.queues.create(&queue.key()).await?;
        }
        for key in deps.queues.names() {
            let Some(arn) = name::arn_of_key(&key) else { continue };
            let owner = QueueName::of_arn(arn).and_then(|name| queues.get(&name));
            if owner.is_none_or(|queue| queue.key() != key) {
                deps.queues.remove(&key).await?;
            }
        }
        let running =
            tasks.into_iter().map(|(_, task)| task).filter(|task| task.status == TaskStatus::Running);
        let metrics = Metrics::register(registry)?;
        Ok(Self {
            catalog: deps.catalog,
            engine: deps.queues,
            handles: Handles::new(&deps.server_key),
            cipher: Cipher::new(deps.server_key, deps.data_keys),
            clock: deps.clock,
            entropy: deps.entropy,
            pause: deps.pause,
            changed: deps.changed,
            metrics,
            queues: RwLock::new(queues),
            changing: tokio::sync::Mutex::default(),
            running: tokio::sync::Mutex::new(Running::of(running)),
            attempts: Attempts::default(),
        })
    }

    /// The queue of a name, where there is one.
    fn find(&self, name: &QueueName) -> Option<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The queue that a URL names.
    fn queue_at(&self, url: &str, caller: &Caller) -> Result<Arc<Queue>, Failure> {
        self.find(&QueueName::of_url(url, caller)?).ok_or_else(no_queue)
    }

    /// All queues, in the order of region, account and name.
    fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Shows a queue from now on as the catalog has it; none where it is gone.
    fn show(&self, name: &QueueName, queue: Option<Queue>) {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        match queue {
            Some(queue) => queues.insert(name.clone(), Arc::new(queue)),
            None => queues.remove(name),
        };
    }

    /// Changes a queue.
    async fn change(
        &self,
        name: &QueueName,
        change: impl FnOnce(&mut Queue) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock().await;
        let mut queue = Queue::clone(&*self.find(name).ok_or_else(no_queue)?);
        change(&mut queue)?;
        self.keep(&queue).await?;
        self.show(name, Some(queue));
        Ok(())
    }

    async fn keep(&self, queue: &Queue) -> Result<(), Failure> {
        let kept = queue.clone();
        self.catalog.write(move |tx| QUEUES.put(tx, kept.name.row().bytes(), &kept)).await?;
        Ok(())
    }
}

impl Queue {
    /// The engine's key.
    fn key(&self) -> QueueKey {
        QueueKey(self.key.clone())
    }
}

/// In whose name SQS asks KMS for a caller.
fn asker(caller: &Caller, queue: &Queue) -> Asker {
    let caller = Caller { region: queue.name.region.clone(), ..caller.clone() };
    Asker { caller, service: "sqs", conditions: Vec::new() }
}
