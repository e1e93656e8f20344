//! What the journal of the queues says: one record for each thing that changes what they hold.
//!
//! On the road: decided in `op`, written by `journal`, applied to `state`, live and when the journal is read again: the
//! same records in the same order make the same queues. Pure. Numbers are little-endian; a text has its length before
//! it, as a u32.
//!
//! ```text
//! record = version:u8 kind:u8 fields
//! ```

use bytes::Bytes;
use cairn_core::Timestamp;

use super::{QueueKey, Sequence};

/// The version of the records that this program writes, and the newest it reads.
const RECORD_VERSION: u8 = 1;
/// The bytes of a deduplication text's digest.
pub(super) const DIGEST_BYTES: usize = 16;

const KIND_QUEUE: u8 = 1;
const KIND_REMOVED: u8 = 2;
const KIND_MESSAGE: u8 = 3;
const KIND_DELETED: u8 = 4;
const KIND_RECEIPTS: u8 = 5;
const KIND_PURGED: u8 = 6;
const KIND_EXPIRED: u8 = 7;
const KIND_MOVED: u8 = 8;
const KIND_DEDUPLICATION: u8 = 9;

/// What stands for a deduplication text.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// A message that came, or that is kept while the journal before it is let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageRecord {
    pub(super) queue: QueueKey,
    pub(super) id: String,
    pub(super) group: Option<String>,
    pub(super) deduplication: Option<String>,
    pub(super) sent_at: Timestamp,
    pub(super) visible_at: Timestamp,
    /// Where it is kept: what has become of it since it came.
    pub(super) kept: Option<Kept>,
    pub(super) payload: Bytes,
}

/// What has become of a message since it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) sequence: Sequence,
    pub(super) receives: u32,
    /// Of these, in the queues that it was in before.
    pub(super) receives_before: u32,
    pub(super) first_received_at: Option<Timestamp>,
    pub(super) came_from: Option<QueueKey>,
}

/// A receipt of a message, and until when it hides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReceiptRecord {
    pub(super) sequence: Sequence,
    pub(super) receives: u32,
    pub(super) visible_at: Timestamp,
    pub(super) first_received_at: Timestamp,
}

/// A deduplication text that is kept while the journal before it is let go of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeduplicationRecord {
    pub(super) digest: Digest,
    pub(super) id: String,
    pub(super) sequence: Sequence,
    pub(super) at: Timestamp,
}

/// One thing that changes what the queues hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// The queue is there.
    Queue(QueueKey),
    /// It is there no more, with all that it held.
    Removed(QueueKey),
    /// A message came. Its place is that of this record, unless it is kept.
    Message(Box<MessageRecord>),
    /// Messages were deleted.
    Deleted { queue: QueueKey, sequences: Vec<Sequence> },
    /// Messages were received, or stay hidden for another time.
    Receipts { queue: QueueKey, receipts: Vec<ReceiptRecord> },
    /// All messages that the queue held are gone.
    Purged(QueueKey),
    /// The messages sent at or before `until` are gone, and the deduplication texts that were over at `now`.
    Expired { queue: QueueKey, until: Timestamp, now: Timestamp },
    /// A message went from one queue to another. Its new place is that of this record.
    /// A dead letter tells how often it was received, and when first; any other message is as new.
    Moved { from: QueueKey, sequence: Sequence, to: QueueKey, dead_letter: Option<(u32, Timestamp)> },
    /// Deduplication texts of a queue.
    Deduplication { queue: QueueKey, texts: Vec<DeduplicationRecord> },
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a record has version {0}, newer than {RECORD_VERSION}")]
    Version(u8),
    #[error("a record is damaged")]
    Damaged,
}

