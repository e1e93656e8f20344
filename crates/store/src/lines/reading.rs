//! Reads lines in their order out of tails and files: the sources are opened as late as may be, so that what lies
//! outside of what is asked for, or behind the end of a page, is not looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;

use super::file::{FileError, LinesFile, OpenFile};
use super::hidden::HiddenOf;
use super::index::BlockEntry;
use super::index_cache::IndexCache;
use super::tail::Tail;
use super::{Found, GroupId, LineId, Page, Query, StreamId};
use crate::log::LogPosition;

/// How many lines are taken out of a tail at a time.
const TAIL_CHUNK_LINES: usize = 512;

/// Before all lines of a time, and behind them.
fn first_of(timestamp_ms: i64) -> LineId {
    LineId { timestamp_ms, position: LogPosition(0), index: 0 }
}

fn last_of(timestamp_ms: i64) -> LineId {
    LineId { timestamp_ms, position: LogPosition(u64::MAX), index: u32::MAX }
}

/// Which lines, and in which direction.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) group: GroupId,
    /// Both are within; nothing is where the first is greater.
    first: LineId,
    last: LineId,
    backwards: bool,
    streams: Option<Vec<StreamId>>,
}

impl Span {
    /// All lines of a group.
    pub(super) fn whole(group: GroupId) -> Self {
        let (first, last) = (first_of(i64::MIN), last_of(i64::MAX));
        Self { group, first, last, backwards: false, streams: None }
    }

    pub(super) fn of(query: &Query) -> Self {
        let (mut first, mut last) =
            (first_of(query.times_ms.start), last_of(query.times_ms.end.saturating_sub(1)));
        match query.after {
            Some(after) if query.backwards => last = last.min(before(after)),
            Some(after) => first = first.max(behind(after)),
            None => {}
        }
        if query.times_ms.is_empty() {
            (first, last) = (last_of(i64::MAX), first_of(i64::MIN));
        }
        let (group, backwards, streams) = (query.group, query.backwards, query.streams.clone());
        Self { group, first, last, backwards, streams }
    }

    /// Whether lines from `first` to `last` may be within.
    fn overlaps(&self, first: LineId, last: LineId) -> bool {
        first <= self.last && last >= self.first
    }

    /// Whether times may be.
    pub(super) fn overlaps_times(&self, first_ms: i64, last_ms: i64) -> bool {
        self.overlaps(first_of(first_ms), last_of(last_ms))
    }

    fn holds(&self, id: LineId) -> bool {
        self.first <= id && id <= self.last
    }

    fn is_of_stream(&self, stream: StreamId) -> bool {
        self.streams.as_ref().is_none_or(|streams| streams.contains(&stream))
    }

    /// Where lines from `first` to `last` begin, in the direction.
    fn near_end(&self, first: LineId, last: LineId) -> LineId {
        if self.backwards { last.min(self.last) } else { first.max(self.first) }
    }

    fn order(&self, id: LineId) -> Order {
        if self.backwards { Order::Backwards(Reverse(id)) } else { Order::Forwards(id) }
    }
}

fn behind(id: LineId) -> LineId {
    let LineId { timestamp_ms, position, index } = id;
    match (index.checked_add(1), position.0.checked_add(1)) {
        (Some(index), _) => LineId { timestamp_ms, position, index },
        (None, Some(position)) => LineId { timestamp_ms, position: LogPosition(position), index: 0 },
        (None, None) => first_of(timestamp_ms.saturating_add(1)),
    }
}

fn before(id: LineId) -> LineId {
    let LineId { timestamp_ms, position, index } = id;
    match (index.checked_sub(1), position.0.checked_sub(1)) {
        (Some(index), _) => LineId { timestamp_ms, position, index },
        (None, Some(position)) => LineId { timestamp_ms, position: LogPosition(position), index: u32::MAX },
        (None, None) => last_of(timestamp_ms.saturating_sub(1)),
    }
}

/// What comes first in the direction of reading is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Forwards(LineId),
    Backwards(Reverse<LineId>),
}

