//! The pure heart of Cairn: what an event, a selector, a log file, a digest and a policy *are*.
//!
//! On the road: used by every other crate. Nothing in here knows tokio, HTTP, a disk, the clock or a source of
//! randomness: time is handed in as [`Timestamp`], randomness as [`Entropy`].

pub mod alarm;
pub mod digest;
pub mod entropy;
pub mod event_pattern;
pub mod filter_pattern;
pub mod filter_policy;
pub mod id;
pub mod identity;
pub mod input_transformer;
pub mod logfile;
pub mod metric_math;
pub mod pattern;
pub mod policy;
pub mod record;
pub mod schedule;
pub mod selector;
pub mod timestamp;

pub use entropy::{Clock, Entropy};
pub use id::{AccountId, EventId, Region, TrailArn};
pub use identity::{Principal, Session, WebIdentity};
pub use record::Record;
pub use timestamp::Timestamp;
