//! The records of the journal, version 1: a batch each, compressed where that is worth it, and sealed. Pure.
//!
//! ```text
//! record = version:u8 form:u8 size:u32 salt[16] number:u64  sealed( body or zstd(body) )   size: of the body
//! body   = group stream ingested_at count (time length)* text                              varints; times by difference
//! ```

use bytes::Bytes;
use cairn_core::Timestamp;

use super::cipher::{Cipher, SALT_BYTES, Salt, StoreKey};
use super::compression::{self, LEVEL_FAST};
use super::varint::{Damaged, Reader, put, put_signed};
use super::{Batch, GroupId, Line, StreamId};

/// The version of the records that this program writes, and the newest it reads.
const RECORD_VERSION: u8 = 1;
const FORM_PLAIN: u8 = 0;
const FORM_ZSTD: u8 = 1;
/// What a record has before the sealed body.
const HEAD_BYTES: usize = 6 + SALT_BYTES + 8;
/// A smaller body is not compressed.
const COMPRESSED_BYTES_MIN: usize = 256;
/// The largest body that is believed.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("the record has version {0}, newer than {RECORD_VERSION}")]
    Version(u8),
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

/// The body of a batch's record.
pub(super) fn body_of(batch: &Batch) -> Bytes {
    let text: usize = batch.lines.iter().map(|line| line.message.len()).sum();
    let mut body = Vec::with_capacity(text + batch.lines.len() * 8 + 40);
    put(&mut body, batch.group.0);
    put(&mut body, batch.stream.0);
    put_signed(&mut body, batch.ingested_at.millis());
    put(&mut body, batch.lines.len() as u64);
    let mut before = 0_i64;
    for line in &batch.lines {
        put_signed(&mut body, line.timestamp_ms.wrapping_sub(before));
        put(&mut body, line.message.len() as u64);
        before = line.timestamp_ms;
    }
    batch.lines.iter().for_each(|line| body.extend_from_slice(&line.message));
    body.into()
}

/// The batch of a body. Its lines share the body's bytes.
pub(super) fn batch_of(body: &Bytes) -> Result<Batch, Damaged> {
    let mut from = Reader(body);
    let (group, stream) = (GroupId(from.number()?), StreamId(from.number()?));
    let ingested_at = Timestamp::from_millis(from.signed()?);
    let count = from.count()?;
    let mut heads = Vec::with_capacity(count);
    let mut before = 0_i64;
    for _ in 0..count {
        before = before.wrapping_add(from.signed()?);
        heads.push((before, from.size()?));
    }
    let mut at = body.len() - from.0.len();
    let mut lines = Vec::with_capacity(count);
    for (timestamp_ms, length) in heads {
        let end = at.checked_add(length).filter(|end| *end <= body.len()).ok_or(Damaged)?;
        lines.push(Line { timestamp_ms, message: body.slice(at..end) });
        at = end;
    }
    if at == body.len() { Ok(Batch { group, stream, ingested_at, lines }) } else { Err(Damaged) }
}

/// Seals the records of one run of the server.
pub(super) struct RecordSealer {
    salt: Salt,
    cipher: Cipher,
}

impl RecordSealer {
    pub(super) fn new(key: &StoreKey, salt: Salt) -> Self {
        Self { salt, cipher: key.cipher(&salt) }
    }

    /// The record of a body. No other may have its number.
    pub(super) fn seal(&self, number: u64, body: &[u8]) -> Bytes {
        let size = u32::try_from(body.len()).expect("a batch is held far below 4 GiB");
        let form = if body.len() < COMPRESSED_BYTES_MIN { FORM_PLAIN } else { FORM_ZSTD };
        let mut record = Vec::with_capacity(HEAD_BYTES + body.len() / 2);
        record.extend_from_slice(&[RECORD_VERSION, form]);
        record.extend_from_slice(&size.to_le_bytes());
        record.extend_from_slice(&self.salt);
        record.extend_from_slice(&number.to_le_bytes());
        if form == FORM_PLAIN {
            record.extend_from_slice(body);
        } else {
            compression::compress(body, LEVEL_FAST, &mut record);
        }
        let head = *record.first_chunk::<HEAD_BYTES>().expect("it begins with its head");
        self.cipher.seal(number, &head, &mut record, HEAD_BYTES);
        record.shrink_to_fit();
        record.into()
    }
}

