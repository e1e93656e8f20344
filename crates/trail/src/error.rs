//! Why a stage could not do its work. A bucket that refuses is no such reason: that is kept in the trail's status.

use cairn_core::digest::SignError;
use cairn_store::{CatalogError, LogError, LogPosition};

use crate::keys::KeyError;

/// Why a run of delivery or of the digest stage failed. What was done before stays done; the next run goes on there.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The catalog failed.
    #[error("the stage could not use the catalog")]
    Catalog(#[from] CatalogError),
    /// The event log failed.
    #[error("the stage could not read the event log")]
    Log(#[from] LogError),
    /// The event log ends before an entry that was reserved.
    #[error("the event log has no entry at {0:?}, which was reserved for delivery")]
    Vanished(LogPosition),
    /// Rendering was interrupted, as the program is stopping.
    #[error("a log file could not be rendered")]
    Render(#[source] tokio::task::JoinError),
    /// No signing key could be had.
    #[error("a digest has no signing key")]
    Key(#[from] KeyError),
    /// A digest could not be signed.
    #[error("a digest could not be signed")]
    Sign(#[from] SignError),
    /// A persisted digest is not what was written.
    #[error("a persisted digest cannot be read")]
    Digest(#[source] serde_json::Error),
}
