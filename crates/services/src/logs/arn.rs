//! The names of log groups: `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`, with what may follow.

use std::fmt;

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key;
use serde::{Deserialize, Serialize};

use crate::Caller;

/// A log group's name, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct GroupName {
    pub(crate) region: Region,
    pub(crate) account: AccountId,
    pub(crate) name: String,
}

impl GroupName {
    /// The caller's own group of that name.
    pub(crate) fn own(caller: &Caller, name: &str) -> Self {
        Self { region: caller.region.clone(), account: caller.account.clone(), name: name.to_owned() }
    }

    /// The group that an ARN names, also with what follows the name: `:*`, `:log-stream:NAME`.
    pub(crate) fn of_arn(text: &str) -> Option<Self> {
        let mut parts = text.splitn(8, ':');
        let head: [&str; 7] = std::array::from_fn(|_| parts.next().unwrap_or_default());
        let ["arn", "aws", "logs", region, account, "log-group", name] = head else { return None };
        if name.is_empty() {
            return None;
        }
        Some(Self { region: region.parse().ok()?, account: account.parse().ok()?, name: name.to_owned() })
    }

    /// The group that a name or an ARN stands for.
    pub(crate) fn of_identifier(caller: &Caller, text: &str) -> Option<Self> {
        if text.starts_with("arn:") { Self::of_arn(text) } else { Some(Self::own(caller, text)) }
    }

    /// What policies are matched against, of a stream or of the group alone.
    ///
    /// AWS's refusals show it so: an empty stream where an operation is about a group, so that `GROUP:*` takes it in.
    pub(crate) fn stream_arn(&self, stream: &str) -> String {
        format!("{self}:log-stream:{stream}")
    }

    /// The group's ARN with `:*`, as most answers show it.
    pub(crate) fn starred_arn(&self) -> String {
        format!("{self}:*")
    }

    /// Where the group lies in its table.
    pub(crate) fn row(&self) -> Key {
        Self::place(&self.region, &self.account).text(&self.name)
    }

    /// Where the groups of an account and region lie.
    pub(crate) fn place(region: &Region, account: &AccountId) -> Key {
        Key::new().text(region.as_str()).text(account.as_str())
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:logs:{}:{}:log-group:{}", self.region, self.account, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_with_whatever_follows_the_name() {
        let arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/f";
        for text in [arn.to_owned(), format!("{arn}:*"), format!("{arn}:log-stream:2026/11/21/[$LATEST]1:2")]
        {
            let name = GroupName::of_arn(&text).unwrap();
            assert_eq!(name.to_string(), arn, "{text}");
        }
        for wrong in [
            "",
            "g",
            "arn:aws:logs:eu-west-1:111122223333:log-group:",
            "arn:aws:logs:eu-west-1:1:destination:d",
        ] {
            assert_eq!(GroupName::of_arn(wrong), None, "{wrong}");
        }
    }
}
