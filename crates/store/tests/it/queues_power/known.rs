//! What somebody outside can know of queues whose server dies: of each message whether it is there for certain, where,
//! and until when it is hidden. Whatever contradicts that is a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::queues::{NewMessage, QueueError, Receipt, ReceiptFault, Received, Sent, Sequence};

const WINDOW: Duration = Duration::from_secs(300);

/// Whether a message is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existence {
    /// Nobody knows: its send was not answered.
    Unknown,
    Live,
    /// Something that may have removed it was not answered.
    MaybeGone,
    Gone,
    /// It was refused, or is a duplicate.
    Never,
}

#[derive(Debug)]
struct Fate {
    sent: NewMessage,
    existence: Existence,
    /// The queues that it may be in.
    places: BTreeSet<&'static str>,
    /// Its place in the one queue that it was last known to be in.
    sequence: Option<Sequence>,
    receives: u32,
    receives_max: u32,
    /// Whether the server cannot have forgotten a receipt.
    exact: bool,
    /// Until then it is hidden for certain.
    hidden_until: Timestamp,
}

impl Fate {
    fn is_certainly_in(&self, queue: &str) -> bool {
        self.existence == Existence::Live && self.is_at_most_in(queue)
    }

    fn is_at_most_in(&self, queue: &str) -> bool {
        self.places.len() == 1 && self.places.contains(queue)
    }

    /// It may be gone.
    fn doubt(&mut self) {
        if self.existence == Existence::Live {
            self.existence = Existence::MaybeGone;
        }
    }
}

struct Text {
    id: String,
    at: Timestamp,
    certain: bool,
}

#[derive(Default)]
pub(super) struct Known {
    fates: BTreeMap<String, Fate>,
    texts: BTreeMap<(&'static str, String), Vec<Text>>,
}

/// What came of something, as far as it concerns what is known.
fn is_refused<T>(outcome: &Result<T, QueueError>) -> bool {
    matches!(outcome, Err(QueueError::Full(_)))
}

impl Known {
    /// Whoever was there is not there any more, and what it had only in memory is lost.
    pub(super) fn crash(&mut self) {
        for fate in self.fates.values_mut() {
            fate.exact = false;
            fate.hidden_until = Timestamp::EPOCH;
        }
    }

    /// Messages were sent together.
    pub(super) fn sent(
        &mut self,
        queue: &'static str,
        messages: &[NewMessage],
        outcome: &Result<Vec<Sent>, QueueError>,
    ) {
        for (at, message) in messages.iter().enumerate() {
            let answer = outcome.as_ref().ok().map(|sent| &sent[at]);
            let existence = match answer {
                Some(sent) if sent.is_duplicate => Existence::Never,
                Some(_) => Existence::Live,
                None if is_refused(outcome) => Existence::Never,
                None => Existence::Unknown,
            };
            if let Some(text) = &message.deduplication {
                self.sent_with_text(queue, text, message, answer, existence);
            }
            let fate = Fate {
                sent: message.clone(),
                existence,
                places: BTreeSet::from([queue]),
                sequence: answer.map(|sent| sent.sequence),
                receives: 0,
                receives_max: 0,
                exact: true,
                hidden_until: message.visible_at,
            };
            self.fates.insert(message.id.clone(), fate);
        }
    }

    fn sent_with_text(
        &mut self,
        queue: &'static str,
        text: &str,
        message: &NewMessage,
        answer: Option<&Sent>,
        existence: Existence,
    ) {
        let texts = self.texts.entry((queue, text.to_owned())).or_default();
        let now = message.sent_at;
        let in_window = |known: &&mut Text| now.since(known.at) < WINDOW;
        match answer {
            Some(sent) if sent.is_duplicate => {
                let first = texts.iter_mut().filter(in_window).find(|known| known.id == sent.id);
                first.expect("a duplicate is one of a message that was sent").certain = true;
            }
            Some(_) => {
                let first = texts.iter_mut().filter(in_window).find(|known| known.certain);
                assert!(first.is_none(), "a duplicate is kept: {text}");
                texts.push(Text { id: message.id.clone(), at: now, certain: true });
            }
            None if existence == Existence::Unknown => {
                texts.push(Text { id: message.id.clone(), at: now, certain: false });
            }
            None => {}
        }
    }

    /// Somebody is about to receive; what was received so often may go to `dead`.
    pub(super) fn may_bury(&mut self, queue: &'static str, dead: &'static str, receives_max: u32) {
        for fate in self.fates.values_mut() {
            if fate.places.contains(queue) && fate.receives_max >= receives_max {
                fate.places.insert(dead);
            }
        }
    }

    /// Messages may go elsewhere, and count as new there.
    pub(super) fn may_move(&mut self, from: &'static str, to: &'static str) {
        for fate in self.fates.values_mut().filter(|fate| fate.places.contains(from)) {
            fate.places.insert(to);
            fate.exact = false;
        }
    }

    /// A receive failed: what it took is hidden all the same.
    pub(super) fn receive_failed(&mut self, queue: &str) {
        for fate in self.fates.values_mut().filter(|fate| fate.places.contains(queue)) {
            fate.receives_max += 1;
            fate.exact = false;
        }
    }

