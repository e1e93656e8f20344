//! Entries of the event log that could not be read: set aside as they are, so that they neither stop a stage nor
//! disappear when the log is trimmed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_store::{Entry, Table};
use serde::{Deserialize, Serialize};

/// Entries that could not be read, by position; the same for all trails.
pub(crate) const UNDECODABLE: Table<Undecodable> = Table::new("trail.undecodable", 1);

/// An entry that is not what its kind says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Undecodable {
    /// Why it cannot be read.
    pub(crate) reason: String,
    /// Its bytes in base64.
    pub(crate) payload_base64: String,
}

impl Undecodable {
    /// What is kept of `entry`, which could not be read because of `error`.
    pub(crate) fn new(entry: &Entry, error: &dyn std::error::Error) -> Self {
        Self { reason: error.to_string(), payload_base64: STANDARD.encode(&entry.payload) }
    }
}
