//! Shard iterators and tokens of pages: sealed, so that nobody makes one, and good for five minutes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{Failure, fail, invalid, no_shard, of_store};
use super::name::StreamName;
use super::sequence::Sequence;
use super::state::{Shard, Stream};
use super::{Shared, views};
use crate::Caller;

/// How long an iterator and a token are good.
const VALIDITY: Duration = Duration::from_secs(300);

/// A place in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Iterator {
    /// The stream's ARN.
    #[serde(rename = "a")]
    pub(super) arn: String,
    /// Its id, since another may have its name.
    #[serde(rename = "i")]
    pub(super) stream_id: String,
    #[serde(rename = "s")]
    pub(super) shard: u32,
    #[serde(rename = "p")]
    pub(super) position: u64,
    #[serde(rename = "t")]
    pub(super) made: Timestamp,
}

impl Iterator {
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        is_expired(self.made, now)
    }
}

/// Whether what was made then is no longer good.
pub(super) fn is_expired(made: Timestamp, now: Timestamp) -> bool {
    now > made.plus(VALIDITY)
}

impl Shared {
    /// Seals what clients hand back later.
    pub(super) async fn seal_token(
        &self,
        caller: &Caller,
        kind: &'static str,
        token: &impl Serialize,
    ) -> Result<String, Failure> {
        let text = serde_json::to_vec(token).map_err(super::internal)?;
        let asker = crate::kms::Asker { caller: caller.clone(), service: "kinesis", conditions: Vec::new() };
        let key = self.cipher.sealing_key(&asker, "", None, VALIDITY).await?;
        Ok(STANDARD.encode(key.seal(kind.as_bytes(), text)?))
    }

    /// Opens it again; none where it is not one of this kind that was made here.
    pub(super) async fn open_token<T: DeserializeOwned>(
        &self,
        caller: &Caller,
        kind: &'static str,
        token: &str,
    ) -> Option<T> {
        let sealed = STANDARD.decode(token).ok()?;
        let asker = crate::kms::Asker { caller: caller.clone(), service: "kinesis", conditions: Vec::new() };
        let text = self.cipher.open(&asker, kind.as_bytes(), &sealed, VALIDITY).await.ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub(super) async fn seal_iterator(
        &self,
        caller: &Caller,
        (stream, shard): (&Stream, u32),
        position: u64,
    ) -> Result<String, Failure> {
        let (arn, stream_id) = (stream.name.arn(), stream.id.clone());
        let iterator = Iterator { arn, stream_id, shard, position, made: caller.now };
        self.seal_token(caller, "iterator", &iterator).await
    }

    pub(super) async fn open_iterator(&self, caller: &Caller, params: &Value) -> Result<Iterator, Failure> {
        let text = params.get("ShardIterator").and_then(Value::as_str).unwrap_or_default();
        let opened = self.open_token(caller, "iterator", text).await;
        opened.ok_or_else(|| invalid("Invalid ShardIterator."))
    }

    pub(super) async fn shard_iterator(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&StreamName::of_params(caller, params)?)?;
        let shard_id = params.get("ShardId").and_then(Value::as_str).unwrap_or_default();
        let shard = stream.shard_named(shard_id).ok_or_else(|| no_shard(shard_id, &stream.name))?;
        let text = |member: &str| params.get(member).and_then(Value::as_str);
        let kind = text("ShardIteratorType").unwrap_or_default();
        let sequence = text("StartingSequenceNumber");
        let position =
            self.starting_position(caller, (&stream, shard), kind, sequence, params.get("Timestamp"));
        let iterator = self.seal_iterator(caller, (&stream, shard.number), position.await?).await?;
        Ok(json!({ "ShardIterator": iterator }))
    }

    /// Where reading begins that is asked for by type.
    pub(super) async fn starting_position(
        &self,
        caller: &Caller,
        (stream, shard): (&Stream, &Shard),
        kind: &str,
        sequence: Option<&str>,
        time: Option<&Value>,
    ) -> Result<u64, Failure> {
        match kind {
            "TRIM_HORIZON" => Ok(0),
            "LATEST" => match shard.closed {
                Some(closed) => Ok(closed.end),
                None => Ok(self.store.bounds(&stream.store_key(shard.number)).map_err(of_store)?.1),
            },
            "AT_TIMESTAMP" => {
                let time = time.and_then(views::timestamp);
                let time =
                    time.ok_or_else(|| invalid("Must specify timestamp parameter for iterator type."))?;
                if time > caller.now {
                    return Err(invalid(format!(
                        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                         timestampInMillis: {}, currentTimestampInMillis: {}",
                        time.millis(),
                        caller.now.millis()
                    )));
                }
                if !shard.has_records() {
                    return Ok(0);
                }
                let key = stream.store_key(shard.number);
                self.store.position_at(&key, time).await.map_err(of_store)
            }
            _ => {
                let text = sequence.ok_or_else(|| {
                    invalid("Must specify startingSequenceNumber parameter for iterator type.")
                })?;
                let sequence = sequence_of(text, stream, shard)?;
                Ok(if kind == "AFTER_SEQUENCE_NUMBER" { sequence.after() } else { sequence.position() })
            }
        }
    }
}

fn sequence_of(text: &str, stream: &Stream, shard: &Shard) -> Result<Sequence, Failure> {
    let sequence = Sequence::parse(text).filter(|sequence| sequence.is_of(shard.number, shard.created));
    sequence.ok_or_else(|| {
        invalid(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account {} is invalid \
             because it did not come from this stream.",
            shard.id(),
            stream.name.name,
            stream.name.account
        ))
    })
}

pub(super) fn expired_iterator(iterator: &Iterator, now: Timestamp) -> Failure {
    fail(
        "ExpiredIteratorException",
        format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the \
             future than the tolerated delay of {} milliseconds.",
            iterator.made.record_text(),
            now.record_text(),
            VALIDITY.as_millis()
        ),
    )
}
