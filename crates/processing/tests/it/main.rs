//! The processor against a queue and a bucket in memory, and the client against a server that is scripted.

#![allow(clippy::unwrap_used, reason = "tests say what is wrong by failing")]

mod client;
mod digests;
mod failures;
mod fakes;
mod processing;
