//! The stage that lets messages go whose retention period is over, and counts what is left.

use std::time::Duration;

use cairn_wire::AwsError;

use super::Sqs;
use super::error::{Failure, of_engine};

impl Sqs {
    /// Removes what has expired, from messages to deleted names, and counts what is kept.
    ///
    /// # Errors
    /// Where the catalog or the engine fails; what is due stays due.
    pub async fn maintain(&self) -> Result<(), AwsError> {
        self.free_names().await.map_err(Failure::from)?;
        let now = self.clock.now();
        let (mut visible, mut in_flight, mut delayed, mut oldest) = (0, 0, 0, now);
        for queue in self.all() {
            let retention = Duration::from_secs(u64::from(queue.settings.retention_s));
            // A queue that is deleted meanwhile has nothing left to expire.
            match self.engine.expire(&queue.key(), now.minus(retention), now).await {
                Ok(expired) => self.metrics.expired.inc_by(expired),
                Err(cairn_store::queues::QueueError::Missing(_)) => continue,
                Err(error) => return Err(of_engine(error).into()),
            }
            let Ok(counts) = self.engine.counts(&queue.key(), now) else { continue };
            visible += counts.visible;
            in_flight += counts.in_flight;
            delayed += counts.delayed;
            oldest = counts.oldest_sent_at.map_or(oldest, |sent| sent.min(oldest));
        }
        for (state, count) in [("visible", visible), ("in_flight", in_flight), ("delayed", delayed)] {
            self.metrics.messages.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let age_s = now.since(oldest).as_secs();
        self.metrics.oldest_age_s.set(i64::try_from(age_s).unwrap_or(i64::MAX));
        Ok(())
    }
}
