//! Which queues of targets are to be looked at, and when. In memory: after a restart all are.
//!
//! Invariant: a queue that holds a message is here, or a delivery of it is under way that will put it here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_core::Timestamp;
use cairn_store::queues::QueueKey;
use tokio::sync::watch;

use super::super::owed::of_queue_key;
use crate::places::Places;

/// The queues.
pub(in crate::events) struct Lanes {
    state: Mutex<State>,
    /// Grows whenever there may be more to do.
    arrivals: watch::Sender<u64>,
}

#[derive(Default)]
pub(super) struct State {
    /// When each is to be looked at.
    pub(super) due: HashMap<QueueKey, Timestamp>,
    /// Deliveries under way, by the target's ARN: one that is sick is so for all its rules.
    pub(super) places: Places<String>,
}

impl State {
    /// Looks at a queue at that time, if not before.
    pub(super) fn look_at(&mut self, queue: QueueKey, at: Timestamp) {
        let due = self.due.entry(queue).or_insert(at);
        *due = (*due).min(at);
    }
}

impl Lanes {
    /// All queues of targets among those that there are.
    pub(in crate::events) fn of(names: Vec<QueueKey>, now: Timestamp) -> Self {
        let own = names.into_iter().filter(|name| of_queue_key(name).is_some());
        let state = State { due: own.map(|name| (name, now)).collect(), ..State::default() };
        Self { state: Mutex::new(state), arrivals: watch::Sender::new(0) }
    }

    /// Says that these queues may have something by that time.
    pub(in crate::events) fn wake(&self, queues: Vec<QueueKey>, at: Timestamp) {
        let mut state = self.lock();
        queues.into_iter().for_each(|queue| state.look_at(queue, at));
        drop(state);
        self.stir();
    }

    /// Says that there may be more to do.
    pub(super) fn stir(&self) {
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    pub(super) fn arrivals(&self) -> u64 {
        *self.arrivals.borrow()
    }

    pub(super) async fn wait_past(&self, seen: u64) {
        // The sender is here, so it does not go away.
        let _ = self.arrivals.subscribe().wait_for(|arrivals| *arrivals > seen).await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
