//! The batches that came last, as they were appended, for the stages that keep up with them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Batch;
use crate::log::LogPosition;

/// What a batch and a line take beside the text.
const BATCH_OVERHEAD_BYTES: usize = 128;
const LINE_OVERHEAD_BYTES: usize = 48;

/// The newest batches, held to a number of bytes.
pub(super) struct Recent {
    held: Mutex<Held>,
    size_bytes_max: usize,
}

#[derive(Default)]
struct Held {
    batches: BTreeMap<u64, Batch>,
    size_bytes: usize,
}

/// The bytes of a batch's text.
pub(super) fn text_bytes(batch: &Batch) -> usize {
    batch.lines.iter().map(|line| line.message.len()).sum()
}

fn cost(batch: &Batch) -> usize {
    text_bytes(batch) + BATCH_OVERHEAD_BYTES + batch.lines.len() * LINE_OVERHEAD_BYTES
}

impl Recent {
    pub(super) fn new(size_bytes_max: usize) -> Self {
        Self { held: Mutex::default(), size_bytes_max }
    }

    /// Adds batches that are durable.
    pub(super) fn add(&self, first: LogPosition, batches: Vec<Batch>) {
        let mut held = self.held.lock().expect("no panic while the batches are held");
        for (batch, position) in batches.into_iter().zip(first.0..) {
            held.size_bytes += cost(&batch);
            held.batches.insert(position, batch);
        }
        while held.size_bytes > self.size_bytes_max {
            let Some((_, oldest)) = held.batches.pop_first() else { break };
            held.size_bytes -= cost(&oldest);
        }
    }

    /// Batches from `from` on, one behind the other, as [`super::Lines::appended`] gives them; none where the first is
    /// not here.
    pub(super) fn read(&self, from: LogPosition, bytes_max: usize) -> Vec<(LogPosition, Batch)> {
        let held = self.held.lock().expect("no panic while the batches are held");
        let mut found = Vec::new();
        let mut bytes = 0;
        for ((position, batch), next) in held.batches.range(from.0..).zip(from.0..) {
            if *position != next || (bytes >= bytes_max && !found.is_empty()) {
                break;
            }
            bytes += text_bytes(batch);
            found.push((LogPosition(next), batch.clone()));
        }
        found
    }
}
