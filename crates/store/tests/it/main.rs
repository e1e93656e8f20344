//! The stores against their conformance suites, and the embedded ones against damage.

mod blobs;
mod catalog;
mod log;
mod log_damage;
