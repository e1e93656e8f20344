//! CloudWatch Logs: over the store of log lines, plugged in for those that write to groups, with its stages.

use std::sync::Arc;
use std::time::Duration;

use cairn_services::logs::{Deps, Logs};

use super::Surroundings;
use crate::messaging::UntilStopped;
use crate::serve::Ground;
use crate::stages::Stages;

/// How often lines are let go whose retention period is over.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// Opens the service and plugs it in.
pub(super) fn open(ground: &Ground, around: &Surroundings<'_>) -> Result<Arc<Logs>, prometheus::Error> {
    let (clock, stopped) = (Arc::clone(&ground.clock), around.stopped.clone());
    let deps = Deps {
        catalog: ground.catalog.clone(),
        lines: Arc::clone(&ground.lines) as _,
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        data_keys: Arc::clone(around.kms) as _,
        switchboard: ground.switchboard.clone(),
        pause: Arc::new(UntilStopped { clock, stopped }),
    };
    let logs = Arc::new(Logs::new(deps, &ground.registry)?);
    ground.switchboard.plug_logs(Arc::clone(&logs) as _);
    Ok(logs)
}

/// Starts what the service does by itself.
pub(super) fn start_stages(running: &mut Stages, ground: &Ground, logs: &Arc<Logs>) {
    let (service, clock) = (Arc::clone(logs), Arc::clone(&ground.clock));
    running.start_timed("log retention", move || {
        let (logs, clock) = (Arc::clone(&service), Arc::clone(&clock));
        async move {
            logs.maintain().await?;
            Ok(clock.now().plus(RETENTION_INTERVAL))
        }
    });
    running.start_marked(
        "log exports",
        logs,
        |logs| async move { Ok(logs.run_exports().await?) },
        Logs::exports_asked,
        |logs, seen| async move { logs.wait_for_exports(seen).await },
    );
}
