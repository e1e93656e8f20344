//! The log groups that trails send their events to: CloudWatch Logs, reached as each trail's role.
//!
//! On the road: between the stage of streams (and the check before a trail is made) and CloudWatch Logs. Such lines do not
//! go through the front door and are not recorded, so that a trail never feeds itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_trail::{LogGroupFailure, LogPlace};

use super::PRINCIPAL;
use crate::sinks::{AsRole, LogLine, Sender, SinkFailure, Source, Switchboard};

/// The name of the sessions of trails' roles.
const SESSION_NAME: &str = "CLOUDWATCH_LOG_DELIVERY_SESSION";

/// CloudWatch Logs, as trails use it.
pub struct LogGroups(Switchboard);

impl LogGroups {
    /// The log groups that are plugged in.
    #[must_use]
    pub fn new(switchboard: Switchboard) -> Self {
        Self(switchboard)
    }

    async fn sender(&self, place: &LogPlace) -> Result<Sender, LogGroupFailure> {
        let source = Source {
            service: PRINCIPAL.to_owned(),
            arn: place.trail.to_string(),
            account: place.trail.account(),
        };
        let role = AsRole {
            role_arn: place.role_arn.clone(),
            session_name: SESSION_NAME.to_owned(),
            source,
            region: place.trail.region(),
        };
        let roles = self.0.roles().map_err(|failure| log_group_failure(failure, true))?;
        let caller = roles.assume(&role).await.map_err(|failure| log_group_failure(failure, true))?;
        Ok(Sender::Role(Arc::new(caller)))
    }
}

#[async_trait]
impl cairn_trail::LogGroups for LogGroups {
    async fn check(&self, place: &LogPlace) -> Result<(), LogGroupFailure> {
        let sender = self.sender(place).await?;
        let logs = self.0.logs().map_err(|failure| log_group_failure(failure, false))?;
        let checked = logs.check(&sender, &place.group_arn, &place.stream).await;
        checked.map_err(|failure| log_group_failure(failure, false))
    }

    async fn put(&self, place: &LogPlace, lines: Vec<(Timestamp, Bytes)>) -> Result<(), LogGroupFailure> {
        let sender = self.sender(place).await?;
        let logs = self.0.logs().map_err(|failure| log_group_failure(failure, false))?;
        let lines = lines.into_iter().map(|(at, event)| LogLine {
            timestamp_ms: at.millis(),
            message: String::from_utf8_lossy(&event).into_owned(),
        });
        let put = logs.put(&sender, &place.group_arn, &place.stream, lines.collect()).await;
        put.map_err(|failure| log_group_failure(failure, false))
    }
}

fn log_group_failure(failure: SinkFailure, is_of_role: bool) -> LogGroupFailure {
    let code = if failure.is_transient { "InternalError".to_owned() } else { failure.code };
    LogGroupFailure { code, is_of_role, message: failure.message }
}
