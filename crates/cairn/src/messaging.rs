//! The messaging services on the engine of durable queues, and their stages.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Timestamp};
use cairn_services::kms::Kms;
use cairn_services::sqs::{self, Sqs};
use tokio::sync::watch;

use crate::serve::Ground;
use crate::stages::Stages;

/// How often messages are removed whose retention period is over.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);
/// The longest that a wait goes on without a look at the clock, which may have been set.
const WAIT_STEP_MAX: Duration = Duration::from_secs(5);

/// What runs.
pub(crate) struct Messaging {
    pub(crate) sqs: Arc<Sqs>,
}

/// Opens the services. Polls wait until `stopped` turns true.
pub(crate) async fn open(
    ground: &Ground,
    kms: &Arc<Kms>,
    stopped: watch::Receiver<bool>,
) -> Result<Messaging, Box<dyn Error>> {
    let wake = Arc::clone(&ground.wake);
    let sqs = Sqs::open(
        sqs::Deps {
            catalog: ground.catalog.clone(),
            queues: Arc::clone(&ground.queues) as _,
            data_keys: Arc::clone(kms) as _,
            server_key: ground.sealer.derived_key("sqs.messages"),
            clock: Arc::clone(&ground.clock),
            entropy: Arc::clone(&ground.entropy),
            pause: Arc::new(UntilStopped { clock: Arc::clone(&ground.clock), stopped }),
            changed: Arc::new(move || wake.notify_waiters()),
        },
        &ground.registry,
    )
    .await?;
    Ok(Messaging { sqs: Arc::new(sqs) })
}

impl Messaging {
    /// Starts what the services do by themselves.
    pub(crate) fn start_stages(&self, running: &mut Stages, clock: &Arc<dyn Clock>) {
        let (sqs, clock) = (Arc::clone(&self.sqs), Arc::clone(clock));
        running.start_timed("queues", move || {
            let (sqs, clock) = (Arc::clone(&sqs), Arc::clone(&clock));
            async move {
                sqs.maintain().await?;
                Ok(clock.now().plus(MAINTENANCE_INTERVAL))
            }
        });
        let sqs = Arc::clone(&self.sqs);
        running.start_timed("message moves", move || {
            let sqs = Arc::clone(&sqs);
            async move { Ok(sqs.run_move_tasks().await?) }
        });
    }
}

/// Waits by the clock, and not at all once the server stops.
struct UntilStopped {
    clock: Arc<dyn Clock>,
    stopped: watch::Receiver<bool>,
}

#[async_trait]
impl sqs::Pause for UntilStopped {
    #[allow(clippy::disallowed_methods, reason = "this is where polls wait")]
    async fn until(&self, at: Timestamp) {
        let mut stopped = self.stopped.clone();
        let due = async {
            loop {
                let now = self.clock.now();
                if now >= at {
                    return;
                }
                tokio::time::sleep(at.since(now).min(WAIT_STEP_MAX)).await;
            }
        };
        tokio::select! {
            () = due => {}
            // Also where the sender is gone, which then stops too.
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
    }

    fn is_stopping(&self) -> bool {
        *self.stopped.borrow()
    }
}
