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

/// The trail `arn` as `account` has it: its own, or its part of an organization's trail while it is a member.
///
/// # Errors
/// The catalog's failure.
pub fn find_trail(
    tx: &mut dyn Tx,
    arn: &TrailArn,
    account: &AccountId,
) -> Result<Option<Trail>, CatalogError> {
    let key = if arn.account() == *account { trail_key(arn) } else { shadow_key(arn, account) };
    Ok(TRAILS.get(tx, key.bytes())?.filter(|trail| !trail.is_retired()))
}

/// The key of a trail in [`TRAILS`] and [`STATUSES`]: account, home region, name.
#[must_use]
pub fn trail_key(arn: &TrailArn) -> Key {
    Key::new().text(arn.account().as_str()).text(arn.region().as_str()).text(arn.name())
}

/// The key of the part of an organization's trail that takes a member's events. No trail has such a name.
fn shadow_key(arn: &TrailArn, member: &AccountId) -> Key {
    let name = format!("{}/{}", arn.account(), arn.name());
    Key::new().text(member.as_str()).text(arn.region().as_str()).text(&name)
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

/// What makes a row of [`TRAILS`] a member's part of an organization's trail. It has the configuration of the
/// management account's row, and a cursor, a status and a digest chain of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// The member, whose events it takes.
    pub account: AccountId,
    /// Whether the account is no longer a member: what it did before is still delivered.
    pub retired: bool,
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
    /// The SNS topic to announce files on, as it was given: a short name or an ARN.
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
    /// The end of the log when the trail was given a log group: the first position that this gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_group_since: Option<LogPosition>,
    /// The KMS key for log files, where configured.
    pub kms_key_id: Option<String>,
    /// Whether the trail is one of an organization.
    pub organization: bool,
    /// The organization, `o-…`, which its keys have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
    /// Where this is a member's part of an organization's trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
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
            log_group_since: None,
            kms_key_id: None,
            organization: false,
            organization_id: None,
            shadow: None,
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

    /// Whether this is the part of an account that is no longer a member.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.shadow.as_ref().is_some_and(|shadow| shadow.retired)
    }

    /// The account whose events the trail takes.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.shadow.as_ref().map_or_else(|| self.arn.account(), |shadow| shadow.account.clone())
    }

    /// Its key in [`TRAILS`] and [`STATUSES`].
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.shadow {
            None => trail_key(&self.arn),
            Some(shadow) => shadow_key(&self.arn, &shadow.account),
        }
    }

    /// The part of this organization's trail that takes the events of `member`, not logging yet.
    #[must_use]
    pub fn shadow_for(&self, member: AccountId, incarnation: u64) -> Self {
        let mut shadow = Self::new(self.arn.clone(), incarnation, self.bucket.clone(), self.created_at);
        shadow.shadow = Some(Shadow { account: member, retired: false });
        shadow
    }

    /// Makes of a member's part what the trail is in its `home`, or lets it end where `is_member` is false. It begins
    /// at `log_end`; where it ends, the record of the call that ends it is the last that it takes.
    pub fn follow(&mut self, home: &Self, is_member: bool, at: Timestamp, log_end: LogPosition) {
        let Some(shadow) = &mut self.shadow else { return };
        shadow.retired = !is_member;
        if is_member {
            let own = self.clone();
            *self = Self {
                incarnation: own.incarnation,
                organization: own.organization,
                organization_id: own.organization_id,
                shadow: own.shadow,
                log_file_validation: own.log_file_validation,
                logging: own.logging,
                started_at: own.started_at,
                stopped_at: own.stopped_at,
                logging_spans: own.logging_spans,
                chain_started_at: own.chain_started_at,
                chain_stopped_at: own.chain_stopped_at,
                ..home.clone()
            };
            self.set_organization(home.organization_id.clone(), at);
            self.set_log_file_validation(home.log_file_validation, at);
        }
        match (self.logging, home.logging && is_member) {
            (false, true) => self.start_logging(at, log_end),
            (true, false) => self.stop_logging(at, LogPosition(log_end.0 + 1)),
            _ => {}
        }
    }

    /// Gives the trail a log group and a role to write to it with, or takes both away, when the event log ended at
    /// `log_end`. Another log group goes on where the one before was.
    pub fn set_log_group(&mut self, group_and_role: Option<(String, String)>, log_end: LogPosition) {
        self.log_group_since = match (&self.cloud_watch_logs_group_arn, &group_and_role) {
            (_, None) => None,
            (None, Some(_)) => Some(log_end),
            (Some(_), Some(_)) => self.log_group_since.or(Some(log_end)),
        };
        (self.cloud_watch_logs_group_arn, self.cloud_watch_logs_role_arn) = group_and_role.unzip();
    }

    /// Makes the trail one of an organization, or of one account. Its digests are in another place then, so a new chain
    /// begins.
    pub fn set_organization(&mut self, id: Option<String>, at: Timestamp) {
        if self.organization_id == id {
            return;
        }
        self.organization = id.is_some();
        self.organization_id = id;
        let validated = self.log_file_validation;
        self.set_log_file_validation(false, at);
        self.set_log_file_validation(validated, at);
    }

    /// The ARN of the topic to announce files on: by a short name, one of the trail's account and home region.
    #[must_use]
    pub fn sns_topic_arn(&self) -> Option<String> {
        let topic = self.sns_topic.as_deref()?;
        if topic.starts_with("arn:") {
            return Some(topic.to_owned());
        }
        Some(format!("arn:aws:sns:{}:{}:{topic}", self.arn.region(), self.arn.account()))
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
    /// The last message that the topic took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_notification_at: Option<Timestamp>,
    /// Why the topic refused the last one; none after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_notification_error: Option<String>,
    /// The last attempt, successful or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_notification_attempt_at: Option<Timestamp>,
    /// The last events that reached the log group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_logs_delivery_at: Option<Timestamp>,
    /// Why the log group took no events; none after a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_logs_delivery_error: Option<String>,
}

