//! Where a trail sends its events besides its bucket: a log group, as far as the stages need it.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{Timestamp, TrailArn};

use crate::Trail;

/// Where the lines go, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The log group: `arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*`.
    pub group_arn: String,
    /// The role that writes to it.
    pub role_arn: String,
    /// The log stream.
    pub stream: String,
    /// The trail that it is for.
    pub trail: TrailArn,
}

impl LogPlace {
    /// Where a trail sends its events; none where it has no log group. The stream has the account that the events are of
    /// and the trail's home region, of an organization's trail its id as well.
    #[must_use]
    pub fn of(trail: &Trail) -> Option<Self> {
        let group_arn = trail.cloud_watch_logs_group_arn.clone()?;
        let role_arn = trail.cloud_watch_logs_role_arn.clone()?;
        let organization = trail.organization_id.as_ref().map(|id| format!("{id}_")).unwrap_or_default();
        let stream = format!("{organization}{}_CloudTrail_{}", trail.account(), trail.home_region());
        Some(Self { group_arn, role_arn, stream, trail: trail.arn.clone() })
    }
}

/// Why lines did not reach a log group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct LogGroupFailure {
    /// The code, as GetTrailStatus shows it: `AccessDenied`, `ResourceNotFoundException`.
    pub code: String,
    /// Whether the role could not be assumed, rather than may not write.
    pub is_of_role: bool,
    /// What went wrong, for the log.
    pub message: String,
}

/// The log groups that trails send to, as each trail's role.
#[async_trait]
pub trait LogGroups: Send + Sync + 'static {
    /// Checks that the role can be assumed and may make the stream and write to it.
    async fn check(&self, place: &LogPlace) -> Result<(), LogGroupFailure>;

    /// Writes events, each a line with the time it was recorded at, in order: all durable on return, or none.
    async fn put(&self, place: &LogPlace, lines: Vec<(Timestamp, Bytes)>) -> Result<(), LogGroupFailure>;
}
