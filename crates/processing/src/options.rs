//! The processor's settings: numbers and switches, apart from the parts it is made of.

use std::time::Duration;

use crate::message::FileKind;
use crate::retry::Backoff;

/// The most messages that SQS gives at once.
pub(crate) const MESSAGES_PER_RECEIVE_MAX: usize = 10;
/// The longest that SQS hides a message.
const VISIBILITY_TIMEOUT_MAX: Duration = Duration::from_secs(12 * 60 * 60);
/// The longest that SQS waits for a message.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// What a file takes in memory besides its records: buffers of the connection, the decompressor's window and output.
const FILE_BUFFER_BYTES: usize = 256 * 1024;
/// What an event takes in memory, as a multiple of its text: the text, and the typed members.
const EVENT_SIZE_FACTOR: usize = 3;

/// Which files' events are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKinds {
    /// Management and data events.
    pub logs: bool,
    /// Insights events.
    pub insights: bool,
    /// Network activity events.
    pub network_activity: bool,
    /// Aggregated events.
    pub aggregated: bool,
}

impl Default for FileKinds {
    /// Management and data events alone, as in the Java library.
    fn default() -> Self {
        Self { logs: true, insights: false, network_activity: false, aggregated: false }
    }
}

impl FileKinds {
    /// All files that hold events.
    pub const ALL: Self = Self { logs: true, insights: true, network_activity: true, aggregated: true };

    pub(crate) fn has(self, kind: FileKind) -> bool {
        match kind {
            FileKind::Log => self.logs,
            FileKind::Insight => self.insights,
            FileKind::NetworkActivity => self.network_activity,
            FileKind::Aggregated => self.aggregated,
            FileKind::Digest | FileKind::Marker | FileKind::Other => false,
        }
    }
}

/// The processor's settings. Take the default and change what you want changed.
///
/// ```
/// use std::time::Duration;
/// use cairn_processing::Options;
///
/// let options = Options { max_events_per_emit: 500, visibility_timeout: Duration::from_secs(120), ..Options::default() };
/// assert!(options.check().is_ok());
/// assert!(Options { pollers: 0, ..options }.check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many polls go on at once (Java: `numOfParallelReaders`).
    pub pollers: usize,
    /// How long a poll waits for messages: up to 20 seconds.
    pub wait: Duration,
    /// For how long a message is hidden from other consumers (Java: `visibilityTimeout`). While it is worked on, that is
    /// extended whenever half of it is over; when the program dies, the message comes back after this time.
    pub visibility_timeout: Duration,
    /// How many messages are worked on at once (Java: `threadCount`).
    pub messages_in_parallel: usize,
    /// What all files that are read at once may take in memory. So many are read at once as fit, see
    /// [`Options::files_in_parallel`]. What a handler keeps is its own.
    pub memory_size_bytes_max: usize,
    /// The most events that are handed to the handler at once (Java: `maxEventsPerEmit`).
    pub max_events_per_emit: usize,
    /// Events are handed over before there are as many when their text has this size.
    pub emit_size_bytes_max: usize,
    /// The largest record. AWS's have up to 256 KB.
    pub record_size_bytes_max: usize,
    /// The largest file, uncompressed: what is larger is not read to its end.
    pub file_size_bytes_max: u64,
    /// Which files' events are handled. Messages that name only other files of CloudTrail are deleted.
    pub file_kinds: FileKinds,
    /// Whether a message is deleted although it was not understood, or its events were not handled (Java:
    /// `deleteMessageUponFailure`). Otherwise it comes back when its visibility timeout is over.
    pub delete_message_upon_failure: bool,
    /// When a message whose events were not handled comes back; when its visibility timeout is over where this is none.
    pub redelivery_delay: Option<Duration>,
    /// How often a call that failed in passing is tried before that is a failure of the file or message. Polls are tried
    /// for ever.
    pub attempts_max: u32,
    /// How long to wait between tries.
    pub backoff: Backoff,
    /// How long messages that are being worked on have when the processor is stopped (Java:
    /// `threadTerminationDelaySeconds`).
    pub shutdown_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pollers: 1,
            wait: WAIT_MAX,
            visibility_timeout: Duration::from_secs(60),
            messages_in_parallel: 20,
            memory_size_bytes_max: 64 * 1024 * 1024,
            max_events_per_emit: 100,
            emit_size_bytes_max: 512 * 1024,
            record_size_bytes_max: 1024 * 1024,
            file_size_bytes_max: 4 << 30,
            file_kinds: FileKinds::default(),
            delete_message_upon_failure: false,
            redelivery_delay: None,
            attempts_max: 8,
            backoff: Backoff::default(),
            shutdown_timeout: Duration::from_secs(60),
        }
    }
}

