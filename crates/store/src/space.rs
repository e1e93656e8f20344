//! How much room the data folder's file system has, and when that is too little to take more in.
//!
//! On the road: the front door asks before it begins with a call. Nothing that was accepted may be lost for want of room:
//! below the reserve no call is taken, while what was accepted is finished and delivered out of the reserve. Asking is
//! an atomic load; the file system is looked at on a timer, and whenever much was taken in since.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use prometheus::{IntGauge, Registry};

use crate::metrics;

/// Free bytes below which a warning is logged, unless set.
const WARN_BYTES_DEFAULT: u64 = 1 << 30;
/// Free bytes below which calls are refused, unless set.
const RESERVE_BYTES_DEFAULT: u64 = 256 << 20;
/// The part of a small disk that the two defaults come to at most.
const WARN_SHARE: u64 = 4;
const RESERVE_SHARE: u64 = 8;
/// The size of a log segment, of which the reserve holds two: one may be made while calls under way are recorded.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
const SEGMENT_BYTES_MIN: u64 = 4 << 20;
const SEGMENT_SHARE: u64 = 16;
const SEGMENTS_IN_RESERVE: u64 = 2;
/// A mark that was crossed is crossed back this part of it higher.
const RETURN_SHARE: u64 = 8;
/// The file system is looked at again after so many bytes were taken in.
const LOOK_AGAIN_BYTES: u64 = 8 << 20;

/// What a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What unprivileged programs may still write.
    pub free_bytes: u64,
}

impl Space {
    /// The space of the file system that `dir` lies in.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(dir)?;
        if found.f_blocks == 0 {
            // A tmpfs without a limit tells zeros.
            return Ok(Self { total_bytes: u64::MAX, free_bytes: u64::MAX });
        }
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { total_bytes: bytes(found.f_blocks), free_bytes: bytes(found.f_bavail) })
    }

    /// The size of log segments on a file system of this size: small ones need smaller segments.
    #[must_use]
    pub fn segment_size_bytes(&self) -> u64 {
        (self.total_bytes / SEGMENT_SHARE).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough.
    Enough,
    /// Somebody should know.
    Low,
    /// No call is taken.
    Short,
}

/// The free bytes at which something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Below it, a warning.
    pub warn_bytes: u64,
    /// Below it, calls are refused.
    pub reserve_bytes: u64,
}

impl Watermarks {
    /// The marks as they were set; what was not set is fitted to the disk. The reserve is never too small for a log of
    /// segments of `segment_size_bytes`.
    #[must_use]
    pub fn new(
        warn_bytes: Option<u64>,
        reserve_bytes: Option<u64>,
        disk: Space,
        segment_size_bytes: u64,
    ) -> Self {
        let fitted = |most: u64, share| most.min(disk.total_bytes / share);
        let least = SEGMENTS_IN_RESERVE * segment_size_bytes.max(SEGMENT_BYTES_MIN);
        let reserve = reserve_bytes.unwrap_or(fitted(RESERVE_BYTES_DEFAULT, RESERVE_SHARE));
        Self {
            warn_bytes: warn_bytes.unwrap_or(fitted(WARN_BYTES_DEFAULT, WARN_SHARE)),
            reserve_bytes: reserve.max(least),
        }
    }

    /// The level at `free_bytes`, coming from `before`: a mark that was crossed is only crossed back well above it.
    #[must_use]
    pub fn level(&self, before: Level, free_bytes: u64) -> Level {
        let back = |mark: u64, crossed| if crossed { mark.saturating_add(mark / RETURN_SHARE) } else { mark };
        if free_bytes < back(self.reserve_bytes, before == Level::Short) {
            Level::Short
        } else if free_bytes < back(self.warn_bytes, before != Level::Enough) {
            Level::Low
        } else {
            Level::Enough
        }
    }
}

type Look = Box<dyn Fn() -> io::Result<Space> + Send + Sync>;

/// Watches the room of one file system.
pub struct SpaceWatch {
    look: Look,
    marks: Watermarks,
    level: AtomicU8,
    /// Bytes taken in since the last look.
    taken_bytes: AtomicU64,
    free_gauge: IntGauge,
    level_gauge: IntGauge,
}

impl SpaceWatch {
    /// Watches what `look` sees, and has had a first look.
    ///
    /// # Errors
    /// Where the first look fails.
    pub fn new(
        look: impl Fn() -> io::Result<Space> + Send + Sync + 'static,
        marks: Watermarks,
        registry: &Registry,
    ) -> io::Result<Self> {
        let free_gauge =
            metrics::gauge(registry, "cairn_disk_free_bytes", "What the data folder may still grow by.");
        let level_gauge = metrics::gauge(
            registry,
            "cairn_disk_level",
            "0 where there is room, 1 below the warning mark, 2 where calls are refused.",
        );
        let (level, taken_bytes) = (AtomicU8::new(Level::Enough as u8), AtomicU64::new(0));
        let watch = Self { look: Box::new(look), marks, level, taken_bytes, free_gauge, level_gauge };
        watch.look()?;
        Ok(watch)
    }

