//! Checks a lifecycle configuration that is to be put, with S3's codes and messages.
//!
//! Source: S3's answers as they are quoted in issues and recorded by others; the user guide's pages on lifecycle rules
//! where there is none.

use std::collections::HashSet;

use cairn_core::Timestamp;
use serde_json::Value;

use super::super::error::{Failure, fail, invalid_argument, invalid_request, malformed_xml};
use super::super::params::Params;
use super::super::storage_class::StorageClass;
use super::DAY;
use super::rules::{Date, Expiration, Filter, MinimumSize, Rule, Wanted};

/// Rules of one bucket.
const RULES_MAX: usize = 1000;
/// Characters of a rule's ID.
const ID_LENGTH_MAX: usize = 255;
/// Characters of a tag's key and value.
const TAG_KEY_LENGTH_MAX: usize = 128;
const TAG_VALUE_LENGTH_MAX: usize = 256;
/// The largest size that a filter may name.
const FILTER_SIZE_BYTES_MAX: i64 = 1_099_511_627_776_000;
/// For how long objects stay in their class before they may move to one of infrequent access, and in that one.
const INFREQUENT_ACCESS_DAYS_MIN: i64 = 30;

/// The rules of a call, each with an ID: `new_id` gives one to those that have none.
pub(super) fn rules(params: Params<'_>, new_id: impl Fn() -> String) -> Result<Vec<Rule>, Failure> {
    let listed = params.part("LifecycleConfiguration").map_or(&[][..], |part| part.list("Rules"));
    if listed.is_empty() {
        return Err(malformed_xml());
    }
    if listed.len() > RULES_MAX {
        return Err(invalid_request(
            "The number of lifecycle rules must not exceed the allowed limit of 1000 rules.",
        ));
    }
    let mut rules = Vec::with_capacity(listed.len());
    for value in listed {
        let mut rule: Rule = serde_json::from_value(value.clone()).map_err(|_| malformed_xml())?;
        if rule.id.is_empty() {
            rule.id = new_id();
        }
        check_rule(&rule)?;
        rules.push(rule);
    }
    let mut ids = HashSet::new();
    if let Some(twice) = rules.iter().find(|rule| !ids.insert(rule.id.as_str())) {
        let message = "Rule ID must be unique. Found same ID for more than one rule";
        return Err(invalid_argument(message, "ID", &twice.id));
    }
    check_forms(&rules)?;
    Ok(rules)
}

/// What a call says of small objects.
pub(super) fn minimum_size(params: Params<'_>) -> Result<MinimumSize, Failure> {
    let Some(name) = params.text("TransitionDefaultMinimumObjectSize") else {
        return Ok(MinimumSize::default());
    };
    serde_json::from_value(Value::from(name))
        .map_err(|_| invalid_request(format!("Invalid TransitionDefaultMinimumObjectSize found: {name}")))
}

fn refused(message: impl Into<String>) -> Failure {
    fail(400, "InvalidArgument", message)
}

/// A configuration has rules of one form only: with prefixes of their own, or with filters.
fn check_forms(rules: &[Rule]) -> Result<(), Failure> {
    let first_has_filter = rules.first().is_some_and(|rule| rule.filter.is_some());
    if rules.iter().all(|rule| rule.filter.is_some() == first_has_filter) {
        return Ok(());
    }
    Err(invalid_request(if first_has_filter {
        "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter."
    } else {
        "Filter element can only be used in Lifecycle V2."
    }))
}

