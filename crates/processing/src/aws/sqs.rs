//! The calls of SQS, in awsJson 1.0.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use super::request::JsonCall;
use crate::access::{AccessError, MessageSource, ReceiveRequest};
use crate::message::Message;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    #[serde(default)]
    messages: Option<Vec<ReceivedMessage>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedMessage {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(rename = "MD5OfBody")]
    md5_of_body: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Deleted {
    #[serde(default)]
    successful: Vec<DeletedEntry>,
    #[serde(default)]
    failed: Vec<FailedEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeletedEntry {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FailedEntry {
    id: String,
    code: String,
    message: Option<String>,
    sender_fault: bool,
}

impl Client {
    async fn sqs<T: for<'a> Deserialize<'a>>(
        &self,
        operation: &'static str,
        wait: Duration,
        input: &Value,
    ) -> Result<T, AccessError> {
        let (endpoint, region) = (&self.sqs, self.region.as_str());
        let (service, version, target) = ("sqs", "1.0", "AmazonSQS");
        self.call_json(JsonCall { operation, service, version, target, endpoint, region, wait }, input).await
    }
}

#[async_trait]
impl MessageSource for Client {
    async fn receive(&self, request: ReceiveRequest) -> Result<Vec<Message>, AccessError> {
        let input = json!({
            "QueueUrl": self.settings.queue_url,
            "MaxNumberOfMessages": request.messages_max,
            "WaitTimeSeconds": request.wait.as_secs(),
            "VisibilityTimeout": request.visibility_timeout.as_secs(),
            "AttributeNames": ["All"],
        });
        let received: Received = self.sqs("ReceiveMessage", request.wait, &input).await?;
        received.messages.unwrap_or_default().into_iter().map(whole).collect()
    }

    async fn extend(&self, receipt_handle: &str, visibility_timeout: Duration) -> Result<(), AccessError> {
        let input = json!({
            "QueueUrl": self.settings.queue_url,
            "ReceiptHandle": receipt_handle,
            "VisibilityTimeout": visibility_timeout.as_secs(),
        });
        self.sqs_without_answer("ChangeMessageVisibility", &input).await
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<Vec<Result<(), AccessError>>, AccessError> {
        const OPERATION: &str = "DeleteMessageBatch";
        if let [handle] = receipt_handles {
            let input = json!({ "QueueUrl": self.settings.queue_url, "ReceiptHandle": handle });
            return Ok(vec![self.sqs_without_answer("DeleteMessage", &input).await]);
        }
        let entry = |(at, handle): (usize, &String)| json!({ "Id": at.to_string(), "ReceiptHandle": handle });
        let entries: Vec<Value> = receipt_handles.iter().enumerate().map(entry).collect();
        let input = json!({ "QueueUrl": self.settings.queue_url, "Entries": entries });
        let deleted: Deleted = self.sqs(OPERATION, Duration::ZERO, &input).await?;
        let mut results: HashMap<String, Result<(), AccessError>> =
            deleted.successful.into_iter().map(|entry| (entry.id, Ok(()))).collect();
        for FailedEntry { id, code, message, sender_fault } in deleted.failed {
            let message = message.unwrap_or_default();
            let error = if sender_fault {
                AccessError::refused(OPERATION, code, message)
            } else {
                AccessError::passing(OPERATION, message).with_code(code)
            };
            results.insert(id, Err(error));
        }
        let silent = || Err(AccessError::passing(OPERATION, "the answer says nothing of the message"));
        Ok((0..receipt_handles.len())
            .map(|at| results.remove(&at.to_string()).unwrap_or_else(silent))
            .collect())
    }
}

impl Client {
    /// A call whose answer says nothing, be it an object without members or nothing at all.
    async fn sqs_without_answer(&self, operation: &'static str, input: &Value) -> Result<(), AccessError> {
        self.sqs::<Empty>(operation, Duration::ZERO, input).await.map(|_| ())
    }
}

#[derive(Deserialize)]
struct Empty {}

/// The message, where its body came as it was sent.
fn whole(received: ReceivedMessage) -> Result<Message, AccessError> {
    let md5 = hex::encode(Md5::digest(received.body.as_bytes()));
    if received.md5_of_body.is_some_and(|said| !said.eq_ignore_ascii_case(&md5)) {
        return Err(AccessError::passing("ReceiveMessage", "a message's body is not what its md5 says"));
    }
    let mut message = Message::new(received.message_id, received.receipt_handle, received.body);
    message.attributes = received.attributes;
    Ok(message)
}