/// Where lines come from.
enum Source<'a> {
    Tail { tail: &'a Tail, rest: Option<(LineId, LineId)> },
    File { file: &'a LinesFile, cache: &'a IndexCache },
    Blocks { file: OpenFile<'a>, blocks: vec::IntoIter<BlockEntry> },
}

/// A source, and what was taken out of it.
struct Run<'a> {
    source: Source<'a>,
    /// Of the span, in its direction.
    lines: vec::IntoIter<Found>,
}

/// Lines of a group in their order, hidden ones too.
pub(super) struct Merge<'a> {
    span: Span,
    runs: Vec<Run<'a>>,
    /// By where each run's next line is, or may be; and whether it is there for sure.
    heap: BinaryHeap<Reverse<(Order, usize, bool)>>,
    /// The run whose lines come just now, until which place.
    current: Option<(usize, Option<Order>)>,
}

impl<'a> Merge<'a> {
    /// Of these tails and files.
    pub(super) fn new(
        span: Span,
        tails: impl IntoIterator<Item = &'a Tail>,
        files: impl IntoIterator<Item = &'a LinesFile>,
        cache: &'a IndexCache,
    ) -> Self {
        let mut merge = Self { span, runs: Vec::new(), heap: BinaryHeap::new(), current: None };
        let (first, last) = (merge.span.first, merge.span.last);
        if first > last {
            return merge;
        }
        for tail in tails {
            let at = merge.span.near_end(first, last);
            merge.add(Source::Tail { tail, rest: Some((first, last)) }, at);
        }
        for file in files {
            let Some(section) = file.entry.section(merge.span.group) else { continue };
            let ends = (first_of(section.first_ms), last_of(section.last_ms));
            if merge.span.overlaps(ends.0, ends.1) {
                let at = merge.span.near_end(ends.0, ends.1);
                merge.add(Source::File { file, cache }, at);
            }
        }
        merge
    }

    fn add(&mut self, source: Source<'a>, at: LineId) {
        self.runs.push(Run { source, lines: Vec::new().into_iter() });
        self.heap.push(Reverse((self.span.order(at), self.runs.len() - 1, false)));
    }

    /// The next line; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Found>, FileError> {
        loop {
            if let Some((at, until)) = self.current {
                let run = &mut self.runs[at];
                let next = run.lines.as_slice().first().map(|line| self.span.order(line.id));
                match next {
                    Some(next) if until.is_none_or(|until| next < until) => return Ok(run.lines.next()),
                    Some(next) => self.heap.push(Reverse((next, at, true))),
                    None => self.look_ahead(at),
                }
                self.current = None;
            }
            let Some(Reverse((_, at, is_there))) = self.heap.pop() else { return Ok(None) };
            if is_there {
                let until = self.heap.peek().map(|Reverse((order, ..))| *order);
                self.current = Some((at, until));
                // Nothing else is before it, not even where the next run may begin at the same place.
                return Ok(self.runs[at].lines.next());
            }
            self.load(at)?;
            match self.runs[at].lines.as_slice().first() {
                Some(line) => self.heap.push(Reverse((self.span.order(line.id), at, true))),
                None => self.look_ahead(at),
            }
        }
    }

    /// Whether there is no line any more, as far as can be told without looking.
    pub(super) fn is_at_end(&self) -> bool {
        let runs_dry = |(at, _): (usize, _)| match &self.runs[at].source {
            Source::Tail { rest, .. } => rest.is_none(),
            Source::File { .. } => false,
            Source::Blocks { blocks, .. } => blocks.as_slice().is_empty(),
        };
        let is_over =
            |current: (usize, _)| self.runs[current.0].lines.as_slice().is_empty() && runs_dry(current);
        self.heap.is_empty() && self.current.is_none_or(is_over)
    }

    /// Says where the next lines of a run may be that are yet to be taken out.
    fn look_ahead(&mut self, at: usize) {
        let next = match &self.runs[at].source {
            Source::Tail { rest, .. } => rest.map(|(first, last)| self.span.near_end(first, last)),
            Source::File { .. } => None,
            Source::Blocks { blocks, .. } => {
                blocks.as_slice().first().map(|block| self.span.near_end(block.first, block.last))
            }
        };
        if let Some(next) = next {
            self.heap.push(Reverse((self.span.order(next), at, false)));
        }
    }

    /// Takes the next lines out of a run's source; a file is opened first, and gives none at that.
    fn load(&mut self, at: usize) -> Result<(), FileError> {
        let (span, run) = (&self.span, &mut self.runs[at]);
        let lines = match &mut run.source {
            Source::Tail { tail, rest } => {
                let Some((first, last)) = rest.take() else { return Ok(()) };
                let lines = tail.chunk(span.group, (first, last), span.backwards, TAIL_CHUNK_LINES);
                *rest = lines.last().filter(|_| lines.len() == TAIL_CHUNK_LINES).and_then(|line| {
                    let rest =
                        if span.backwards { (first, before(line.id)) } else { (behind(line.id), last) };
                    (rest.0 <= rest.1).then_some(rest)
                });
                lines
            }
            Source::File { file, cache } => {
                let file = file.open(cache)?;
                let blocks = blocks_of(span, &file).into_iter();
                run.source = Source::Blocks { file, blocks };
                return Ok(());
            }
            Source::Blocks { file, blocks } => {
                let Some(block) = blocks.next() else { return Ok(()) };
                let mut lines = file.read(&block)?;
                lines.retain(|line| span.holds(line.id));
                if span.backwards {
                    lines.reverse();
                }
                lines
            }
        };
        run.lines = lines.into_iter();
        Ok(())
    }
}

