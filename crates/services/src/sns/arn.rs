//! The names of topics and subscriptions. A subscription's ARN is its topic's with an id of its own.

use std::fmt;
use std::str::FromStr;

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key;
use serde::{Deserialize, Serialize};

/// What ends the name of a topic that keeps order.
pub(super) const FIFO_SUFFIX: &str = ".fifo";

/// A text that is no ARN of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no ARN of SNS")]
pub(crate) struct NoArn;

/// `arn:aws:sns:REGION:ACCOUNT:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct TopicArn {
    pub(crate) region: Region,
    pub(crate) account: AccountId,
    pub(crate) name: String,
}

impl TopicArn {
    /// Whether the topic keeps order: its name says so.
    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }

    pub(super) fn row(&self) -> Key {
        Key::new().text(self.region.as_str()).text(self.account.as_str()).text(&self.name)
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:sns:{}:{}:{}", self.region, self.account, self.name)
    }
}

impl FromStr for TopicArn {
    type Err = NoArn;

    fn from_str(text: &str) -> Result<Self, NoArn> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", "aws", "sns", region, account, name] = parts[..] else { return Err(NoArn) };
        let (region, account) = (region.parse(), account.parse());
        let (Ok(region), Ok(account), false) = (region, account, name.is_empty()) else { return Err(NoArn) };
        Ok(Self { region, account, name: name.to_owned() })
    }
}

impl TryFrom<String> for TopicArn {
    type Error = NoArn;

    fn try_from(text: String) -> Result<Self, NoArn> {
        text.parse()
    }
}

impl From<TopicArn> for String {
    fn from(arn: TopicArn) -> Self {
        arn.to_string()
    }
}

/// `arn:aws:sns:REGION:ACCOUNT:NAME:ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SubscriptionArn {
    pub(crate) topic: TopicArn,
    /// A UUID.
    pub(crate) id: String,
}

impl SubscriptionArn {
    pub(super) fn row(&self) -> Key {
        self.topic.row().text(&self.id)
    }
}

impl fmt::Display for SubscriptionArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.id)
    }
}

impl FromStr for SubscriptionArn {
    type Err = NoArn;

    fn from_str(text: &str) -> Result<Self, NoArn> {
        let (topic, id) = text.rsplit_once(':').ok_or(NoArn)?;
        if id.is_empty() {
            return Err(NoArn);
        }
        Ok(Self { topic: topic.parse()?, id: id.to_owned() })
    }
}

impl TryFrom<String> for SubscriptionArn {
    type Error = NoArn;

    fn try_from(text: String) -> Result<Self, NoArn> {
        text.parse()
    }
}

impl From<SubscriptionArn> for String {
    fn from(arn: SubscriptionArn) -> Self {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_as_they_are_written() {
        let topic = "arn:aws:sns:eu-west-1:111122223333:news.fifo";
        assert_eq!(topic.parse::<TopicArn>().unwrap().to_string(), topic);
        assert!(topic.parse::<TopicArn>().unwrap().is_fifo());
        assert!(topic.parse::<SubscriptionArn>().is_err());
        let subscription = format!("{topic}:1234");
        assert_eq!(subscription.parse::<SubscriptionArn>().unwrap().to_string(), subscription);
        assert!(subscription.parse::<TopicArn>().is_err());
        for wrong in ["", "arn:aws:sqs:eu-west-1:111122223333:q", "arn:aws:sns:eu-west-1:1:t", "a:b"] {
            assert!(wrong.parse::<TopicArn>().is_err(), "{wrong}");
        }
    }
}
