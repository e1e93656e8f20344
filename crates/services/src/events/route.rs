//! What becomes of an event on a bus: it is owed to the targets of the rules that take it, and kept by archives.
//!
//! Invariant: [`Events::accept`] returns when what is owed is durable, and not before.

use cairn_store::queues::{NewMessage, QueueError};

use super::error::{Failure, of_engine};
use super::event::Arrival;
use super::{Events, owed};

impl Events {
    /// Takes events: durable on return. Those for buses that are not there go nowhere, as with AWS.
    pub(super) async fn accept(&self, arrivals: Vec<Arrival>) -> Result<(), Failure> {
        let now = self.clock.now();
        let (mut messages, mut kept) = (Vec::new(), Vec::new());
        for arrival in &arrivals {
            self.metrics.arrived.inc();
            let Some(view) = self.views.of(&self.catalog, &arrival.bus).await? else { continue };
            if view.is_idle(arrival.is_read) {
                continue;
            }
            let matching = view.matching(&arrival.text, arrival.is_read);
            for found in matching {
                if !arrival.is_for(&found.rule) {
                    continue;
                }
                self.metrics.matched.inc();
                let fresh = found.queues.iter().cloned();
                messages.extend(fresh.map(|queue| owed::message(&self.sealer, queue, arrival, now)));
            }
            if arrival.replayed_to.is_none() && !arrival.is_read {
                let takers = view.archives.iter().filter(|archive| archive.takes(&arrival.text));
                kept.extend(takers.map(|archive| (archive.group, arrival)));
            }
        }
        self.keep(kept, now).await?;
        self.owe(messages).await
    }

    /// Writes down what is owed.
    pub(super) async fn owe(&self, messages: Vec<NewMessage>) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut queues: Vec<_> = messages.iter().map(|message| message.queue.clone()).collect();
        match self.queues.send(messages.clone()).await {
            Ok(_) => {}
            // A crash came between a target and its queue, or the target went meanwhile: who pays removes it then.
            Err(QueueError::Missing(_)) => {
                for queue in &queues {
                    self.queues.create(queue).await.map_err(of_engine)?;
                }
                self.queues.send(messages).await.map_err(of_engine)?;
            }
            Err(error) => return Err(of_engine(error)),
        }
        queues.sort_unstable();
        queues.dedup();
        self.lanes.wake(queues, self.clock.now());
        Ok(())
    }
}
