//! The deduplication texts that one queue remembers, for as long as AWS does.
//!
//! On the road: asked whenever a message with such a text comes. Pure; time is the messages' own, so that the journal
//! read again forgets the same texts at the same records.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cairn_core::Timestamp;

use super::Sequence;
use super::record::Digest;

/// For how long a text is remembered after its message was sent.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html>
pub(super) const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The message that a text came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) id: Box<str>,
    pub(super) sequence: Sequence,
    pub(super) at: Timestamp,
    /// The record in the journal that says so.
    pub(super) position: u64,
}

/// What one queue remembers.
#[derive(Debug, Default)]
pub(super) struct Window {
    texts: HashMap<Digest, Remembered>,
    by_time: BTreeSet<(Timestamp, Digest)>,
}

impl Window {
    /// The message that makes one sent at `sent_at` a duplicate.
    pub(super) fn find(&self, digest: &Digest, sent_at: Timestamp) -> Option<&Remembered> {
        self.texts.get(digest).filter(|text| sent_at.since(text.at) < WINDOW)
    }

    /// What is remembered of a text, over or not.
    pub(super) fn get(&self, digest: &Digest) -> Option<&Remembered> {
        self.texts.get(digest)
    }

    /// Remembers a text; returns what it takes the place of.
    pub(super) fn insert(&mut self, digest: Digest, text: Remembered) -> Option<Remembered> {
        self.by_time.insert((text.at, digest));
        let at = text.at;
        let before = self.texts.insert(digest, text);
        if let Some(before) = before.as_ref().filter(|before| before.at != at) {
            self.by_time.remove(&(before.at, digest));
        }
        before
    }

    /// Whether a text is over at `now`.
    pub(super) fn has_old(&self, now: Timestamp) -> bool {
        self.by_time.first().is_some_and(|(at, _)| now.since(*at) >= WINDOW)
    }

    /// Forgets the oldest text, where it is over at `now`.
    pub(super) fn forget_one(&mut self, now: Timestamp) -> Option<Remembered> {
        if !self.has_old(now) {
            return None;
        }
        let (_, digest) = self.by_time.pop_first()?;
        self.texts.remove(&digest)
    }

    /// All that is remembered.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Remembered> {
        self.texts.values()
    }
}
