//! CloudWatch Logs: groups of streams of lines.
//!
//! On the road: a service like any other; trails, rules and functions write through [`LogSink`], under the resource
//! policies of the group's account or as a role. Groups and streams are rows of the catalog, their lines lie in the store
//! of lines ([`Lines`]), under numbers that are never used twice. Stages, which take no input, let lines go whose time is
//! over ([`retention`]).
//!
//! Invariants: what PutLogEvents accepted is durable before its reply; nothing is written to a group or stream after its
//! deletion was answered; lines of a group with a KMS key are kept sealed ([`encryption`]).
//!
//! [`LogSink`]: crate::sinks::LogSink

mod arn;
mod destinations;
mod dispatch;
mod emf;
mod encryption;
mod error;
mod export;
mod filter_events;
mod filter_stage;
mod filter_views;
mod get_events;
mod groups;
mod insights;
mod live_tail;
mod metric_filters;
mod metrics;
mod page;
mod put_events;
mod read;
mod recorded;
mod resource_policies;
mod retention;
mod sink;
mod state;
mod streams;
mod subscription_filters;
mod tags;
mod target;
mod views;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use cairn_core::{Clock, Entropy};
use cairn_store::Catalog;
use cairn_store::lines::{GroupId, Lines, StreamId};
use prometheus::Registry;
use tokio::sync::{RwLock, watch};

use self::arn::GroupName;
use self::encryption::OpenedKeys;
use self::error::{Failure, group_not_found};
use self::filter_views::FilterViews;
use self::insights::Queries;
use self::metrics::Metrics;
use self::resource_policies::Together;
use self::state::Group;
use self::views::Views;
use crate::kms::DataKeys;
use crate::sinks::Switchboard;
use crate::sqs::Pause;

pub use self::filter_stage::{FilterDeps, FilterStage, SubscriptionStage};

/// How many locks groups share among them.
const WRITER_LOCKS: usize = 64;

/// What CloudWatch Logs works with.
pub struct Deps {
    /// Where groups and streams are kept.
    pub catalog: Catalog,
    /// Where lines are kept.
    pub lines: Arc<dyn Lines>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// Asked where a group has a KMS key.
    pub data_keys: Arc<dyn DataKeys>,
    /// Where it sends.
    pub switchboard: Switchboard,
    /// How sessions that follow groups wait.
    pub pause: Arc<dyn Pause>,
}

/// The service.
pub struct Logs {
    catalog: Catalog,
    lines: Arc<dyn Lines>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    data_keys: Arc<dyn DataKeys>,
    opened_keys: OpenedKeys,
    switchboard: Switchboard,
    views: Arc<Views>,
    pause: Arc<dyn Pause>,
    /// How many exports were asked for.
    exports_asked: watch::Sender<u64>,
    filters: FilterViews,
    queries: Arc<Queries>,
    policies: Together,
    metrics: Metrics,
    /// By group: held to read while lines are appended, to write while the group or a stream of it is deleted.
    writers: Vec<RwLock<()>>,
}

impl Logs {
    /// The service with what it works with.
    ///
    /// # Errors
    /// Where the counters cannot be made, which is a mistake in their names.
    pub fn new(deps: Deps, registry: &Registry) -> Result<Self, prometheus::Error> {
        let Deps { catalog, lines, clock, entropy, data_keys, switchboard, pause } = deps;
        let metrics = Metrics::new()?;
        metrics.register(registry)?;
        Ok(Self {
            catalog,
            lines,
            clock,
            entropy,
            data_keys,
            opened_keys: OpenedKeys::default(),
            switchboard,
            views: Arc::default(),
            pause,
            exports_asked: watch::Sender::new(0),
            filters: FilterViews::default(),
            queries: Arc::default(),
            policies: Together::default(),
            metrics,
            writers: std::iter::repeat_with(RwLock::default).take(WRITER_LOCKS).collect(),
        })
    }

    /// The group of that name.
    pub(crate) async fn group(&self, name: &GroupName) -> Result<Arc<Group>, Failure> {
        self.views.group(&self.catalog, name).await?.ok_or_else(group_not_found)
    }

    /// The group of that number; none where it was deleted.
    pub(crate) async fn group_of(&self, id: GroupId) -> Result<Option<Arc<Group>>, Failure> {
        Ok(self.views.group_of(&self.catalog, id).await?)
    }

    /// The name of the stream of that number; none where it was deleted.
    pub(crate) async fn stream_name(&self, id: StreamId) -> Result<Option<Arc<str>>, Failure> {
        Ok(self.views.stream_name(&self.catalog, id).await?)
    }

    fn writers(&self, group: &GroupName) -> &RwLock<()> {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % WRITER_LOCKS as u64);
        &self.writers[at.expect("it is below a number of locks")]
    }
}
