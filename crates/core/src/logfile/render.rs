//! The bytes of a log file: `{"Records":[…]}` around the records' own bytes, in one gzip member.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use libdeflater::{CompressionError, CompressionLvl, Compressor, Decompressor};

/// The largest log file that is delivered, compressed, in bytes (AWS: 50 MB).
pub const FILE_COMPRESSED_BYTES_MAX: usize = 50_000_000;

/// The largest log file before compression, in bytes. Deflate adds at most 5 bytes to 64 KiB that do not compress, so
/// no file of this size passes [`FILE_COMPRESSED_BYTES_MAX`]. Whoever fills a file keeps to it.
pub const FILE_RAW_BYTES_MAX: usize = 48_000_000;

/// Deflate's level: 6 compresses recorded events 6.7-fold at about 195 MB/s.
const GZIP_LEVEL: i32 = 6;

/// Events compress about 6.7-fold: a buffer of this part of the content is tried before one that any content fits.
const GZIP_FIRST_PART: usize = 4;

/// After how many records of a file the size of the whole is guessed from theirs.
const RECORDS_TO_GUESS_FROM: usize = 64;

/// What a guess of a file's size is raised by: this part of it.
const GUESS_MARGIN_PART: usize = 16;

const OPENING: &[u8] = br#"{"Records":["#;
const CLOSING: &[u8] = b"]}";

/// A finished log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// The object's body: one gzip member.
    pub body: Bytes,
    /// Hexadecimal SHA-256 of the uncompressed bytes, as digests list it.
    pub sha256_hex: String,
    /// How many records it holds.
    pub records: usize,
}

/// A log file being written.
#[derive(Clone, Debug, Default)]
pub struct FileBuilder {
    json: Vec<u8>,
    records: usize,
    records_expected: usize,
}

impl FileBuilder {
    /// A file that will have so many records. It makes room for them in one piece instead of doubling, for a file is
    /// the largest thing in memory.
    #[must_use]
    pub fn expecting(records: usize) -> Self {
        Self { records_expected: records, ..Self::default() }
    }

    /// Adds a record, whose bytes are copied as they are.
    pub fn push(&mut self, record: &[u8]) {
        self.make_room(record.len() + OPENING.len() + CLOSING.len());
        self.json.extend_from_slice(if self.records == 0 { OPENING } else { b"," });
        self.json.extend_from_slice(record);
        self.records += 1;
    }

    fn make_room(&mut self, size_bytes: usize) {
        if self.json.capacity() - self.json.len() >= size_bytes {
            return;
        }
        let Some(left) = self.records_expected.checked_sub(self.records) else { return };
        if self.records >= RECORDS_TO_GUESS_FROM {
            let guess = (self.json.len() / self.records).saturating_mul(left);
            let margin = self.json.len().saturating_add(guess) / GUESS_MARGIN_PART;
            let room = guess.saturating_add(margin).min(FILE_RAW_BYTES_MAX.saturating_sub(self.json.len()));
            self.json.reserve_exact(room.max(size_bytes));
        }
    }

    /// Closes the file.
    #[must_use]
    pub fn finish(mut self) -> RenderedFile {
        if self.records == 0 {
            self.json.extend_from_slice(OPENING);
        }
        self.json.extend_from_slice(CLOSING);
        RenderedFile { body: gzip(&self.json), sha256_hex: sha256_hex(&self.json), records: self.records }
    }
}

/// One gzip member with modification time 0: the same bytes for the same content.
#[must_use]
pub fn gzip(content: &[u8]) -> Bytes {
    let level = CompressionLvl::new(GZIP_LEVEL).expect("the level is one of deflate's");
    let mut compressor = Compressor::new(level);
    let bound = compressor.gzip_compress_bound(content.len());
    let mut body = vec![0; bound.min(content.len() / GZIP_FIRST_PART + 1024)];
    let length =
        compressor.gzip_compress(content, &mut body).or_else(|CompressionError::InsufficientSpace| {
            body = vec![0; bound];
            compressor.gzip_compress(content, &mut body)
        });
    // A copy, so that a body that waits for its bucket takes no more memory than it needs.
    Bytes::copy_from_slice(&body[..length.expect("the bound leaves room for any content")])
}

