//! Where those who watch and react send: log groups, metrics, event buses, functions, streams.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::{CatalogError, Tx};
use serde::{Deserialize, Serialize};

use super::{Sender, SinkFailure, Source};

/// A line for a log stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it happened, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The text.
    pub message: String,
}

/// The log groups of all accounts and regions.
#[async_trait]
pub trait LogSink: Send + Sync + 'static {
    /// Whether `sender` may make streams in the group and write to the stream, and the group is there:
    /// `ResourceNotFoundException` otherwise. `group_arn` may end in `:*`.
    async fn check(&self, sender: &Sender, group_arn: &str, stream: &str) -> Result<(), SinkFailure>;

    /// Makes the group, if it is not there and `sender` may.
    async fn make_group(&self, _sender: &Sender, group_arn: &str) -> Result<(), SinkFailure> {
        Err(SinkFailure {
            is_transient: false,
            code: "ResourceNotFoundException".to_owned(),
            message: format!("{group_arn} cannot be made here"),
        })
    }

    /// Writes lines, making the stream where it is not there; all durable on return, or none. Lines that PutLogEvents
    /// would reject (too old, too new) are left out. The limits on a batch are the sink's to keep: it splits.
    async fn put(
        &self,
        sender: &Sender,
        group_arn: &str,
        stream: &str,
        lines: Vec<LogLine>,
    ) -> Result<(), SinkFailure>;
}

/// A number for a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricDatum {
    /// The namespace: `CloudTrailMetrics`.
    pub namespace: String,
    /// The metric's name.
    pub name: String,
    /// Names and values of its dimensions.
    pub dimensions: Vec<(String, String)>,
    /// When.
    pub timestamp: Timestamp,
    /// Values, each with how often it was.
    pub values: Vec<(f64, f64)>,
    /// The unit: `Count`, `None`.
    pub unit: String,
}

/// The metrics of all accounts and regions.
pub trait MetricSink: Send + Sync + 'static {
    /// Adds to metrics within a transaction, so that what they count is counted once.
    fn put_in(
        &self,
        tx: &mut dyn Tx,
        account: &AccountId,
        region: &Region,
        data: &[MetricDatum],
    ) -> Result<(), CatalogError>;

    /// Says, after the transaction, that alarms may have to be looked at.
    fn wake(&self);
}

/// An event of a service: `{"version":"0","id":…,"detail-type":…,"source":"aws.s3",…}` is made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BusEvent {
    /// Its id: the same event given twice within minutes is one.
    pub id: String,
    /// `aws.s3`.
    pub source: String,
    /// `Object Created`.
    pub detail_type: String,
    /// Whose it is.
    pub account: AccountId,
    /// Where it happened.
    pub region: Region,
    /// When.
    pub time: Timestamp,
    /// ARNs.
    pub resources: Vec<String>,
    /// The detail: JSON text of an object.
    pub detail: String,
}

/// The default event buses of all accounts and regions.
#[async_trait]
pub trait BusSink: Send + Sync + 'static {
    /// Puts events on the default bus of their account and region: what is owed to the targets of matching rules is
    /// durable on return.
    async fn put(&self, events: Vec<BusEvent>) -> Result<(), SinkFailure>;
}

/// The functions of all accounts and regions, and those that are elsewhere.
#[async_trait]
pub trait FunctionSink: Send + Sync + 'static {
    /// Whether the function (an ARN, perhaps with a version or alias) is there and `sender` may invoke it.
    async fn check(&self, sender: &Sender, function_arn: &str) -> Result<(), SinkFailure>;

    /// Invokes it with an event: durable on return, executed afterwards, with Lambda's own retries and destinations.
    async fn invoke(&self, sender: &Sender, function_arn: &str, payload: Bytes) -> Result<(), SinkFailure>;
}

/// A record for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Chooses the shard.
    pub partition_key: String,
    /// What it says.
    pub data: Bytes,
}

/// The Kinesis streams of all accounts and regions.
#[async_trait]
pub trait StreamSink: Send + Sync + 'static {
    /// Whether the stream is there and `sender` may put records.
    async fn check(&self, sender: &Sender, stream_arn: &str) -> Result<(), SinkFailure>;

    /// Puts records: all durable on return, or, where this fails, perhaps some.
    async fn put(
        &self,
        sender: &Sender,
        stream_arn: &str,
        records: Vec<StreamRecord>,
    ) -> Result<(), SinkFailure>;
}

/// The Firehose delivery streams of all accounts and regions.
#[async_trait]
pub trait FirehoseSink: Send + Sync + 'static {
    /// Whether the delivery stream is there and `sender` may put records.
    async fn check(&self, sender: &Sender, stream_arn: &str) -> Result<(), SinkFailure>;

    /// Puts records: all durable on return, or none.
    async fn put(&self, sender: &Sender, stream_arn: &str, records: Vec<Bytes>) -> Result<(), SinkFailure>;
}

/// An object for a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The content.
    pub body: Bytes,
    /// `application/octet-stream` where nothing is said.
    pub content_type: Option<String>,
    /// `gzip`.
    pub content_encoding: Option<String>,
    /// The KMS key that it is encrypted under; the bucket's default where none is given.
    pub kms_key_id: Option<String>,
}

/// The buckets of all accounts and regions.
#[async_trait]
pub trait ObjectSink: Send + Sync + 'static {
    /// Puts an object under `s3:PutObject`: durable on return.
    async fn put(&self, sender: &Sender, object: NewObject) -> Result<(), SinkFailure>;

    /// Reads an object, or a version of it, of at most `size_bytes_max`, under `s3:GetObject`.
    async fn get(
        &self,
        sender: &Sender,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        size_bytes_max: u64,
    ) -> Result<Bytes, SinkFailure>;
}

/// In whose name a service itself acts on behalf of `arn`.
#[must_use]
pub fn as_service(service: &str, arn: &str, account: &AccountId) -> Sender {
    Sender::Service(Source { service: service.to_owned(), arn: arn.to_owned(), account: account.clone() })
}
