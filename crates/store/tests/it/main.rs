//! The stores against their conformance suites, and the embedded ones against damage.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod blobs;
mod catalog;
mod crash;
mod faults;
mod golden;
mod history;
mod lines;
mod lines_golden;
mod lines_power;
mod log;
mod log_damage;
mod log_power;
mod queues;
mod queues_golden;
mod queues_model;
mod queues_power;
mod streams;
