//! What is due, as a table of cases; dates are those of the user guide where it has an example.

use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn at(iso: &str) -> Timestamp {
    Timestamp::parse_iso(iso).unwrap()
}

fn calendar(now: &str) -> Calendar {
    Calendar { now: at(now), day: DAY }
}

fn configuration(rules: Value) -> Configuration {
    let rules = serde_json::from_value(rules).unwrap();
    Configuration { revision: String::new(), minimum_size: MinimumSize::default(), rules }
}

/// One rule without a filter, with these members.
fn rule(members: Value) -> Configuration {
    let mut rule = json!({"ID": "r", "Filter": {}, "Status": "Enabled"});
    rule.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    configuration(json!([rule]))
}

/// A megabyte made on 2014-01-15 at 10:30.
fn object() -> Facts<'static> {
    Facts {
        key: "tax/doc",
        size_bytes: 1 << 20,
        tags: &[],
        class: StorageClass::Standard,
        is_marker: false,
        created_at: at("2014-01-15T10:30:00Z"),
        place: Place::Current { is_only: true },
    }
}

fn noncurrent(newer: u32) -> Facts<'static> {
    Facts { place: Place::Noncurrent { since: at("2014-01-20T11:30:00Z"), newer }, ..object() }
}

fn marker(is_only: bool) -> Facts<'static> {
    Facts { is_marker: true, size_bytes: 0, place: Place::Current { is_only }, ..object() }
}

/// What is due in a bucket that keeps versions.
fn action(configuration: &Configuration, facts: &Facts<'_>, now: &str) -> Option<Action> {
    due(configuration, Versioning::Enabled, facts, calendar(now)).map(|due| due.action)
}

#[test]
fn days_are_rounded_up_to_the_next_midnight() {
    let after = |since: &str, days| calendar("2014-02-01T00:00:00Z").after(at(since), days).iso();
    assert_eq!(after("2014-01-15T10:30:00Z", 3), "2014-01-19T00:00:00Z");
    assert_eq!(after("2014-01-02T00:05:00Z", 1), "2014-01-04T00:00:00Z");
    assert_eq!(after("2014-01-15T10:30:00Z", 0), "2014-01-16T00:00:00Z");
    assert_eq!(after("2014-01-15T00:00:00Z", 1), "2014-01-16T00:00:00Z");
}

#[test]
fn an_object_expires_by_days_or_by_date_and_not_a_second_before() {
    let days = rule(json!({"Expiration": {"Days": 3}}));
    assert_eq!(action(&days, &object(), "2014-01-18T23:59:59Z"), None);
    assert_eq!(action(&days, &object(), "2014-01-19T00:00:00Z"), Some(Action::Expire));
    assert_eq!(action(&days, &noncurrent(0), "2015-01-01T00:00:00Z"), None, "older versions stay");
    let date = rule(json!({"Expiration": {"Date": at("2014-02-01T00:00:00Z").seconds()}}));
    assert_eq!(action(&date, &object(), "2014-01-31T23:59:59Z"), None);
    assert_eq!(action(&date, &object(), "2014-02-01T00:00:00Z"), Some(Action::Expire));
    let disabled =
        configuration(json!([{"ID": "r", "Prefix": "", "Status": "Disabled", "Expiration": {"Days": 1}}]));
    assert_eq!(action(&disabled, &object(), "2015-01-01T00:00:00Z"), None);
}

#[test]
fn a_delete_marker_goes_only_where_it_is_alone() {
    let cleans = rule(json!({"Expiration": {"ExpiredObjectDeleteMarker": true}}));
    assert_eq!(action(&cleans, &marker(true), "2014-01-15T10:30:00Z"), Some(Action::Remove));
    assert_eq!(action(&cleans, &marker(false), "2015-01-01T00:00:00Z"), None);
    let kept = rule(json!({"Expiration": {"ExpiredObjectDeleteMarker": false}}));
    assert_eq!(action(&kept, &marker(true), "2015-01-01T00:00:00Z"), None);
    // By the days of objects, too.
    let days = rule(json!({"Expiration": {"Days": 3}}));
    assert_eq!(action(&days, &marker(true), "2014-01-18T00:00:00Z"), None);
    assert_eq!(action(&days, &marker(true), "2014-01-19T00:00:00Z"), Some(Action::Remove));
}

#[test]
fn older_versions_go_by_the_age_of_their_successor_and_their_number() {
    let days = rule(json!({"NoncurrentVersionExpiration": {"NoncurrentDays": 5}}));
    assert_eq!(action(&days, &noncurrent(0), "2014-01-25T23:59:59Z"), None);
    assert_eq!(action(&days, &noncurrent(0), "2014-01-26T00:00:00Z"), Some(Action::Remove));
    assert_eq!(action(&days, &object(), "2015-01-01T00:00:00Z"), None, "the current version stays");
    let kept =
        rule(json!({"NoncurrentVersionExpiration": {"NoncurrentDays": 5, "NewerNoncurrentVersions": 2}}));
    assert_eq!(action(&kept, &noncurrent(1), "2015-01-01T00:00:00Z"), None);
    assert_eq!(action(&kept, &noncurrent(2), "2015-01-01T00:00:00Z"), Some(Action::Remove));
    assert_eq!(action(&kept, &noncurrent(2), "2014-01-25T00:00:00Z"), None);
    // An older delete marker is a version without bytes.
    let old_marker = Facts { is_marker: true, size_bytes: 0, ..noncurrent(0) };
    assert_eq!(action(&days, &old_marker, "2014-01-26T00:00:00Z"), Some(Action::Remove));
}

