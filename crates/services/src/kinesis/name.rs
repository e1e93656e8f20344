//! The names of streams and of their consumers.

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key as Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{Failure, invalid};
use crate::Caller;

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct StreamName {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
}

impl StreamName {
    /// The stream of that name of the caller's.
    pub(super) fn own(caller: &Caller, name: &str) -> Self {
        Self { region: caller.region.clone(), account: caller.account.clone(), name: name.to_owned() }
    }

    /// The stream of an ARN, also of one of its consumers; none where it is not one of a stream.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", "aws", "kinesis", region, account, resource] = parts[..] else { return None };
        let name = resource.strip_prefix("stream/")?.split('/').next()?;
        let (region, account) = (region.parse().ok()?, account.parse().ok()?);
        is_name(name).then(|| Self { region, account, name: name.to_owned() })
    }

    /// The stream that the members StreamName and StreamARN name.
    pub(super) fn of_params(caller: &Caller, params: &Value) -> Result<Self, Failure> {
        let named = params.get("StreamName").and_then(Value::as_str).map(|name| Self::own(caller, name));
        let Some(arn) = params.get("StreamARN").and_then(Value::as_str) else {
            return named.ok_or_else(|| invalid("Neither StreamName nor StreamARN was provided."));
        };
        let by_arn = Self::of_arn(arn).ok_or_else(|| invalid(format!("Invalid StreamARN: {arn}")))?;
        if named.is_some_and(|named| named.name != by_arn.name) {
            return Err(invalid("StreamARN and StreamName do not name the same stream."));
        }
        Ok(by_arn)
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{}", self.region, self.account, self.name)
    }

    pub(super) fn row(&self) -> Row {
        Row::new().text(self.region.as_str()).text(self.account.as_str()).text(&self.name)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The name in a consumer's ARN, `…:stream/NAME/consumer/CONSUMER:SECONDS`, and when it was made.
pub(super) fn consumer_of_arn(arn: &str) -> Option<(&str, i64)> {
    let (_, consumer) = arn.rsplit_once("/consumer/")?;
    let (name, created_s) = consumer.rsplit_once(':')?;
    Some((name, created_s.parse().ok()?)).filter(|_| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_streams_and_consumers() {
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/s.1";
        assert_eq!(StreamName::of_arn(arn).unwrap().arn(), arn);
        let consumer = format!("{arn}/consumer/c:1795281866");
        assert_eq!(StreamName::of_arn(&consumer).unwrap().arn(), arn);
        assert_eq!(consumer_of_arn(&consumer), Some(("c", 1_795_281_866)));
        assert_eq!(consumer_of_arn(arn), None);
        for other in
            ["arn:aws:kinesis:eu-west-1:111122223333:stream/", "arn:aws:sqs:eu-west-1:111122223333:q"]
        {
            assert_eq!(StreamName::of_arn(other), None, "{other}");
        }
    }
}
