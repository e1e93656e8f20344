//! Places where a test has the server killed: `CAIRN_FAILPOINT` names one, and with `NAME@3` it is the third time that
//! it is reached. Only in debug builds; a release build does not know the variable.
//!
//! Those in the door and at the start are reached by name. Those of stores and stages lie in what the binary hands to
//! them ([`disk`], [`bucket`], [`catalog`]), so that they know nothing of it; `seams` names them.

#[cfg(debug_assertions)]
mod seams;

use std::sync::Arc;

use cairn_store::Catalog;
use cairn_store::catalog::CatalogBackend;
use cairn_store::disk::Disk;
use cairn_trail::Bucket;

/// After the intent of a mutating call is durable, before the call runs.
pub const AFTER_INTENT: &str = "after-intent";
/// After a mutating call has run, before its event is durable.
pub const AFTER_HANDLER: &str = "after-handler";
/// After recovery has found what is missing, before it appends it.
pub const DURING_RECOVERY: &str = "during-recovery";
/// After recovery has appended what was missing, before calls are taken.
pub const AFTER_RECOVERY: &str = "after-recovery";

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// The failpoint that is set, and how often it is yet to be passed.
    struct Armed {
        name: String,
        passes: AtomicU64,
    }

    fn armed() -> Option<&'static Armed> {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        let read = || {
            let set = std::env::var("CAIRN_FAILPOINT").ok().filter(|set| !set.is_empty())?;
            let (name, times) = set.split_once('@').unwrap_or((&set, "1"));
            let passes = AtomicU64::new(times.parse().unwrap_or(1));
            Some(Armed { name: name.to_owned(), passes })
        };
        ARMED.get_or_init(read).as_ref()
    }

    /// Whether a failpoint is set.
    pub(super) fn is_any() -> bool {
        armed().is_some()
    }

    /// Whether `name` is to kill the process now.
    pub(super) fn is_due(name: &str) -> bool {
        armed().is_some_and(|set| set.name == name && set.passes.fetch_sub(1, Ordering::Relaxed) == 1)
    }

    /// Kills the process, as a crash would.
    pub(super) fn die() -> ! {
        let killed = kill_process(getpid(), Signal::KILL);
        unreachable!("the process kills itself: {killed:?}");
    }
}

/// Kills the process, as a crash would, where `name` is the failpoint that is set.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    if armed::is_due(name) {
        armed::die();
    }
}

/// Nothing: release builds have no failpoints.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_name: &str) {}

/// The system's file system for the event log, with failpoints where one is set.
pub fn disk() -> Arc<dyn Disk> {
    disk_of_log("")
}

/// The system's file system for the queues' journal, with failpoints where one is set.
pub fn queues_disk() -> Arc<dyn Disk> {
    disk_of_log("queues-")
}

/// The system's file system for log lines, with failpoints where one is set.
pub fn lines_disk() -> Arc<dyn Disk> {
    disk_of_log("lines-")
}

/// The system's file system for streams of records, with failpoints where one is set.
pub fn streams_disk() -> Arc<dyn Disk> {
    disk_of_log("streams-")
}

#[cfg_attr(not(debug_assertions), allow(unused_variables, reason = "release builds have no failpoints"))]
fn disk_of_log(prefix: &'static str) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(cairn_store::disk::SystemDisk);
    #[cfg(debug_assertions)]
    if armed::is_any() {
        return Arc::new(seams::Log::new(disk, prefix));
    }
    disk
}

/// The same bucket, with failpoints where one is set.
pub fn bucket(bucket: Arc<dyn Bucket>) -> Arc<dyn Bucket> {
    #[cfg(debug_assertions)]
    if armed::is_any() {
        return Arc::new(seams::Deliveries(bucket));
    }
    bucket
}

/// A catalog on `backend`, with failpoints where one is set.
pub fn catalog(backend: impl CatalogBackend) -> Catalog {
    #[cfg(debug_assertions)]
    if armed::is_any() {
        return Catalog::new(seams::Transactions(backend));
    }
    Catalog::new(backend)
}
