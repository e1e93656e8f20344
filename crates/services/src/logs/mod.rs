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
mod encryption;
mod error;
mod groups;
mod metrics;
mod page;
mod retention;
mod state;
mod tags;
mod target;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy};
use cairn_store::Catalog;
use cairn_store::lines::{GroupId, Lines, StreamId};
use cairn_wire::{AwsError, Call, Reply};
use prometheus::Registry;
use serde_json::Value;
use tokio::sync::RwLock;

use self::arn::GroupName;
use self::encryption::OpenedKeys;
use self::error::{Failure, fail, group_not_found};
use self::metrics::Metrics;
use self::state::Group;
use self::views::Views;
use crate::kms::DataKeys;
use crate::sinks::Switchboard;
use crate::{Access, Caller, EventKind, Operation, Service, Target};

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
}

/// The service.
pub struct Logs {
    catalog: Catalog,
    lines: Arc<dyn Lines>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    data_keys: Arc<dyn DataKeys>,
    opened_keys: OpenedKeys,
    views: Views,
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
        let Deps { catalog, lines, clock, entropy, data_keys, switchboard: _ } = deps;
        let metrics = Metrics::new()?;
        metrics.register(registry)?;
        Ok(Self {
            catalog,
            lines,
            clock,
            entropy,
            data_keys,
            opened_keys: OpenedKeys::default(),
            views: Views::default(),
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

    fn writers(&self, group: GroupId) -> &RwLock<()> {
        let at = usize::try_from(group.0 % WRITER_LOCKS as u64).expect("it is below a number of locks");
        &self.writers[at]
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "AssociateKmsKey" => self.associate_key(caller, call.input()?).await,
            "CreateLogGroup" => self.create_group(caller, call.input()?).await,
            "DeleteLogGroup" => self.delete_group(caller, call.input()?).await,
            "DeleteRetentionPolicy" => self.delete_retention(caller, call.input()?).await,
            "DescribeLogGroups" => self.describe_groups(caller, call.input()?).await,
            "DisassociateKmsKey" => self.disassociate_key(caller, call.input()?).await,
            "ListLogGroups" => self.list_groups(caller, call.input()?).await,
            "ListTagsForResource" => self.tags_of_resource(call.input()?).await,
            "ListTagsLogGroup" => self.tags_of_group(caller, call.input()?).await,
            "PutLogGroupDeletionProtection" => self.protect_group(caller, call.input()?).await,
            "PutRetentionPolicy" => self.put_retention(caller, call.input()?).await,
            "TagLogGroup" => self.tag_group(caller, call.input()?).await,
            "TagResource" => self.tag_resource(call.input()?).await,
            "UntagLogGroup" => self.untag_group(caller, call.input()?).await,
            "UntagResource" => self.untag_resource(call.input()?).await,
            other => {
                Err(fail("UnsupportedOperationException", format!("The operation {other} is not supported")))
            }
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

/// Which are management events, the user guide says: "Logging CloudWatch Logs API and console operations in AWS CloudTrail".
const OPERATIONS: &[Operation] = &[
    operation("AssociateKmsKey", Access::Write),
    operation("CreateLogGroup", Access::Write),
    operation("DeleteLogGroup", Access::Write),
    operation("DeleteRetentionPolicy", Access::Write),
    operation("DescribeLogGroups", Access::Read),
    operation("DisassociateKmsKey", Access::Write),
    operation("ListLogGroups", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("ListTagsLogGroup", Access::Read),
    operation("PutLogGroupDeletionProtection", Access::Write),
    operation("PutRetentionPolicy", Access::Write),
    operation("TagLogGroup", Access::Write),
    operation("TagResource", Access::Write),
    operation("UntagLogGroup", Access::Write),
    operation("UntagResource", Access::Write),
];

#[async_trait]
impl Service for Logs {
    fn model(&self) -> &'static str {
        "logs"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(self.find_target(caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(Self::find_further_targets(caller, call))
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }
}
