//! Lifecycle: rules of a bucket by which objects expire, change their storage class, and uploads are given up.
//!
//! On the road: the operations keep the rules ([`rules`], [`check`]); [`stage`] executes them by the clock that is handed
//! in; [`due`] alone says what is due. Every action is recorded ([`record`]) and told to whom the bucket notifies.

mod apply;
mod check;
mod due;
mod record;
mod rules;
mod stage;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_store::{CatalogError, Tx};
use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use self::apply::facts;
use self::due::{Calendar, Place};
pub use self::record::RecordError;
use self::rules::{CONFIGURATIONS, Configuration};
pub use self::stage::{LifecycleError, LifecycleStage};
use super::S3;
use super::error::Failure;
use super::get::http_date;
use super::params::Params;
use super::settings::unset;
use super::state::{Upload, Version, bucket_key};
use super::version;

/// How long a day is, unless a test makes it shorter.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What S3 needs to know of lifecycles.
pub(super) struct Lifecycle {
    /// How long the days of rules are.
    day: Duration,
    /// Counts the times that rules were put or taken away; wakes who executes them.
    changed: watch::Sender<u64>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { day: DAY, changed: watch::Sender::new(0) }
    }
}

impl Lifecycle {
    /// One whose days are so long.
    pub(super) fn with_day(day: Duration) -> Self {
        Self { day, ..Self::default() }
    }

    /// How long the days of rules are.
    pub(super) fn day(&self) -> Duration {
        self.day
    }
}

impl S3 {
    pub(super) async fn put_lifecycle(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let bucket = params.bucket().to_owned();
        let new_id = || STANDARD.encode(self.entropy.event_id().as_str());
        let rules = check::rules(params, new_id)?;
        let minimum_size = check::minimum_size(params)?;
        let revision = self.entropy.event_id().to_string();
        let configuration = Configuration { revision, minimum_size, rules };
        self.catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                Ok::<_, Failure>(CONFIGURATIONS.put(tx, bucket_key(&bucket.name).bytes(), &configuration)?)
            })
            .await?;
        self.lifecycle.changed.send_modify(|times| *times += 1);
        Ok(Reply::of(&json!({"TransitionDefaultMinimumObjectSize": minimum_size})))
    }

    pub(super) async fn read_lifecycle(&self, call: &Call) -> Result<Reply, Failure> {
        let bucket = Params(&call.params).bucket().to_owned();
        let (bucket, found) = self
            .catalog
            .read(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                let found = CONFIGURATIONS.get(tx, bucket_key(&bucket.name).bytes())?;
                Ok::<_, Failure>((bucket, found))
            })
            .await?;
        let found = found.ok_or_else(|| unset("NoSuchLifecycleConfiguration", &bucket))?;
        Ok(Reply::of(&json!({
            "Rules": found.rules,
            "TransitionDefaultMinimumObjectSize": found.minimum_size,
        })))
    }

    pub(super) async fn delete_lifecycle(&self, call: &Call) -> Result<Reply, Failure> {
        let bucket = Params(&call.params).bucket().to_owned();
        self.catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                Ok::<_, Failure>(forget(tx, &bucket.name)?)
            })
            .await?;
        self.lifecycle.changed.send_modify(|times| *times += 1);
        Ok(Reply::empty())
    }
}

/// Takes a bucket's rules away.
pub(super) fn forget(tx: &mut dyn Tx, bucket: &str) -> Result<(), CatalogError> {
    CONFIGURATIONS.delete(tx, bucket_key(bucket).bytes())?;
    stage::forget(tx, bucket)
}

/// The `x-amz-expiration` header of a current version: when it expires, and by which rule.
pub(super) fn expiration(
    tx: &mut dyn Tx,
    bucket: &str,
    version: &Version,
    day: Duration,
) -> Result<Option<String>, CatalogError> {
    if version.object.is_none() {
        return Ok(None);
    }
    let Some(configuration) = CONFIGURATIONS.get(tx, bucket_key(bucket).bytes())? else { return Ok(None) };
    let facts = facts(version, Place::Current { is_only: false });
    let calendar = Calendar { now: version.modified_at, day };
    let found = due::expiration(&configuration, &facts, calendar);
    Ok(found.and_then(|(at, rule)| {
        Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(at.seconds())?, header_text(rule)))
    }))
}

/// When an upload is given up that nobody completes, and by which rule.
pub(super) fn abort_at(
    tx: &mut dyn Tx,
    bucket: &str,
    upload: &Upload,
    day: Duration,
) -> Result<Option<(Timestamp, String)>, CatalogError> {
    let Some(configuration) = CONFIGURATIONS.get(tx, bucket_key(bucket).bytes())? else { return Ok(None) };
    let calendar = Calendar { now: upload.initiated_at, day };
    let found = due::abort(&configuration, &upload.key, upload.initiated_at, calendar);
    Ok(found.map(|(at, rule)| (at, header_text(rule))))
}

/// As replies show it: `x-amz-abort-date` and `x-amz-abort-rule-id`.
pub(super) fn show_abort(abort: Option<&(Timestamp, String)>, reply: &mut Value) {
    if let (Some((at, rule)), Some(reply)) = (abort, reply.as_object_mut()) {
        show(reply, "AbortDate", at.seconds());
        show(reply, "AbortRuleId", rule.as_str());
    }
}

fn show(reply: &mut Map<String, Value>, member: &str, value: impl Into<Value>) {
    reply.insert(member.to_owned(), value.into());
}

/// A rule's ID as a header can have it: as it is, but for what no header carries.
fn header_text(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'"' | b'%' => text.push_str(&format!("%{byte:02X}")),
            b' '..=b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
