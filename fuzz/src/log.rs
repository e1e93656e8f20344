//! The event log's recovery: any bytes as segment files. The log does not open and says why, or it opens, reads what it
//! promises or says that it is damaged, takes another entry, and has it after it was opened again.
//!
//! The first byte says how many segments there are and whether checksums are made right, so that what is behind them is
//! reached; then, for each segment, a byte that chooses the position in its name and two that say how long it is.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Entry, EntryKind, EventLog, LogError, LogPosition};
use prometheus::Registry;

const SEGMENTS_MAX: u8 = 3;
const CHECKSUMS_MADE_RIGHT: u8 = 0x80;
/// The size of a segment's header, and of a frame without its payload.
const HEADER_BYTES: usize = 32;
/// Positions that names may have, besides the small ones.
const STRANGE_POSITIONS: [u64; 4] = [u64::MAX, u64::MAX - 1, i64::MAX as u64, 1 << 32];

/// One log.
///
/// # Panics
/// Where it opens and then does not do what a log does.
pub fn run(data: &[u8]) {
    let [choice, segments @ ..] = data else { return };
    let mut rest = segments;
    let dir = tempfile::tempdir().expect("a folder for the log");
    for _ in 0..=(choice & !CHECKSUMS_MADE_RIGHT) % SEGMENTS_MAX {
        let [position, low, high, after @ ..] = rest else { break };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (segment, after) = after.split_at(length);
        let position = match position.checked_sub(252) {
            Some(strange) => STRANGE_POSITIONS[usize::from(strange)],
            None => u64::from(*position),
        };
        let mut segment = segment.to_vec();
        if choice & CHECKSUMS_MADE_RIGHT != 0 {
            make_right(&mut segment);
        }
        fs::write(dir.path().join(format!("{position:020}.log")), segment).expect("the folder is ours");
        rest = after;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(opened_twice(dir.path()));
}

async fn opened_twice(dir: &Path) {
    let Some(log) = open(dir) else { return };
    let (start, end) = (log.start(), log.end());
    assert!(start <= end);
    let before = read(&log, start).await;
    let entry = Entry {
        kind: EntryKind::Event,
        recorded_at: Timestamp::from_millis(1_795_000_000_000),
        payload: Bytes::from_static(b"{\"one\":\"more\"}"),
    };
    let position = log.append(vec![entry.clone()]).await.expect("a log that opened takes an entry");
    assert_eq!(position, end);
    assert_eq!(log.end().0, end.0 + 1);
    drop(log);
    let log = open(dir).expect("a log that was closed opens");
    assert_eq!((log.start(), log.end().0), (start, end.0 + 1));
    assert_eq!(log.read(end, 1, 1).await.expect("the entry is durable"), [(end, entry)]);
    match (before, read(&log, start).await) {
        (Some(before), Some(after)) => assert_eq!(before, after[..before.len()]),
        (None, None) => {}
        (before, after) => panic!("damaged before: {}, after: {}", before.is_none(), after.is_none()),
    }
}

/// The log; none where it is refused as it should be.
fn open(dir: &Path) -> Option<SegmentLog> {
    let settings =
        LogSettings { segment_size_bytes: 4096, entry_size_bytes_max: 2048, recent_size_bytes_max: 512 };
    match SegmentLog::open(dir, settings, &Registry::new()) {
        Ok(log) => Some(log),
        Err(LogError::Corrupt { .. } | LogError::Version { .. }) => None,
        Err(error) => panic!("not a refusal of damaged bytes: {error:?}"),
    }
}

/// All entries from `from` on; none where the log says that it is damaged.
async fn read(log: &SegmentLog, from: LogPosition) -> Option<Vec<(LogPosition, Entry)>> {
    let mut found: Vec<(LogPosition, Entry)> = Vec::new();
    let mut next = from;
    while next < log.end() {
        match log.read(next, 7, 300).await {
            Ok(entries) => {
                assert!(!entries.is_empty(), "nothing at {next:?}, before the end");
                for (position, entry) in entries {
                    assert_eq!(position, next, "a gap");
                    found.push((position, entry));
                    next = LogPosition(position.0 + 1);
                }
            }
            Err(LogError::Corrupt { .. }) => return None,
            Err(error) => panic!("not a refusal of damaged bytes: {error:?}"),
        }
    }
    Some(found)
}

/// Gives the segment's header and every frame that its lengths lead to the checksum that its bytes have.
fn make_right(segment: &mut [u8]) {
    if segment.len() < HEADER_BYTES {
        return;
    }
    let crc = crc32fast::hash(&segment[..28]);
    segment[28..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_BYTES;
    while let Some(length) = segment.get(at..at + 4) {
        let payload_bytes = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let Some(frame) = segment.get_mut(at..at + HEADER_BYTES + payload_bytes) else { break };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&frame[..4]);
        hasher.update(&frame[8..]);
        frame[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
        at += HEADER_BYTES + payload_bytes;
    }
}
