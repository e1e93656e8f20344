//! The services that watch and react, a file each: how they are opened, plugged into the switchboard, and run.

mod events;
mod lines;
mod metrics;

use std::error::Error;
use std::sync::Arc;

use cairn_services::Service;
use cairn_services::cloudwatch::CloudWatch;

use self::events::EventBridge;
use self::lines::LineReader;
use crate::serve::Ground;
use crate::stages::Stages;

/// What runs.
pub(crate) struct Watching {
    /// For the front door.
    pub(crate) services: Vec<Arc<dyn Service>>,
    /// The stages that read log lines as they come: the journal of lines is kept for them.
    pub(crate) line_readers: Vec<LineReader>,
    cloudwatch: Arc<CloudWatch>,
    pub(crate) events: EventBridge,
}

/// Opens the services and plugs them in.
pub(crate) fn open(ground: &Ground) -> Result<Watching, Box<dyn Error>> {
    let cloudwatch = metrics::open(ground)?;
    let events = events::open(ground)?;
    Ok(Watching {
        services: vec![Arc::clone(&cloudwatch) as _, events.service()],
        line_readers: Vec::new(),
        cloudwatch,
        events,
    })
}

impl Watching {
    /// Starts what the services do by themselves.
    pub(crate) fn start_stages(&self, running: &mut Stages, ground: &Ground) {
        lines::start_stage(running, ground, &self.line_readers);
        metrics::start_stages(&self.cloudwatch, running);
        self.events.start_stages(running, ground);
    }
}
