//! Log files: what a delivered file is called, and its bytes.
//!
//! On the road: delivery asks here for a file's key and renders its body; digests list the file's hash. Invariant:
//! name and bytes follow from the inputs alone, so that a retried delivery writes the same object again.
//!
//! Source: the AWS user guide's page on log file names; a file is one JSON object `{"Records":[…]}`, one gzip member.

mod key;
mod render;

pub(crate) use key::parse_before_account;
pub use key::{FileOrigin, Folder, LogFileKey, account_root, stamp};
pub use render::{
    FILE_COMPRESSED_BYTES_MAX, FILE_RAW_BYTES_MAX, FileBuilder, GzipError, RenderedFile, gunzip, gzip,
    sha256_hex,
};
