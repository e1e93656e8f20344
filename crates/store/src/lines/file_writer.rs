//! Writes one file of lines. It is whole and durable before anybody is told its name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::BlockBuilder;
use super::cipher::{self, Cipher};
use super::compression;
use super::file::{self, FileError, Folder, HEADER_BYTES};
use super::index::{BlockEntry, Index, Section};
use super::registry::{FileEntry, SectionEntry};
use super::{Found, GroupId, StreamId};
use crate::disk::{Access, DiskFile};
use crate::log::LogPosition;

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// How a file is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// The text of a block, at most, unless one line has more.
    pub(super) block_text_bytes_max: usize,
    /// The lines of a block, at most.
    pub(super) block_lines_max: usize,
    pub(super) compression_level: i32,
}

/// A file being written.
pub(super) struct FileWriter {
    id: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    cipher: Cipher,
    form: Form,
    buffer: Vec<u8>,
    /// What was written before the buffer.
    written_bytes: u64,
    block: BlockBuilder,
    index: Index,
    /// The places of the section's streams.
    places: HashMap<StreamId, usize>,
}

impl FileWriter {
    /// Begins a file.
    pub(super) fn create(folder: &Folder, id: u64, form: Form) -> Result<Self, FileError> {
        let path = folder.path.join(file::name(id));
        let file = folder.disk.open(&path, Access::Create);
        let file = file.map_err(FileError::of(&path, "be made"))?;
        let salt = cipher::new_salt();
        Ok(Self {
            id,
            path,
            file,
            cipher: folder.key.cipher(&salt),
            form,
            buffer: file::encode_header(id, &salt).to_vec(),
            written_bytes: 0,
            block: BlockBuilder::default(),
            index: Index::default(),
            places: HashMap::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How large the file is so far.
    fn size_bytes(&self) -> u64 {
        self.written_bytes + self.buffer.len() as u64
    }

    /// Whether it has no line.
    pub(super) fn is_empty(&self) -> bool {
        self.block.lines() == 0 && self.size_bytes() == HEADER_BYTES as u64
    }

    /// Adds a line. Lines come by group, and in their order.
    pub(super) fn push(&mut self, group: GroupId, found: &Found) -> Result<(), FileError> {
        let is_full = self.block.lines() > 0
            && (self.block.text_bytes() + found.message.len() > self.form.block_text_bytes_max
                || self.block.lines() >= self.form.block_lines_max);
        let is_new_group = self.index.sections.last().is_none_or(|section| section.group != group);
        if is_full || is_new_group {
            self.end_block()?;
        }
        if is_new_group {
            self.index.sections.push(Section::new(group));
            self.places.clear();
        }
        let section = self.index.sections.last_mut().expect("one was begun");
        let place = *self.places.entry(found.stream).or_insert_with(|| {
            section.streams.push((found.stream, 0));
            section.streams.len() - 1
        });
        section.streams[place].1 += found.message.len() as u64;
        self.block.push(found);
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), FileError> {
        let Some((first, last)) = self.block.ends() else { return Ok(()) };
        let streams = self.block.streams().iter().map(|stream| self.places[stream]).collect();
        let (text_bytes, lines) = (self.block.text_bytes() as u64, self.block.lines() as u64);
        let raw = self.block.finish();
        let (offset_bytes, stored_bytes) = self.seal(&raw);
        let section = self.index.sections.last_mut().expect("lines are pushed into a section");
        let streams = BlockEntry::listed(streams);
        let raw_bytes = raw.len();
        section.blocks.push(BlockEntry {
            offset_bytes,
            stored_bytes,
            raw_bytes,
            text_bytes,
            lines,
            first,
            last,
            streams,
        });
        if self.buffer.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Adds a part, compressed and sealed; says where it is and how large.
    fn seal(&mut self, raw: &[u8]) -> (u64, usize) {
        let (offset_bytes, start) = (self.size_bytes(), self.buffer.len());
        compression::compress(raw, self.form.compression_level, &mut self.buffer);
        self.cipher.seal(offset_bytes, &self.id.to_le_bytes(), &mut self.buffer, start);
        (offset_bytes, self.buffer.len() - start)
    }

    fn write(&mut self) -> Result<(), FileError> {
        let written = self.file.write_all_at(&self.buffer, self.written_bytes);
        written.map_err(FileError::of(&self.path, "be written"))?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the file and makes it durable, but for its name.
    pub(super) fn finish(
        mut self,
        (from, until): (LogPosition, LogPosition),
        clean_of: u64,
    ) -> Result<(u64, FileEntry), FileError> {
        self.end_block()?;
        let raw = self.index.encode();
        let (offset, stored) = self.seal(&raw);
        self.buffer.extend_from_slice(&file::encode_footer((offset, stored, raw.len())));
        self.write()?;
        self.file.sync_all().map_err(FileError::of(&self.path, "be synced"))?;
        let sections = self.index.sections.iter().filter_map(|section| {
            let times = section.blocks.iter().map(|block| block.first.timestamp_ms).min();
            let (first_ms, last_ms) = (times?, section.blocks.last()?.last.timestamp_ms);
            Some(SectionEntry { group: section.group, text_bytes: section.text_bytes(), first_ms, last_ms })
        });
        let sections = sections.collect();
        Ok((self.id, FileEntry { size_bytes: self.written_bytes, from, until, clean_of, sections }))
    }
}
