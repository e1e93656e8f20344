//! Where things are kept: the event log, the catalog, blobs and the event history, behind small traits.
//!
//! On the road: below every stage and service. Must not know: the names of AWS. Each trait has an embedded
//! implementation and one conformance suite that every implementation passes. Secrets are sealed before they get here.

pub mod blobs;
pub mod catalog;
pub mod disk;
pub mod history;
pub mod lines;
pub mod log;
mod metrics;
pub mod queues;
pub mod seal;
pub mod space;
pub mod streams;

pub use blobs::{BlobId, BlobReader, BlobWriter, Blobs};
pub use catalog::{Catalog, CatalogError, Table, Tx};
pub use history::{History, HistoryEvent, Lookup, LookupPage};
pub use log::{Entry, EntryKind, EventLog, LogError, LogPosition};
pub use queues::{QueueKey, Queues};
pub use seal::{SealError, Sealer};
pub use streams::{StreamKey, Streams};
