//! What is known of the lines: which must be found, and which may.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cairn_store::LogPosition;
use cairn_store::lines::{Batch, Found, GroupId, LineId, StreamId};

/// Whether lines can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They must be.
    Kept,
    /// They may be: what was asked last had no answer.
    Unsure,
    /// They must not be.
    Gone,
}

/// A batch that was to be appended, each with texts that no other has.
#[derive(Clone, Debug)]
struct Sent {
    batch: Batch,
    position: Option<LogPosition>,
    /// Whether it was appended at all.
    state: State,
    /// Whether each line is still to be found.
    lines: Vec<State>,
}

/// What is known.
#[derive(Default)]
pub(super) struct Known {
    sent: Vec<Sent>,
    by_text: BTreeMap<Bytes, (usize, usize)>,
}

impl Known {
    /// An append was acknowledged, refused, or has no answer.
    pub(super) fn appended(&mut self, batches: Vec<Batch>, first: Option<LogPosition>, is_refused: bool) {
        for (batch, at) in batches.into_iter().zip(0..) {
            let position = first.map(|first| LogPosition(first.0 + at));
            let state = match position {
                Some(_) => State::Kept,
                None if is_refused => State::Gone,
                None => State::Unsure,
            };
            for (line, number) in batch.lines.iter().zip(0..) {
                self.by_text.insert(line.message.clone(), (self.sent.len(), number));
            }
            let lines = vec![State::Kept; batch.lines.len()];
            self.sent.push(Sent { batch, position, state, lines });
        }
    }

    /// Something was forgotten, or perhaps it was.
    pub(super) fn forgotten(&mut self, is_done: bool, hides: impl Fn(&Batch) -> bool) {
        self.hidden(|_| is_done, |batch, _| hides(batch));
    }

    /// Something expired, or perhaps it did. What is not known to be there may yet come, and is new then.
    pub(super) fn expired(&mut self, is_done: bool, hides: impl Fn(&Batch, i64) -> bool) {
        self.hidden(|sent| is_done && sent.position.is_some(), hides);
    }

    fn hidden(&mut self, is_done: impl Fn(&Sent) -> bool, hides: impl Fn(&Batch, i64) -> bool) {
        for sent in &mut self.sent {
            let is_done = is_done(sent);
            for (line, state) in sent.batch.lines.iter().zip(&mut sent.lines) {
                if *state != State::Gone && hides(&sent.batch, line.timestamp_ms) {
                    *state = if is_done { State::Gone } else { State::Unsure };
                }
            }
        }
    }

    /// A batch came to the stage that reads all of them; where it is the next one to come, and what it must be.
    pub(super) fn came(&mut self, position: LogPosition, batch: &Batch) {
        let Some(first) = batch.lines.first() else { panic!("no batch is empty") };
        let (at, _) = self.by_text[&first.message];
        let sent = &mut self.sent[at];
        assert_eq!(sent.batch, *batch, "a batch is given as it was appended");
        assert_ne!(sent.state, State::Gone, "a batch that was refused came");
        assert!(sent.position.is_none_or(|known| known == position), "{position:?}: {sent:?}");
        (sent.position, sent.state) = (Some(position), State::Kept);
    }

    /// All acknowledged batches with positions in this range came.
    pub(super) fn check_came(&self, from: LogPosition, until: LogPosition, came: &BTreeSet<LogPosition>) {
        for sent in self.sent.iter().filter(|sent| sent.state == State::Kept) {
            let Some(position) = sent.position else { continue };
            let is_asked = position >= from && position < until;
            assert!(!is_asked || came.contains(&position), "{position:?} did not come");
        }
    }

    /// Lines of a group that were found in order, of all that were asked for.
    pub(super) fn found(
        &mut self,
        group: GroupId,
        found: &[Found],
        is_asked: impl Fn(StreamId, LineId, &[u8]) -> bool,
        backwards: bool,
    ) {
        let mut ids: Vec<LineId> = found.iter().map(|line| line.id).collect();
        if backwards {
            ids.reverse();
        }
        assert!(ids.is_sorted_by(|before, after| before < after), "lines are in order and none twice");
        let mut seen = BTreeSet::new();
        for line in found {
            let (at, number) = self.by_text[&line.message];
            let sent = &mut self.sent[at];
            let (batch, known) = (&sent.batch, &sent.batch.lines[number]);
            assert_eq!(
                (batch.group, batch.stream, batch.ingested_at),
                (group, line.stream, line.ingested_at)
            );
            assert_eq!((known.timestamp_ms, number), (line.id.timestamp_ms, line.id.index as usize));
            assert!(is_asked(line.stream, line.id, &line.message), "{line:?} was not asked for");
            assert_ne!(sent.state, State::Gone, "lines of a refused batch are found: {line:?}");
            assert_ne!(sent.lines[number], State::Gone, "a line came back: {line:?}");
            assert!(sent.position.is_none_or(|position| position == line.id.position), "{line:?} {sent:?}");
            // The whole batch is there, then.
            (sent.position, sent.state) = (Some(line.id.position), State::Kept);
            seen.insert((at, number));
        }
        for (sent, at) in self.sent.iter().zip(0..) {
            let Some(position) = sent.position.filter(|_| sent.state == State::Kept) else { continue };
            for ((line, state), number) in sent.batch.lines.iter().zip(&sent.lines).zip(0_usize..) {
                let id = LineId {
                    timestamp_ms: line.timestamp_ms,
                    position,
                    index: u32::try_from(number).unwrap(),
                };
                let is_due = sent.batch.group == group && *state == State::Kept;
                if is_due && is_asked(sent.batch.stream, id, &line.message) {
                    assert!(seen.contains(&(at, number)), "a line is lost: {line:?} of {position:?}");
                }
            }
        }
    }

    /// How much text is kept of a stream, at least and at most.
    pub(super) fn kept_bytes(&self, group: GroupId, stream: StreamId) -> (u64, u64) {
        let (mut least, mut most) = (0, 0);
        for sent in self.sent.iter().filter(|sent| (sent.batch.group, sent.batch.stream) == (group, stream)) {
            for (line, state) in sent.batch.lines.iter().zip(&sent.lines) {
                let bytes = line.message.len() as u64;
                least += if sent.state == State::Kept && *state == State::Kept { bytes } else { 0 };
                most += if sent.state == State::Gone { 0 } else { bytes };
            }
        }
        (least, most)
    }
}
