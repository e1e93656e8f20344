//! One log file: downloaded, decompressed, cut into records, and handed over in batches, all as it streams in.
//!
//! Invariants: no more of a file is in memory than [`Options::file_memory_bytes`](crate::Options::file_memory_bytes) says;
//! where the file's digest is asked for, nothing is handed over before the file was held to it.

use std::io::Write;
use std::mem;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use flate2::write::MultiGzDecoder;

use super::download::Download;
use super::{Shared, add};
use crate::event::{Event, Origin};
use crate::handler::{FileCounts, ProcessingError, Progress};
use crate::message::{LogFile, Message};
use crate::records::{FormatError, Splitter};
use crate::verification::{FileToVerify, Verdict, Verification};

/// Hands over all events of a file; says whether it did, or waits for the file's digest instead.
pub(super) async fn handle(
    shared: &Shared,
    message: &Arc<Message>,
    file: &LogFile,
) -> Result<bool, ProcessingError> {
    let _room = shared.files_room.acquire().await.expect("the processor does not close its room for files");
    let begun = shared.clock.now();
    shared.report(&Progress::FileBegun { message, file });
    let mut origin = Origin { file: file.clone(), message: Arc::clone(message), verification: None };
    let mut etag = None;
    if shared.digest_check.is_some() {
        match verify(shared, file).await? {
            (Verdict::Passed(verification), found) => {
                (origin.verification, etag) = (Some(verification), found)
            }
            (Verdict::Deferred, _) => return Ok(false),
        }
    }
    let mut reading = Reading {
        shared,
        origin: Arc::new(origin),
        inflater: Inflater::new(shared.options.file_size_bytes_max),
        splitter: Splitter::new(shared.options.record_size_bytes_max),
        found: Found::default(),
        counts: FileCounts::default(),
    };
    let counts = reading.run(Download::new(shared, file, etag)).await?;
    add(&shared.counters.files_handled, 1);
    add(&shared.counters.events_filtered_out, counts.events_filtered_out);
    add(&shared.counters.size_bytes, counts.size_bytes);
    shared.report(&Progress::FileHandled { message, file, counts, took: shared.clock.now().since(begun) });
    Ok(true)
}

/// Reads a file for its hash, and holds that to the digests; also the ETag of what was read.
async fn verify(shared: &Shared, file: &LogFile) -> Result<(Verdict, Option<String>), ProcessingError> {
    let Some(check) = &shared.digest_check else {
        return Ok((Verdict::Passed(Verification::NotListed), None));
    };
    let mut download = Download::new(shared, file, None);
    let mut inflater = Inflater::new(shared.options.file_size_bytes_max);
    let mut hash = Context::new(&SHA256);
    while let Some(bytes) = download.next().await.map_err(ProcessingError::Download)? {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            hash.update(inflater.push(&mut rest)?);
        }
    }
    hash.update(inflater.finish()?);
    let to_verify = FileToVerify {
        file,
        sha256_hex: hex::encode(hash.finish()),
        last_modified: download.last_modified(),
        now: shared.clock.now(),
    };
    let verdict = check.verify(&*shared.objects, &to_verify).await?;
    Ok((verdict, download.etag().map(str::to_owned)))
}

/// Records that were found and not handed over yet.
#[derive(Default)]
struct Found {
    events: Vec<Event>,
    text_size_bytes: usize,
    unreadable: Vec<ProcessingError>,
}

struct Reading<'a> {
    shared: &'a Shared,
    origin: Arc<Origin>,
    inflater: Inflater,
    splitter: Splitter,
    found: Found,
    counts: FileCounts,
}

