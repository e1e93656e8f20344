//! The decoding of an ingest call's body: gzip or plain, held to its limits as it streams through.

use std::io::Write;

use bytes::Bytes;
use cairn_wire::AwsError;
use flate2::write::MultiGzDecoder;
use http::request::Parts;

/// The largest body as it is sent, in bytes.
const RECEIVED_SIZE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The largest body once decoded, in bytes.
const DECODED_SIZE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How many times larger than what was sent a decoded body may be; records that differ in their ids alone come to 50.
const GZIP_RATIO_MAX: u64 = 200;
/// Decoded bytes up to which the ratio is not looked at.
const GZIP_RATIO_FREE_BYTES: u64 = 1024 * 1024;
/// Bytes that are decompressed at once: deflate makes at most 1,032 bytes of one, so about 1 MiB of these.
const GZIP_STEP_BYTES: usize = 1024;
/// Decoded bytes after which they are handed on.
const DECODED_PIECE_BYTES: usize = 256 * 1024;
/// How gzip begins (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What the head of a request says of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Nothing: its first bytes tell.
    Unsaid,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// From `Content-Encoding`.
    pub(super) fn of(parts: &Parts) -> Result<Self, AwsError> {
        let values = parts.headers.get_all("content-encoding");
        let mut encoding = Self::Unsaid;
        for name in values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')) {
            match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => {}
                b"gzip" | b"x-gzip" if encoding == Self::Unsaid => encoding = Self::Gzip,
                other => {
                    let message = format!(
                        "The content encoding {} is not taken: send gzip, or none.",
                        String::from_utf8_lossy(other)
                    );
                    return Err(AwsError::with_status(415, "UnsupportedContentEncoding", message));
                }
            }
        }
        Ok(encoding)
    }
}

enum State {
    /// Not enough bytes yet to tell.
    Undecided(Vec<u8>),
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// Decodes one body.
pub(super) struct Decoder {
    encoding: Encoding,
    state: State,
    input: Bytes,
    received_bytes: u64,
    decoded_bytes: u64,
}

impl Decoder {
    /// A decoder of a body whose head says `encoding`.
    pub(super) fn new(encoding: Encoding) -> Self {
        let state = State::Undecided(Vec::new());
        Self { encoding, state, input: Bytes::new(), received_bytes: 0, decoded_bytes: 0 }
    }

    /// Takes the next piece; what was given before must have been decoded.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), AwsError> {
        self.received_bytes += piece.len() as u64;
        if self.received_bytes > RECEIVED_SIZE_BYTES_MAX {
            return Err(too_large("The body", RECEIVED_SIZE_BYTES_MAX));
        }
        self.input = piece;
        if let State::Undecided(begun) = &mut self.state {
            begun.extend_from_slice(&self.input);
            self.input = Bytes::new();
            if begun.len() >= GZIP_MAGIC.len() {
                self.decide()?;
            }
        }
        Ok(())
    }

    /// The next decoded bytes; none where all that was given is decoded.
    pub(super) fn decode(&mut self) -> Result<Option<Bytes>, AwsError> {
        let decoded = match &mut self.state {
            State::Undecided(_) => return Ok(None),
            State::Plain => std::mem::take(&mut self.input),
            State::Gzip(decoder) => {
                while !self.input.is_empty() && decoder.get_ref().len() < DECODED_PIECE_BYTES {
                    let step = self.input.split_to(self.input.len().min(GZIP_STEP_BYTES));
                    decoder.write_all(&step).map_err(|_| not_gzip())?;
                }
                Bytes::from(std::mem::take(decoder.get_mut()))
            }
        };
        self.counted(decoded)
    }

