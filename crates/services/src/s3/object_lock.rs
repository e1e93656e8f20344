//! Object lock: versions that nobody deletes before their time, root included.
//!
//! On the road: [`super::version`] asks [`Hold::guard`] before a version goes for good, whoever asked for it, and gives
//! new objects their bucket's default retention. Invariants: a bucket's lock is never taken away; a COMPLIANCE
//! retention never gets shorter; a GOVERNANCE one only for who may and says so.
//! Source: the S3 user guide's pages on object lock; codes and messages as S3 answers them.

use std::time::Duration;

use cairn_core::Timestamp;
use cairn_wire::{Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::S3;
use super::error::{Failure, fail, invalid_argument, invalid_request, malformed_xml, method_not_allowed};
use super::params::Params;
use super::state::{Bucket, VERSIONS, Version, Versioning, version_key};
use super::version;
use crate::Caller;

/// The longest default retention.
const DEFAULT_DAYS_MAX: u32 = 36_500;
const DEFAULT_YEARS_MAX: u32 = 100;
const DAYS_PER_YEAR: u64 = 365;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// A bucket's object lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectLock {
    pub(super) default_retention: Option<DefaultRetention>,
}

/// What a new object gets that asks for nothing itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DefaultRetention {
    mode: Mode,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Period {
    Days(u32),
    Years(u32),
}

impl Period {
    fn duration(self) -> Duration {
        let days = match self {
            Self::Days(days) => u64::from(days),
            Self::Years(years) => u64::from(years) * DAYS_PER_YEAR,
        };
        Duration::from_secs(days * SECONDS_PER_DAY)
    }
}

/// How hard a retention is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    /// Who has `s3:BypassGovernanceRetention` may lift it.
    Governance,
    /// Nobody may.
    Compliance,
}

impl Mode {
    fn named(name: &str) -> Option<Self> {
        match name {
            "GOVERNANCE" => Some(Self::Governance),
            "COMPLIANCE" => Some(Self::Compliance),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// Until when a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Retention {
    mode: Mode,
    until: Timestamp,
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    retention: Option<Retention>,
    /// None where nobody ever set it.
    legal_hold: Option<bool>,
}

impl Hold {
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What a write asks for in its headers.
    pub(super) fn requested(params: Params<'_>, now: Timestamp) -> Result<Self, Failure> {
        let legal_hold = match params.text("ObjectLockLegalHoldStatus") {
            None => None,
            Some("ON") => Some(true),
            Some("OFF") => Some(false),
            Some(other) => {
                let name = "x-amz-object-lock-legal-hold";
                return Err(invalid_argument("Legal Hold must be either of 'ON' or 'OFF'", name, other));
            }
        };
        let retention = match (params.text("ObjectLockMode"), params.number("ObjectLockRetainUntilDate")) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let known = Mode::named(mode).ok_or_else(|| {
                    invalid_argument("Unknown wormMode directive.", "x-amz-object-lock-mode", mode)
                })?;
                Some(Retention { mode: known, until: in_the_future(until, now)? })
            }
            _ => {
                return Err(fail(
                    400,
                    "InvalidArgument",
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
                ));
            }
        };
        Ok(Self { retention, legal_hold })
    }

    /// Refuses a hold in a bucket that has no lock; gives the bucket's default retention where none was asked for.
    pub(super) fn settle(&mut self, bucket: &Bucket, now: Timestamp) -> Result<(), Failure> {
        let Some(lock) = bucket.object_lock else {
            return if self.is_none() { Ok(()) } else { Err(no_configuration()) };
        };
        if let (None, Some(default)) = (self.retention, lock.default_retention) {
            self.retention =
                Some(Retention { mode: default.mode, until: now.plus(default.period.duration()) });
        }
        Ok(())
    }

    /// Refuses to let the version go at `now`. `bypass`: the caller may lift a GOVERNANCE retention and says so.
    pub(super) fn guard(&self, now: Timestamp, bypass: bool) -> Result<(), Failure> {
        let retained = self.retention.is_some_and(|retention| {
            retention.until > now && !(bypass && retention.mode == Mode::Governance)
        });
        if retained || self.legal_hold == Some(true) { Err(protected()) } else { Ok(()) }
    }

    /// As replies show it.
    pub(super) fn show(&self, reply: &mut Map<String, Value>) {
        if let Some(retention) = self.retention {
            reply.insert("ObjectLockMode".into(), retention.mode.name().into());
            reply.insert("ObjectLockRetainUntilDate".into(), retention.until.seconds().into());
        }
        if let Some(on) = self.legal_hold {
            reply.insert("ObjectLockLegalHoldStatus".into(), status(on).into());
        }
    }

    /// Takes another retention, or none, where the one there allows it.
    fn retain(&mut self, wanted: Option<Retention>, now: Timestamp, bypass: bool) -> Result<(), Failure> {
        if let Some(current) = self.retention.filter(|current| current.until > now) {
            let extends =
                wanted.is_some_and(|wanted| wanted.until >= current.until && wanted.mode == current.mode);
            let lifted = bypass && current.mode == Mode::Governance;
            if !extends && !lifted {
                return Err(protected());
            }
        }
        self.retention = wanted;
        Ok(())
    }
}