impl Reading<'_> {
    async fn run(&mut self, mut download: Download<'_>) -> Result<FileCounts, ProcessingError> {
        while let Some(bytes) = download.next().await.map_err(ProcessingError::Download)? {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                self.step(Some(&mut rest))?;
                self.hand_over(false).await?;
            }
        }
        self.step(None)?;
        self.splitter.finish()?;
        self.hand_over(true).await?;
        self.counts.compressed_size_bytes = download.offset();
        self.counts.size_bytes = self.splitter.passed();
        match self.counts.records_unreadable {
            0 => Ok(self.counts),
            records => Err(ProcessingError::UnreadableRecords { records }),
        }
    }

    /// Decompresses a part of `rest`, or what is left where there is none, and finds the records in it.
    fn step(&mut self, rest: Option<&mut &[u8]>) -> Result<(), FormatError> {
        let piece = match rest {
            Some(rest) => self.inflater.push(rest)?,
            None => self.inflater.finish()?,
        };
        let (found, counts) = (&mut self.found, &mut self.counts);
        let (origin, filter) = (&self.origin, self.shared.event_filter.as_ref());
        let mut index = counts.events_handled
            + counts.events_filtered_out
            + counts.records_unreadable
            + found.events.len() as u64;
        self.splitter.push(piece, |record| {
            match Event::of(record, origin, index) {
                Ok(event) if filter.is_none_or(|filter| filter(&event)) => {
                    found.text_size_bytes += record.len();
                    found.events.push(event);
                }
                Ok(_) => counts.events_filtered_out += 1,
                Err(source) => {
                    counts.records_unreadable += 1;
                    found.unreadable.push(ProcessingError::Record { index, source, bytes: record.to_vec() });
                }
            }
            index += 1;
        })
    }

    /// Hands over whole batches, and at the end the rest.
    async fn hand_over(&mut self, is_end: bool) -> Result<(), ProcessingError> {
        for error in mem::take(&mut self.found.unreadable) {
            self.shared.fail(error, Some(&self.origin.message), Some(&self.origin.file));
        }
        let batch_max = self.shared.options.max_events_per_emit;
        let is_large = self.found.text_size_bytes >= self.shared.options.emit_size_bytes_max;
        if self.found.events.len() < batch_max && !is_large && !is_end {
            return Ok(());
        }
        let mut events = mem::take(&mut self.found.events).into_iter();
        loop {
            let batch: Vec<Event> = events.by_ref().take(batch_max).collect();
            if batch.is_empty() || batch.len() < batch_max && !is_large && !is_end {
                self.found.text_size_bytes = batch.iter().map(|event| event.text().len()).sum();
                self.found.events = batch;
                return Ok(());
            }
            let count = batch.len() as u64;
            self.shared.handler.handle(batch).await.map_err(ProcessingError::Handler)?;
            self.counts.events_handled += count;
            add(&self.shared.counters.events_handled, count);
        }
    }
}

/// Decompresses gzip in steps of bounded output.
struct Inflater {
    decoder: MultiGzDecoder<Vec<u8>>,
    size_bytes: u64,
    size_bytes_max: u64,
}

impl Inflater {
    fn new(size_bytes_max: u64) -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()), size_bytes: 0, size_bytes_max }
    }

    /// Takes as much of `rest` as one step can, and gives what it became: one buffer of flate2 at most.
    fn push(&mut self, rest: &mut &[u8]) -> Result<&[u8], FormatError> {
        self.decoder.get_mut().clear();
        let taken = self.decoder.write(rest).map_err(FormatError::Gzip)?;
        if taken == 0 {
            return Err(FormatError::Gzip(std::io::ErrorKind::InvalidData.into()));
        }
        *rest = &rest[taken..];
        self.given()
    }

    /// What was left, and whether the checksum is right.
    fn finish(&mut self) -> Result<&[u8], FormatError> {
        self.decoder.get_mut().clear();
        self.decoder.try_finish().map_err(FormatError::Gzip)?;
        self.given()
    }

    fn given(&mut self) -> Result<&[u8], FormatError> {
        let given = self.decoder.get_ref();
        self.size_bytes += given.len() as u64;
        if self.size_bytes > self.size_bytes_max {
            return Err(FormatError::FileTooLarge { limit_bytes: self.size_bytes_max });
        }
        Ok(given)
    }
}
