//! The event log of the simulation: the real one, on a disk that fails, fills up and loses power, with a witness of
//! everything that it ever showed.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use async_trait::async_trait;
use cairn_store::disk::Disk;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Entry, EventLog, LogError, LogPosition};
use futures::FutureExt;
use prometheus::Registry;

use super::gates::{Door, Faults};

/// What a stage may read at once: more would be held in memory.
const READ_ENTRIES_MAX: usize = 4096;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Where the log lies.
pub const LOG_DIRECTORY: &str = "/data/log";
/// Some entries a segment.
pub const SEGMENT_SIZE_BYTES: u64 = 6 * 1024;

/// Opens the log, small as it is here.
pub fn open_log(disk: &Arc<dyn Disk>, recent_size_bytes_max: usize) -> Result<SegmentLog, LogError> {
    let settings = LogSettings {
        segment_size_bytes: SEGMENT_SIZE_BYTES,
        recent_size_bytes_max,
        ..LogSettings::default()
    };
    SegmentLog::open_undriven(disk, Path::new(LOG_DIRECTORY), settings, &Registry::new())
}

/// The log of the process that has it open, and what is known of it.
#[derive(Default)]
pub struct LogState {
    pub open: Option<Arc<SegmentLog>>,
    /// Everything that was ever durable, by position, also what was trimmed.
    pub entries: Vec<Entry>,
    /// It takes nothing more, until a restart.
    pub failed: bool,
    pub problems: Vec<String>,
}

impl LogState {
    /// Opens the log. Fails where the disk does.
    pub fn open(&mut self, disk: &Arc<dyn Disk>, recent_size_bytes_max: usize, faults: &Faults) -> bool {
        match open_log(disk, recent_size_bytes_max) {
            Ok(log) => {
                self.open = Some(Arc::new(log));
                self.check_recovered(faults);
                return true;
            }
            Err(LogError::Io { .. } | LogError::Full(_)) => {}
            Err(error) => self.problems.push(format!("the log does not open: {error}")),
        }
        false
    }

    /// What was ever shown is still there, and the same.
    fn check_recovered(&mut self, faults: &Faults) {
        let log = self.open.as_ref().unwrap();
        let (start, end, known) = (log.start(), log.end().0, self.entries.len() as u64);
        if end < known {
            self.problems.push(format!("the log ends at {end}, and had ended at {known}"));
        }
        for (position, entry) in self.read_quietly(start, faults) {
            match self.entries.get(usize::try_from(position.0).unwrap()) {
                Some(before) if *before == entry => {}
                None => self.entries.push(entry),
                Some(_) => self.problems.push(format!("the log has another entry at {position:?}")),
            }
        }
    }

    /// Takes note of what is new.
    fn observe(&mut self, faults: &Faults) {
        let new = self.read_quietly(LogPosition(self.entries.len() as u64), faults);
        self.entries.extend(new.into_iter().map(|(_, entry)| entry));
    }

    /// Everything from `from` on; nothing where the process is dead.
    fn read_quietly(&self, from: LogPosition, faults: &Faults) -> Vec<(LogPosition, Entry)> {
        let log = self.open.as_ref().unwrap();
        let off = faults.off.swap(true, Ordering::SeqCst);
        let read = log.read(from, usize::MAX, usize::MAX).now_or_never();
        faults.off.store(off, Ordering::SeqCst);
        read.expect("without a thread of its own it reads at once").unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct SimLog {
    pub state: Arc<Mutex<LogState>>,
    pub door: Door,
    pub faults: Arc<Faults>,
    /// It is the process that has the log open. What another one still wants to read may be trimmed.
    pub owns_log: bool,
}

impl SimLog {
    fn log(&self) -> Result<Arc<SegmentLog>, LogError> {
        self.state.lock().unwrap().open.clone().ok_or(LogError::Poisoned)
    }
}

#[async_trait]
impl EventLog for SimLog {
    async fn append(&self, entries: Vec<Entry>) -> Result<LogPosition, LogError> {
        self.door.pass("log append").await;
        let log = self.log()?;
        let mut appending = log.append(entries);
        let answer = match futures::poll!(appending.as_mut()) {
            Poll::Ready(answer) => answer,
            Poll::Pending => {
                // Others may join the group until somebody writes it.
                self.door.pass("log write").await;
                log.write_queued();
                self.state.lock().unwrap().observe(&self.faults);
                appending.await
            }
        };
        match &answer {
            Err(LogError::Full(_)) => self.faults.count("log full"),
            Err(_) => self.state.lock().unwrap().failed = true,
            Ok(_) => {}
        }
        self.door.pass("log append done").await;
        answer
    }

    async fn read(
        &self,
        from: LogPosition,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(LogPosition, Entry)>, LogError> {
        assert!(entries_max <= READ_ENTRIES_MAX && bytes_max <= READ_BYTES_MAX, "a stage reads too much");
        self.door.pass("log read").await;
        let wanted = if self.faults.strike("log read short") { 1 } else { entries_max };
        let read = self.log()?.read(from, wanted, bytes_max).await;
        if let Err(error @ (LogError::Corrupt { .. } | LogError::Trimmed { .. })) = &read
            && self.owns_log
        {
            self.state.lock().unwrap().problems.push(format!("a read from {from:?}: {error}"));
        }
        read
    }

    fn end(&self) -> LogPosition {
        let known = LogPosition(self.state.lock().unwrap().entries.len() as u64);
        self.log().map_or(known, |log| log.end())
    }

    fn start(&self) -> LogPosition {
        self.log().map_or(LogPosition(0), |log| log.start())
    }

    async fn wait_past(&self, position: LogPosition) {
        while self.end() <= position {
            self.door.pass("log wait").await;
        }
    }

    async fn trim(&self, position: LogPosition) -> Result<(), LogError> {
        assert!(position <= self.end(), "the log is trimmed past its end");
        self.door.pass("log trim").await;
        self.log()?.trim(position).await
    }
}
