//! CloudWatch: opened, plugged in, and its stages.

use std::error::Error;
use std::sync::Arc;

use cairn_services::cloudwatch::{CloudWatch, Deps};

use crate::serve::Ground;
use crate::stages::Stages;

/// Opens the service and plugs it in.
pub(super) fn open(ground: &Ground) -> Result<Arc<CloudWatch>, Box<dyn Error>> {
    let deps = Deps { catalog: ground.catalog.clone(), clock: Arc::clone(&ground.clock) };
    let cloudwatch = Arc::new(CloudWatch::new(deps, &ground.registry)?);
    ground.switchboard.plug_metrics(Arc::clone(&cloudwatch) as _);
    Ok(cloudwatch)
}

/// Starts what it does by itself.
pub(super) fn start_stages(cloudwatch: &Arc<CloudWatch>, running: &mut Stages) {
    let cloudwatch = Arc::clone(cloudwatch);
    running.start_timed("metrics' retention", move || {
        let cloudwatch = Arc::clone(&cloudwatch);
        async move { Ok(cloudwatch.retain().await?) }
    });
}
