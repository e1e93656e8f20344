//! The stages against stores in memory and on disk. Delivery and digests run over doubles that can fail and stop
//! anywhere, driven by a clock that is handed in.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests say what is wrong by failing, and why they skip; one binary has no outside"
)]

mod crashes;
mod delivery;
mod digests;
mod doubles;
mod fixtures;
mod formats;
mod history;
mod ingest;
mod intents;
mod notifications;
mod simulation;
mod streams;
mod undecodable;
mod world;
