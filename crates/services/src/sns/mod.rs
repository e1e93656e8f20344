//! SNS: topics that tell their subscribers.
//!
//! On the road: a service like any other; S3 and trails publish through [`TopicSink`], under the topics' policies. A
//! publish puts messages into queues at once, through [`QueueSink`], and owes all else to its subscribers: HTTP,
//! e-mail, and queues that failed. What is owed is paid by [`delivery`], a stage that takes no input.
//!
//! Invariants: what a publish owes is durable before its reply; messages of a FIFO topic reach each subscription in the
//! order of their group, also when they are tried again.
//!
//! [`TopicSink`]: crate::sinks::TopicSink
//! [`QueueSink`]: crate::sinks::QueueSink

// The service itself follows: it uses all of this.
#![allow(dead_code)]

mod arn;
pub mod delivery;
mod delivery_policy;
mod envelope;
mod links;
mod owed;
mod signing;
mod state;

pub use links::Links;
pub use signing::{Signing, SigningError};
