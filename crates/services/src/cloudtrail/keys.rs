//! ListPublicKeys: the public halves of the keys that a region's digests were signed with.

use std::error::Error;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::{Region, Timestamp};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::{CloudTrail, reply};
use crate::service::Caller;

/// A key that digests of one region are verified with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The DER of the PKCS #1 `RSAPublicKey`.
    pub pkcs1_der: Bytes,
    /// From when on the key may have signed.
    pub valid_from: Timestamp,
    /// Until when the key may have signed.
    pub valid_to: Timestamp,
    /// MD5 of the DER, in lower-case hex.
    pub fingerprint: String,
}

/// Where the public keys come from: the keeper of the signing keys.
#[async_trait]
pub trait PublicKeys: Send + Sync + 'static {
    /// The keys of `region` whose validity meets the time from `start` to `end`.
    async fn public_keys(
        &self,
        region: &Region,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<PublicKey>, Box<dyn Error + Send + Sync>>;
}

/// ListPublicKeys' input. The real service takes any NextToken and ignores it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PublicKeysRequest {
    start_time: Option<f64>,
    end_time: Option<f64>,
}

impl CloudTrail {
    pub(super) async fn public_keys(
        &self,
        caller: &Caller,
        request: PublicKeysRequest,
    ) -> Result<Value, Failure> {
        let start = request.start_time.map_or(caller.now, timestamp);
        let end = request.end_time.map_or(caller.now, timestamp);
        if start > end {
            return Err(failure::invalid_time_range("The start time must not be after the end time.").into());
        }
        let found = self.deps.keys.public_keys(&caller.region, start, end).await;
        let mut keys = found.map_err(AwsError::internal)?;
        keys.sort_by_key(|key| key.valid_from);
        if request.start_time.is_none() && request.end_time.is_none() {
            // Asked for no time, the real service shows the current key only, though two are valid for a while.
            keys.drain(..keys.len().saturating_sub(1));
        }
        let shown: Vec<_> = keys.iter().map(shown).collect();
        Ok(json!({"PublicKeyList": shown}))
    }
}

fn shown(key: &PublicKey) -> Value {
    json!({
        "Value": STANDARD.encode(&key.pkcs1_der),
        "ValidityStartTime": reply::seconds(key.valid_from),
        "ValidityEndTime": reply::seconds(key.valid_to),
        "Fingerprint": key.fingerprint,
    })
}

/// A time as requests have it: epoch seconds.
pub(super) fn timestamp(seconds: f64) -> Timestamp {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a Timestamp is held to its range, and `as` saturates"
    )]
    Timestamp::from_millis((seconds * 1000.0).round() as i64)
}
