//! Kinesis: streams of records in shards, which others read at their own pace until the retention period is over.
//!
//! On the road: a service like any other, over the store's streams, one for each shard; others put into streams through
//! [`StreamSink`](crate::sinks::StreamSink), Firehose reads them through [`Kinesis`]'s own reading.
//!
//! Invariants: a stream's state is read from memory, which changes only after the catalog did, under one lock; who puts
//! holds the stream's gate, so that a shard that is closed has had its last record; a record is sealed before it reaches
//! the store; what was acknowledged is read, in the order of its shard, until the retention period is over.

mod consumers;
mod dispatch;
mod error;
mod get;
mod hash_key;
mod iterator;
mod maintain;
mod metrics;
mod name;
mod policies;
mod put;
mod record;
mod reshard;
mod sequence;
mod settings;
mod shards;
mod sink;
mod source;
mod state;
mod streams;
mod subscribe;
mod tags;
mod target;
mod throughput;
mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cairn_core::{Clock, Entropy};
use cairn_store::streams::StreamError;
use cairn_store::{Catalog, CatalogError, Streams};
use cairn_wire::AwsError;
use prometheus::Registry;
use tokio::sync::watch;

use self::error::{Failure, no_stream, of_kms, of_store};
use self::metrics::Metrics;
use self::name::StreamName;
pub use self::source::{SourceRecord, SourceShard};
use self::state::{STORE_PREFIX, STREAMS, Stream};
use self::throughput::Meter;
use crate::Caller;
use crate::at_rest::{AtRest, SealingKey};
use crate::kms::{Asker, DATA_KEY_BYTES, DataKeys};
use crate::sqs::Pause;

/// For how long a data key is used again.
const DATA_KEY_REUSE: Duration = Duration::from_secs(300);

/// What the service works with.
pub struct Deps {
    /// Its configuration.
    pub catalog: Catalog,
    /// Its records.
    pub streams: Arc<dyn Streams>,
    /// Data keys, of streams that are encrypted under a key of KMS.
    pub data_keys: Arc<dyn DataKeys>,
    /// The key of all other records, and of iterators.
    pub server_key: [u8; DATA_KEY_BYTES],
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// How subscriptions wait.
    pub pause: Arc<dyn Pause>,
}

