//! EventBridge: its buses, what pays their debts, and what puts the event log on them.

use std::error::Error;
use std::sync::Arc;

use cairn_services::Service;
use cairn_services::events::delivery::Delivery;
use cairn_services::events::{CloudTrailEvents, Deps, Events};

use crate::outgoing::NetPost;
use crate::serve::Ground;
use crate::stages::Stages;

/// EventBridge with what of it runs by itself.
pub(crate) struct EventBridge {
    events: Arc<Events>,
    delivery: Delivery,
    /// The event log is kept for it.
    pub(crate) cloudtrail: Arc<CloudTrailEvents>,
}

/// Opens EventBridge and plugs it in.
pub(super) fn open(ground: &Ground) -> Result<EventBridge, Box<dyn Error>> {
    let deps = Deps {
        catalog: ground.catalog.clone(),
        queues: Arc::clone(&ground.queues) as _,
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        sealer: ground.sealer.clone(),
        lines: Arc::clone(&ground.lines) as _,
        http: Arc::new(NetPost::new()),
        switchboard: ground.switchboard.clone(),
    };
    let events = Arc::new(Events::new(deps, &ground.registry)?);
    ground.switchboard.plug_buses(Arc::clone(&events) as _);
    Ok(EventBridge {
        delivery: Delivery::new(Arc::clone(&events)),
        cloudtrail: Arc::new(CloudTrailEvents::new(Arc::clone(&events), Arc::clone(&ground.log))),
        events,
    })
}

impl EventBridge {
    /// For the front door.
    pub(super) fn service(&self) -> Arc<dyn Service> {
        Arc::clone(&self.events) as _
    }

    /// Starts what it does by itself.
    pub(super) fn start_stages(&self, running: &mut Stages, ground: &Ground) {
        running.start_rule_targets(self.delivery.clone());
        running.start_event_work("event schedules", &self.events, |events| async move {
            Ok(events.fire_schedules().await?)
        });
        running.start_event_work("event replays", &self.events, |events| async move {
            Ok(events.run_replays().await?)
        });
        running.start_event_work("event connections", &self.events, |events| async move {
            Ok(events.authorise_connections().await?)
        });
        let events = Arc::clone(&self.events);
        running.start_timed("event archives", move || {
            let events = Arc::clone(&events);
            async move { Ok(events.expire_archives().await?) }
        });
        running.start_cloudtrail_events(Arc::clone(&self.cloudtrail), Arc::clone(&ground.log));
    }
}