    /// The body has ended: what is left of it.
    pub(super) fn finish(mut self) -> Result<Option<Bytes>, AwsError> {
        if let State::Undecided(begun) = &self.state {
            if begun.is_empty() {
                return Ok(None);
            }
            self.decide()?;
        }
        let last = match &mut self.state {
            State::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| not_gzip())?;
                Bytes::from(std::mem::take(decoder.get_mut()))
            }
            _ => std::mem::take(&mut self.input),
        };
        self.counted(last)
    }

    fn decide(&mut self) -> Result<(), AwsError> {
        let begun = match std::mem::replace(&mut self.state, State::Plain) {
            State::Undecided(begun) => begun,
            decided => {
                self.state = decided;
                return Ok(());
            }
        };
        if begun.starts_with(&GZIP_MAGIC) {
            self.state = State::Gzip(Box::new(MultiGzDecoder::new(Vec::new())));
        } else if self.encoding == Encoding::Gzip {
            return Err(not_gzip());
        }
        self.input = Bytes::from(begun);
        Ok(())
    }

    fn counted(&mut self, decoded: Bytes) -> Result<Option<Bytes>, AwsError> {
        self.decoded_bytes += decoded.len() as u64;
        if self.decoded_bytes > DECODED_SIZE_BYTES_MAX {
            return Err(too_large("The decoded body", DECODED_SIZE_BYTES_MAX));
        }
        let is_bomb = self.decoded_bytes > GZIP_RATIO_FREE_BYTES
            && self.decoded_bytes / GZIP_RATIO_MAX > self.received_bytes;
        if is_bomb {
            let message =
                format!("The decoded body is more than {GZIP_RATIO_MAX} times larger than what was sent.");
            return Err(AwsError::with_status(413, "EntityTooLarge", message));
        }
        Ok(Some(decoded).filter(|decoded| !decoded.is_empty()))
    }
}

fn too_large(what: &str, limit: u64) -> AwsError {
    AwsError::with_status(
        413,
        "EntityTooLarge",
        format!("{what} is larger than {limit} bytes. Send it in parts; the records taken so far stay."),
    )
}

fn not_gzip() -> AwsError {
    AwsError::invalid("MalformedBody", "The body is not valid gzip, or not all of it.")
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The decoded body; or the code of the error, and the largest piece.
    fn decoded(body: &[u8], encoding: Encoding, step: usize) -> (Result<Vec<u8>, String>, usize) {
        let (mut whole, mut largest) = (Vec::new(), 0);
        let mut decoder = Decoder::new(encoding);
        let mut run = || {
            for piece in body.chunks(step) {
                decoder.push(Bytes::copy_from_slice(piece))?;
                while let Some(part) = decoder.decode()? {
                    largest = largest.max(part.len());
                    whole.extend_from_slice(&part);
                }
            }
            let rest = std::mem::replace(&mut decoder, Decoder::new(encoding)).finish()?;
            whole.extend_from_slice(&rest.unwrap_or_default());
            Ok(())
        };
        let ended: Result<(), AwsError> = run();
        (ended.map(|()| whole).map_err(|error| error.code.into_owned()), largest)
    }

    #[test]
    fn gzip_is_told_by_its_first_bytes_wherever_it_is_cut() {
        let text = b"{\"a\":1}\n".repeat(50);
        let two = [gzip(&text), gzip(&text)].concat();
        for step in [1, 2, 3, 1000] {
            for encoding in [Encoding::Unsaid, Encoding::Gzip] {
                assert_eq!(decoded(&gzip(&text), encoding, step).0.as_deref(), Ok(text.as_slice()));
                assert_eq!(
                    decoded(&two, encoding, step).0,
                    Ok(text.repeat(2)),
                    "members one after the other"
                );
            }
            assert_eq!(decoded(&text, Encoding::Unsaid, step).0.as_deref(), Ok(text.as_slice()));
            assert_eq!(decoded(b"{", Encoding::Unsaid, step).0.as_deref(), Ok(b"{".as_slice()));
        }
        assert_eq!(decoded(b"", Encoding::Gzip, 1).0, Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_gzip_or_not_all_of_it_is_refused() {
        let whole = gzip(b"{\"a\":1}\n");
        let malformed = Err("MalformedBody".to_owned());
        assert_eq!(decoded(b"{\"a\":1}", Encoding::Gzip, 9).0, malformed);
        for end in [2, 9, 12, whole.len() - 1] {
            assert_eq!(decoded(&whole[..end], Encoding::Unsaid, 100).0, malformed, "{end} bytes");
        }
        let mut flipped = whole.clone();
        let crc_at = whole.len() - 6;
        flipped[crc_at] ^= 1;
        assert_eq!(decoded(&flipped, Encoding::Unsaid, 100).0, malformed);
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let (ended, largest) = decoded(&bomb, Encoding::Unsaid, bomb.len());
        assert_eq!(ended, Err("EntityTooLarge".to_owned()));
        assert!(largest <= DECODED_PIECE_BYTES + 1100 * GZIP_STEP_BYTES, "{largest}");
    }
}
