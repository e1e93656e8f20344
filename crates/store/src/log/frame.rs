//! The bytes of a log segment, format version 1. Pure: knows no files.
//!
//! ```text
//! segment = header frame* ( seal | zeros )
//! header  = "CAIRNLOG" version:u32 0:u32 base:u64 0:u32 crc:u32                          32 bytes
//! frame   = length:u32 crc:u32 position:u64 recorded_at_ms:i64 group:u32 kind:u8 0:u24  payload
//! ```
//! All numbers are little-endian. A CRC-32 covers everything of its header or frame but itself. The lower 31 bits of
//! `group` say how many frames came before this one in the same write, so `position` less that was the end of the
//! durable log when the frame was written: that tells a torn write from damage to entries that were acknowledged. The
//! highest bit of `group` says that the append goes on with the next frame: recovery drops an append that lacks its
//! last frame. Files from before that bit was written never have it: there every frame ends an append. A seal is the
//! last frame of a full segment; its position is the base of the next segment. Kinds: 1 an event, 2 an intent,
//! 3 an event that was ingested, 4 a record of the queues' journal, 255 a seal.

use cairn_core::Timestamp;

use super::EntryKind;

/// The version of the format that this program writes, and the newest it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The size of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
/// The size of a frame without its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// The largest payload that the format takes. Settings stay below it; a length above it is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

const MAGIC: [u8; 8] = *b"CAIRNLOG";
const KIND_EVENT: u8 = 1;
const KIND_INTENT: u8 = 2;
const KIND_INGESTED: u8 = 3;
const KIND_JOURNAL: u8 = 4;
const KIND_SEAL: u8 = 255;
/// The bit of `group` that says that the append goes on.
const APPEND_GOES_ON: u32 = 1 << 31;

/// What a segment's header turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A header of this version.
    Base(u64),
    /// A sound header of a version that this program does not know.
    Newer(u32),
    /// Not a header.
    Damaged,
}

/// The header of a segment whose first entry has position `base`.
pub(super) fn encode_header(base: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&base.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a segment's header.
pub(super) fn decode_header(bytes: &[u8]) -> Header {
    let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else { return Header::Damaged };
    if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..28]) != u32_at(bytes, 28) {
        return Header::Damaged;
    }
    match u32_at(bytes, 8) {
        FORMAT_VERSION => Header::Base(u64_at(bytes, 16)),
        version if version > FORMAT_VERSION => Header::Newer(version),
        _ => Header::Damaged,
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// An entry of the log.
    Entry(EntryKind),
    /// The end of a full segment.
    Seal,
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) position: u64,
    pub(super) recorded_at: Timestamp,
    pub(super) group_index: u32,
    /// Whether further entries of the same append follow.
    pub(super) append_goes_on: bool,
    pub(super) kind: FrameKind,
    pub(super) payload_bytes: usize,
    crc: u32,
}

impl Frame {
    /// The end of the durable log when this frame was written.
    pub(super) fn group_start(&self) -> u64 {
        self.position.saturating_sub(u64::from(self.group_index))
    }

    /// The frame's size with its payload.
    pub(super) fn size_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_bytes
    }

    /// Reads the fixed part of a frame; none where it cannot be one. The CRC is not checked yet.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        let kind = match bytes[28] {
            KIND_EVENT => FrameKind::Entry(EntryKind::Event),
            KIND_INTENT => FrameKind::Entry(EntryKind::Intent),
            KIND_INGESTED => FrameKind::Entry(EntryKind::Ingested),
            KIND_JOURNAL => FrameKind::Entry(EntryKind::Journal),
            KIND_SEAL => FrameKind::Seal,
            _ => return None,
        };
        let payload_bytes = usize::try_from(u32_at(bytes, 0)).ok()?;
        if bytes[29..] != [0; 3] || payload_bytes > PAYLOAD_BYTES_MAX {
            return None;
        }
        Some(Self {
            position: u64_at(bytes, 8),
            recorded_at: Timestamp::from_millis(u64_at(bytes, 16).cast_signed()),
            group_index: u32_at(bytes, 24) & !APPEND_GOES_ON,
            append_goes_on: u32_at(bytes, 24) & APPEND_GOES_ON != 0,
            kind,
            payload_bytes,
            crc: u32_at(bytes, 4),
        })
    }

    /// Whether `bytes`, the whole frame, is what was written.
    pub(super) fn is_sound(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.size_bytes() && frame_crc(bytes) == self.crc
    }
}

