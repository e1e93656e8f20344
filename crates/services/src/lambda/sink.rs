//! Functions as other services reach them: events, under the function's policy or in the name of a role.

use async_trait::async_trait;
use bytes::Bytes;
use cairn_wire::AwsError;

use super::Lambda;
use super::error::{Failure, disabled, no_function, not_found};
use super::functions::find;
use super::invoke::{ASYNC_SIZE_BYTES_MAX, check_json};
use super::name::Named;
use super::permissions::policy;
use super::queue::QueuedEvent;
use super::state::Function;
use crate::sinks::{FunctionSink, Sender, SentTo, SinkFailure};

#[async_trait]
impl FunctionSink for Lambda {
    async fn check(&self, sender: &Sender, function_arn: &str) -> Result<(), SinkFailure> {
        self.open_to(sender, function_arn).await.map(drop).map_err(told)
    }

    async fn invoke(&self, sender: &Sender, function_arn: &str, payload: Bytes) -> Result<(), SinkFailure> {
        self.take(sender, function_arn, payload).await.map_err(told)
    }
}

impl Lambda {
    async fn take(&self, sender: &Sender, function_arn: &str, payload: Bytes) -> Result<(), Failure> {
        let function = self.open_to(sender, function_arn).await?;
        if payload.len() > ASYNC_SIZE_BYTES_MAX {
            return Err(super::error::too_large(payload.len(), ASYNC_SIZE_BYTES_MAX));
        }
        check_json(&payload)?;
        let event = QueuedEvent {
            request_id: self.entropy.event_id().to_string(),
            invoked_arn: function_arn.to_owned(),
            payload: String::from_utf8(payload.to_vec()).map_err(AwsError::internal)?,
            invoked_at: self.clock.now(),
            trace: None,
            client_context: None,
        };
        match function {
            Some(function) if self.runner.is_some() => self.enqueue(&function, &event).await,
            Some(_) => Err(disabled()),
            None => self.enqueue_elsewhere(&event).await,
        }
    }

    /// The function, where `sender` may invoke it; none where it is elsewhere.
    async fn open_to(&self, sender: &Sender, function_arn: &str) -> Result<Option<Function>, Failure> {
        let named = Named::of_arn(function_arn)
            .ok_or_else(|| not_found(format!("Function not found: {function_arn}")))?;
        let at = named.clone();
        let found = self
            .catalog
            .read(move |tx| {
                let document = policy(tx, &at)?.map(|policy| policy.text());
                match find(tx, &at) {
                    Ok(found) => Ok((Some(found.function), document)),
                    Err(Failure::Refused(_)) => Ok((None, None)),
                    Err(failure) => Err(failure),
                }
            })
            .await?;
        let (function, document) = found;
        if function.is_none() && self.remote.is_none() {
            return Err(no_function(&named));
        }
        let to = SentTo {
            action: "lambda:InvokeFunction",
            arn: function_arn,
            owner: &named.function.account,
            region: &named.function.region,
            policy: document.as_deref(),
        };
        match sender {
            // What a function elsewhere allows, its own Lambda decides.
            Sender::Service(_) if function.is_none() => {}
            sender => sender.check(&to, self.clock.now(), &[])?,
        }
        Ok(function)
    }
}

fn told(failure: Failure) -> SinkFailure {
    SinkFailure::from(AwsError::from(failure))
}