    pub(super) fn received(
        &mut self,
        queue: &'static str,
        batch: &[Received],
        now: Timestamp,
        visibility: Duration,
    ) {
        for (at, received) in batch.iter().enumerate() {
            self.check_order(queue, &batch[..at], received);
            let fate = self.fates.get_mut(&received.id).expect("it was sent by somebody");
            assert!(fate.existence != Existence::Gone, "{} came back", received.id);
            assert!(fate.existence != Existence::Never, "{} was refused and is there", received.id);
            assert!(fate.places.contains(queue), "{} strayed into {queue}", received.id);
            assert_eq!(payload(&received.payload), payload(&fate.sent.payload), "{} is another", received.id);
            assert_eq!(received.group, fate.sent.group);
            assert_eq!(received.sent_at, fate.sent.sent_at);
            assert!(fate.hidden_until <= now, "{} is hidden until {:?}", received.id, fate.hidden_until);
            let receives = received.receipt.receives;
            assert!(receives >= 1 && (!fate.exact || receives == fate.receives + 1), "{receives}: {fate:?}");
            assert!(receives <= fate.receives_max + 1, "{} was received more often than ever", received.id);
            fate.existence = Existence::Live;
            fate.places = BTreeSet::from([queue]);
            fate.sequence = Some(received.receipt.sequence);
            (fate.receives, fate.exact) = (receives, true);
            fate.receives_max = fate.receives_max.max(receives);
            fate.hidden_until = now.plus(visibility);
        }
    }

    /// Of its group, nothing that is there for certain comes before a message but what was received with it.
    fn check_order(&self, queue: &str, before: &[Received], received: &Received) {
        let Some(group) = &received.group else { return };
        let fates = self.fates.iter().filter(|(_, fate)| fate.sent.group.as_ref() == Some(group));
        for (id, fate) in fates.filter(|(_, fate)| fate.is_certainly_in(queue)) {
            let is_earlier = fate.sequence.is_some_and(|sequence| sequence < received.receipt.sequence);
            let is_with_it = before.iter().any(|other| other.id == *id);
            assert!(!is_earlier || is_with_it, "{} overtook {id} in {queue}", received.id);
        }
    }

    pub(super) fn deleted(
        &mut self,
        queue: &str,
        (receipt, id): (Receipt, &str),
        now: Timestamp,
        outcome: &Result<Vec<Result<(), ReceiptFault>>, QueueError>,
        at: usize,
    ) {
        let fate = self.fates.get_mut(id).expect("it was received");
        let is_at = fate.is_at_most_in(queue) && fate.sequence == Some(receipt.sequence);
        match outcome.as_ref().map(|outcomes| outcomes[at]) {
            Ok(Ok(())) if is_at => fate.existence = Existence::Gone,
            Ok(Ok(())) => fate.doubt(),
            Ok(Err(fault)) => {
                let is_current = fate.exact && fate.receives == receipt.receives && fate.hidden_until > now;
                assert_eq!(fault, ReceiptFault::Stale);
                assert!(fate.sent.group.is_some() && !(is_current && is_at), "{id} could not be deleted");
            }
            Err(QueueError::Full(_)) => {}
            Err(_) => fate.doubt(),
        }
    }

    pub(super) fn changed(
        &mut self,
        queue: &str,
        (receipt, id): (Receipt, &str),
        visible_at: Timestamp,
        now: Timestamp,
        outcome: &Result<Vec<Result<(), ReceiptFault>>, QueueError>,
    ) {
        let fate = self.fates.get_mut(id).expect("it was received");
        let is_at = fate.is_certainly_in(queue) && fate.sequence == Some(receipt.sequence);
        let is_current = fate.exact && fate.receives == receipt.receives && fate.hidden_until > now;
        match outcome.as_ref().map(|outcomes| outcomes[0]) {
            Ok(Ok(())) => {
                fate.hidden_until = if is_at { visible_at } else { Timestamp::EPOCH };
                fate.receives = receipt.receives;
                // It is on disk, with what came before.
                fate.exact = is_at;
                fate.receives_max = fate.receives_max.max(receipt.receives);
            }
            Ok(Err(ReceiptFault::Gone)) => assert!(!is_at, "{id} is not where it must be"),
            Ok(Err(ReceiptFault::Stale)) => assert!(!(is_at && is_current), "the receipt of {id} is stale"),
            Err(QueueError::Full(_)) => {}
            Err(_) => {
                fate.exact = false;
                fate.hidden_until = fate.hidden_until.min(visible_at);
            }
        }
    }

    /// What was sent to the queue at or before `until` was to be removed.
    pub(super) fn removed<T>(&mut self, queue: &str, until: Timestamp, outcome: &Result<T, QueueError>) {
        if is_refused(outcome) {
            return;
        }
        let sent = self.fates.values_mut().filter(|fate| fate.sent.sent_at <= until);
        for fate in sent.filter(|fate| fate.places.contains(queue)) {
            if fate.existence == Existence::Never {
                continue;
            }
            if outcome.is_ok() && fate.is_at_most_in(queue) {
                fate.existence = Existence::Gone;
            } else {
                fate.doubt();
            }
        }
    }

    /// Everything was received and deleted that was there: so nothing that is there for certain was not.
    pub(super) fn check_drained(&self) {
        let left: Vec<_> = self.fates.iter().filter(|(_, fate)| fate.existence == Existence::Live).collect();
        assert!(left.is_empty(), "{} messages are lost or stuck, the first {:?}", left.len(), left[0]);
    }
}

/// A payload in short.
fn payload(bytes: &Bytes) -> (usize, u32) {
    (bytes.len(), bytes.iter().fold(0, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))))
}
