//! What queues do, in the plainest words: a list for each, searched from its beginning. Slow, and easy to believe.

use std::collections::BTreeMap;
use std::time::Duration;

use cairn_core::Timestamp;
use cairn_store::queues::{Ask, Counts, NewMessage, Receipt, ReceiptFault, Sent, Sequence};

/// AWS's deduplication window.
const WINDOW: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
pub(crate) struct ModelMessage {
    pub(crate) sequence: Sequence,
    pub(crate) sent: NewMessage,
    pub(crate) visible_at: Timestamp,
    pub(crate) receives: u32,
    receives_before: u32,
    first_received_at: Option<Timestamp>,
    came_from: Option<String>,
    in_flight: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ModelQueue {
    pub(crate) messages: Vec<ModelMessage>,
    texts: Vec<(String, Timestamp, String, Sequence)>,
}

/// A message as the model receives it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ModelReceived {
    pub(crate) receipt: Receipt,
    pub(crate) id: String,
    pub(crate) first_received_at: Timestamp,
    pub(crate) came_from: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) queues: BTreeMap<String, ModelQueue>,
}

impl ModelMessage {
    fn is_hidden(&self, now: Timestamp) -> bool {
        self.visible_at > now
    }

    fn is_in_flight(&self, now: Timestamp) -> bool {
        self.in_flight && self.is_hidden(now)
    }

    /// Whether the receive that goes on has it.
    fn is_just_received(&self) -> bool {
        self.visible_at == Timestamp::LATEST
    }
}

impl Model {
    fn queue(&mut self, name: &str) -> &mut ModelQueue {
        self.queues.get_mut(name).unwrap()
    }

    /// Sends a message; `sequence` is the place that it gets, if it is kept.
    pub(crate) fn send(&mut self, message: &NewMessage, sequence: Sequence) -> Sent {
        let queue = self.queue(&message.queue.0);
        if let Some(text) = &message.deduplication {
            let earlier = queue
                .texts
                .iter()
                .rev()
                .find(|(known, at, ..)| known == text && message.sent_at.since(*at) < WINDOW);
            if let Some((_, _, id, sequence)) = earlier {
                return Sent { id: id.clone(), sequence: *sequence, is_duplicate: true };
            }
            queue.texts.push((text.clone(), message.sent_at, message.id.clone(), sequence));
        }
        queue.messages.push(ModelMessage {
            sequence,
            sent: message.clone(),
            visible_at: message.visible_at,
            receives: 0,
            receives_before: 0,
            first_received_at: None,
            came_from: None,
            in_flight: false,
        });
        Sent { id: message.id.clone(), sequence, is_duplicate: false }
    }

    /// The first message that can be received, or the next of `group`, whose messages this receiver has.
    fn next(&mut self, name: &str, now: Timestamp, group: Option<&str>) -> Option<&mut ModelMessage> {
        let queue = self.queue(name);
        let can = |at: usize| {
            let message = &queue.messages[at];
            let of_group = |other: &&ModelMessage| {
                message.sent.group.is_some() && other.sent.group == message.sent.group
            };
            if message.is_hidden(now) {
                return false;
            }
            match group {
                Some(group) => {
                    message.sent.group.as_deref() == Some(group)
                        && queue.messages[..at].iter().filter(of_group).all(ModelMessage::is_just_received)
                }
                None => !queue.messages[..at].iter().any(|other| of_group(&other)),
            }
        };
        let at = (0..queue.messages.len()).find(|at| can(*at))?;
        Some(&mut self.queue(name).messages[at])
    }