/// Opens records, of whichever run.
pub(super) struct RecordOpener {
    key: StoreKey,
    /// The key of the run whose records come just now.
    run: Option<(Salt, Cipher)>,
}

impl RecordOpener {
    pub(super) fn new(key: &StoreKey) -> Self {
        Self { key: key.clone(), run: None }
    }

    /// The body of a record.
    pub(super) fn open(&mut self, record: &[u8]) -> Result<Bytes, RecordError> {
        match record.first() {
            Some(&RECORD_VERSION) => {}
            Some(&version) if version > RECORD_VERSION => return Err(RecordError::Version(version)),
            _ => return Err(Damaged.into()),
        }
        let (head, sealed) = record.split_first_chunk::<HEAD_BYTES>().ok_or(Damaged)?;
        let size = u32::from_le_bytes(*head[2..].first_chunk().ok_or(Damaged)?);
        let size = usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX).ok_or(Damaged)?;
        let salt = *head[6..].first_chunk::<SALT_BYTES>().ok_or(Damaged)?;
        let number = u64::from_le_bytes(*head[6 + SALT_BYTES..].first_chunk().ok_or(Damaged)?);
        if self.run.as_ref().is_none_or(|(known, _)| *known != salt) {
            self.run = Some((salt, self.key.cipher(&salt)));
        }
        let (_, cipher) = self.run.as_ref().expect("it was just made");
        let mut sealed = sealed.to_vec();
        let plain = cipher.open(number, head, &mut sealed)?;
        match head[1] {
            FORM_PLAIN if plain.len() == size => Ok(Bytes::copy_from_slice(plain)),
            FORM_ZSTD => Ok(compression::decompress(plain, size)?.into()),
            _ => Err(Damaged.into()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn batch(texts: &[&str]) -> Batch {
        let line = |(text, time): (&&str, i64)| Line {
            timestamp_ms: 5000 - time * 3,
            message: Bytes::copy_from_slice(text.as_bytes()),
        };
        Batch {
            group: GroupId(7),
            stream: StreamId(u64::MAX),
            ingested_at: Timestamp::from_millis(9),
            lines: texts.iter().zip(0..).map(line).collect(),
        }
    }

    #[test]
    fn a_batch_reads_back_from_its_record() {
        let key = StoreKey::new(&[3; 32]);
        let sealer = RecordSealer::new(&key, [1; SALT_BYTES]);
        let mut opener = RecordOpener::new(&key);
        let long = "{\"eventVersion\":\"1.11\"}".repeat(100);
        for (batch, number) in [batch(&[]), batch(&["", "a"]), batch(&[&long, "b"])].into_iter().zip(0..) {
            let record = sealer.seal(number, &body_of(&batch));
            assert!(record.len() < 400, "{}", record.len());
            assert_eq!(batch_of(&opener.open(&record).unwrap()), Ok(batch));
        }
    }

    #[test]
    fn no_part_of_a_record_is_one_and_no_flipped_bit_goes_unseen() {
        let key = StoreKey::new(&[3; 32]);
        let record = RecordSealer::new(&key, [1; SALT_BYTES]).seal(0, &body_of(&batch(&["one", "two"])));
        let mut opener = RecordOpener::new(&key);
        for end in 0..record.len() {
            assert!(opener.open(&record[..end]).is_err(), "{end}");
        }
        let mut record = record.to_vec();
        for bit in 0..record.len() * 8 {
            record[bit / 8] ^= 1 << (bit % 8);
            assert!(opener.open(&record).is_err(), "{bit}");
            record[bit / 8] ^= 1 << (bit % 8);
        }
        record[0] = 2;
        assert_eq!(opener.open(&record), Err(RecordError::Version(2)));
    }

    #[test]
    fn a_record_shows_nothing_of_its_text() {
        let key = StoreKey::new(&[3; 32]);
        let record = RecordSealer::new(&key, [1; SALT_BYTES]).seal(0, &body_of(&batch(&["password"])));
        assert!(memchr::memmem::find(&record, b"password").is_none());
    }
}
