//! The stages: record, history, delivery and digest. Each reads the event log forward from its own cursor.
//!
//! On the road: behind the front door, between the event log and what users read. Must not know: HTTP. A stage is a
//! reconciler: it takes no input, does what is due, and stops; the wiring runs it on a timer and on a wake-up. No
//! stage calls another.

pub mod bucket;
pub mod config;
pub mod record;

pub use bucket::{Bucket, BucketPut, PutFailure};
pub use config::{LoggingSpan, Trail, TrailStatus};
pub use record::Recorder;
