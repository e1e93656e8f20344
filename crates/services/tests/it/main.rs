//! The embedded services on a real catalog, without a server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop where it stands, and says what it skips"
)]

mod audit_events;
mod authorisation;
mod cloudtrail;
mod cloudwatch;
mod events;
mod firehose;
mod iam;
mod iam_credentials;
mod iam_keys;
mod iam_policies;
mod iam_roles;
mod iam_wire;
mod kinesis;
mod kms;
mod lambda;
mod logs;
mod operations;
mod organizations;
mod s3;
mod sns;
mod sqs;
mod sts;
mod world;