fn check_rule(rule: &Rule) -> Result<(), Failure> {
    if rule.id.chars().count() > ID_LENGTH_MAX {
        let message = "ID length should not exceed allowed limit of 255";
        return Err(invalid_argument(message, "ID", &rule.id));
    }
    if rule.prefix.is_some() == rule.filter.is_some() {
        return Err(malformed_xml());
    }
    if let Some(filter) = &rule.filter {
        check_filter(filter)?;
    }
    let wanted = rule.wanted();
    check_wanted(&wanted)?;
    let has_action = rule.expiration.is_some()
        || !rule.transitions.is_empty()
        || !rule.noncurrent_version_transitions.is_empty()
        || rule.noncurrent_version_expiration.is_some()
        || rule.abort_incomplete_multipart_upload.is_some();
    if !has_action {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    if let Some(expiration) = &rule.expiration {
        check_expiration(expiration, &wanted)?;
    }
    if let Some(abort) = &rule.abort_incomplete_multipart_upload {
        let days = abort.days_after_initiation.ok_or_else(malformed_xml)?;
        positive(days, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")?;
        check_without_tags_and_sizes("AbortIncompleteMultipartUpload", &wanted)?;
    }
    check_transitions(rule)?;
    check_noncurrent(rule)
}

fn check_filter(filter: &Filter) -> Result<(), Failure> {
    let count = |given: &[bool]| given.iter().filter(|given| **given).count();
    let direct = count(&[
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
        filter.and.is_some(),
    ]);
    let joined = filter.and.as_ref().map(|and| {
        let others = [
            and.prefix.is_some(),
            and.object_size_greater_than.is_some(),
            and.object_size_less_than.is_some(),
        ];
        count(&others) + and.tags.len()
    });
    if direct > 1 || joined.is_some_and(|joined| joined < 2) { Err(malformed_xml()) } else { Ok(()) }
}

fn check_wanted(wanted: &Wanted<'_>) -> Result<(), Failure> {
    let mut keys = HashSet::new();
    for tag in wanted.tags {
        if tag.key.is_empty() || tag.key.chars().count() > TAG_KEY_LENGTH_MAX {
            return Err(invalid_request("A Tag's Key must be a length between 1 and 128."));
        }
        if tag.value.chars().count() > TAG_VALUE_LENGTH_MAX {
            return Err(invalid_request("A Tag's Value must be a length between 0 and 256."));
        }
        if !keys.insert(tag.key.as_str()) {
            return Err(invalid_request("Duplicate Tag Keys are not allowed."));
        }
    }
    for (name, size, least) in
        [("ObjectSizeGreaterThan", wanted.larger_than, 0), ("ObjectSizeLessThan", wanted.smaller_than, 1)]
    {
        if size.is_some_and(|size| !(least..=FILTER_SIZE_BYTES_MAX).contains(&size)) {
            return Err(invalid_request(format!(
                "'{name}' should be between {least} and {FILTER_SIZE_BYTES_MAX}."
            )));
        }
    }
    if let (Some(larger), Some(smaller)) = (wanted.larger_than, wanted.smaller_than)
        && smaller <= larger
    {
        return Err(invalid_request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        ));
    }
    Ok(())
}

fn check_without_tags_and_sizes(action: &str, wanted: &Wanted<'_>) -> Result<(), Failure> {
    if !wanted.tags.is_empty() {
        return Err(invalid_request(format!("{action} cannot be specified with Tags.")));
    }
    if wanted.has_sizes() {
        return Err(invalid_request(format!("{action} cannot be specified with Object Size.")));
    }
    Ok(())
}

fn check_expiration(expiration: &Expiration, wanted: &Wanted<'_>) -> Result<(), Failure> {
    match (expiration.days, expiration.date, expiration.expired_object_delete_marker) {
        (Some(days), None, None) => positive(days, "Days", "Expiration"),
        (None, Some(date), None) => midnight(date),
        (None, None, Some(_)) => check_without_tags_and_sizes("ExpiredObjectDeleteMarker", wanted),
        _ => Err(malformed_xml()),
    }
}

fn positive(days: i64, member: &str, action: &str) -> Result<(), Failure> {
    if days > 0 {
        return Ok(());
    }
    let message = format!("'{member}' for {action} action must be a positive integer");
    Err(invalid_argument(&message, member, &days.to_string()))
}

fn midnight(Date(at): Date) -> Result<(), Failure> {
    if at.floor(DAY) == at {
        return Ok(());
    }
    Err(invalid_argument("'Date' must be at midnight GMT", "Date", &at.iso_millis()))
}

/// What S3's messages call a rule's filter.
fn filter_text(rule: &Rule) -> String {
    let prefix = rule.wanted().prefix.to_owned();
    if rule.filter.is_some() { format!("filter '(prefix={prefix})'") } else { format!("prefix '{prefix}'") }
}

/// A transition's time: days, or a date.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    Days(i64),
    Date(Timestamp),
}

impl When {
    fn member(self) -> &'static str {
        match self {
            Self::Days(_) => "Days",
            Self::Date(_) => "Date",
        }
    }

    fn plus_days(self, days: i64) -> Self {
        match self {
            Self::Days(own) => Self::Days(own + days),
            Self::Date(own) => Self::Date(own.plus(DAY * u32::try_from(days).unwrap_or_default())),
        }
    }
}

fn when(days: Option<i64>, date: Option<Date>) -> Result<When, Failure> {
    match (days, date) {
        (Some(days), None) => Ok(When::Days(days)),
        (None, Some(date)) => {
            midnight(date)?;
            Ok(When::Date(date.0))
        }
        _ => Err(malformed_xml()),
    }
}

