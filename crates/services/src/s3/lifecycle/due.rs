//! What the rules want of a version at a time: pure, so that a table of cases is its test.
//!
//! Days are counted from the version's creation, or from its successor's for older versions, and rounded up to the next
//! midnight UTC. Permanent deletion goes before transition, and that before the making of delete markers; of several
//! transitions the last class is taken. (S3 user guide: "Lifecycle configuration elements", "Conflicts".)

use std::time::Duration;

use cairn_core::Timestamp;

use super::super::state::Versioning;
use super::super::storage_class::StorageClass;
use super::rules::{Configuration, Date, MinimumSize, Rule, TRANSITION_SIZE_BYTES_MIN};

/// Now, and how long a day is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    pub(super) now: Timestamp,
    pub(super) day: Duration,
}

impl Calendar {
    /// When something is so many days old, rounded up to midnight.
    pub(super) fn after(&self, since: Timestamp, days: i64) -> Timestamp {
        let days = u32::try_from(days.max(0)).unwrap_or(u32::MAX);
        let reached = since.plus(self.day.saturating_mul(days));
        let midnight = reached.floor(self.day);
        if midnight == reached { reached } else { midnight.plus(self.day) }
    }

    fn is_over(&self, since: Timestamp, days: Option<i64>) -> bool {
        days.is_some_and(|days| self.after(since, days) <= self.now)
    }

    /// When a rule's days or date are reached.
    fn reached_at(&self, since: Timestamp, days: Option<i64>, date: Option<Date>) -> Option<Timestamp> {
        days.map(|days| self.after(since, days)).or(date.map(|date| date.0))
    }
}

/// A version, as rules look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) key: &'a str,
    pub(super) size_bytes: u64,
    pub(super) tags: &'a [(String, String)],
    pub(super) class: StorageClass,
    pub(super) is_marker: bool,
    pub(super) created_at: Timestamp,
    pub(super) place: Place,
}

/// Where a version stands among those of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the newest.
    Current {
        /// And there is no other.
        is_only: bool,
    },
    /// Another came after it.
    Noncurrent {
        /// When that was.
        since: Timestamp,
        /// How many others that are not current either came after it.
        newer: u32,
    },
}

/// What is to be done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The object is deleted as DeleteObject does it.
    Expire,
    /// The version goes for good.
    Remove,
    /// The class changes.
    Transition(StorageClass),
}

/// What is due, and by which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due<'a> {
    pub(super) action: Action,
    pub(super) rule: &'a str,
}

/// What is due now for a version.
pub(super) fn due<'a>(
    configuration: &'a Configuration,
    versioning: Versioning,
    facts: &Facts<'_>,
    calendar: Calendar,
) -> Option<Due<'a>> {
    let rules = || {
        configuration
            .rules
            .iter()
            .filter(|rule| rule.is_enabled() && rule.wanted().takes(facts.key, facts.size_bytes, facts.tags))
    };
    let found = |rule: &'a Rule, action| Due { action, rule: &rule.id };
    match facts.place {
        Place::Current { is_only } if facts.is_marker => {
            let cleans = |rule: &&Rule| is_only && removes_marker(rule, facts, calendar);
            rules().find(cleans).map(|rule| found(rule, Action::Remove))
        }
        Place::Current { .. } => {
            let expires = rules().find(|rule| expires(rule, facts, calendar));
            let expires = expires.map(|rule| found(rule, Action::Expire));
            let moves = transition(configuration, rules(), facts, calendar);
            if versioning == Versioning::Never { expires.or(moves) } else { moves.or(expires) }
        }
        Place::Noncurrent { since, newer } => {
            let removes = rules().find(|rule| removes_noncurrent(rule, since, newer, calendar));
            let removes = removes.map(|rule| found(rule, Action::Remove));
            removes.or_else(|| transition(configuration, rules(), facts, calendar))
        }
    }
}

/// Delete markers without versions go where a rule says so, and once they are as old as objects may be.
fn removes_marker(rule: &Rule, facts: &Facts<'_>, calendar: Calendar) -> bool {
    let Some(expiration) = &rule.expiration else { return false };
    expiration.expired_object_delete_marker == Some(true)
        || calendar.is_over(facts.created_at, expiration.days)
}

