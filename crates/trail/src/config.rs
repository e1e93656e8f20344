//! A trail as it is configured and what is known of its deliveries: the catalog's tables shared by the control plane,
//! which writes the configuration, and the stages, which read it and write the status.

use cairn_core::selector::EventSelection;
use cairn_core::{AccountId, Region, Timestamp, TrailArn};
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, LogPosition, Table, Tx};
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

/// A stretch of the event log during which a trail was logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingSpan {
    /// The end of the log at StartLogging: the first position that the trail takes.
    pub from: LogPosition,
    /// The end of the log at StopLogging: the first position that the trail does not take; none while it is logging.
    pub to: Option<LogPosition>,
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
    /// The stretches of the event log whose events the trail takes, oldest first; only the last one may be open.
    /// Delivery drops the ones that it is through with.
    #[serde(default)]
    pub logging_spans: Vec<LoggingSpan>,
    /// When the last digest chain began: when the trail was first both logging and validated. None where it never was.
    pub chain_started_at: Option<Timestamp>,
    /// When that chain was broken by StopLogging or by turning validation off; none while it goes on.
    #[serde(default)]
    pub chain_stopped_at: Option<Timestamp>,
    /// Tags, in the order they were given.
    pub tags: Vec<(String, String)>,
    /// When the trail was made.
    pub created_at: Timestamp,
}

impl Trail {
    /// A trail as CreateTrail makes it where nothing else is said: of one region, not validated, not logging yet.
    #[must_use]
    pub fn new(arn: TrailArn, incarnation: u64, bucket: String, created_at: Timestamp) -> Self {
        Self {
            arn,
            incarnation,
            bucket,
            key_prefix: None,
            sns_topic: None,
            include_global_service_events: true,
            multi_region: false,
            log_file_validation: false,
            cloud_watch_logs_group_arn: None,
            cloud_watch_logs_role_arn: None,
            kms_key_id: None,
            organization: false,
            selection: EventSelection::default(),
            insight_selectors: Vec::new(),
            logging: false,
            started_at: None,
            stopped_at: None,
            logging_spans: Vec::new(),
            chain_started_at: None,
            chain_stopped_at: None,
            tags: Vec::new(),
            created_at,
        }
    }

    /// The trail's home region.
    #[must_use]
    pub fn home_region(&self) -> Region {
        self.arn.region()
    }

    /// Begins to log at `at`, when the event log ended at `log_end`. Nothing changes where the trail is logging.
    pub fn start_logging(&mut self, at: Timestamp, log_end: LogPosition) {
        if !self.logging {
            self.logging = true;
            self.started_at = Some(at);
            self.logging_spans.push(LoggingSpan { from: log_end, to: None });
            self.continue_or_break_chain(at);
        }
    }

    /// Stops logging at `at`, when the event log ended at `log_end`: earlier events are still delivered, later ones
    /// are not. Nothing changes where the trail is not logging.
    pub fn stop_logging(&mut self, at: Timestamp, log_end: LogPosition) {
        if self.logging {
            self.logging = false;
            self.stopped_at = Some(at);
            if let Some(span) = self.logging_spans.last_mut() {
                span.to = Some(log_end.max(span.from));
            }
            self.continue_or_break_chain(at);
        }
    }

    /// Turns log-file validation on or off at `at`: on begins a new digest chain, off breaks the present one.
    pub fn set_log_file_validation(&mut self, enabled: bool, at: Timestamp) {
        self.log_file_validation = enabled;
        self.continue_or_break_chain(at);
    }

    /// A chain lives while the trail is both logging and validated. A new one begins without a previous digest.
    fn continue_or_break_chain(&mut self, at: Timestamp) {
        let due = self.logging && self.log_file_validation;
        let alive = self.chain_started_at.is_some() && self.chain_stopped_at.is_none();
        if due && !alive {
            self.chain_started_at = Some(at);
            self.chain_stopped_at = None;
        } else if alive && !due {
            self.chain_stopped_at = Some(at);
        }
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

/// Changes the status of `trail`, unless it was deleted meanwhile.
pub(crate) fn update_status(
    tx: &mut dyn Tx,
    trail: &Trail,
    change: impl FnOnce(&mut TrailStatus),
) -> Result<(), CatalogError> {
    let key = trail_key(&trail.arn);
    let found = TRAILS.get(tx, key.bytes())?;
    if found.is_none_or(|found| found.incarnation != trail.incarnation) {
        return Ok(());
    }
    let mut status = STATUSES.get(tx, key.bytes())?.unwrap_or_default();
    change(&mut status);
    STATUSES.put(tx, key.bytes(), &status)
}