/// Settings that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the option {option} must be {allowed}")]
pub struct OptionsError {
    /// The option.
    pub option: &'static str,
    /// What it may be.
    pub allowed: String,
}

impl Options {
    /// What one file that is being read may take in memory: buffers, an unfinished record, and the events of a batch.
    #[must_use]
    pub fn file_memory_bytes(&self) -> usize {
        let events = self.emit_size_bytes_max.saturating_add(self.record_size_bytes_max);
        events
            .saturating_mul(EVENT_SIZE_FACTOR)
            .saturating_add(self.record_size_bytes_max)
            .saturating_add(FILE_BUFFER_BYTES)
    }

    /// How many files are read at once: as many as fit into
    /// [`memory_size_bytes_max`](Options::memory_size_bytes_max).
    #[must_use]
    pub fn files_in_parallel(&self) -> usize {
        self.memory_size_bytes_max / self.file_memory_bytes().max(1)
    }

    /// Whether the settings can be.
    ///
    /// # Errors
    /// The first option that cannot be.
    pub fn check(&self) -> Result<(), OptionsError> {
        let wrong = |option, allowed: &str| Err(OptionsError { option, allowed: allowed.to_owned() });
        let positive = [
            ("pollers", self.pollers),
            ("messages_in_parallel", self.messages_in_parallel),
            ("max_events_per_emit", self.max_events_per_emit),
            ("emit_size_bytes_max", self.emit_size_bytes_max),
            ("record_size_bytes_max", self.record_size_bytes_max),
            ("attempts_max", self.attempts_max as usize),
        ];
        if let Some((option, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return wrong(option, "at least 1");
        }
        if self.wait > WAIT_MAX {
            return wrong("wait", "at most 20 seconds");
        }
        if self.visibility_timeout < Duration::from_secs(1)
            || self.visibility_timeout > VISIBILITY_TIMEOUT_MAX
        {
            return wrong("visibility_timeout", "1 second to 12 hours");
        }
        if self.redelivery_delay.is_some_and(|delay| delay > VISIBILITY_TIMEOUT_MAX) {
            return wrong("redelivery_delay", "at most 12 hours");
        }
        if self.files_in_parallel() == 0 {
            let least = self.file_memory_bytes();
            let allowed = format!("at least {least} bytes, what one file may take with these other options");
            return Err(OptionsError { option: "memory_size_bytes_max", allowed });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_and_read_several_files_at_once() {
        let options = Options::default();
        options.check().unwrap();
        assert_eq!(options.files_in_parallel(), 11);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let default = Options::default;
        for (options, option) in [
            (Options { pollers: 0, ..default() }, "pollers"),
            (Options { wait: Duration::from_secs(21), ..default() }, "wait"),
            (Options { visibility_timeout: Duration::ZERO, ..default() }, "visibility_timeout"),
            (Options { redelivery_delay: Some(Duration::MAX), ..default() }, "redelivery_delay"),
            (Options { memory_size_bytes_max: 1 << 20, ..default() }, "memory_size_bytes_max"),
            (Options { record_size_bytes_max: usize::MAX, ..default() }, "memory_size_bytes_max"),
        ] {
            assert_eq!(options.check().unwrap_err().option, option);
        }
    }
}
