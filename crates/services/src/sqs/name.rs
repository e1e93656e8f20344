//! The names of queues: name, ARN, URL.
//!
//! A queue's URL is whatever the client reached the server by, then account and name. Of the URLs that clients give only
//! the path counts: a name that worked behind one host works behind another.

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key as Row;
use cairn_store::queues::QueueKey;
use serde::{Deserialize, Serialize};

use super::error::{Failure, fail, invalid_parameter};
use crate::Caller;

/// The longest name, with `.fifo`.
const NAME_CHARS_MAX: usize = 80;
const FIFO_SUFFIX: &str = ".fifo";
/// Between the queue's ARN and what tells it from others that had its name.
const KEY_SEPARATOR: char = '#';

/// Which queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct QueueName {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
}

impl QueueName {
    /// The queue of that name of the caller's.
    pub(super) fn own(caller: &Caller, name: &str) -> Self {
        Self { region: caller.region.clone(), account: caller.account.clone(), name: name.to_owned() }
    }

    /// The queue that a URL names. A bare name is one of the caller's queues.
    pub(super) fn of_url(url: &str, caller: &Caller) -> Result<Self, Failure> {
        let invalid = || fail("InvalidAddress", format!("The address {url} is not valid for this endpoint."));
        if is_name(url) {
            return Ok(Self::own(caller, url));
        }
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let mut segments = path.rsplit('/');
        let (Some(name), Some(account)) = (segments.next(), segments.next()) else { return Err(invalid()) };
        let account = account.parse().map_err(|_| invalid())?;
        Ok(Self { region: caller.region.clone(), account, name: name.to_owned() })
    }

    /// The queue of an ARN; none where it is not one of a queue.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", "aws", "sqs", region, account, name] = parts[..] else { return None };
        let (region, account) = (region.parse().ok()?, account.parse().ok()?);
        is_name(name).then(|| Self { region, account, name: name.to_owned() })
    }

    pub(super) fn arn(&self) -> String {
        queue_arn(&self.region, &self.account, &self.name)
    }

    /// The URL by which the client of this request reaches the queue.
    pub(super) fn url(&self, caller: &Caller, host: &str) -> String {
        let scheme = if caller.secure_transport { "https" } else { "http" };
        format!("{scheme}://{host}/{}/{}", self.account, self.name)
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }

    pub(super) fn row(&self) -> Row {
        Row::new().text(self.region.as_str()).text(self.account.as_str()).text(&self.name)
    }

    /// The engine's key of a queue made now: `id` tells it from earlier ones of the name.
    pub(super) fn key(&self, id: &str) -> QueueKey {
        QueueKey(format!("{}{KEY_SEPARATOR}{id}", self.arn()))
    }
}

pub(super) fn queue_arn(region: &Region, account: &AccountId, name: &str) -> String {
    format!("arn:aws:sqs:{region}:{account}:{name}")
}

/// The ARN of the queue that a key of the engine's is of; none where it is of no queue of SQS.
pub(super) fn arn_of_key(key: &QueueKey) -> Option<&str> {
    let (arn, _) = key.0.split_once(KEY_SEPARATOR)?;
    QueueName::of_arn(arn).map(|_| arn)
}

/// Whether a text can be the name of a queue.
pub(super) fn is_name(text: &str) -> bool {
    let stem = text.strip_suffix(FIFO_SUFFIX).unwrap_or(text);
    !stem.is_empty()
        && text.len() <= NAME_CHARS_MAX
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Refuses what no queue can be called.
pub(super) fn check_name(name: &str, is_fifo: bool) -> Result<(), Failure> {
    match (is_name(name), name.ends_with(FIFO_SUFFIX), is_fifo) {
        (true, true, true) | (true, false, false) => Ok(()),
        (_, _, true) => Err(invalid_parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with \
             .fifo suffix and be 1 to 80 in length.",
        )),
        _ => Err(invalid_parameter(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )),
    }
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::super::fixtures::caller;
    use super::*;

    fn check(url: &str, expected: &str) {
        let found = match QueueName::of_url(url, &caller()) {
            Ok(name) => name.arn(),
            Err(failure) => AwsError::from(failure).code.into_owned(),
        };
        assert_eq!(found, expected, "{url}");
    }

    #[test]
    fn of_a_url_only_the_path_counts() {
        let arn = "arn:aws:sqs:eu-west-1:444455556666:q.fifo";
        check("http://127.0.0.1:4566/444455556666/q.fifo", arn);
        check("https://sqs.us-east-2.amazonaws.com/444455556666/q.fifo/", arn);
        check("http://localhost/queue/eu-west-1/444455556666/q.fifo", arn);
        check("/444455556666/q.fifo", arn);
        check("q-1", "arn:aws:sqs:eu-west-1:111122223333:q-1");
        check("http://localhost/q", "InvalidAddress");
        check("", "InvalidAddress");
    }

    #[test]
    fn names_arns_and_keys_lead_to_one_another() {
        let name = QueueName::own(&caller(), "q_1");
        assert_eq!(QueueName::of_arn(&name.arn()), Some(name.clone()));
        assert_eq!(arn_of_key(&name.key("7")), Some("arn:aws:sqs:eu-west-1:111122223333:q_1"));
        assert_eq!(arn_of_key(&QueueKey("sns/deliveries".into())), None);
        assert_eq!(name.url(&caller(), "h:1"), "http://h:1/111122223333/q_1");
        assert_eq!(QueueName::of_arn("arn:aws:sns:eu-west-1:111122223333:q"), None);
        assert_eq!(QueueName::of_arn("arn:aws:sqs:eu-west-1:111122223333:a/b"), None);
    }

    #[test]
    fn a_fifo_queue_and_no_other_has_the_suffix() {
        let fits = |name: &str, is_fifo| check_name(name, is_fifo).is_ok();
        assert!(fits("q", false) && fits("q.fifo", true) && fits(&"q".repeat(80), false));
        assert!(!fits("q", true) && !fits("q.fifo", false) && !fits(".fifo", true));
        assert!(
            !fits(&"q".repeat(81), false) && !fits("", false) && !fits("a b", false) && !fits("ä", false)
        );
    }
}
