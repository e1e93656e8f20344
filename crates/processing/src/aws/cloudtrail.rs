//! The call of CloudTrail that digests need: ListPublicKeys.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use super::request::JsonCall;
use crate::access::AccessError;
use crate::verification::PublicKeys;

const OPERATION: &str = "ListPublicKeys";
/// The most pages of keys: one has all keys of years.
const PAGES_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    public_key_list: Vec<Key>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    value: String,
    fingerprint: String,
}

#[async_trait]
impl PublicKeys for Client {
    async fn public_key(&self, fingerprint: &str, time: Timestamp) -> Result<Option<Vec<u8>>, AccessError> {
        let (service, version) = ("cloudtrail", "1.1");
        let target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101";
        let (endpoint, region) = (&self.cloudtrail, self.region.as_str());
        let mut token = Value::Null;
        for _ in 0..PAGES_MAX {
            let mut input = json!({ "StartTime": time.seconds(), "EndTime": time.seconds() });
            if token.is_string() {
                input["NextToken"] = token;
            }
            let (operation, wait) = (OPERATION, Duration::ZERO);
            let call = JsonCall { operation, service, version, target, endpoint, region, wait };
            let page: Page = self.call_json(call, &input).await?;
            if let Some(key) = page.public_key_list.iter().find(|key| key.fingerprint == fingerprint) {
                let unreadable = |error| {
                    AccessError::refused(OPERATION, "InvalidKey", "the key is not base64").with_source(error)
                };
                return STANDARD.decode(&key.value).map(Some).map_err(unreadable);
            }
            match page.next_token {
                Some(next) => token = Value::String(next),
                None => break,
            }
        }
        Ok(None)
    }
}