/// Changes the status of `trail`, unless it was deleted meanwhile.
pub(crate) fn update_status(
    tx: &mut dyn Tx,
    trail: &Trail,
    change: impl FnOnce(&mut TrailStatus),
) -> Result<(), CatalogError> {
    let key = trail.key();
    let found = TRAILS.get(tx, key.bytes())?;
    if found.is_none_or(|found| found.incarnation != trail.incarnation) {
        return Ok(());
    }
    let mut status = STATUSES.get(tx, key.bytes())?.unwrap_or_default();
    change(&mut status);
    STATUSES.put(tx, key.bytes(), &status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn company() -> Trail {
        let arn = "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit".parse().unwrap();
        let mut trail = Trail::new(arn, 1, "logs".to_owned(), at(0));
        trail.set_log_file_validation(true, at(0));
        trail.set_organization(Some("o-exampleorg".to_owned()), at(0));
        trail.start_logging(at(1), LogPosition(10));
        trail
    }

    #[test]
    fn a_members_part_begins_with_the_membership_and_ends_with_it_and_may_begin_again() {
        let home = company();
        let mut part = home.shadow_for("444455556666".parse().unwrap(), 2);
        part.follow(&home, true, at(2), LogPosition(20));
        assert_eq!(part.logging_spans, [LoggingSpan { from: LogPosition(20), to: None }]);
        assert_eq!((part.chain_started_at, part.incarnation), (Some(at(2)), 2));
        assert_eq!(part.organization_id, home.organization_id);
        assert_eq!(part.account().as_str(), "444455556666");
        assert_ne!(part.key(), home.key());
        let again = part.clone();
        part.follow(&home, true, at(3), LogPosition(30));
        assert_eq!(part, again, "nothing changed");

        part.follow(&home, false, at(4), LogPosition(40));
        assert!(part.is_retired() && !part.logging);
        assert_eq!(part.logging_spans, [LoggingSpan { from: LogPosition(20), to: Some(LogPosition(41)) }]);
        assert_eq!(part.chain_stopped_at, Some(at(4)));
        part.follow(&home, true, at(5), LogPosition(50));
        assert_eq!(part.logging_spans.last(), Some(&LoggingSpan { from: LogPosition(50), to: None }));
        assert_eq!((part.chain_started_at, part.chain_stopped_at), (Some(at(5)), None));
    }

    #[test]
    fn a_trail_that_becomes_an_organizations_begins_a_new_chain() {
        let mut trail = company();
        trail.set_organization(None, at(7));
        assert_eq!((trail.chain_started_at, trail.organization), (Some(at(7)), false));
        trail.set_organization(None, at(8));
        assert_eq!(trail.chain_started_at, Some(at(7)), "nothing changed");
    }

    /// What version 1 looks like on disk: these texts must stay readable for ever.
    #[test]
    fn what_a_part_adds_is_written_as_ever() {
        let home = company();
        let mut part = home.shadow_for("444455556666".parse().unwrap(), 2);
        part.follow(&home, true, at(2), LogPosition(20));
        let written = serde_json::to_string(&part).unwrap();
        let added = r#""organization":true,"organization_id":"o-exampleorg","shadow":{"account":"444455556666","retired":false},"#;
        assert!(written.contains(added), "{written}");
        assert_eq!(serde_json::from_str::<Trail>(&written).unwrap(), part);
        let before: Trail =
            serde_json::from_str(&written.replace(added, r#""organization":false,"#)).unwrap();
        assert_eq!((before.organization_id, before.shadow), (None, None));
    }
}