fn status(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

fn in_the_future(until_seconds: i64, now: Timestamp) -> Result<Timestamp, Failure> {
    let until = Timestamp::from_seconds(until_seconds);
    if until > now {
        return Ok(until);
    }
    Err(invalid_argument(
        "The retain until date must be in the future!",
        "x-amz-object-lock-retain-until-date",
        &until.iso(),
    ))
}

fn protected() -> Failure {
    fail(403, "AccessDenied", "Access Denied because object protected by object lock.")
}

fn no_configuration() -> Failure {
    invalid_request("Bucket is missing Object Lock Configuration")
}

fn nothing_set() -> Failure {
    fail(
        404,
        "NoSuchObjectLockConfiguration",
        "The specified object does not have a ObjectLock configuration",
    )
}

/// Reads a bucket's configuration.
fn configuration(params: Params<'_>) -> Result<ObjectLock, Failure> {
    let wanted = params.part("ObjectLockConfiguration").ok_or_else(malformed_xml)?;
    if wanted.text("ObjectLockEnabled") != Some("Enabled") {
        return Err(malformed_xml());
    }
    let Some(rule) = wanted.part("Rule") else { return Ok(ObjectLock::default()) };
    let default = rule.part("DefaultRetention").ok_or_else(malformed_xml)?;
    let mode = default.text("Mode").and_then(Mode::named).ok_or_else(malformed_xml)?;
    let within = |number: i64, limit: u32| {
        if number <= 0 {
            let message = "Default retention period must be a positive integer value.";
            return Err(fail(400, "InvalidArgument", message));
        }
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= limit)
            .ok_or_else(|| fail(400, "InvalidArgument", "Default retention period too large."))
    };
    let period = match (default.number("Days"), default.number("Years")) {
        (Some(days), None) => Period::Days(within(days, DEFAULT_DAYS_MAX)?),
        (None, Some(years)) => Period::Years(within(years, DEFAULT_YEARS_MAX)?),
        _ => return Err(malformed_xml()),
    };
    Ok(ObjectLock { default_retention: Some(DefaultRetention { mode, period }) })
}

/// GetObjectLockConfiguration's answer.
pub(super) fn shown_configuration(lock: &ObjectLock) -> Value {
    let mut shown = json!({"ObjectLockEnabled": "Enabled"});
    if let Some(default) = lock.default_retention {
        let (unit, number) = match default.period {
            Period::Days(days) => ("Days", days),
            Period::Years(years) => ("Years", years),
        };
        shown["Rule"] = json!({"DefaultRetention": {"Mode": default.mode.name(), unit: number}});
    }
    json!({"ObjectLockConfiguration": shown})
}

/// The retention that a body asks for; none where it is empty, which takes the retention away.
fn wanted_retention(params: Params<'_>, now: Timestamp) -> Result<Option<Retention>, Failure> {
    let Some(wanted) = params.part("Retention") else { return Ok(None) };
    match (wanted.text("Mode"), wanted.number("RetainUntilDate")) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let mode = Mode::named(mode).ok_or_else(malformed_xml)?;
            Ok(Some(Retention { mode, until: in_the_future(until, now)? }))
        }
        _ => Err(malformed_xml()),
    }
}

impl S3 {
    pub(super) async fn set_object_lock(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let lock = configuration(params)?;
        self.change_bucket(params.bucket(), move |bucket| {
            if bucket.versioning != Versioning::Enabled {
                return Err(invalid_state(
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
                ));
            }
            bucket.object_lock = Some(lock);
            Ok(())
        })
        .await
    }

    /// PutObjectRetention and PutObjectLegalHold.
    pub(super) async fn set_hold(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let (now, bypass) = (caller.now, params.flag("BypassGovernanceRetention"));
        if call.operation == "PutObjectLegalHold" {
            let on = match params.part("LegalHold").and_then(|hold| hold.text("Status")) {
                Some("ON") => true,
                Some("OFF") => false,
                _ => return Err(malformed_xml()),
            };
            return self
                .change_hold(params, move |hold| {
                    hold.legal_hold = Some(on);
                    Ok(())
                })
                .await;
        }
        let wanted = wanted_retention(params, now)?;
        self.change_hold(params, move |hold| hold.retain(wanted, now, bypass)).await
    }

