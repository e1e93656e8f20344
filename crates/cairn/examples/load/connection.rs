//! One connection: whole requests go out as prepared, answers come back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::Failure;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How a server says that it ends a connection.
const CLOSE: &[u8] = b"\r\nconnection: close\r\n";

/// A connection that is kept, as far as the server keeps it.
pub(super) struct Connection {
    place: String,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `place`, `127.0.0.1:4587`.
    pub(super) fn open(place: &str) -> Result<Self, Failure> {
        let stream = Some(connect(place)?);
        Ok(Self { place: place.to_owned(), stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and returns its answer's body.
    ///
    /// # Errors
    /// Where the connection breaks or the status is not 200.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        let mut stream = self.stream.take().map_or_else(|| connect(&self.place), Ok)?;
        stream.write_all(request)?;
        self.buffer.clear();
        let mut whole = None;
        while whole.is_none_or(|(_, end)| self.buffer.len() < end) {
            let mut piece = [0; 16 * 1024];
            let read = stream.read(&mut piece)?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            self.buffer.extend_from_slice(&piece[..read]);
            if whole.is_none() {
                whole = extent(&self.buffer)?;
            }
        }
        let (body, end) = whole.unwrap_or_default();
        let head = self.buffer[..body].to_ascii_lowercase();
        self.stream = (!head.windows(CLOSE.len()).any(|window| window == CLOSE)).then_some(stream);
        if !self.buffer.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&self.buffer).into_owned().into());
        }
        Ok(&self.buffer[body..end])
    }
}

fn connect(place: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(place)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

/// Where the body of an answer begins and ends, once its head is there.
fn extent(answer: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.ok_or("an answer without a length")?.trim().parse()?;
    Ok(Some((head + 4, head + 4 + length)))
}
