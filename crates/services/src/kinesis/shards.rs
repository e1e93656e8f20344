//! ListShards.

use std::time::Duration;

use cairn_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{Failure, fail, invalid};
use super::iterator::is_expired;
use super::name::StreamName;
use super::state::{Shard, Stream};
use super::streams::parse;
use super::{Shared, views};
use crate::Caller;

/// How many shards are listed at a time where nobody says.
const PAGE_DEFAULT: usize = 1000;

/// Which shards are listed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    #[serde(rename = "Type")]
    kind: String,
    shard_id: Option<String>,
    timestamp: Option<Value>,
}

/// Where the next page begins.
#[derive(Deserialize, Serialize)]
struct Token {
    arn: String,
    after: String,
    filter: Option<ShardFilter>,
    made: Timestamp,
}

impl Shared {
    pub(super) async fn list_shards(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let text = |member: &str| params.get(member).and_then(Value::as_str);
        let (name, after, filter) = match text("NextToken") {
            Some(token) => {
                let token = self.shards_token(caller, params, token).await?;
                let name = StreamName::of_arn(&token.arn).ok_or_else(invalid_token)?;
                (name, Some(token.after), token.filter)
            }
            None => {
                let filter = params.get("ShardFilter").map(parse::<ShardFilter>).transpose()?;
                let after = text("ExclusiveStartShardId").map(str::to_owned);
                (StreamName::of_params(caller, params)?, after, filter)
            }
        };
        let stream = self.stream(&name)?;
        let asked = params.get("MaxResults").and_then(Value::as_u64);
        let limit = asked.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE_DEFAULT);
        let wanted = chosen(&stream, filter.as_ref(), caller.now)?;
        let mut left =
            wanted.into_iter().filter(|shard| after.as_ref().is_none_or(|after| shard.id() > *after));
        let page: Vec<&Shard> = left.by_ref().take(limit).collect();
        let mut shown = json!({"Shards": page.iter().map(|shard| views::shard(shard)).collect::<Vec<_>>()});
        if let (true, Some(last)) = (left.next().is_some(), page.last()) {
            let token = Token { arn: name.arn(), after: last.id(), filter, made: caller.now };
            shown["NextToken"] = self.seal_token(caller, "shards", &token).await?.into();
        }
        Ok(shown)
    }

    async fn shards_token(&self, caller: &Caller, params: &Value, token: &str) -> Result<Token, Failure> {
        let others =
            ["StreamName", "StreamARN", "ShardFilter", "StreamCreationTimestamp", "ExclusiveStartShardId"];
        if let Some(other) =
            others.iter().find(|member| params.get(**member).is_some_and(|value| !value.is_null()))
        {
            return Err(invalid(format!("NextToken and {other} cannot be provided together.")));
        }
        let token: Token = self.open_token(caller, "shards", token).await.ok_or_else(invalid_token)?;
        if is_expired(token.made, caller.now) {
            return Err(fail("ExpiredNextTokenException", "The NextToken has expired."));
        }
        Ok(token)
    }

    /// The stream that a call of ListShards is about.
    pub(super) async fn listed_stream(&self, caller: &Caller, params: &Value) -> Result<StreamName, Failure> {
        let Some(token) = params.get("NextToken").and_then(Value::as_str) else {
            return StreamName::of_params(caller, params);
        };
        let token = self.shards_token(caller, params, token).await?;
        StreamName::of_arn(&token.arn).ok_or_else(invalid_token)
    }
}

fn invalid_token() -> Failure {
    invalid("Invalid NextToken.")
}

/// The shards that a filter asks for; all without one.
fn chosen<'a>(
    stream: &'a Stream,
    filter: Option<&ShardFilter>,
    now: Timestamp,
) -> Result<Vec<&'a Shard>, Failure> {
    let Some(filter) = filter else { return Ok(stream.shards.iter().collect()) };
    let retention = Duration::from_secs(u64::from(stream.retention_h) * 3600);
    let horizon = now.minus(retention).max(stream.created);
    let time = match (filter.kind.as_str(), &filter.timestamp) {
        ("AT_TIMESTAMP" | "FROM_TIMESTAMP", Some(time)) => {
            views::timestamp(time).unwrap_or(horizon).max(horizon)
        }
        ("AT_TIMESTAMP" | "FROM_TIMESTAMP", None) => {
            return Err(invalid(format!("Timestamp must be provided for the filter type {}.", filter.kind)));
        }
        _ => horizon,
    };
    let lived_until = |shard: &Shard| shard.closed.map_or(Timestamp::LATEST, |closed| closed.at);
    let was_open = |shard: &&Shard| shard.created <= time && lived_until(shard) > time;
    let is_chosen = |shard: &&Shard| match filter.kind.as_str() {
        "AT_LATEST" => shard.closed.is_none(),
        "AT_TRIM_HORIZON" | "AT_TIMESTAMP" => was_open(shard),
        "FROM_TIMESTAMP" => lived_until(shard) > time,
        "AFTER_SHARD_ID" => filter.shard_id.as_ref().is_none_or(|after| shard.id() > *after),
        _ => true,
    };
    if filter.kind == "AFTER_SHARD_ID" && filter.shard_id.is_none() {
        return Err(invalid("ShardId must be provided for the filter type AFTER_SHARD_ID."));
    }
    Ok(stream.shards.iter().filter(is_chosen).collect())
}
