//! Fuzz targets: everything that reads bytes of strangers, as functions that panic where an invariant does not hold.
//!
//! Each target is a function from bytes. `tests/replay.rs` runs them over the seeds in `corpus`, over every input in
//! `regressions` that once failed, and over seeded mutations of both, as an ordinary test; `libfuzzer`, a workspace of
//! its own, makes programs of them for as long a search as wanted (`make fuzz`). `examples/seeds.rs` writes the seeds.

pub mod announcement;
pub mod chunked;
pub mod decode;
pub mod digest;
pub mod event_pattern;
pub mod filter_pattern;
pub mod filter_policy;
pub mod log;
pub mod policy;
pub mod record;
pub mod request;
pub mod selectors;
pub mod sigv4;
pub mod split;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 13] = [
    ("announcement", announcement::run),
    ("chunked", chunked::run),
    ("decode", decode::run),
    ("digest", digest::run),
    ("event_pattern", event_pattern::run),
    ("filter_pattern", filter_pattern::run),
    ("filter_policy", filter_policy::run),
    ("log", log::run),
    ("policy", policy::run),
    ("record", record::run),
    ("selectors", selectors::run),
    ("sigv4", sigv4::run),
    ("split", split::run),
];
