//! A trail as it is configured and what is known of its deliveries: the catalog's tables shared by the control plane,
//! which writes the configuration, and the stages, which read it and write the status.

use cairn_core::selector::EventSelection;
use cairn_core::{AccountId, Region, Timestamp, TrailArn};
use cairn_store::Table;
use cairn_store::catalog::Key;
use serde::{Deserialize, Serialize};

/// All trails, keyed by [`trail_key`].
pub const TRAILS: Table<Trail> = Table::new("trail.config", 1);

/// What is known of each trail's deliveries, keyed by [`trail_key`].
pub const STATUSES: Table<TrailStatus> = Table::new("trail.status", 1);

/// The key of a trail in [`TRAILS`] and [`STATUSES`]: account, home region, name.
#[must_use]
pub fn trail_key(arn: &TrailArn) -> Key {
    Key::new().text(arn.account().as_str()).text(arn.region().as_str()).text(arn.name())
}

/// The prefix of all trails of an account.
#[must_use]
pub fn account_prefix(account: &AccountId) -> Key {
    Key::new().text(account.as_str())
}

/// A trail's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// The trail's ARN, which holds its name, home region and account.
    pub arn: TrailArn,
    /// A number that no other trail ever had, so that a trail made anew under an old name starts a new cursor.
    pub incarnation: u64,
    /// The bucket for log and digest files.
    pub bucket: String,
    /// What comes before `AWSLogs/` in every key, without a closing slash.
    pub key_prefix: Option<String>,
    /// The SNS topic to announce files on, as it was given (kept and shown; announced once topics exist).
    pub sns_topic: Option<String>,
    /// Whether a single-region trail takes the events of global services.
    pub include_global_service_events: bool,
    /// Whether the trail takes the events of all regions.
    pub multi_region: bool,
    /// Whether digests are made.
    pub log_file_validation: bool,
    /// The log group to send events to, where configured.
    pub cloud_watch_logs_group_arn: Option<String>,
    /// The role for that.
    pub cloud_watch_logs_role_arn: Option<String>,
    /// The KMS key for log files, where configured.
    pub kms_key_id: Option<String>,
    /// Whether the trail is one of an organization.
    pub organization: bool,
    /// Which events the trail takes.
    pub selection: EventSelection,
    /// The insight types and their event categories, as PutInsightSelectors took them.
    pub insight_selectors: Vec<serde_json::Value>,
    /// Whether events are delivered now.
    pub logging: bool,
    /// The last StartLogging.
    pub started_at: Option<Timestamp>,
    /// The last StopLogging.
    pub stopped_at: Option<Timestamp>,
    /// When validation was last turned on, while logging: where the present digest chain begins. None while no
    /// digests are due.
    pub chain_started_at: Option<Timestamp>,
    /// Tags, in the order they were given.
    pub tags: Vec<(String, String)>,
    /// When the trail was made.
    pub created_at: Timestamp,
}

impl Trail {
    /// The trail's home region.
    #[must_use]
    pub fn home_region(&self) -> Region {
        self.arn.region()
    }
}

/// What is known of a trail's deliveries: the fields of GetTrailStatus that the stages write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailStatus {
    /// The last log file that reached the bucket.
    pub latest_delivery_at: Option<Timestamp>,
    /// Why the last attempt failed; none after a success.
    pub latest_delivery_error: Option<String>,
    /// The last attempt, successful or not.
    pub latest_delivery_attempt_at: Option<Timestamp>,
    /// The last digest that reached the bucket.
    pub latest_digest_delivery_at: Option<Timestamp>,
    /// Why the last digest attempt failed; none after a success.
    pub latest_digest_delivery_error: Option<String>,
}
