//! Event notifications: what happens to the objects of a bucket is told to queues, topics, functions and the event bus.
//!
//! On the road: a transaction that changes an object also writes what it owes for it ([`debt::owe`]), each event for each
//! destination that the bucket's configuration ([`configuration`]) names; [`EventStage`] sends it ([`event`] says what a
//! message looks like) and deletes the debt. Invariants: a change and its debts are durable together or not at all; what
//! is owed is sent at least once, or dropped by a named limit, counted and logged; a sick destination delays itself alone.
//! Source: the S3 user guide's pages on event notifications, and messages and refusals recorded from the service.

pub(super) mod configuration;
pub(super) mod debt;
mod destinations;
mod event;
mod metrics;
mod pay;
pub(crate) mod retry;

use std::net::IpAddr;
use std::sync::Arc;

use cairn_core::{EventId, Principal, Timestamp};
use cairn_wire::Call;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::debt::Owed;
use self::metrics::Counts;
pub use self::pay::EventStage;
use super::state::{Bucket, Object, Version, Versioning};
use crate::Caller;
use crate::sinks::{QueueSink, Switchboard, TopicSink};

/// The longest X-Ray trace header that is handed on, in bytes.
const TRACE_HEADER_SIZE_BYTES_MAX: usize = 1024;

/// Where events can be sent. Of a kind that is missing no destination exists.
#[derive(Clone, Default)]
pub struct Sinks {
    /// The queues.
    pub queues: Option<Arc<dyn QueueSink>>,
    /// The topics.
    pub topics: Option<Arc<dyn TopicSink>>,
    /// Leads to functions and event buses.
    pub switchboard: Option<Switchboard>,
}

/// What S3 needs to tell others of events.
pub(super) struct Events {
    sinks: Sinks,
    /// Counts the times that something became owed; wakes who pays.
    owing: watch::Sender<u64>,
    counts: Counts,
}

impl Events {
    pub(super) fn new(sinks: Sinks) -> Self {
        Self { sinks, owing: watch::Sender::new(0), counts: Counts::new() }
    }

    /// To be called with what [`debt::owe`] said, once its transaction has committed.
    pub(super) fn announce(&self, owed: Owed) {
        if owed.events > 0 {
            self.owing.send_modify(|times| *times += 1);
        }
        if owed.dropped > 0 {
            self.counts.dropped.inc_by(owed.dropped);
            tracing::warn!(events = owed.dropped, "events are not kept: their destination is owed too many");
        }
    }
}

/// What kind of thing happened: the event's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Copy,
    CompleteMultipartUpload,
    Delete,
    DeleteMarkerCreated,
    TaggingPut,
    TaggingDelete,
    AclPut,
    LifecycleDelete,
    LifecycleDeleteMarkerCreated,
    LifecycleTransition,
}

impl Kind {
    /// The name in messages; configurations name it with `s3:` before it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::DeleteMarkerCreated => "ObjectRemoved:DeleteMarkerCreated",
            Self::TaggingPut => "ObjectTagging:Put",
            Self::TaggingDelete => "ObjectTagging:Delete",
            Self::AclPut => "ObjectAcl:Put",
            Self::LifecycleDelete => "LifecycleExpiration:Delete",
            Self::LifecycleDeleteMarkerCreated => "LifecycleExpiration:DeleteMarkerCreated",
            Self::LifecycleTransition => "LifecycleTransition",
        }
    }

    /// `eventVersion`.
    fn version(self) -> &'static str {
        match self {
            Self::Put
            | Self::Copy
            | Self::CompleteMultipartUpload
            | Self::Delete
            | Self::DeleteMarkerCreated => "2.1",
            _ => "2.3",
        }
    }

    /// Whether it makes or removes versions of its key, whose order a sequencer tells.
    fn is_ordered(self) -> bool {
        !matches!(self, Self::TaggingPut | Self::TaggingDelete | Self::AclPut | Self::LifecycleTransition)
    }
}

/// Something that happened to an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happening<'a> {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    pub(super) key: &'a str,
    /// The object, where there is (still) one.
    pub(super) object: Option<&'a Object>,
    /// The version, in a bucket that has versions.
    pub(super) version_id: Option<&'a str>,
    pub(super) origin: &'a Origin,
}

/// Why something happens, before it is known to what version.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) kind: Kind,
    pub(super) at: Timestamp,
    pub(super) origin: Origin,
}

impl Cause {
    /// What happens to a key of which nothing is left to show.
    pub(super) fn of_key<'a>(&'a self, key: &'a str) -> Happening<'a> {
        Happening { kind: self.kind, at: self.at, key, object: None, version_id: None, origin: &self.origin }
    }

    /// What happens to a version.
    pub(super) fn of_version<'a>(&'a self, bucket: &Bucket, version: &'a Version) -> Happening<'a> {
        let version_id = version.id.as_deref().filter(|_| bucket.versioning != Versioning::Never);
        Happening { object: version.object.as_ref(), version_id, ..self.of_key(&version.key) }
    }
}

/// Who made something happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// As messages show it; none for the bucket's owner.
    principal_id: Option<String>,
    /// An address, or the service that acts of itself.
    source: String,
    request_id: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_header: Option<String>,
}

impl Origin {
    /// A call.
    pub(super) fn of(caller: &Caller, call: &Call) -> Self {
        let trace_header =
            call.request.headers.iter().find(|(name, _)| name == "x-amzn-trace-id").map(|(_, value)| value);
        let trace_header = trace_header.filter(|text| text.len() <= TRACE_HEADER_SIZE_BYTES_MAX).cloned();
        Self { trace_header, ..Self::of_caller(caller) }
    }

    /// Somebody who acts inside the server, without a call.
    pub(super) fn of_caller(caller: &Caller) -> Self {
        Self {
            principal_id: principal_id(&caller.principal),
            source: shown_ip(caller.source_ip),
            request_id: caller.request_id.clone(),
            trace_header: None,
        }
    }

    /// A service that acts of itself, without a call.
    pub(super) fn of_service(service: &str, request_id: EventId) -> Self {
        let principal_id = Some(format!("AWS:{service}"));
        Self { principal_id, source: service.to_owned(), request_id, trace_header: None }
    }
}

/// Of IPv4 callers on a socket of both kinds the IPv4 address.
fn shown_ip(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// The root is shown as the customer that its account is, by [`event::customer_id`].
fn principal_id(principal: &Principal) -> Option<String> {
    match principal {
        Principal::Root { .. } => None,
        Principal::Service { name } => Some(format!("AWS:{name}")),
        other => Some(other.principal_id().map_or_else(|| "Anonymous".to_owned(), |id| format!("AWS:{id}"))),
    }
}