#[test]
fn an_object_moves_to_the_last_class_that_is_due_and_never_back() {
    let steps = rule(json!({"Transitions": [
        {"Days": 90, "StorageClass": "GLACIER"}, {"Days": 30, "StorageClass": "STANDARD_IA"},
    ]}));
    let moves = |class, now: &str| action(&steps, &Facts { class, ..object() }, now);
    assert_eq!(moves(StorageClass::Standard, "2014-02-14T00:00:00Z"), None);
    let to_ia = Some(Action::Transition(StorageClass::StandardIa));
    assert_eq!(moves(StorageClass::Standard, "2014-02-15T00:00:00Z"), to_ia);
    assert_eq!(moves(StorageClass::StandardIa, "2014-02-15T00:00:00Z"), None);
    let to_glacier = Some(Action::Transition(StorageClass::Glacier));
    assert_eq!(moves(StorageClass::Standard, "2015-01-01T00:00:00Z"), to_glacier);
    assert_eq!(moves(StorageClass::DeepArchive, "2015-01-01T00:00:00Z"), None);
    let older =
        rule(json!({"NoncurrentVersionTransitions": [{"NoncurrentDays": 0, "StorageClass": "GLACIER_IR"}]}));
    let to_instant = Some(Action::Transition(StorageClass::GlacierIr));
    assert_eq!(action(&older, &noncurrent(0), "2014-01-21T00:00:00Z"), to_instant);
    assert_eq!(action(&older, &object(), "2015-01-01T00:00:00Z"), None);
}

#[test]
fn small_objects_stay_unless_the_rule_says_of_which_size() {
    let now = "2015-01-01T00:00:00Z";
    let transition = json!([{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}]);
    let mut any = rule(json!({"Transitions": transition}));
    let small = Facts { size_bytes: 128 * 1024 - 1, ..object() };
    let enough = Facts { size_bytes: 128 * 1024, ..object() };
    assert_eq!(action(&any, &small, now), None);
    assert!(action(&any, &enough, now).is_some());
    any.minimum_size = MinimumSize::VariesByStorageClass;
    assert!(action(&any, &small, now).is_some());
    let instant = json!([{"Days": 1, "StorageClass": "GLACIER_IR"}]);
    let mut instant = rule(json!({"Transitions": instant}));
    instant.minimum_size = MinimumSize::VariesByStorageClass;
    assert_eq!(action(&instant, &small, now), None);
    let sized = rule(json!({"Filter": {"ObjectSizeGreaterThan": 1}, "Transitions": transition}));
    assert!(action(&sized, &small, now).is_some());
}

#[test]
fn what_deletes_for_good_goes_before_transitions_and_those_before_markers() {
    let now = "2015-01-01T00:00:00Z";
    let both = rule(json!({
        "Expiration": {"Days": 60},
        "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
        "NoncurrentVersionExpiration": {"NoncurrentDays": 60},
        "NoncurrentVersionTransitions": [{"NoncurrentDays": 30, "StorageClass": "STANDARD_IA"}],
    }));
    let moved = Some(Action::Transition(StorageClass::StandardIa));
    assert_eq!(action(&both, &object(), now), moved);
    let unversioned = due(&both, Versioning::Never, &object(), calendar(now));
    assert_eq!(unversioned.map(|due| due.action), Some(Action::Expire));
    assert_eq!(action(&both, &noncurrent(0), now), Some(Action::Remove));
    let there = Facts { class: StorageClass::StandardIa, ..object() };
    assert_eq!(action(&both, &there, now), Some(Action::Expire));
}

#[test]
fn the_header_names_the_rule_that_lets_an_object_expire_first() {
    let rules = configuration(json!([
        {"ID": "other", "Filter": {"Prefix": "x"}, "Status": "Enabled", "Expiration": {"Days": 1}},
        {"ID": "off", "Filter": {}, "Status": "Disabled", "Expiration": {"Days": 1}},
        {"ID": "late", "Filter": {}, "Status": "Enabled", "Expiration": {"Days": 9}},
        {"ID": "first", "Filter": {"Prefix": "tax/"}, "Status": "Enabled", "Expiration": {"Days": 7}},
        {"ID": "second", "Filter": {}, "Status": "Enabled", "Expiration": {"Days": 7}},
        {"ID": "marker", "Filter": {}, "Status": "Enabled", "Expiration": {"ExpiredObjectDeleteMarker": true}},
    ]));
    let (when, rule) = expiration(&rules, &object(), calendar("2014-01-15T10:30:00Z")).unwrap();
    assert_eq!((when.iso().as_str(), rule), ("2014-01-23T00:00:00Z", "first"));
    let tagged = rule_of_tag();
    assert_eq!(expiration(&tagged, &object(), calendar("2014-01-15T10:30:00Z")), None);
}

fn rule_of_tag() -> Configuration {
    rule(json!({"Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 7}}))
}

#[test]
fn an_upload_is_given_up_by_the_rule_that_comes_first() {
    let rules = configuration(json!([
        {"ID": "late", "Filter": {}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        {"ID": "early", "Filter": {"Prefix": "a/"}, "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    ]));
    let begun = at("2014-01-15T10:30:00Z");
    let of = |key: &str| {
        let (when, rule) = abort(&rules, key, begun, calendar("2014-01-15T10:30:00Z")).unwrap();
        (when.iso(), rule.to_owned())
    };
    assert_eq!(of("a/x"), ("2014-01-17T00:00:00Z".to_owned(), "early".to_owned()));
    assert_eq!(of("b"), ("2014-01-23T00:00:00Z".to_owned(), "late".to_owned()));
}
