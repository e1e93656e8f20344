//! Topics with a KMS key: whoever publishes to one has to be allowed the key.
//!
//! As on AWS, a data key is asked for in the publisher's name and thought of for five minutes, and the event of
//! kms.amazonaws.com says so. What is owed is sealed under the server's key, with or without a key of the topic's.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use cairn_core::{Principal, Timestamp};
use cairn_wire::AwsError;

use super::Sns;
use super::error::{Failure, fail};
use super::state::Topic;
use crate::Caller;
use crate::kms::{Asker, EncryptionContext};
use crate::sinks::Source;

/// How long a publisher is not asked again.
const REUSE_PERIOD: Duration = Duration::from_secs(5 * 60);
/// Publishers that are thought of at a time.
const PUBLISHERS_MAX: usize = 10_000;

/// Topic, key and publisher.
type Use = (String, String, String);

/// Who was allowed which topic's key, and until when nobody asks again.
#[derive(Default)]
pub(super) struct KeyUses(Mutex<HashMap<Use, Timestamp>>);

impl KeyUses {
    fn is_known(&self, what: &Use, now: Timestamp) -> bool {
        let known = self.0.lock().expect("nothing panics while the uses are held");
        known.get(what).is_some_and(|until| *until > now)
    }

    fn remember(&self, what: Use, now: Timestamp) {
        let mut known = self.0.lock().expect("nothing panics while the uses are held");
        if known.len() >= PUBLISHERS_MAX {
            known.retain(|_, until| *until > now);
        }
        if known.len() < PUBLISHERS_MAX {
            known.insert(what, now.plus(REUSE_PERIOD));
        }
    }
}

impl Sns {
    /// Refuses a publisher who may not use the topic's key, where it has one.
    pub(super) async fn check_key(&self, topic: &Topic, caller: &Caller) -> Result<(), Failure> {
        self.ask_for_key(topic, || Asker { caller: caller.clone(), service: "sns", conditions: Vec::new() })
            .await
    }

    /// The same of a service that publishes.
    pub(super) async fn check_key_for(&self, topic: &Topic, source: &Source) -> Result<(), Failure> {
        self.ask_for_key(topic, || {
            let place = (topic.arn.account.clone(), topic.arn.region.clone());
            let caller =
                Caller::of_service(&source.service, place, self.clock.now(), self.entropy.event_id());
            Asker::for_source("sns", caller, source)
        })
        .await
    }

    async fn ask_for_key(&self, topic: &Topic, asker: impl FnOnce() -> Asker + Send) -> Result<(), Failure> {
        let Some(key) = topic.attribute("KmsMasterKeyId").map(|named| key_arn(topic, named)) else {
            return Ok(());
        };
        let (asker, arn) = (asker(), topic.arn.to_string());
        let now = asker.caller.now;
        let publisher = match &asker.caller.principal {
            Principal::Service { name } => format!("{name} {:?}", asker.conditions),
            principal => principal.arn().unwrap_or_default(),
        };
        let what = (arn.clone(), key.clone(), publisher);
        if self.key_uses.is_known(&what, now) {
            return Ok(());
        }
        let context = EncryptionContext::from([("aws:sns:topicArn".to_owned(), arn)]);
        self.data_keys.generate(&asker, &key, &context).await.map_err(as_told_by_sns)?;
        self.key_uses.remember(what, now);
        Ok(())
    }
}

/// A key that is named without an ARN is one of the topic's account, whoever publishes.
fn key_arn(topic: &Topic, named: &str) -> String {
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    let kind = if named.starts_with("alias/") { "" } else { "key/" };
    format!("arn:aws:kms:{}:{}:{kind}{named}", topic.arn.region, topic.arn.account)
}

/// KMS's refusals have codes of their own in SNS.
fn as_told_by_sns(error: AwsError) -> Failure {
    let code = match error.code.as_ref() {
        "AccessDenied" | "AccessDeniedException" => "KMSAccessDenied",
        "DisabledException" => "KMSDisabled",
        "KMSInvalidStateException" => "KMSInvalidState",
        "NotFoundException" => "KMSNotFound",
        _ => return error.into(),
    };
    fail(code, error.message)
}
