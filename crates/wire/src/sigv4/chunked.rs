//! The aws-chunked framing: chunks, their chain of signatures, and the trailer.
//!
//! ```text
//! 10000;chunk-signature=SIGNATURE\r\n  64 KiB of payload  \r\n
//! 0;chunk-signature=SIGNATURE\r\n
//! x-amz-checksum-crc32c:sOO8/Q==\r\n
//! x-amz-trailer-signature:SIGNATURE\r\n
//! \r\n
//! ```
//! Pure: pieces of the raw body go in, pieces of the payload come out at once, nothing but a line is ever kept. A
//! chunk's signature is checked at its end, so its bytes are out before it is proven; the reader's duty to wait for
//! the end of the stream covers that. Each signature covers the one before it, the first the request's own.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>, `sigv4-streaming-trailers.html`

use std::fmt;

use aws_lc_rs::digest;
use bytes::{Buf, Bytes};

use super::dialect::Dialect;
use super::key::{EMPTY_SHA256, SigningKey, sha256_hex, signatures_match};
use crate::AwsError;

/// The most bytes that a chunk may announce: those of the largest single upload.
pub const CHUNK_SIZE_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// The most bytes of a chunk's header line, and of one trailer.
pub const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// The most trailers of one body.
pub const TRAILERS_MAX: usize = 8;
/// Line breaks that may follow the end of the framing: some clients close with one too many.
const CLOSING_BYTES_MAX: usize = 4;

const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// The chain of chunk signatures.
pub(super) struct ChunkChain {
    key: SigningKey,
    time: String,
    scope: String,
    previous: String,
}

impl fmt::Debug for ChunkChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkChain").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl ChunkChain {
    /// A chain that starts from the request's signature.
    pub(super) fn new(key: SigningKey, time: String, scope: String, seed: String) -> Self {
        Self { key, time, scope, previous: seed }
    }

    /// The signature of the chunk whose payload has the hex `hash`, which becomes the chain's last one.
    pub(super) fn sign_chunk(&mut self, hash: &str) -> &str {
        self.extend("AWS4-HMAC-SHA256-PAYLOAD", &format!("{EMPTY_SHA256}\n{hash}"))
    }

    /// The signature of the trailer, from its `name:value\n` lines.
    pub(super) fn sign_trailer(&mut self, lines: &str) -> &str {
        self.extend("AWS4-HMAC-SHA256-TRAILER", &sha256_hex(lines.as_bytes()))
    }

    fn extend(&mut self, kind: &str, what: &str) -> &str {
        let text = format!("{kind}\n{}\n{}\n{}\n{what}", self.time, self.scope, self.previous);
        self.previous = self.key.sign(&text);
        &self.previous
    }
}

/// Takes the framing off a body.
pub(super) struct ChunkDecoder {
    state: State,
    line: Vec<u8>,
    left_bytes: u64,
    decoded_bytes: u64,
    declared_bytes: u64,
    chain: Option<ChunkChain>,
    chunk_hash: digest::Context,
    chunk_signature: String,
    trailers_declared: Vec<String>,
    trailers: Vec<(String, String)>,
    trailer_signature: Option<String>,
    closing_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Data,
    DataEnd,
    Trailers,
    End,
}

impl ChunkDecoder {
    /// A decoder of a body of `declared_bytes` payload, whose chunks are signed where there is a `chain`, and which
    /// ends in the trailers `trailers_declared`, no more and no fewer.
    pub(super) fn new(
        declared_bytes: u64,
        chain: Option<ChunkChain>,
        trailers_declared: Vec<String>,
    ) -> Self {
        Self {
            state: State::Header,
            line: Vec::new(),
            left_bytes: 0,
            decoded_bytes: 0,
            declared_bytes,
            chain,
            chunk_hash: digest::Context::new(&digest::SHA256),
            chunk_signature: String::new(),
            trailers_declared,
            trailers: Vec::new(),
            trailer_signature: None,
            closing_bytes: 0,
        }
    }

