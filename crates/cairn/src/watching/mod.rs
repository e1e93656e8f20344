//! The services that watch and react, a file each: how they are opened, plugged into the switchboard, and run.

mod events;
mod filters;
pub(crate) mod lambda;
mod lines;
mod logs;
mod metrics;
mod streams;

use std::error::Error;
use std::sync::Arc;

use cairn_services::Service;
use cairn_services::cloudwatch::CloudWatch;
use cairn_services::kms::Kms;
use cairn_services::logs::Logs;
use tokio::sync::watch;

use self::events::EventBridge;
use self::filters::Filters;
use self::lines::LineReader;
use self::streams::RecordStreams;
use crate::serve::Ground;
use crate::stages::Stages;

/// What the services work with besides.
pub(crate) struct Surroundings<'a> {
    /// Gives data keys.
    pub(crate) kms: &'a Arc<Kms>,
    /// Turns true when the server is to stop.
    pub(crate) stopped: &'a watch::Receiver<bool>,
}

/// What runs.
pub(crate) struct Watching {
    /// For the front door.
    pub(crate) services: Vec<Arc<dyn Service>>,
    streams: RecordStreams,
    /// The stages that read log lines as they come: the journal of lines is kept for them.
    pub(crate) line_readers: Vec<LineReader>,
    cloudwatch: Arc<CloudWatch>,
    pub(crate) events: EventBridge,
    logs: Arc<Logs>,
    filters: Filters,
}

/// Opens the services and plugs them in.
pub(crate) async fn open(ground: &Ground, around: &Surroundings<'_>) -> Result<Watching, Box<dyn Error>> {
    let cloudwatch = metrics::open(ground)?;
    let events = events::open(ground)?;
    let logs = logs::open(ground, around)?;
    let filters = Filters::open(ground, &logs).await?;
    let streams = streams::open(ground, around).await?;
    let mut services = vec![Arc::clone(&cloudwatch) as _, events.service(), Arc::clone(&logs) as _];
    services.extend(streams.services());
    let line_readers = vec![filters.reader()];
    Ok(Watching { services, line_readers, cloudwatch, events, logs, filters, streams })
}

impl Watching {
    /// Starts what the services do by themselves.
    pub(crate) fn start_stages(&self, running: &mut Stages, ground: &Ground) {
        lines::start_stage(running, ground, &self.line_readers);
        metrics::start_stages(&self.cloudwatch, running);
        self.events.start_stages(running, ground);
        logs::start_stages(running, ground, &self.logs);
        self.filters.start_stages(running);
        self.streams.start_stages(running, ground);
    }
}
