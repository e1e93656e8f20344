//! The messaging services on the engine of durable queues, and their stages.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Timestamp};
use cairn_services::kms::Kms;
use cairn_services::sns::delivery::{Delivery, DeliveryParts, Mail};
use cairn_services::sns::{self, Links, Signing, Sns};
use cairn_services::sqs::{self, Sqs};
use tokio::sync::watch;

use crate::door::{client_gone, is_client_gone};
use crate::outgoing::{NetPost, SmtpRelay};
use crate::serve::Ground;
use crate::settings::SmtpSettings;
use crate::stages::Stages;

/// How often messages are removed whose retention period is over.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);
/// How often tokens and questions to subscribers are removed that nobody answered in time.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// Who this is to the relay for e-mail, where it wants to know.
const SMTP_USER: &str = "CAIRN_SMTP_USER";
const SMTP_PASSWORD: &str = "CAIRN_SMTP_PASSWORD";
/// The longest that a wait goes on without a look at the clock, which may have been set.
const WAIT_STEP_MAX: Duration = Duration::from_secs(5);

/// What runs.
pub(crate) struct Messaging {
    pub(crate) sqs: Arc<Sqs>,
    pub(crate) sns: Arc<Sns>,
    /// The server's address in topics' messages.
    pub(crate) links: Links,
    /// Vouches for topics' messages.
    pub(crate) signing: Signing,
    delivery: Delivery,
}

/// Opens the services. Polls wait until `stopped` turns true.
pub(crate) async fn open(
    ground: &Ground,
    kms: &Arc<Kms>,
    smtp: Option<&SmtpSettings>,
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
    let sqs = Arc::new(sqs);
    let (catalog, clock, sealer) = (&ground.catalog, &ground.clock, &ground.sealer);
    let links = Links::default();
    let signing = Signing::new(catalog.clone(), Arc::clone(clock), sealer.clone());
    let parts = DeliveryParts {
        catalog: catalog.clone(),
        clock: Arc::clone(clock),
        sealer: sealer.clone(),
        queues: Arc::clone(&sqs) as _,
        switchboard: ground.switchboard.clone(),
        signing: signing.clone(),
        links: links.clone(),
        post: Arc::new(NetPost::new()),
        mail: smtp.map(open_relay).transpose()?,
    };
    let delivery = Delivery::new(parts, &ground.registry)?;
    let deps = sns::Deps {
        catalog: catalog.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::clone(&ground.entropy),
        sealer: sealer.clone(),
        signing: signing.clone(),
        links: links.clone(),
        data_keys: Arc::clone(kms) as _,
        queues: Arc::clone(&sqs) as _,
        woken: {
            let delivery = delivery.clone();
            Arc::new(move || delivery.wake())
        },
    };
    let sns = Arc::new(Sns::new(deps, &ground.registry)?);
    Ok(Messaging { sqs, sns, links, signing, delivery })
}

fn open_relay(settings: &SmtpSettings) -> Result<Arc<dyn Mail>, Box<dyn Error>> {
    let credentials = match (std::env::var(SMTP_USER), std::env::var(SMTP_PASSWORD)) {
        (Ok(user), Ok(password)) => Some((user, password)),
        _ => None,
    };
    Ok(Arc::new(SmtpRelay::new(&settings.relay, &settings.sender, credentials)?))
}

impl Messaging {
    /// Starts what the services do by themselves.
    pub(crate) fn start_stages(&self, running: &mut Stages, clock: &Arc<dyn Clock>) {
        let (sqs, time) = (Arc::clone(&self.sqs), Arc::clone(clock));
        running.start_timed("queues", move || {
            let (sqs, clock) = (Arc::clone(&sqs), Arc::clone(&time));
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
        running.start_topics(self.delivery.clone());
        let (sns, time) = (Arc::clone(&self.sns), Arc::clone(clock));
        running.start_timed("subscriptions", move || {
            let (sns, clock) = (Arc::clone(&sns), Arc::clone(&time));
            async move {
                sns.expire().await?;
                Ok(clock.now().plus(EXPIRY_INTERVAL))
            }
        });
    }
}

/// Waits by the clock, and not at all once the server stops or the client is gone.
pub(crate) struct UntilStopped {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stopped: watch::Receiver<bool>,
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
            () = client_gone() => {}
        }
    }

    fn is_in_vain(&self) -> bool {
        *self.stopped.borrow() || is_client_gone()
    }
}
