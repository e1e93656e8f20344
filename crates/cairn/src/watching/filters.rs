//! Metric and subscription filters: the stage that looks at each line that arrives, and the one that sends on.

use std::sync::Arc;

use cairn_services::logs::{FilterDeps, FilterStage, Logs, SubscriptionStage};
use cairn_store::LogPosition;
use cairn_wire::AwsError;

use super::lines::LineReader;
use crate::serve::Ground;
use crate::stages::Stages;

/// Both stages.
pub(crate) struct Filters {
    looking: Arc<FilterStage>,
    paying: Arc<SubscriptionStage>,
}

impl Filters {
    /// Opens them.
    pub(super) async fn open(ground: &Ground, logs: &Arc<Logs>) -> Result<Self, AwsError> {
        let deps = FilterDeps {
            logs: Arc::clone(logs),
            queues: Arc::clone(&ground.queues) as _,
            debt_key: ground.sealer.derived_key("logs.subscriptions"),
        };
        let (looking, paying) = FilterStage::open(deps, &ground.registry).await?;
        Ok(Self { looking: Arc::new(looking), paying: Arc::new(paying) })
    }

    /// From where on the journal of lines is kept for them.
    pub(super) fn reader(&self) -> LineReader {
        let looking = Arc::clone(&self.looking);
        Arc::new(move || looking.needed_from())
    }

    /// Starts them.
    pub(super) fn start_stages(&self, running: &mut Stages) {
        running.start_marked(
            "log filters",
            &self.looking,
            |stage| async move { Ok(stage.run_once().await?) },
            |stage| stage.end().0,
            |stage, end| async move { stage.wait_past(LogPosition(end)).await },
        );
        running.start_marked(
            "log subscriptions",
            &self.paying,
            |stage| async move { Ok(stage.run_once()) },
            SubscriptionStage::mark,
            |stage, seen| async move { stage.wait_past(seen).await },
        );
    }
}
