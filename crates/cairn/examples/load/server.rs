//! What the system knows of the server's process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Failure, pause};

/// How often the memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Linux counts a process's time in these parts of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// The server's process.
pub(super) struct Process {
    pid: u32,
}

impl Process {
    /// Process `pid`.
    pub(super) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Seconds of user and system time so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64, Failure> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, fields) = text.rsplit_once(')').ok_or("a strange stat")?;
        let ticks: Result<Vec<f64>, _> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect();
        Ok(ticks?.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Watches the resident memory until the watch is ended.
    pub(super) fn watch_memory(&self) -> Watch {
        let (path, stop) = (format!("/proc/{}/status", self.pid), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut most_kb = 0;
            while !stopped.load(Ordering::Relaxed) {
                most_kb = most_kb.max(resident_kb(&path).unwrap_or(0));
                pause(LOOK_EVERY);
            }
            most_kb
        });
        Watch { thread, stop }
    }
}

/// A watch on memory.
pub(super) struct Watch {
    thread: JoinHandle<u64>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// The most that was resident, in MB.
    pub(super) fn end(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_or(0.0, |kb| (kb as f64 * 1.024 / 100.0).round() / 10.0)
    }
}

fn resident_kb(path: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