    /// The trailers, in lower case, without the trailer's signature.
    pub(super) fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }

    /// The next piece of payload from `input`, which it shortens; `None` where it needs more input.
    pub(super) fn step(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, AwsError> {
        loop {
            match self.state {
                State::Data if self.left_bytes == 0 => self.state = State::DataEnd,
                State::Data if input.is_empty() => return Ok(None),
                State::Data => {
                    let length = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(input.len());
                    let piece = input.split_to(length);
                    if self.chain.is_some() {
                        self.chunk_hash.update(&piece);
                    }
                    self.left_bytes -= length as u64;
                    return Ok(Some(piece));
                }
                State::End => {
                    self.closing_bytes += input.len();
                    let only_breaks = input.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
                    if !only_breaks || self.closing_bytes > CLOSING_BYTES_MAX {
                        return Err(malformed("bytes follow the last chunk"));
                    }
                    input.clear();
                    return Ok(None);
                }
                state => {
                    let Some(line) = self.take_line(input)? else { return Ok(None) };
                    self.take(state, &line)?;
                }
            }
        }
    }

    /// Whether the body is complete now that no more input comes.
    pub(super) fn finish(&self) -> Result<(), AwsError> {
        if self.state == State::End { Ok(()) } else { Err(incomplete()) }
    }

    fn take(&mut self, state: State, line: &str) -> Result<(), AwsError> {
        match state {
            State::Header => self.open_chunk(line),
            State::DataEnd if line.is_empty() => {
                self.state = State::Header;
                self.check_chunk()
            }
            State::DataEnd => Err(malformed("a chunk is longer than its announced size")),
            _ if line.is_empty() => {
                self.state = State::End;
                self.check_trailers()
            }
            _ => self.add_trailer(line),
        }
    }

    /// `SIZE` in hex, and `;chunk-signature=SIGNATURE` where chunks are signed.
    fn open_chunk(&mut self, line: &str) -> Result<(), AwsError> {
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let is_size = (1..=16).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| is_size);
        let size = size.ok_or_else(|| malformed("a chunk's size is not a hexadecimal number"))?;
        if size > CHUNK_SIZE_BYTES_MAX {
            return Err(malformed(format!("a chunk is larger than {CHUNK_SIZE_BYTES_MAX} bytes")));
        }
        if self.chain.is_some() {
            let signature = extension.strip_prefix("chunk-signature=");
            self.chunk_signature =
                signature.ok_or_else(|| malformed("a chunk has no signature"))?.trim().to_owned();
            self.chunk_hash = digest::Context::new(&digest::SHA256);
        }
        self.decoded_bytes = self.decoded_bytes.saturating_add(size);
        let is_last = size == 0;
        if self.decoded_bytes > self.declared_bytes || is_last && self.decoded_bytes < self.declared_bytes {
            return Err(incomplete());
        }
        self.left_bytes = size;
        self.state = if is_last { State::Trailers } else { State::Data };
        if is_last { self.check_chunk() } else { Ok(()) }
    }

    fn check_chunk(&mut self) -> Result<(), AwsError> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let hash = hex::encode(self.chunk_hash.clone().finish());
        let matches = signatures_match(chain.sign_chunk(&hash), &self.chunk_signature);
        if matches { Ok(()) } else { Err(Dialect::S3.mismatch()) }
    }

    fn add_trailer(&mut self, line: &str) -> Result<(), AwsError> {
        // AWS's own examples end a trailer's value in a line feed before the line's end.
        let (name, value) = line.trim_end_matches('\n').split_once(':').ok_or_else(malformed_trailer)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
        if self.chain.is_some() && name == TRAILER_SIGNATURE && self.trailer_signature.is_none() {
            self.trailer_signature = Some(value);
            return Ok(());
        }
        let is_new = self.trailers.iter().all(|(other, _)| *other != name);
        // Whatever came after the signature would not be covered by it.
        if self.trailer_signature.is_some()
            || !is_new
            || self.trailers.len() == TRAILERS_MAX
            || !self.trailers_declared.contains(&name)
        {
            return Err(malformed_trailer());
        }
        self.trailers.push((name, value));
        Ok(())
    }

    fn check_trailers(&mut self) -> Result<(), AwsError> {
        if self.trailers.len() != self.trailers_declared.len() {
            return Err(malformed_trailer());
        }
        let Some(chain) = &mut self.chain else { return Ok(()) };
        match &self.trailer_signature {
            None if self.trailers.is_empty() => Ok(()),
            None => Err(malformed_trailer()),
            Some(signature) => {
                let lines: String =
                    self.trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
                let matches = signatures_match(chain.sign_trailer(&lines), signature);
                if matches { Ok(()) } else { Err(Dialect::S3.mismatch()) }
            }
        }
    }

    /// The line up to the next `\r\n`, without it; `None` where its end has not come yet.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<String>, AwsError> {
        while !input.is_empty() {
            let length = input.iter().position(|&byte| byte == b'\n').map_or(input.len(), |at| at + 1);
            if self.line.len() + length > CHUNK_LINE_BYTES_MAX {
                return Err(malformed(format!("a line is longer than {CHUNK_LINE_BYTES_MAX} bytes")));
            }
            self.line.extend_from_slice(&input[..length]);
            input.advance(length);
            if self.line.ends_with(b"\r\n") {
                let mut line = std::mem::take(&mut self.line);
                line.truncate(line.len() - 2);
                return String::from_utf8(line).map(Some).map_err(|_| malformed("a line is not text"));
            }
        }
        Ok(None)
    }
}

/// A body with fewer or more bytes than it declares.
pub(super) fn incomplete() -> AwsError {
    AwsError::invalid(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}

/// Trailers that are not those that the request declares.
pub(super) fn malformed_trailer() -> AwsError {
    AwsError::invalid(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    )
}

fn malformed(why: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidRequest", format!("The aws-chunked body is malformed: {}.", why.into()))
}
