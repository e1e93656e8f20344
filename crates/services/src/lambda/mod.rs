//! Lambda: functions from deployment packages, executed by processes of this machine or by a Lambda elsewhere.
//!
//! On the road: a service like any other; EventBridge, SNS, S3 and others reach its functions through
//! [`FunctionSink`](crate::sinks::FunctionSink), under the functions' policies. Who executes is behind [`Runner`] and
//! [`Remote`]; the service knows no processes. Layers, images, function URLs, VPCs, provisioned concurrency and response
//! streams are not built.
//!
//! Invariants: code and environment variables are sealed wherever they are kept; an asynchronous invocation is durable
//! before it is acknowledged and executed at least once, unless it is too old or failed too often; no function is made or
//! executed where nobody can execute it.

mod configuration;
mod dispatch;
mod error;
mod functions;
mod invoke;
mod invoke_configs;
mod location;
mod metrics;
mod name;
mod package;
mod page;
mod permissions;
mod queue;
mod record;
mod remote;
mod results;
mod runner;
mod sink;
mod slots;
mod state;
mod target;
mod versions;
mod work;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cairn_core::{Clock, Entropy};
use cairn_store::queues::{QueueError, QueueKey, Queues};
use cairn_store::{BlobId, Catalog, CatalogError, Sealer};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use location::PATH as CODE_PATH;
pub use package::{Package, PackageError, Packages, unpack};
pub use runner::{Blueprint, Invocation, Ran, Remote, RemoteAnswer, RemoteCall, RunFailure, Runner};

use self::metrics::Metrics;
use self::queue::EVENTS_PREFIX;
use self::slots::Slots;
use self::state::{FUNCTIONS, VERSIONS};
use crate::kms::DataKeys;
use crate::sinks::Switchboard;

/// What the service works with.
pub struct Deps {
    /// Its configuration.
    pub catalog: Catalog,
    /// Events and outcomes.
    pub queues: Arc<dyn Queues>,
    /// Code.
    pub packages: Packages,
    /// Seals variables and events.
    pub sealer: Sealer,
    /// Data keys, of variables that are encrypted under a key of KMS.
    pub data_keys: Arc<dyn DataKeys>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Roles, and where outcomes go.
    pub switchboard: Switchboard,
    /// Who executes; none where functions are not to be executed.
    pub runner: Option<Arc<dyn Runner>>,
    /// A Lambda elsewhere, for functions that are not here.
    pub remote: Option<Arc<dyn Remote>>,
    /// How many functions run at a time.
    pub concurrency_max: usize,
    /// The pause before an event is tried again; before the second time it is twice as long.
    pub retry_delay: Duration,
}

/// Why the service cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The catalog failed.
    #[error("the functions cannot be read")]
    Catalog(#[from] CatalogError),
    /// The engine failed.
    #[error("the functions' queues cannot be made ready")]
    Engine(#[from] QueueError),
    /// The metrics are registered already.
    #[error("the metrics of functions cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// The Lambda service.
pub struct Lambda {
    catalog: Catalog,
    engine: Arc<dyn Queues>,
    packages: Packages,
    sealer: Sealer,
    data_keys: Arc<dyn DataKeys>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    switchboard: Switchboard,
    runner: Option<Arc<dyn Runner>>,
    remote: Option<Arc<dyn Remote>>,
    retry_delay: Duration,
    slots: Slots,
    metrics: Metrics,
    /// Grows whenever there may be more to do.
    arrivals: Arc<watch::Sender<u64>>,
    tasks: Mutex<JoinSet<()>>,
    /// Where clients reach the server.
    endpoint: OnceLock<String>,
}

impl Lambda {
    /// Lambda as the catalog has it. The engine's queues are brought in line: what a crash left of a function half made
    /// or half deleted is mended.
    ///
    /// # Errors
    /// Where the catalog or the engine fails.
    pub async fn open(deps: Deps, registry: &Registry) -> Result<Self, OpenError> {
        let functions = deps.catalog.read(|tx| FUNCTIONS.scan_prefix(tx, &[])).await?;
        let queues: HashSet<String> = functions.into_iter().map(|(_, function)| function.queue).collect();
        for queue in &queues {
            deps.queues.create(&QueueKey(queue.clone())).await?;
        }
        for queue in deps.queues.names() {
            if queue.0.starts_with(EVENTS_PREFIX)
                && !queues.contains(&queue.0)
                && queue.0 != remote::queue().0
            {
                deps.queues.remove(&queue).await?;
            }
        }
        if deps.remote.is_some() {
            deps.queues.create(&remote::queue()).await?;
        }
        let arrivals = Arc::new(watch::Sender::new(0));
        let freed = Arc::clone(&arrivals);
        Ok(Self {
            catalog: deps.catalog,
            engine: deps.queues,
            packages: deps.packages,
            sealer: deps.sealer,
            data_keys: deps.data_keys,
            clock: deps.clock,
            entropy: deps.entropy,
            switchboard: deps.switchboard,
            runner: deps.runner,
            remote: deps.remote,
            retry_delay: deps.retry_delay,
            slots: Slots::new(deps.concurrency_max, move || freed.send_modify(|arrivals| *arrivals += 1)),
            metrics: Metrics::register(registry)?,
            arrivals,
            tasks: Mutex::default(),
            endpoint: OnceLock::new(),
        })
    }

    /// The blobs of all code that there is: others in the same store belong to nobody.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn blobs(&self) -> Result<HashSet<BlobId>, CatalogError> {
        self.catalog
            .read(|tx| {
                let functions = FUNCTIONS.scan_prefix(tx, &[])?.into_iter().map(|(_, f)| f.latest.code.blob);
                let versions = VERSIONS.scan_prefix(tx, &[])?.into_iter().map(|(_, config)| config.code.blob);
                Ok::<_, CatalogError>(functions.chain(versions).collect())
            })
            .await
    }

    /// Lets the environments of a function end that were made before it was changed.
    fn retire(&self, function_arn: &str) {
        if let Some(runner) = &self.runner {
            runner.retire(function_arn);
        }
    }
}