impl Record {
    /// The record's bytes.
    pub(super) fn encode(&self) -> Bytes {
        let capacity = match self {
            Self::Message(message) => 256 + message.payload.len(),
            _ => 128,
        };
        let mut out = Writer(Vec::with_capacity(capacity));
        out.byte(RECORD_VERSION);
        match self {
            Self::Queue(queue) => out.kind(KIND_QUEUE, queue),
            Self::Removed(queue) => out.kind(KIND_REMOVED, queue),
            Self::Message(message) => out.message(message),
            Self::Deleted { queue, sequences } => {
                out.kind(KIND_DELETED, queue);
                out.length(sequences.len());
                sequences.iter().for_each(|sequence| out.number(sequence.0));
            }
            Self::Receipts { queue, receipts } => {
                out.kind(KIND_RECEIPTS, queue);
                out.length(receipts.len());
                for receipt in receipts {
                    out.number(receipt.sequence.0);
                    out.short(receipt.receives);
                    out.time(receipt.visible_at);
                    out.time(receipt.first_received_at);
                }
            }
            Self::Purged(queue) => out.kind(KIND_PURGED, queue),
            Self::Expired { queue, until, now } => {
                out.kind(KIND_EXPIRED, queue);
                out.time(*until);
                out.time(*now);
            }
            Self::Moved { from, sequence, to, dead_letter } => {
                out.kind(KIND_MOVED, from);
                out.number(sequence.0);
                out.text(&to.0);
                out.optional(*dead_letter, |out, (receives, first_received_at)| {
                    out.short(receives);
                    out.time(first_received_at);
                });
            }
            Self::Deduplication { queue, texts } => {
                out.kind(KIND_DEDUPLICATION, queue);
                out.length(texts.len());
                for text in texts {
                    out.0.extend_from_slice(&text.digest);
                    out.text(&text.id);
                    out.number(text.sequence.0);
                    out.time(text.at);
                }
            }
        }
        out.0.into()
    }

