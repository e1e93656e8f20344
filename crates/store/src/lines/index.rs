//! The index of a file: which blocks hold what. Pure.
//!
//! ```text
//! index   = count section*
//! section = group count (stream text)* count block*                                          varints
//! block   = offset stored raw text lines first last count stream*     stream: its place in the section's list, from 1;
//! id      = time position index                                       a single 0 where there are too many to list
//! ```

use super::varint::{Damaged, Reader, put, put_signed};
use super::{GroupId, LineId, StreamId};
use crate::log::LogPosition;

/// A block with lines of more streams does not list them.
const LISTED_STREAMS_MAX: usize = 64;

/// The index of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// By group.
    pub(super) sections: Vec<Section>,
}

/// The part of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) group: GroupId,
    /// Each with the bytes of its text.
    pub(super) streams: Vec<(StreamId, u64)>,
    /// In the order of their lines.
    pub(super) blocks: Vec<BlockEntry>,
}

/// Where a block lies, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) offset_bytes: u64,
    /// Sealed and compressed.
    pub(super) stored_bytes: usize,
    /// Neither.
    pub(super) raw_bytes: usize,
    pub(super) text_bytes: u64,
    pub(super) lines: u64,
    pub(super) first: LineId,
    pub(super) last: LineId,
    /// Places in the section's streams; none where they are not listed.
    pub(super) streams: Option<Vec<usize>>,
}

impl Section {
    pub(super) fn new(group: GroupId) -> Self {
        Self { group, streams: Vec::new(), blocks: Vec::new() }
    }

    pub(super) fn text_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.text_bytes).sum()
    }
}

impl BlockEntry {
    /// The streams, where there are not too many to list.
    pub(super) fn listed(streams: Vec<usize>) -> Option<Vec<usize>> {
        (streams.len() <= LISTED_STREAMS_MAX).then_some(streams)
    }
}

impl Index {
    /// The part of `group`.
    pub(super) fn section(&self, group: GroupId) -> Option<&Section> {
        let at = self.sections.binary_search_by_key(&group, |section| section.group).ok()?;
        self.sections.get(at)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.sections.len() as u64);
        for section in &self.sections {
            put(&mut out, section.group.0);
            put(&mut out, section.streams.len() as u64);
            for (stream, text_bytes) in &section.streams {
                put(&mut out, stream.0);
                put(&mut out, *text_bytes);
            }
            put(&mut out, section.blocks.len() as u64);
            section.blocks.iter().for_each(|block| block.encode(&mut out));
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = Reader(bytes);
        let count = from.count()?;
        let sections = (0..count).map(|_| section(&mut from)).collect::<Result<_, _>>()?;
        from.end()?;
        Ok(Self { sections })
    }
}

fn section(from: &mut Reader<'_>) -> Result<Section, Damaged> {
    let group = GroupId(from.number()?);
    let streams = from.count()?;
    let mut stream = || Ok((StreamId(from.number()?), from.number()?));
    let streams = (0..streams).map(|_| stream()).collect::<Result<Vec<_>, _>>()?;
    let blocks = from.count()?;
    let blocks = (0..blocks).map(|_| BlockEntry::decode(from, streams.len())).collect::<Result<_, _>>()?;
    Ok(Section { group, streams, blocks })
}

impl BlockEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.offset_bytes);
        put(out, self.stored_bytes as u64);
        put(out, self.raw_bytes as u64);
        put(out, self.text_bytes);
        put(out, self.lines);
        put_id(out, self.first);
        put_id(out, self.last);
        match &self.streams {
            None => put(out, 0),
            Some(streams) => {
                put(out, streams.len() as u64);
                streams.iter().for_each(|stream| put(out, *stream as u64 + 1));
            }
        }
    }

    fn decode(from: &mut Reader<'_>, streams_of_section: usize) -> Result<Self, Damaged> {
        let mut block = Self {
            offset_bytes: from.number()?,
            stored_bytes: from.size()?,
            raw_bytes: from.size()?,
            text_bytes: from.number()?,
            lines: from.number()?,
            first: id(from)?,
            last: id(from)?,
            streams: None,
        };
        let count = from.count()?;
        let mut stream = || {
            let at = from.size()?.checked_sub(1).ok_or(Damaged)?;
            if at < streams_of_section { Ok(at) } else { Err(Damaged) }
        };
        let streams = (0..count).map(|_| stream()).collect::<Result<Vec<_>, _>>()?;
        block.streams = (count > 0).then_some(streams);
        Ok(block)
    }
}

fn put_id(out: &mut Vec<u8>, id: LineId) {
    put_signed(out, id.timestamp_ms);
    put(out, id.position.0);
    put(out, u64::from(id.index));
}

fn id(from: &mut Reader<'_>) -> Result<LineId, Damaged> {
    Ok(LineId { timestamp_ms: from.signed()?, position: LogPosition(from.number()?), index: from.short()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_reads_back_and_no_part_of_it_is_an_index() {
        let id = |timestamp_ms| LineId { timestamp_ms, position: LogPosition(4), index: 1 };
        let block = |streams| BlockEntry {
            offset_bytes: 48,
            stored_bytes: 70,
            raw_bytes: 200,
            text_bytes: 150,
            lines: 3,
            first: id(-3),
            last: id(1 << 41),
            streams,
        };
        let section = |group, blocks| Section {
            group: GroupId(group),
            streams: vec![(StreamId(3), 100), (StreamId(u64::MAX), 50)],
            blocks,
        };
        let index = Index {
            sections: vec![section(1, vec![block(Some(vec![1])), block(None)]), section(9, Vec::new())],
        };
        let bytes = index.encode();
        assert_eq!(Index::decode(&bytes), Ok(index));
        for end in 0..bytes.len() {
            assert_eq!(Index::decode(&bytes[..end]), Err(Damaged), "{end}");
        }
    }
}
