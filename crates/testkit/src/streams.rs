//! Streams of records on a simulated disk, in one thread.

use std::path::Path;
use std::sync::Arc;

use cairn_store::Streams;
use cairn_store::disk::Disk;
use cairn_store::streams::{FolderStreams, StreamSettings};
use prometheus::Registry;

use crate::disk::Machine;
use crate::queues::NoFaults;

/// Where the streams lie on the disk.
const DIRECTORY: &str = "/data/streams";
/// Small segments, so that tests come by their ends.
const SEGMENT_SIZE_BYTES: u64 = 16 << 10;

/// No streams yet, on a disk in memory that does not fail.
///
/// # Panics
/// Where they cannot be opened.
#[must_use]
pub fn memory_streams() -> Arc<dyn Streams> {
    let machine = Machine::new(0, Arc::new(NoFaults));
    machine.make_directory(Path::new("/data"));
    let disk: Arc<dyn Disk> = Arc::new(machine.process(1, &Arc::default()));
    let settings = StreamSettings { segment_size_bytes: SEGMENT_SIZE_BYTES, ..StreamSettings::default() };
    let opened = FolderStreams::open_undriven(&disk, Path::new(DIRECTORY), settings, &Registry::new());
    Arc::new(opened.expect("an empty disk without faults opens"))
}