    /// The record that `bytes` are. Its payload shares them.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let mut from = Reader { bytes, at: 0 };
        match from.byte()? {
            RECORD_VERSION => {}
            version if version > RECORD_VERSION => return Err(RecordError::Version(version)),
            _ => return Err(RecordError::Damaged),
        }
        let kind = from.byte()?;
        let queue = QueueKey(from.text()?);
        let record = match kind {
            KIND_QUEUE => Self::Queue(queue),
            KIND_REMOVED => Self::Removed(queue),
            KIND_MESSAGE => Self::Message(Box::new(from.message(queue)?)),
            KIND_DELETED => Self::Deleted { queue, sequences: from.list(Reader::sequence)? },
            KIND_RECEIPTS => Self::Receipts { queue, receipts: from.list(Reader::receipt)? },
            KIND_PURGED => Self::Purged(queue),
            KIND_EXPIRED => Self::Expired { queue, until: from.time()?, now: from.time()? },
            KIND_MOVED => Self::Moved {
                from: queue,
                sequence: from.sequence()?,
                to: QueueKey(from.text()?),
                dead_letter: from.optional(|from| Ok((from.short()?, from.time()?)))?,
            },
            KIND_DEDUPLICATION => Self::Deduplication { queue, texts: from.list(Reader::deduplication)? },
            _ => return Err(RecordError::Damaged),
        };
        if from.at == bytes.len() { Ok(record) } else { Err(RecordError::Damaged) }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    fn short(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn number(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn time(&mut self, value: Timestamp) {
        self.0.extend_from_slice(&value.millis().to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        self.short(u32::try_from(value).expect("a record is held far below 4 GiB"));
    }

    fn text(&mut self, value: &str) {
        self.length(value.len());
        self.0.extend_from_slice(value.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn kind(&mut self, kind: u8, queue: &QueueKey) {
        self.byte(kind);
        self.text(&queue.0);
    }

    fn message(&mut self, message: &MessageRecord) {
        self.kind(KIND_MESSAGE, &message.queue);
        self.text(&message.id);
        self.optional(message.group.as_ref(), |out, group| out.text(group));
        self.optional(message.deduplication.as_ref(), |out, text| out.text(text));
        self.time(message.sent_at);
        self.time(message.visible_at);
        self.optional(message.kept.as_ref(), |out, kept| {
            out.number(kept.sequence.0);
            out.short(kept.receives);
            out.short(kept.receives_before);
            out.optional(kept.first_received_at, Self::time);
            out.optional(kept.came_from.as_ref(), |out, queue| out.text(&queue.0));
        });
        self.length(message.payload.len());
        self.0.extend_from_slice(&message.payload);
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let found = *self.bytes[self.at..].first_chunk::<N>().ok_or(RecordError::Damaged)?;
        self.at += N;
        Ok(found)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, RecordError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RecordError::Damaged),
        }
    }

    fn short(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, RecordError> {
        self.array().map(|bytes| Timestamp::from_millis(i64::from_le_bytes(bytes)))
    }

    fn sequence(&mut self) -> Result<Sequence, RecordError> {
        self.number().map(Sequence)
    }

    fn slice(&mut self) -> Result<Bytes, RecordError> {
        let length = usize::try_from(self.short()?).map_err(|_| RecordError::Damaged)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(RecordError::Damaged)?;
        let found = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(found)
    }

    fn text(&mut self) -> Result<String, RecordError> {
        let bytes = self.slice()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| RecordError::Damaged)
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<T>, RecordError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, RecordError>) -> Result<Vec<T>, RecordError> {
        let length = self.short()?;
        (0..length).map(|_| read(self)).collect()
    }

    fn receipt(&mut self) -> Result<ReceiptRecord, RecordError> {
        Ok(ReceiptRecord {
            sequence: self.sequence()?,
            receives: self.short()?,
            visible_at: self.time()?,
            first_received_at: self.time()?,
        })
    }

    fn deduplication(&mut self) -> Result<DeduplicationRecord, RecordError> {
        Ok(DeduplicationRecord {
            digest: self.array()?,
            id: self.text()?,
            sequence: self.sequence()?,
            at: self.time()?,
        })
    }

    fn message(&mut self, queue: QueueKey) -> Result<MessageRecord, RecordError> {
        Ok(MessageRecord {
            queue,
            id: self.text()?,
            group: self.optional(Self::text)?,
            deduplication: self.optional(Self::text)?,
            sent_at: self.time()?,
            visible_at: self.time()?,
            kept: self.optional(|from| {
                Ok(Kept {
                    sequence: from.sequence()?,
                    receives: from.short()?,
                    receives_before: from.short()?,
                    first_received_at: from.optional(Self::time)?,
                    came_from: from.optional(Self::text)?.map(QueueKey),
                })
            })?,
            payload: self.slice()?,
        })
    }
}

/// What stands for a deduplication text: so much of its SHA-256 that no two texts share it.
pub(super) fn digest(text: &str) -> Digest {
    let whole = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    *whole.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One record of each kind, with and without what may be missing.
    pub(crate) fn samples() -> Vec<Record> {
        let queue = || QueueKey("q".to_owned());
        let time = Timestamp::from_millis;
        let message = |kept, group: Option<&str>| {
            Record::Message(Box::new(MessageRecord {
                queue: queue(),
                id: "id".to_owned(),
                group: group.map(str::to_owned),
                deduplication: group.map(|group| format!("{group}-d")),
                sent_at: time(1),
                visible_at: time(2),
                kept,
                payload: Bytes::from_static(b"payload"),
            }))
        };
        let kept = |first_received_at, came_from| Kept {
            sequence: Sequence(7),
            receives: 3,
            receives_before: 2,
            first_received_at,
            came_from,
        };
        vec![
            Record::Queue(queue()),
            Record::Removed(queue()),
            message(None, None),
            message(Some(kept(Some(time(9)), Some(queue()))), Some("g")),
            message(Some(kept(None, None)), Some("g")),
            Record::Deleted { queue: queue(), sequences: vec![Sequence(1), Sequence(u64::MAX)] },
            Record::Receipts {
                queue: queue(),
                receipts: vec![ReceiptRecord {
                    sequence: Sequence(1),
                    receives: 1,
                    visible_at: time(30),
                    first_received_at: time(3),
                }],
            },
            Record::Purged(queue()),
            Record::Expired { queue: queue(), until: time(4), now: time(5) },
            Record::Moved {
                from: queue(),
                sequence: Sequence(1),
                to: QueueKey("dead".to_owned()),
                dead_letter: Some((4, time(3))),
            },
            Record::Deduplication {
                queue: queue(),
                texts: vec![DeduplicationRecord {
                    digest: digest("d"),
                    id: "id".to_owned(),
                    sequence: Sequence(4),
                    at: time(6),
                }],
            },
        ]
    }

    #[test]
    fn every_record_reads_back_and_no_part_of_one_is_a_record() {
        for record in samples() {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            for end in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes.slice(..end)), Err(RecordError::Damaged), "{end}");
            }
            let longer = Bytes::from([&bytes[..], b"x"].concat());
            assert_eq!(Record::decode(&longer), Err(RecordError::Damaged));
        }
    }

    #[test]
    fn a_record_of_a_newer_version_is_told_from_damage() {
        let mut bytes = Record::Purged(QueueKey("q".to_owned())).encode().to_vec();
        bytes[0] = 2;
        assert_eq!(Record::decode(&bytes.into()), Err(RecordError::Version(2)));
    }
}
