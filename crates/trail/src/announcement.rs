//! What delivery leaves for the notifications: the log files that no topic was told of yet.
//!
//! Delivery writes [`ANNOUNCEMENTS`] in the transaction that moves its cursor, so that a committed file is announced
//! whatever happens next, and none before its commit; the notification stage removes what it has published.

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, Table, Tx};
use serde::{Deserialize, Serialize};

use crate::config::Trail;

/// Committed log files that are to be announced, by [`crate::chain::state_key`], time and object key.
pub(crate) const ANNOUNCEMENTS: Table<Announcement> = Table::new("trail.announcement", 1);

/// A log file that is to be announced on the topic that its trail has by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announcement {
    /// The bucket that it is in.
    pub(crate) bucket: String,
    /// Its key.
    pub(crate) object: String,
    /// When it was committed.
    pub(crate) delivered_at: Timestamp,
}

/// The text of the message, members in AWS's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    s3_bucket: &'a str,
    s3_object_key: [&'a str; 1],
}

impl Announcement {
    /// The message as AWS writes it: compact, without a subject, one for each log file.
    pub(crate) fn message(&self) -> String {
        let message = Message { s3_bucket: &self.bucket, s3_object_key: [&self.object] };
        serde_json::to_string(&message).expect("texts serialise to JSON")
    }
}

/// Keeps that a file is to be announced, where its trail has a topic.
pub(crate) fn owe(
    tx: &mut dyn Tx,
    state: &Key,
    trail: &Trail,
    file: &Announcement,
) -> Result<(), CatalogError> {
    if trail.sns_topic.is_none() {
        return Ok(());
    }
    let at = file.delivered_at.millis().unsigned_abs();
    ANNOUNCEMENTS.put(tx, state.clone().number(at).text(&file.object).bytes(), file)
}

/// Forgets what is to be announced for a trail that has no topic any more, or is gone.
pub(crate) fn forget(tx: &mut dyn Tx, state: &[u8]) -> Result<(), CatalogError> {
    for (key, _) in ANNOUNCEMENTS.scan_prefix(tx, state)? {
        ANNOUNCEMENTS.delete(tx, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Announcement {
        let object = "p/AWSLogs/1/CloudTrail/\"x\".json.gz".to_owned();
        Announcement { bucket: "logs".to_owned(), object, delivered_at: Timestamp::from_seconds(7) }
    }

    #[test]
    fn the_message_names_bucket_and_key_as_aws_does() {
        let message = r#"{"s3Bucket":"logs","s3ObjectKey":["p/AWSLogs/1/CloudTrail/\"x\".json.gz"]}"#;
        assert_eq!(file().message(), message);
    }

    /// What version 1 looks like on disk: this text must stay readable for ever.
    #[test]
    fn an_announcement_is_written_as_ever() {
        let golden =
            r#"{"bucket":"logs","object":"p/AWSLogs/1/CloudTrail/\"x\".json.gz","delivered_at":7000}"#;
        assert_eq!(serde_json::to_string(&file()).unwrap(), golden);
        assert_eq!(serde_json::from_str::<Announcement>(golden).unwrap(), file());
    }
}
