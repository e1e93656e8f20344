//! Kinesis and Firehose: streams of records, their retention and their delivery.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cairn_services::Service;
use cairn_services::firehose::{self, Firehose};
use cairn_services::kinesis::{self, Kinesis};

use super::Surroundings;
use crate::messaging::UntilStopped;
use crate::serve::Ground;
use crate::stages::Stages;

/// How often records are let go of whose retention period is over.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What runs.
pub(super) struct RecordStreams {
    kinesis: Kinesis,
    firehose: Arc<Firehose>,
}

/// Opens the services and plugs them in.
pub(super) async fn open(
    ground: &Ground,
    around: &Surroundings<'_>,
) -> Result<RecordStreams, Box<dyn Error>> {
    let (clock, stopped) = (Arc::clone(&ground.clock), around.stopped.clone());
    let deps = kinesis::Deps {
        catalog: ground.catalog.clone(),
        streams: Arc::clone(&ground.streams),
        data_keys: Arc::clone(around.kms) as _,
        server_key: ground.sealer.derived_key("kinesis.records"),
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        pause: Arc::new(UntilStopped { clock, stopped }),
    };
    let kinesis = Kinesis::open(deps, &ground.registry).await?;
    ground.switchboard.plug_streams(Arc::new(kinesis.clone()));
    let deps = firehose::Deps {
        catalog: ground.catalog.clone(),
        streams: Arc::clone(&ground.streams),
        kinesis: kinesis.clone(),
        data_keys: Arc::clone(around.kms) as _,
        server_key: ground.sealer.derived_key("firehose.records"),
        switchboard: ground.switchboard.clone(),
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
    };
    let firehose = Arc::new(Firehose::open(deps, &ground.registry).await?);
    ground.switchboard.plug_firehoses(Arc::clone(&firehose) as _);
    Ok(RecordStreams { kinesis, firehose })
}

impl RecordStreams {
    /// For the front door.
    pub(super) fn services(&self) -> Vec<Arc<dyn Service>> {
        vec![Arc::new(self.kinesis.clone()), Arc::clone(&self.firehose) as _]
    }

    /// Starts what the services do by themselves.
    pub(super) fn start_stages(&self, running: &mut Stages, ground: &Ground) {
        let (kinesis, time) = (self.kinesis.clone(), Arc::clone(&ground.clock));
        running.start_timed("streams", move || {
            let (kinesis, clock) = (kinesis.clone(), Arc::clone(&time));
            async move {
                kinesis.maintain().await?;
                Ok(clock.now().plus(RETENTION_INTERVAL))
            }
        });
        let firehose = Arc::clone(&self.firehose);
        running.start_timed("delivery streams", move || {
            let firehose = Arc::clone(&firehose);
            async move { Ok(firehose.run_once().await?) }
        });
    }
}