/// Where a frame is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u64,
    /// How many frames come before it in the same write.
    pub(super) group_index: u32,
    /// Whether further entries of the same append follow.
    pub(super) append_goes_on: bool,
}

/// Adds an entry's frame to `buffer`.
pub(super) fn encode_entry(
    buffer: &mut Vec<u8>,
    place: Place,
    kind: EntryKind,
    recorded_at: Timestamp,
    payload: &[u8],
) {
    let kind = match kind {
        EntryKind::Event => KIND_EVENT,
        EntryKind::Intent => KIND_INTENT,
        EntryKind::Ingested => KIND_INGESTED,
        EntryKind::Journal => KIND_JOURNAL,
    };
    encode(buffer, place, kind, recorded_at, payload);
}

/// Adds the frame that ends a full segment; the next one begins at `position`.
pub(super) fn encode_seal(buffer: &mut Vec<u8>, position: u64) {
    let place = Place { position, group_index: 0, append_goes_on: false };
    encode(buffer, place, KIND_SEAL, Timestamp::EPOCH, &[]);
}

fn encode(buffer: &mut Vec<u8>, place: Place, kind: u8, recorded_at: Timestamp, payload: &[u8]) {
    let group = place.group_index | if place.append_goes_on { APPEND_GOES_ON } else { 0 };
    let length = u32::try_from(payload.len()).expect("held to PAYLOAD_BYTES_MAX before it is queued");
    let start = buffer.len();
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&place.position.to_le_bytes());
    buffer.extend_from_slice(&recorded_at.millis().to_le_bytes());
    buffer.extend_from_slice(&group.to_le_bytes());
    buffer.extend_from_slice(&[kind, 0, 0, 0]);
    buffer.extend_from_slice(payload);
    let crc = frame_crc(&buffer[start..]);
    buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The CRC of a whole frame, over all but the CRC's own four bytes.
fn frame_crc(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..4]);
    hasher.update(&frame[8..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("offsets lie inside the header"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("offsets lie inside the header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_goes_unseen() {
        let mut bytes = Vec::new();
        let place = Place { position: 7, group_index: 2, append_goes_on: true };
        encode_entry(&mut bytes, place, EntryKind::Event, Timestamp::from_millis(42), b"{\"a\":1}");
        let frame = Frame::decode(&bytes).unwrap();
        assert!(frame.append_goes_on);
        assert!(frame.is_sound(&bytes));
        assert_eq!((frame.position, frame.group_start(), frame.payload_bytes), (7, 5, 7));
        assert_eq!(frame.recorded_at, Timestamp::from_millis(42));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let sound = Frame::decode(&bytes).is_some_and(|frame| frame.is_sound(&bytes));
            assert!(!sound, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_frame_keeps_its_kind() {
        for kind in [EntryKind::Event, EntryKind::Intent, EntryKind::Ingested, EntryKind::Journal] {
            let mut bytes = Vec::new();
            let place = Place { position: 0, group_index: 0, append_goes_on: false };
            encode_entry(&mut bytes, place, kind, Timestamp::EPOCH, b"{}");
            let frame = Frame::decode(&bytes).unwrap();
            assert_eq!((frame.kind, frame.append_goes_on), (FrameKind::Entry(kind), false));
        }
    }

    #[test]
    fn zeros_are_neither_a_frame_nor_a_header() {
        assert_eq!(Frame::decode(&[0; 64]), None);
        assert_eq!(decode_header(&[0; 64]), Header::Damaged);
    }

    #[test]
    fn a_header_of_a_newer_version_is_told_from_damage() {
        let mut bytes = encode_header(9);
        assert_eq!(decode_header(&bytes), Header::Base(9));
        bytes[8] = 2;
        assert_eq!(decode_header(&bytes), Header::Damaged);
        let crc = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_header(&bytes), Header::Newer(2));
    }
}