    /// Whether calls are refused.
    pub fn is_short(&self) -> bool {
        self.level() == Level::Short
    }

    /// How much room there was at the last look.
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Enough,
            1 => Level::Low,
            _ => Level::Short,
        }
    }

    /// Says that `bytes` are taken in, and has a look where they are many by now.
    pub fn take(&self, bytes: u64) {
        if self.taken_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) < LOOK_AGAIN_BYTES {
            return;
        }
        if let Err(error) = self.look() {
            tracing::error!(error = &error as &dyn std::error::Error, "the room on the disk cannot be seen");
        }
    }

    /// Has a look; warns once for each mark that is crossed.
    ///
    /// # Errors
    /// Where it fails; the level stays.
    pub fn look(&self) -> io::Result<Level> {
        self.taken_bytes.store(0, Ordering::Relaxed);
        let free_bytes = (self.look)()?.free_bytes;
        let before = self.level();
        let level = self.marks.level(before, free_bytes);
        // Of two looks at once, one finds the level that it saw and says what changed.
        let (seen, found) = (before as u8, level as u8);
        let swapped = self.level.compare_exchange(seen, found, Ordering::Relaxed, Ordering::Relaxed);
        self.free_gauge.set(i64::try_from(free_bytes).unwrap_or(i64::MAX));
        self.level_gauge.set(i64::from(found));
        if level != before && swapped.is_ok() {
            let Watermarks { warn_bytes, reserve_bytes } = self.marks;
            match level {
                Level::Short => {
                    tracing::error!(free_bytes, reserve_bytes, "the disk is full: calls are refused")
                }
                Level::Low => tracing::warn!(free_bytes, warn_bytes, "the disk is filling up"),
                Level::Enough => tracing::info!(free_bytes, "there is room on the disk again"),
            }
        }
        Ok(level)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn disk(mib: u64) -> Space {
        Space { total_bytes: mib * MIB, free_bytes: mib * MIB }
    }

    #[test]
    fn the_marks_fit_the_disk_and_the_reserve_holds_two_segments() {
        let marks = |disk| {
            let marks = Watermarks::new(None, None, disk, disk.segment_size_bytes());
            let Watermarks { warn_bytes, reserve_bytes } = marks;
            (warn_bytes / MIB, reserve_bytes / MIB, disk.segment_size_bytes() / MIB)
        };
        assert_eq!(marks(disk(1 << 20)), (1024, 256, 64));
        assert_eq!(marks(disk(1024)), (256, 128, 64));
        assert_eq!(marks(disk(128)), (32, 16, 8));
        assert_eq!(marks(disk(32)), (8, 8, 4));
        let set = |segment_mib| Watermarks::new(Some(10), Some(MIB), disk(1024), segment_mib * MIB);
        assert_eq!(set(64), Watermarks { warn_bytes: 10, reserve_bytes: 128 * MIB });
        assert_eq!(set(200).reserve_bytes, 400 * MIB);
        assert_eq!(set(0).reserve_bytes, 8 * MIB, "room for segments of one large append");
    }

    #[test]
    fn a_mark_is_crossed_back_only_well_above_it() {
        let marks = Watermarks { warn_bytes: 800, reserve_bytes: 400 };
        let walk = |frees: &[u64]| {
            let step = |level: &mut Level, free: &u64| {
                *level = marks.level(*level, *free);
                Some(*level)
            };
            frees.iter().scan(Level::Enough, step).collect::<Vec<_>>()
        };
        use Level::{Enough, Low, Short};
        assert_eq!(walk(&[800, 799, 899, 900, 400]), [Enough, Low, Low, Enough, Low]);
        assert_eq!(walk(&[399, 449, 450, 399, 900]), [Short, Short, Low, Short, Enough]);
    }

    #[test]
    fn much_that_is_taken_in_makes_for_a_look() {
        let free = Arc::new(AtomicU64::new(1000));
        let seen = Arc::clone(&free);
        let look = move || Ok(Space { total_bytes: 2000, free_bytes: seen.load(Ordering::SeqCst) });
        let marks = Watermarks { warn_bytes: 800, reserve_bytes: 400 };
        let watch = SpaceWatch::new(look, marks, &Registry::new()).unwrap();
        free.store(100, Ordering::SeqCst);
        watch.take(LOOK_AGAIN_BYTES - 1);
        assert_eq!(watch.level(), Level::Enough);
        watch.take(1);
        assert!(watch.is_short());
        free.store(1000, Ordering::SeqCst);
        assert_eq!(watch.look().unwrap(), Level::Enough);
    }

    #[test]
    fn the_space_of_a_folder_can_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::of(folder.path()).unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
    }
}