    async fn change_hold(
        &self,
        params: Params<'_>,
        change: impl Fn(&mut Hold) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let (bucket, key) = (params.bucket().to_owned(), params.key().to_owned());
        let version_id = params.version_id().map(str::to_owned);
        self.catalog
            .write(move |tx| {
                let (bucket, mut found) = locked_version(tx, &bucket, &key, version_id.as_deref())?;
                let Some(object) = &mut found.object else { return Err(method_not_allowed("PUT")) };
                change(&mut object.attributes.hold)?;
                let row = version_key(&bucket.name, &key, found.sequence);
                Ok::<_, Failure>(VERSIONS.put(tx, row.bytes(), &found)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    /// GetObjectRetention and GetObjectLegalHold.
    pub(super) async fn read_hold(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let (bucket, key) = (params.bucket().to_owned(), params.key().to_owned());
        let version_id = params.version_id().map(str::to_owned);
        let found = self
            .catalog
            .read(move |tx| Ok::<_, Failure>(locked_version(tx, &bucket, &key, version_id.as_deref())?.1))
            .await?;
        let hold = found.object.ok_or_else(|| method_not_allowed("GET"))?.attributes.hold;
        let shown = if call.operation == "GetObjectLegalHold" {
            json!({"LegalHold": {"Status": status(hold.legal_hold.ok_or_else(nothing_set)?)}})
        } else {
            let retention = hold.retention.ok_or_else(nothing_set)?;
            json!({"Retention": {
                "Mode": retention.mode.name(),
                "RetainUntilDate": retention.until.seconds(),
            }})
        };
        Ok(Reply::of(&shown))
    }
}

/// A version in a bucket that has a lock.
fn locked_version(
    tx: &mut dyn cairn_store::Tx,
    bucket: &str,
    key: &str,
    version_id: Option<&str>,
) -> Result<(Bucket, Version), Failure> {
    let bucket = version::bucket(tx, bucket)?;
    if bucket.object_lock.is_none() {
        return Err(no_configuration());
    }
    let found = version::find(tx, &bucket.name, key, version_id)?;
    Ok((bucket, found))
}

/// A bucket that is in no state for what is asked.
pub(super) fn invalid_state(message: &str) -> Failure {
    fail(409, "InvalidBucketState", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_000_000)
    }

    fn retained(mode: Mode, seconds: i64) -> Retention {
        Retention { mode, until: Timestamp::from_seconds(1_000_000 + seconds) }
    }

    fn guarded(hold: Hold, bypass: bool) -> bool {
        hold.guard(now(), bypass).is_err()
    }

    #[test]
    fn a_version_is_kept_by_its_retention_or_its_legal_hold() {
        let held = |retention, legal_hold| Hold { retention, legal_hold };
        for (hold, without, with_bypass) in [
            (held(None, None), false, false),
            (held(None, Some(false)), false, false),
            (held(None, Some(true)), true, true),
            (held(Some(retained(Mode::Governance, 1)), None), true, false),
            (held(Some(retained(Mode::Compliance, 1)), None), true, true),
            (held(Some(retained(Mode::Compliance, 0)), None), false, false),
            (held(Some(retained(Mode::Governance, 1)), Some(true)), true, true),
        ] {
            assert_eq!((guarded(hold, false), guarded(hold, true)), (without, with_bypass), "{hold:?}");
        }
    }

    #[test]
    fn a_retention_gets_longer_for_all_and_shorter_for_few() {
        let change = |from: Option<Retention>, to: Option<Retention>, bypass| {
            Hold { retention: from, legal_hold: None }.retain(to, now(), bypass).is_ok()
        };
        let governance = |seconds| Some(retained(Mode::Governance, seconds));
        let compliance = |seconds| Some(retained(Mode::Compliance, seconds));
        for (from, to, without, with_bypass) in [
            (None, governance(5), true, true),
            (governance(5), governance(9), true, true),
            (governance(5), governance(3), false, true),
            (governance(5), None, false, true),
            (governance(5), compliance(5), false, true),
            (governance(-1), None, true, true),
            (compliance(5), compliance(9), true, true),
            (compliance(5), compliance(3), false, false),
            (compliance(5), governance(9), false, false),
            (compliance(5), None, false, false),
        ] {
            assert_eq!(
                (change(from, to, false), change(from, to, true)),
                (without, with_bypass),
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn a_configuration_has_days_or_years_within_their_limits() {
        let read = |default: Value| {
            let params = json!({"ObjectLockConfiguration": {
                "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": default},
            }});
            configuration(Params(&params)).map_err(|failure| failure.0.code.into_owned())
        };
        let lock = read(json!({"Mode": "COMPLIANCE", "Years": 2})).unwrap();
        let period = lock.default_retention.unwrap().period;
        assert_eq!(period.duration(), Duration::from_secs(2 * 365 * 24 * 60 * 60));
        for (default, code) in [
            (json!({"Mode": "COMPLIANCE", "Days": 0}), "InvalidArgument"),
            (json!({"Mode": "COMPLIANCE", "Days": 36_501}), "InvalidArgument"),
            (json!({"Mode": "COMPLIANCE", "Years": 101}), "InvalidArgument"),
            (json!({"Mode": "COMPLIANCE", "Years": 1, "Days": 1}), "MalformedXML"),
            (json!({"Mode": "SOFT", "Days": 1}), "MalformedXML"),
            (json!({"Mode": "GOVERNANCE"}), "MalformedXML"),
        ] {
            assert_eq!(read(default.clone()).unwrap_err(), code, "{default}");
        }
    }
}