/// Why the service cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalog failed.
    #[error("the streams cannot be read")]
    Catalog(#[from] CatalogError),
    /// The store failed.
    #[error("the streams cannot be made ready")]
    Store(#[from] StreamError),
    /// The metrics are registered already.
    #[error("the metrics of streams cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The Kinesis service. Clones share it.
#[derive(Clone)]
pub struct Kinesis(Arc<Shared>);

impl std::ops::Deref for Kinesis {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What clones share.
pub struct Shared {
    catalog: Catalog,
    store: Arc<dyn Streams>,
    cipher: AtRest,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pause: Arc<dyn Pause>,
    metrics: Metrics,
    streams: RwLock<BTreeMap<StreamName, Live>>,
    /// Held while a stream is changed, from before it is read until memory shows what the catalog has.
    changing: tokio::sync::Mutex<()>,
    /// Counts appends; wakes subscribers.
    arrivals: watch::Sender<u64>,
}

/// A stream in memory.
#[derive(Clone)]
struct Live {
    stream: Arc<Stream>,
    /// Held by who puts; by who closes shards alone.
    gate: Arc<tokio::sync::RwLock<()>>,
    meter: Arc<Meter>,
}

impl Live {
    fn new(stream: Stream) -> Self {
        Self { stream: Arc::new(stream), gate: Arc::default(), meter: Arc::default() }
    }
}

impl Kinesis {
    /// Kinesis as the catalog has it. The store is brought in line: what a crash left of a shard half made or half
    /// removed is mended.
    ///
    /// # Errors
    /// Where the catalog or the store fails.
    pub async fn open(deps: Deps, registry: &Registry) -> Result<Self, OpenError> {
        let rows = deps.catalog.read(|tx| STREAMS.scan_prefix(tx, &[])).await?;
        let streams: Vec<Stream> = rows.into_iter().map(|(_, stream)| stream).collect();
        let mut wanted = std::collections::BTreeSet::new();
        for stream in &streams {
            for shard in stream.shards.iter().filter(|shard| shard.has_records()) {
                let key = stream.store_key(shard.number);
                deps.streams.create(&key).await?;
                wanted.insert(key);
            }
        }
        for key in deps.streams.names() {
            if key.as_str().starts_with(STORE_PREFIX) && !wanted.contains(&key) {
                deps.streams.remove(&key).await?;
            }
        }
        let streams = streams.into_iter().map(|stream| (stream.name.clone(), Live::new(stream))).collect();
        Ok(Self(Arc::new(Shared {
            catalog: deps.catalog,
            store: deps.streams,
            cipher: AtRest::new("aws:kinesis:arn", deps.server_key, deps.data_keys),
            clock: deps.clock,
            entropy: deps.entropy,
            pause: deps.pause,
            metrics: Metrics::register(registry)?,
            streams: RwLock::new(streams),
            changing: tokio::sync::Mutex::default(),
            arrivals: watch::Sender::new(0),
        })))
    }
}

impl Shared {
    fn find(&self, name: &StreamName) -> Option<Live> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn live(&self, name: &StreamName) -> Result<Live, Failure> {
        self.find(name).ok_or_else(|| no_stream(name))
    }

    fn stream(&self, name: &StreamName) -> Result<Arc<Stream>, Failure> {
        Ok(self.live(name)?.stream)
    }

    /// All streams, in the order of region, account and name.
    fn all(&self) -> Vec<Arc<Stream>> {
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().map(|live| Arc::clone(&live.stream)).collect()
    }

    /// The caller's streams here, in the order of their names.
    fn own(&self, caller: &Caller) -> Vec<Arc<Stream>> {
        let is_own = |stream: &Arc<Stream>| {
            stream.name.region == caller.region && stream.name.account == caller.account
        };
        self.all().into_iter().filter(is_own).collect()
    }

    /// Shows a stream from now on as the catalog has it; none where it is gone.
    fn show(&self, name: &StreamName, stream: Option<Stream>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        match (stream, streams.get_mut(name)) {
            (Some(stream), Some(live)) => live.stream = Arc::new(stream),
            (Some(stream), None) => drop(streams.insert(name.clone(), Live::new(stream))),
            (None, _) => drop(streams.remove(name)),
        }
    }

    /// Changes a stream. Nobody closes shards meanwhile.
    async fn change<T>(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Stream) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _changing = self.changing.lock().await;
        let mut stream = Stream::clone(&*self.stream(name)?);
        let outcome = change(&mut stream)?;
        self.keep(&stream).await?;
        self.show(name, Some(stream));
        Ok(outcome)
    }

    async fn keep(&self, stream: &Stream) -> Result<(), Failure> {
        let kept = stream.clone();
        self.catalog.write(move |tx| STREAMS.put(tx, kept.name.row().bytes(), &kept)).await?;
        Ok(())
    }

    /// The key for records that are put now.
    async fn sealing_key(&self, asker: &Asker, stream: &Stream) -> Result<SealingKey, Failure> {
        let key = stream.kms_key.as_deref();
        self.cipher.sealing_key(asker, &stream.name.arn(), key, DATA_KEY_REUSE).await.map_err(of_kms)
    }

    /// Makes the shards of a stream in the store that it does not have yet.
    async fn make_shards(&self, stream: &Stream) -> Result<(), Failure> {
        for shard in stream.shards.iter().filter(|shard| shard.has_records()) {
            self.store.create(&stream.store_key(shard.number)).await.map_err(of_store)?;
        }
        Ok(())
    }
}

/// In whose name Kinesis asks KMS for a caller.
fn asker(caller: &Caller, stream: &Stream) -> Asker {
    let caller = Caller { region: stream.name.region.clone(), ..caller.clone() };
    Asker { caller, service: "kinesis", conditions: Vec::new() }
}

/// An internal fault of the server's making.
fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    AwsError::internal(source).into()
}
