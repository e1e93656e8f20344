//! The stages: record, history, delivery, digest, notification and streams. Each reads the event log forward from its own cursor.
//!
//! On the road: behind the front door, between the event log and what users read. Must not know: HTTP. A stage is a
//! reconciler: it takes no input, does what is due, and stops; the wiring runs it on a timer and on a wake-up. No
//! stage calls another.

mod announcement;
mod backoff;
pub mod bucket;
mod chain;
pub mod config;
pub mod delivery;
pub mod digest;
pub mod error;
pub mod history;
pub mod ingest;
pub mod intents;
pub mod keys;
mod lease;
mod log_groups;
mod metrics;
pub mod notification;
pub mod record;
pub mod streams;
mod takes;
pub mod topic;
mod undecodable;

pub use bucket::{Bucket, BucketPut, PutFailure};
pub use config::{LoggingSpan, Trail, TrailStatus};
pub use delivery::{DeliverySettings, DeliveryStage};
pub use digest::{DigestSettings, DigestStage};
pub use error::StageError;
pub use history::HistoryStage;
pub use ingest::Ingest;
pub use keys::{KeySettings, PublicKey, SigningKeys};
pub use log_groups::{LogGroupFailure, LogGroups, LogPlace};
pub use notification::NotificationStage;
pub use record::Recorder;
pub use streams::StreamStage;
pub use topic::{Topic, TopicFailure};
pub use undecodable::UndecodableReports;
