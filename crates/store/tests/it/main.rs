//! The stores against their conformance suites, and the embedded ones against damage.

mod blobs;
mod catalog;
mod crash;
mod golden;
mod log;
mod log_damage;
