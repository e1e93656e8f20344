//! A block of a file: lines of one group in their order, their numbers column by column, then their texts. Pure.
//!
//! ```text
//! block = count streams:(count id*) times positions indexes streams-of-lines ingested-at lengths text    varints
//! ```
//! Each column is the differences of its values; a line's stream is its place in the block's list.

use bytes::Bytes;
use cairn_core::Timestamp;

use super::varint::{Damaged, Reader, put, put_signed};
use super::{Found, LineId, StreamId};
use crate::log::LogPosition;

/// A block being filled.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    lines: Vec<(LineId, usize, i64, usize)>,
    streams: Vec<StreamId>,
    text: Vec<u8>,
}

impl BlockBuilder {
    /// Adds a line, which comes after all before it.
    pub(super) fn push(&mut self, found: &Found) {
        // Lines of one stream mostly follow one another.
        let known = self.streams.iter().rposition(|stream| *stream == found.stream);
        let stream = known.unwrap_or_else(|| {
            self.streams.push(found.stream);
            self.streams.len() - 1
        });
        self.lines.push((found.id, stream, found.ingested_at.millis(), found.message.len()));
        self.text.extend_from_slice(&found.message);
    }

    pub(super) fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The streams whose lines are here.
    pub(super) fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    /// The first line and the last.
    pub(super) fn ends(&self) -> Option<(LineId, LineId)> {
        Some((self.lines.first()?.0, self.lines.last()?.0))
    }

    /// The block's bytes. What comes next begins another.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.lines.len() * 12 + 16);
        put(&mut out, self.lines.len() as u64);
        put(&mut out, self.streams.len() as u64);
        self.streams.iter().for_each(|stream| put(&mut out, stream.0));
        let lines = &self.lines;
        put_column(&mut out, lines.iter().map(|(id, ..)| id.timestamp_ms));
        put_column(&mut out, lines.iter().map(|(id, ..)| id.position.0.cast_signed()));
        put_column(&mut out, lines.iter().map(|(id, ..)| i64::from(id.index)));
        lines.iter().for_each(|(_, stream, ..)| put(&mut out, *stream as u64));
        put_column(&mut out, lines.iter().map(|(_, _, ingested_ms, _)| *ingested_ms));
        lines.iter().for_each(|(.., length)| put(&mut out, *length as u64));
        out.extend_from_slice(&self.text);
        *self = Self::default();
        out
    }
}

fn put_column(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let mut before = 0_i64;
    for value in values {
        put_signed(out, value.wrapping_sub(before));
        before = value;
    }
}

fn column(from: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Damaged> {
    let mut before = 0_i64;
    let mut next = || {
        before = before.wrapping_add(from.signed()?);
        Ok(before)
    };
    (0..count).map(|_| next()).collect()
}

/// The lines of a block. Their texts share its bytes.
pub(super) fn lines_of(block: &Bytes) -> Result<Vec<Found>, Damaged> {
    let mut from = Reader(block);
    let count = from.count()?;
    let streams = from.count()?;
    let streams: Vec<u64> = (0..streams).map(|_| from.number()).collect::<Result<_, _>>()?;
    let times = column(&mut from, count)?;
    let positions = column(&mut from, count)?;
    let indexes = column(&mut from, count)?;
    let of_lines: Vec<usize> = (0..count).map(|_| from.size()).collect::<Result<_, _>>()?;
    let ingested = column(&mut from, count)?;
    let lengths: Vec<usize> = (0..count).map(|_| from.size()).collect::<Result<_, _>>()?;
    let mut at = block.len() - from.0.len();
    let mut lines = Vec::with_capacity(count);
    for line in 0..count {
        let end = at.checked_add(lengths[line]).filter(|end| *end <= block.len()).ok_or(Damaged)?;
        let id = LineId {
            timestamp_ms: times[line],
            position: LogPosition(positions[line].cast_unsigned()),
            index: u32::try_from(indexes[line]).map_err(|_| Damaged)?,
        };
        lines.push(Found {
            id,
            stream: StreamId(*streams.get(of_lines[line]).ok_or(Damaged)?),
            ingested_at: Timestamp::from_millis(ingested[line]),
            message: block.slice(at..end),
        });
        at = end;
    }
    if at == block.len() { Ok(lines) } else { Err(Damaged) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn found(timestamp_ms: i64, position: u64, stream: u64, text: &str) -> Found {
        Found {
            id: LineId { timestamp_ms, position: LogPosition(position), index: 3 },
            stream: StreamId(stream),
            ingested_at: Timestamp::from_millis(timestamp_ms + 5),
            message: Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    #[test]
    fn a_block_reads_back_and_no_part_of_it_is_a_block() {
        let lines = vec![found(-5, 9, 1, "a"), found(0, 2, 7, ""), found(1 << 41, u64::MAX, 1, "long ü")];
        let mut builder = BlockBuilder::default();
        lines.iter().for_each(|line| builder.push(line));
        assert_eq!(builder.streams(), [StreamId(1), StreamId(7)]);
        let block = Bytes::from(builder.finish());
        assert_eq!(lines_of(&block), Ok(lines));
        for end in 0..block.len() {
            assert_eq!(lines_of(&block.slice(..end)), Err(Damaged), "{end}");
        }
        assert_eq!(lines_of(&[&block[..], b"x"].concat().into()), Err(Damaged));
    }
}