/// The blocks of a file that may hold something of the span, in its direction.
fn blocks_of(span: &Span, file: &OpenFile<'_>) -> Vec<BlockEntry> {
    let Some(section) = file.index.section(span.group) else { return Vec::new() };
    let wanted: Option<Vec<usize>> = span.streams.as_ref().map(|streams| {
        let places = section.streams.iter().enumerate();
        places.filter(|(_, (stream, _))| streams.contains(stream)).map(|(place, _)| place).collect()
    });
    let may_hold = |block: &&BlockEntry| {
        let has_stream = match (&wanted, &block.streams) {
            (Some(wanted), Some(streams)) => streams.iter().any(|stream| wanted.contains(stream)),
            (Some(wanted), None) => !wanted.is_empty(),
            (None, _) => true,
        };
        has_stream && span.overlaps(block.first, block.last)
    };
    let mut blocks: Vec<BlockEntry> = section.blocks.iter().filter(may_hold).cloned().collect();
    if span.backwards {
        blocks.reverse();
    }
    blocks
}

/// What a read looks at.
pub(super) struct View {
    pub(super) tails: Vec<Arc<Tail>>,
    pub(super) files: Vec<Arc<LinesFile>>,
    pub(super) hidden: HiddenOf,
}

/// Answers a query; says, too, how many bytes of text it looked at.
pub(super) fn read(view: &View, cache: &IndexCache, query: &Query) -> Result<(Page, u64), FileError> {
    let (mut page, mut found_bytes, mut scanned_bytes) = (Page::default(), 0, 0);
    if view.hidden.is_forgotten {
        return Ok((Page { is_complete: true, ..page }, 0));
    }
    let tails = view.tails.iter().map(|tail| &**tail);
    let files = view.files.iter().map(|file| &**file);
    let mut lines = Merge::new(Span::of(query), tails, files, cache);
    while let Some(found) = lines.next()? {
        page.looked_up_to = Some(found.id);
        scanned_bytes += found.message.len() as u64;
        let is_wanted = lines.span.is_of_stream(found.stream)
            && !view.hidden.hides(found.stream, found.id)
            && query.wanted.as_ref().is_none_or(|wanted| wanted(&found.message));
        if is_wanted {
            found_bytes += found.message.len();
            // A slice would keep all of its block in memory.
            page.lines.push(Found { message: Bytes::copy_from_slice(&found.message), ..found });
        }
        let is_full = page.lines.len() >= query.lines_max || found_bytes >= query.found_bytes_max;
        if is_full || scanned_bytes >= query.scanned_bytes_max {
            page.is_complete = lines.is_at_end();
            return Ok((page, scanned_bytes));
        }
    }
    page.is_complete = true;
    Ok((page, scanned_bytes))
}