/// Why bytes are not a gzip member of a tolerable size.
#[derive(Debug, thiserror::Error)]
pub enum GzipError {
    /// Shorter than any gzip member.
    #[error("{size_bytes} bytes are too few for a gzip member")]
    TooShort {
        /// The size found.
        size_bytes: usize,
    },
    /// The content would be larger than the reader takes.
    #[error("the content has {size_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// The content's size.
        size_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Not gzip, damaged, or more than one member.
    #[error("the bytes are not one gzip member")]
    Damaged(#[source] libdeflater::DecompressionError),
}

/// The content of a gzip member, of at most `limit_bytes`.
///
/// # Errors
/// Where the bytes are not gzip or hold more.
pub fn gunzip(body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, GzipError> {
    // A member is at least a header of 10 bytes, an empty block of 2, and a trailer of 8 that ends in the size.
    let size = body.len().checked_sub(4).filter(|at| *at >= 16).and_then(|at| body[at..].try_into().ok());
    let size_bytes = u32::from_le_bytes(size.ok_or(GzipError::TooShort { size_bytes: body.len() })?) as usize;
    if size_bytes > limit_bytes {
        return Err(GzipError::TooLarge { size_bytes, limit_bytes });
    }
    let mut content = vec![0; size_bytes];
    let written = Decompressor::new().gzip_decompress(body, &mut content).map_err(GzipError::Damaged)?;
    if written != size_bytes {
        return Err(GzipError::Damaged(libdeflater::DecompressionError::BadData));
    }
    Ok(content)
}

/// Hexadecimal SHA-256.
#[must_use]
pub fn sha256_hex(content: &[u8]) -> String {
    hex::encode(digest(&SHA256, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_copied_byte_for_byte_between_the_brackets() {
        let mut file = FileBuilder::default();
        file.push(br#"{ "b":1,"a":"\u00e9" }"#);
        file.push("{\"é\":2.0}".as_bytes());
        let rendered = file.finish();
        let content = gunzip(&rendered.body, 1000).unwrap();
        assert_eq!(
            String::from_utf8(content.clone()).unwrap(),
            r#"{"Records":[{ "b":1,"a":"\u00e9" },{"é":2.0}]}"#
        );
        assert_eq!(rendered.sha256_hex, sha256_hex(&content));
        assert_eq!(rendered.records, 2);
    }

    #[test]
    fn the_room_that_a_file_makes_changes_nothing_in_its_bytes() {
        let records: Vec<String> =
            (0..500).map(|at| format!("{{\"n\":\"{}\"}}", "x".repeat(at * 7 % 300))).collect();
        let file = |mut builder: FileBuilder| {
            records.iter().for_each(|record| builder.push(record.as_bytes()));
            assert!(builder.json.len() <= builder.json.capacity());
            builder
        };
        let rendered = file(FileBuilder::default()).finish();
        for expected in [0, 1, 100, 500, 100_000] {
            assert_eq!(file(FileBuilder::expecting(expected)).finish(), rendered, "{expected} expected");
        }
        let exact = file(FileBuilder::expecting(500));
        assert!(exact.json.capacity() < exact.json.len() * 5 / 4, "{} bytes", exact.json.capacity());
    }

    #[test]
    fn the_gzip_member_has_no_time_and_no_name() {
        let body = gzip(b"abc");
        assert_eq!(body[..9], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(gzip(b"abc"), body);
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_does_not_compress_stays_below_the_limit() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(FILE_RAW_BYTES_MAX / 48)
        .collect();
        assert!(gzip(&noise).len() * 48 <= FILE_COMPRESSED_BYTES_MAX);
    }

    #[test]
    fn damaged_or_oversized_gzip_is_refused() {
        let body = gzip(b"some content to compress");
        let refused = |bytes: &[u8], limit: usize| gunzip(bytes, limit).unwrap_err().to_string();
        assert_eq!(refused(b"", 9), "0 bytes are too few for a gzip member");
        assert_eq!(refused(&body, 9), "the content has 24 bytes, the limit is 9");
        let mut flipped = body.to_vec();
        flipped[14] ^= 0xff;
        assert_eq!(refused(&flipped, 100), "the bytes are not one gzip member");
        let doubled = [gzip(b"first"), gzip(b"second!")].concat();
        assert_eq!(refused(&doubled, 100), "the bytes are not one gzip member");
    }
}
