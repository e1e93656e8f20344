//! The embedded AWS services, a folder each.
//!
//! On the road: between the front door, which decoded and will encode, and the store. Must not know: HTTP, SQL.
//! A service implements [`Service`]; what it lacks answers AWS's error for an unsupported operation.

mod at_rest;
pub mod authorise;
pub mod cloudtrail;
pub mod cloudtrail_data;
pub mod cloudwatch;
pub mod events;
mod failure;
pub mod firehose;
#[cfg(test)]
mod golden;
pub mod iam;
pub mod kinesis;
pub mod kms;
pub mod lambda;
pub mod logs;
pub mod organizations;
mod places;
pub mod s3;
pub mod service;
pub mod sinks;
pub mod sns;
pub mod sqs;
pub mod sts;

pub use authorise::authorise;
pub use service::{Access, Caller, EventKind, Operation, Resource, ResourcePolicy, Service, Target};