fn check_transitions(rule: &Rule) -> Result<(), Failure> {
    let mut steps = Vec::new();
    for transition in &rule.transitions {
        check_class(transition.storage_class)?;
        let when = when(transition.days, transition.date)?;
        if let When::Days(days) = when {
            check_first_days(days, "Days", "Transition", transition.storage_class)?;
        }
        steps.push((transition.storage_class, when));
    }
    let text = filter_text(rule);
    if steps.iter().any(|(_, when)| when.member() != steps[0].1.member()) {
        return Err(invalid_request(format!(
            "Found mixed 'Date' and 'Days' based Transition actions in lifecycle rule for {text}"
        )));
    }
    check_waterfall(&mut steps, "Transition", "", &text)?;
    let Some(expiration) = &rule.expiration else { return Ok(()) };
    if steps.is_empty() || expiration.expired_object_delete_marker.is_some() {
        return Ok(());
    }
    let end = when(expiration.days, expiration.date)?;
    if end.member() != steps[0].1.member() {
        return Err(invalid_request(format!(
            "Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for {text}"
        )));
    }
    if steps.iter().any(|(_, when)| end <= *when) {
        let member = end.member();
        return Err(refused(format!(
            "'{member}' in the Expiration action for {text} must be greater than '{member}' in the Transition action"
        )));
    }
    Ok(())
}

/// Nothing moves to the classes that objects begin in.
fn check_class(class: StorageClass) -> Result<(), Failure> {
    match class {
        StorageClass::Standard | StorageClass::ReducedRedundancy => Err(malformed_xml()),
        _ => Ok(()),
    }
}

fn check_first_days(days: i64, member: &str, action: &str, class: StorageClass) -> Result<(), Failure> {
    if days < 0 {
        return Err(refused(format!("'{member}' in {action} action must be nonnegative")));
    }
    let is_infrequent = matches!(class, StorageClass::StandardIa | StorageClass::OnezoneIa);
    if is_infrequent && days < INFREQUENT_ACCESS_DAYS_MIN {
        return Err(refused(format!(
            "'{member}' in {action} action must be greater than or equal to {INFREQUENT_ACCESS_DAYS_MIN} for \
             storageClass '{}'",
            class.name()
        )));
    }
    Ok(())
}

/// Each class once, and each step later than the one before it.
fn check_waterfall(
    steps: &mut [(StorageClass, When)],
    action: &str,
    noncurrent: &str,
    text: &str,
) -> Result<(), Failure> {
    steps.sort_by_key(|(class, _)| *class);
    for pair in steps.windows(2) {
        let [(from, first), (to, second)] = pair else { continue };
        if from == to {
            return Err(invalid_request(format!(
                "'StorageClass' must be different for '{action}' actions in same 'Rule' with {text}"
            )));
        }
        let is_infrequent = matches!(from, StorageClass::StandardIa | StorageClass::OnezoneIa);
        let (least, how) = if is_infrequent {
            (first.plus_days(INFREQUENT_ACCESS_DAYS_MIN), "30 days more than")
        } else {
            (first.plus_days(1), "greater than")
        };
        if *second < least {
            let member = format!("{noncurrent}{}", first.member());
            return Err(refused(format!(
                "'{member}' in the '{action}' action for StorageClass '{}' for {text} must be {how} '{member}' in the \
                 '{action}' action for StorageClass '{}'",
                to.name(),
                from.name()
            )));
        }
    }
    Ok(())
}

fn check_noncurrent(rule: &Rule) -> Result<(), Failure> {
    let expiration = rule.noncurrent_version_expiration.as_ref();
    let transitions = &rule.noncurrent_version_transitions;
    let newer = transitions.iter().filter_map(|transition| transition.newer_noncurrent_versions);
    let newer = newer.chain(expiration.and_then(|expiration| expiration.newer_noncurrent_versions));
    for count in newer {
        if rule.filter.is_none() {
            return Err(invalid_request("NewerNoncurrentVersions element can only be used in Lifecycle V2."));
        }
        if count <= 0 {
            return Err(refused("'NewerNoncurrentVersions' must be a positive integer"));
        }
    }
    let mut steps = Vec::new();
    for transition in transitions {
        check_class(transition.storage_class)?;
        let days = transition.noncurrent_days.ok_or_else(malformed_xml)?;
        check_first_days(days, "NoncurrentDays", "NoncurrentVersionTransition", transition.storage_class)?;
        steps.push((transition.storage_class, When::Days(days)));
    }
    let text = filter_text(rule);
    check_waterfall(&mut steps, "NoncurrentVersionTransition", "Noncurrent", &text)?;
    let Some(expiration) = expiration else { return Ok(()) };
    let days = expiration.noncurrent_days.ok_or_else(malformed_xml)?;
    positive(days, "NoncurrentDays", "NoncurrentVersionExpiration")?;
    if steps.iter().any(|(_, when)| When::Days(days) <= *when) {
        return Err(refused(format!(
            "'NoncurrentDays' in the NoncurrentVersionExpiration action for {text} must be greater than \
             'NoncurrentDays' in the NoncurrentVersionTransition action"
        )));
    }
    Ok(())
}
