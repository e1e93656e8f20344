//! The policies of streams and of consumers.

use cairn_core::policy::Document;
use serde_json::{Value, json};

use super::Shared;
use super::consumers::consumer_at;
use super::error::{Failure, fail, invalid};
use super::name::{StreamName, consumer_of_arn};
use super::state::Stream;

/// The longest policy, in bytes.
const POLICY_SIZE_BYTES_MAX: usize = 20 << 10;

impl Shared {
    pub(super) async fn put_policy(&self, params: &Value) -> Result<Value, Failure> {
        let text = params.get("Policy").and_then(Value::as_str).unwrap_or_default();
        if text.len() > POLICY_SIZE_BYTES_MAX {
            return Err(invalid(format!("The policy is over {POLICY_SIZE_BYTES_MAX} bytes.")));
        }
        Document::parse(text).map_err(|error| invalid(format!("Invalid policy: {error}")))?;
        self.set_policy(params, Some(text.to_owned())).await
    }

    pub(super) async fn delete_policy(&self, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&named(params)?)?;
        if policy_of(&stream, arn_of(params))?.is_none() {
            return Err(fail("ResourceNotFoundException", "There is no policy on the resource."));
        }
        self.set_policy(params, None).await
    }

    async fn set_policy(&self, params: &Value, policy: Option<String>) -> Result<Value, Failure> {
        let arn = arn_of(params);
        self.change(&named(params)?, |stream| {
            if consumer_of_arn(arn).is_some() {
                consumer_at(stream, arn)?.policy = policy;
            } else {
                stream.policy = policy;
            }
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) fn policy(&self, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&named(params)?)?;
        let policy = policy_of(&stream, arn_of(params))?;
        Ok(json!({"Policy": policy.unwrap_or_default()}))
    }
}

fn policy_of(stream: &Stream, arn: &str) -> Result<Option<String>, Failure> {
    if consumer_of_arn(arn).is_some() {
        return Ok(consumer_at(&mut stream.clone(), arn)?.policy.clone());
    }
    Ok(stream.policy.clone())
}

/// The member ResourceARN.
pub(super) fn arn_of(params: &Value) -> &str {
    params.get("ResourceARN").and_then(Value::as_str).unwrap_or_default()
}

/// The stream that it names, itself or by a consumer.
pub(super) fn named(params: &Value) -> Result<StreamName, Failure> {
    StreamName::of_arn(arn_of(params))
        .ok_or_else(|| invalid(format!("Invalid ResourceARN: {}", arn_of(params))))
}