fn expires(rule: &Rule, facts: &Facts<'_>, calendar: Calendar) -> bool {
    let Some(expiration) = &rule.expiration else { return false };
    let at = calendar.reached_at(facts.created_at, expiration.days, expiration.date);
    at.is_some_and(|at| at <= calendar.now)
}

fn removes_noncurrent(rule: &Rule, since: Timestamp, newer: u32, calendar: Calendar) -> bool {
    let Some(expiration) = &rule.noncurrent_version_expiration else { return false };
    has_newer(newer, expiration.newer_noncurrent_versions)
        && calendar.is_over(since, expiration.noncurrent_days)
}

fn has_newer(newer: u32, kept: Option<i64>) -> bool {
    i64::from(newer) >= kept.unwrap_or_default()
}

/// The last class that the version may move to by now.
fn transition<'a>(
    configuration: &Configuration,
    rules: impl Iterator<Item = &'a Rule>,
    facts: &Facts<'_>,
    calendar: Calendar,
) -> Option<Due<'a>> {
    if facts.is_marker {
        return None;
    }
    let mut best: Option<(StorageClass, &Rule)> = None;
    for rule in rules {
        for class in reached_classes(rule, facts, calendar) {
            let fits = facts.class.can_become(class)
                && (rule.wanted().has_sizes()
                    || takes_size(configuration.minimum_size, class, facts.size_bytes));
            if fits && best.is_none_or(|(other, _)| class > other) {
                best = Some((class, rule));
            }
        }
    }
    best.map(|(class, rule)| Due { action: Action::Transition(class), rule: &rule.id })
}

fn reached_classes(rule: &Rule, facts: &Facts<'_>, calendar: Calendar) -> Vec<StorageClass> {
    match facts.place {
        Place::Current { .. } => rule
            .transitions
            .iter()
            .filter(|to| {
                let at = calendar.reached_at(facts.created_at, to.days, to.date);
                at.is_some_and(|at| at <= calendar.now)
            })
            .map(|to| to.storage_class)
            .collect(),
        Place::Noncurrent { since, newer } => rule
            .noncurrent_version_transitions
            .iter()
            .filter(|to| has_newer(newer, to.newer_noncurrent_versions))
            .filter(|to| calendar.is_over(since, to.noncurrent_days))
            .map(|to| to.storage_class)
            .collect(),
    }
}

fn takes_size(minimum: MinimumSize, class: StorageClass, size_bytes: u64) -> bool {
    let is_archive = matches!(class, StorageClass::Glacier | StorageClass::DeepArchive);
    let any_size = minimum == MinimumSize::VariesByStorageClass && is_archive;
    any_size || size_bytes >= TRANSITION_SIZE_BYTES_MIN
}

/// When a rule lets the current version of an object expire, and which does so first.
pub(super) fn expiration<'a>(
    configuration: &'a Configuration,
    facts: &Facts<'_>,
    calendar: Calendar,
) -> Option<(Timestamp, &'a str)> {
    let mut first: Option<(Timestamp, &str)> = None;
    for rule in configuration.rules.iter().filter(|rule| rule.is_enabled()) {
        let Some(expiration) = &rule.expiration else { continue };
        let Some(at) = calendar.reached_at(facts.created_at, expiration.days, expiration.date) else {
            continue;
        };
        let is_earlier = first.is_none_or(|(other, _)| at < other);
        if is_earlier && rule.wanted().takes(facts.key, facts.size_bytes, facts.tags) {
            first = Some((at, &rule.id));
        }
    }
    first
}

/// When an upload is given up that nobody completes, and by which rule.
pub(super) fn abort<'a>(
    configuration: &'a Configuration,
    key: &str,
    initiated_at: Timestamp,
    calendar: Calendar,
) -> Option<(Timestamp, &'a str)> {
    let mut first: Option<(Timestamp, &str)> = None;
    for rule in configuration.rules.iter().filter(|rule| rule.is_enabled()) {
        let abort = rule.abort_incomplete_multipart_upload.as_ref();
        let Some(days) = abort.and_then(|abort| abort.days_after_initiation) else { continue };
        let at = calendar.after(initiated_at, days);
        if key.starts_with(rule.wanted().prefix) && first.is_none_or(|(other, _)| at < other) {
            first = Some((at, &rule.id));
        }
    }
    first
}

#[cfg(test)]
mod tests;
