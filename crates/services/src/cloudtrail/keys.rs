//! ListPublicKeys: the public halves of the keys that a region's digests were signed with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_trail::PublicKey;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::{CloudTrail, reply};
use crate::service::Caller;

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
        let (start, end) = (request.start_time.map(timestamp), request.end_time.map(timestamp));
        if start.unwrap_or(caller.now) > end.unwrap_or(caller.now) {
            return Err(failure::invalid_time_range("The start time must not be after the end time.").into());
        }
        // Asked for no time, that is the current key alone, though two are valid for a while.
        let keys =
            self.deps.keys.public_keys(&caller.region, start, end).await.map_err(AwsError::internal)?;
        let shown: Vec<_> = keys.iter().map(shown).collect();
        Ok(json!({"PublicKeyList": shown}))
    }
}

fn shown(key: &PublicKey) -> Value {
    json!({
        "Value": STANDARD.encode(&key.pkcs1_der),
        "ValidityStartTime": reply::seconds(key.valid_from),
        "ValidityEndTime": reply::seconds(key.valid_until),
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
