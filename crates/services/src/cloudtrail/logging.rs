//! StartLogging, StopLogging, GetTrailStatus.

use std::sync::Arc;

use cairn_core::Timestamp;
use cairn_store::LogPosition;
use cairn_trail::config::STATUSES;
use cairn_trail::{Trail, TrailStatus};
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::trails::{NameRequest, existing_trail};
use super::{CloudTrail, names, reply};
use crate::service::Caller;

impl CloudTrail {
    pub(super) async fn start_logging(
        &self,
        caller: &Caller,
        request: NameRequest,
    ) -> Result<Value, Failure> {
        let (log, at) = (Arc::clone(&self.deps.log), caller.now);
        self.change_trail(caller, &request.name, move |trail| {
            trail.start_logging(at, log.end());
            Ok(())
        })
        .await?;
        Ok(reply::nothing())
    }

    pub(super) async fn stop_logging(&self, caller: &Caller, request: NameRequest) -> Result<Value, Failure> {
        let (log, at) = (Arc::clone(&self.deps.log), caller.now);
        self.change_trail(caller, &request.name, move |trail| {
            // The record of this very call is appended once it is answered, and is the last one that the trail
            // takes: who stops a trail is to be found in it. (Should another call's record come between, the trail
            // takes that one.)
            trail.stop_logging(at, LogPosition(log.end().0 + 1));
            Ok(())
        })
        .await?;
        Ok(reply::nothing())
    }

    pub(super) async fn trail_status(&self, caller: &Caller, request: NameRequest) -> Result<Value, Failure> {
        let (arn, account) = (names::meant_trail(&request.name, caller)?, caller.account.clone());
        let (trail, status) = self
            .deps
            .catalog
            .read(move |tx| {
                let trail = existing_trail(tx, &arn, &account)?;
                let status = STATUSES.get(tx, trail.key().bytes())?.unwrap_or_default();
                Ok::<_, Failure>((trail, status))
            })
            .await?;
        Ok(shown(&trail, &status))
    }
}

/// The members with times and errors are absent until there is something to say; the six texts, kept for old
/// clients, are always there.
fn shown(trail: &Trail, status: &TrailStatus) -> Value {
    let mut members = Map::new();
    members.insert("IsLogging".into(), json!(trail.logging));
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    put("LatestDeliveryError", text(&status.latest_delivery_error));
    put("LatestNotificationError", text(&status.latest_notification_error));
    put("LatestCloudWatchLogsDeliveryError", text(&status.latest_logs_delivery_error));
    put("LatestDeliveryTime", status.latest_delivery_at.map(reply::seconds));
    put("LatestNotificationTime", status.latest_notification_at.map(reply::seconds));
    put("StartLoggingTime", trail.started_at.map(reply::seconds));
    put("StopLoggingTime", trail.stopped_at.map(reply::seconds));
    put("LatestCloudWatchLogsDeliveryTime", status.latest_logs_delivery_at.map(reply::seconds));
    put("LatestDigestDeliveryTime", status.latest_digest_delivery_at.map(reply::seconds));
    put("LatestDigestDeliveryError", text(&status.latest_digest_delivery_error));
    let iso = |time: Option<Timestamp>| Some(json!(time.map(Timestamp::iso).unwrap_or_default()));
    put("LatestDeliveryAttemptTime", iso(status.latest_delivery_attempt_at));
    put("LatestNotificationAttemptTime", iso(status.latest_notification_attempt_at));
    put("LatestNotificationAttemptSucceeded", iso(status.latest_notification_at));
    put("LatestDeliveryAttemptSucceeded", iso(status.latest_delivery_at));
    put("TimeLoggingStarted", iso(trail.started_at));
    put("TimeLoggingStopped", iso(trail.stopped_at));
    Value::Object(members)
}
