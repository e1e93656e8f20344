//! The addresses that messages name: where a subscription is confirmed and ended, where the certificate is.

use std::sync::{Arc, OnceLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::arn::{SubscriptionArn, TopicArn};

/// AWS leaves colons as they are.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// The server's address, as clients reach it: known once it listens. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<OnceLock<String>>);

impl Links {
    /// Says where the server is: `https://sns.example.com`. Only the first time counts.
    pub fn reached_at(&self, endpoint: &str) {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        self.0.get_or_init(|| endpoint);
    }

    fn base(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }

    /// Where a subscription is confirmed by whoever has the token.
    pub(super) fn subscribe(&self, topic: &TopicArn, token: &str) -> String {
        let topic = topic.to_string();
        let topic = utf8_percent_encode(&topic, ESCAPED);
        format!("{}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}", self.base())
    }

    /// Where a subscription is ended.
    pub(super) fn unsubscribe(&self, subscription: &SubscriptionArn) -> String {
        let subscription = subscription.to_string();
        let subscription = utf8_percent_encode(&subscription, ESCAPED);
        format!("{}/?Action=Unsubscribe&SubscriptionArn={subscription}", self.base())
    }

    /// Where the certificate is.
    pub(super) fn certificate(&self, file_name: &str) -> String {
        format!("{}/{file_name}", self.base())
    }
}
