//! Firehose: delivery streams, which gather records and put them into a bucket as objects.
//!
//! On the road: records that are put are durable in the store's streams before they are acknowledged; the stage
//! ([`Firehose::run_once`]) gathers them, or those of a stream of Kinesis, by size and age, and puts them as the
//! destination's role. Invariants: a reservation fixes an object's records and its key before it is put, and the cursor
//! moves when it is there, so that a crash neither loses records nor puts them under two names; a sick bucket delays its
//! own delivery stream alone.

mod destination;
mod dispatch;
mod gather;
mod object_key;
mod put;
mod stage;
mod state;
mod streams;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_core::{Clock, Entropy};
use cairn_store::streams::StreamError;
use cairn_store::{Catalog, CatalogError, StreamKey, Streams};
use cairn_wire::AwsError;
use prometheus::{IntCounter, Registry};

use self::gather::Gathered;
use self::state::{DELIVERY_STREAMS, DeliveryStream, Name, STORE_PREFIX};
use crate::at_rest::AtRest;
use crate::failure::Failure;
use crate::kinesis::Kinesis;
use crate::kms::{DATA_KEY_BYTES, DataKeys};
use crate::sinks::Switchboard;

/// In whose name roles are assumed.
const PRINCIPAL: &str = "firehose.amazonaws.com";

/// What the service works with.
pub struct Deps {
    /// Its configuration.
    pub catalog: Catalog,
    /// Its records.
    pub streams: Arc<dyn Streams>,
    /// The streams that it can read.
    pub kinesis: Kinesis,
    /// Data keys, of delivery streams that are encrypted under a key of KMS.
    pub data_keys: Arc<dyn DataKeys>,
    /// The key of all other records.
    pub server_key: [u8; DATA_KEY_BYTES],
    /// Roles, buckets and log groups.
    pub switchboard: Switchboard,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids.
    pub entropy: Arc<dyn Entropy>,
}

/// Why the service cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalog failed.
    #[error("the delivery streams cannot be read")]
    Catalog(#[from] CatalogError),
    /// The store failed.
    #[error("the delivery streams cannot be made ready")]
    Store(#[from] StreamError),
    /// The metrics are registered already.
    #[error("the metrics of delivery streams cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

struct Metrics {
    put: IntCounter,
    delivered_objects: IntCounter,
    delivered_records: IntCounter,
    failures: IntCounter,
    dropped: IntCounter,
}

/// The Firehose service.
pub struct Firehose {
    deps: Deps,
    cipher: AtRest,
    metrics: Metrics,
    /// What the stage knows of each delivery stream, by id. What is lost with it is counted again.
    gathered: Mutex<BTreeMap<String, Gathered>>,
    /// Held while a delivery stream is changed.
    changing: tokio::sync::Mutex<()>,
}

impl Firehose {
    /// Firehose as the catalog has it. The store is brought in line with it.
    ///
    /// # Errors
    /// Where the catalog or the store fails.
    pub async fn open(deps: Deps, registry: &Registry) -> Result<Self, OpenError> {
        let rows = deps.catalog.read(|tx| DELIVERY_STREAMS.scan_prefix(tx, &[])).await?;
        let wanted: Vec<StreamKey> = rows.iter().map(|(_, stream)| stream.store_key()).collect();
        for key in &wanted {
            deps.streams.create(key).await?;
        }
        for key in deps.streams.names() {
            if key.as_str().starts_with(STORE_PREFIX) && !wanted.contains(&key) {
                deps.streams.remove(&key).await?;
            }
        }
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let metrics = Metrics {
            put: counter("cairn_firehose_put_records_total", "records put into delivery streams")?,
            delivered_objects: counter("cairn_firehose_objects_total", "objects put into buckets")?,
            delivered_records: counter("cairn_firehose_delivered_records_total", "records put into buckets")?,
            failures: counter("cairn_firehose_failures_total", "deliveries that failed and are tried again")?,
            dropped: counter("cairn_firehose_dropped_records_total", "records given up after a day")?,
        };
        let cipher = AtRest::new("aws:firehose:arn", deps.server_key, Arc::clone(&deps.data_keys));
        let (gathered, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(Self { deps, cipher, metrics, gathered, changing })
    }

    /// The delivery stream of a name.
    async fn find(&self, name: &Name) -> Result<DeliveryStream, Failure> {
        let row = name.row();
        let found = self.deps.catalog.read(move |tx| DELIVERY_STREAMS.get(tx, row.bytes())).await?;
        found.ok_or_else(|| {
            let message = format!("Firehose {} under account {} not found.", name.name, name.account);
            fail("ResourceNotFoundException", message)
        })
    }

    async fn keep(&self, stream: &DeliveryStream) -> Result<(), Failure> {
        let kept = stream.clone();
        let write =
            move |tx: &mut dyn cairn_store::Tx| DELIVERY_STREAMS.put(tx, kept.name.row().bytes(), &kept);
        Ok(self.deps.catalog.write(write).await?)
    }

    fn gathered(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Gathered>> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

fn invalid(message: impl Into<String>) -> Failure {
    fail("InvalidArgumentException", message)
}

/// The store's faults as Firehose tells them.
fn of_store(error: StreamError) -> Failure {
    match error {
        StreamError::TooMany { .. } => fail("LimitExceededException", error.to_string()),
        StreamError::Full(_) => {
            tracing::error!(error = &error as &dyn std::error::Error, "records were refused");
            AwsError::with_status(503, "ServiceUnavailableException", "Slow down.").into()
        }
        error => AwsError::internal(error).into(),
    }
}
