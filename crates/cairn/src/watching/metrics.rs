//! CloudWatch: opened, plugged in, and its stages.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cairn_services::cloudwatch::{ActionStage, AlarmStage, CloudWatch, Deps};

use crate::serve::Ground;
use crate::stages::Stages;

/// How long data gather before their alarms are looked at again.
const GATHERED_FOR: Duration = Duration::from_millis(250);

/// Opens the service and plugs it in.
pub(super) fn open(ground: &Ground) -> Result<Arc<CloudWatch>, Box<dyn Error>> {
    let deps = Deps {
        catalog: ground.catalog.clone(),
        clock: Arc::clone(&ground.clock),
        entropy: Arc::clone(&ground.entropy),
        switchboard: ground.switchboard.clone(),
    };
    let cloudwatch = Arc::new(CloudWatch::new(deps, &ground.registry)?);
    ground.switchboard.plug_metrics(Arc::clone(&cloudwatch) as _);
    Ok(cloudwatch)
}

/// Starts what it does by itself.
pub(super) fn start_stages(cloudwatch: &Arc<CloudWatch>, running: &mut Stages) {
    running.start_marked(
        "alarms",
        &Arc::new(AlarmStage::new(Arc::clone(cloudwatch))),
        |stage| async move { Ok(stage.run_once().await?) },
        AlarmStage::mark,
        |stage, mark| async move {
            stage.wait_past(mark).await;
            gather().await;
        },
    );
    running.start_marked(
        "alarms' actions",
        &Arc::new(ActionStage::new(Arc::clone(cloudwatch))),
        |stage| async move { Ok(stage.run_once().await?) },
        ActionStage::mark,
        |stage, mark| async move { stage.wait_past(mark).await },
    );
    let cloudwatch = Arc::clone(cloudwatch);
    running.start_timed("metrics' retention", move || {
        let cloudwatch = Arc::clone(&cloudwatch);
        async move { Ok(cloudwatch.retain().await?) }
    });
}

#[allow(clippy::disallowed_methods, reason = "a stage waits here")]
async fn gather() {
    tokio::time::sleep(GATHERED_FOR).await;
}
