//! The stages against stores in memory and on disk.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what is wrong by failing, and why they skip"
)]

mod history;