    /// Receives; none where too many are in flight.
    pub(crate) fn receive(&mut self, name: &str, ask: &Ask) -> Option<Vec<ModelReceived>> {
        self.queue(name).messages.retain(|message| message.sent.sent_at > ask.expired_until);
        self.bury(name, ask);
        let in_flight =
            self.queue(name).messages.iter().filter(|message| message.is_in_flight(ask.now)).count();
        let room = ask.in_flight_max.saturating_sub(in_flight);
        if room == 0 && self.next(name, ask.now, None).is_some() {
            return None;
        }
        let mut received = Vec::new();
        let mut group: Option<String> = None;
        while received.len() < ask.messages_max.min(room) {
            let found = match group.take() {
                Some(group) => {
                    let Some(message) = self.next(name, ask.now, Some(&group)) else { continue };
                    message
                }
                None => match self.next(name, ask.now, None) {
                    Some(message) => message,
                    None => break,
                },
            };
            found.receives += 1;
            found.in_flight = true;
            // Not twice in one receive, however short it is hidden.
            found.visible_at = Timestamp::LATEST;
            received.push(ModelReceived {
                receipt: Receipt { sequence: found.sequence, receives: found.receives },
                id: found.sent.id.clone(),
                first_received_at: *found.first_received_at.get_or_insert(ask.now),
                came_from: found.came_from.clone(),
            });
            group = found.sent.group.clone();
        }
        for message in &mut self.queue(name).messages {
            if received.iter().any(|received| received.receipt.sequence == message.sequence) {
                message.visible_at = ask.now.plus(ask.visibility);
            }
        }
        Some(received)
    }

    /// Moves the dead letters away that a receive would come by. The places that they get are not known to the model,
    /// so tests with dead letters ask only for what can be told without.
    fn bury(&mut self, name: &str, ask: &Ask) {
        let Some(dead) = &ask.dead_letters else { return };
        loop {
            let mut trial = self.clone();
            let plain = Ask { dead_letters: None, in_flight_max: usize::MAX, ..ask.clone() };
            let reached = trial.receive(name, &plain).unwrap_or_default();
            let is_dead = |message: &ModelMessage| {
                reached.iter().any(|reached| reached.receipt.sequence == message.sequence)
                    && message.receives - message.receives_before >= dead.receives_max
            };
            let buried: Vec<_> =
                self.queue(name).messages.extract_if(.., |message| is_dead(message)).collect();
            if buried.is_empty() {
                return;
            }
            for mut message in buried {
                message.receives_before = message.receives;
                message.came_from = Some(name.to_owned());
                message.visible_at = Timestamp::EPOCH;
                message.in_flight = false;
                self.queue(&dead.queue.0).messages.push(message);
            }
        }
    }

    pub(crate) fn delete(
        &mut self,
        name: &str,
        receipt: Receipt,
        now: Timestamp,
    ) -> Result<(), ReceiptFault> {
        let messages = &mut self.queue(name).messages;
        let Some(at) = messages.iter().position(|message| message.sequence == receipt.sequence) else {
            return Ok(());
        };
        let message = &messages[at];
        if message.sent.group.is_some()
            && !(message.receives == receipt.receives && message.is_in_flight(now))
        {
            return Err(ReceiptFault::Stale);
        }
        messages.remove(at);
        Ok(())
    }

    pub(crate) fn change(
        &mut self,
        name: &str,
        receipt: Receipt,
        visible_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReceiptFault> {
        let mut messages = self.queue(name).messages.iter_mut();
        let message =
            messages.find(|message| message.sequence == receipt.sequence).ok_or(ReceiptFault::Gone)?;
        let is_changeable = message.is_in_flight(now) || message.sent.group.is_none();
        if message.receives != receipt.receives || !is_changeable {
            return Err(ReceiptFault::Stale);
        }
        message.in_flight = true;
        message.visible_at = visible_at;
        Ok(())
    }

    pub(crate) fn expire(&mut self, name: &str, until: Timestamp) -> u64 {
        let messages = &mut self.queue(name).messages;
        messages.extract_if(.., |message| message.sent.sent_at <= until).count() as u64
    }

    pub(crate) fn counts(&self, name: &str, now: Timestamp) -> Counts {
        let messages = &self.queues[name].messages;
        let count =
            |is: &dyn Fn(&ModelMessage) -> bool| messages.iter().filter(|message| is(message)).count() as u64;
        Counts {
            visible: count(&|message| !message.is_hidden(now)),
            in_flight: count(&|message| message.is_in_flight(now)),
            delayed: count(&|message| message.is_hidden(now) && !message.in_flight),
            oldest_sent_at: messages.iter().map(|message| message.sent.sent_at).min(),
        }
    }

    pub(crate) fn next_visible(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        self.queues[name].messages.iter().map(|message| message.visible_at).filter(|at| *at > now).min()
    }
}
