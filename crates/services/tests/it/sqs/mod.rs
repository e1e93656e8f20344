//! SQS over queues in memory: what its clients see, on a clock that is set.

mod fifo;
mod messages;
mod moving;
mod queues;
mod rights;
mod sink;

use std::time::Duration;

use cairn_core::Clock;
use cairn_services::Caller;
use cairn_services::sqs::Sqs;
use serde_json::{Value, json};

use crate::world::{self, World, refusal};

/// The account that the queues are in.
const ACCOUNT: &str = "111122223333";

struct Bench {
    world: World,
    sqs: Sqs,
}

impl Bench {
    async fn new() -> Self {
        let world = World::new();
        let sqs = world.sqs().await;
        Self { world, sqs }
    }

    /// The root of the account, calling now.
    fn root(&self) -> Caller {
        self.root_of(ACCOUNT)
    }

    fn root_of(&self, account: &str) -> Caller {
        Caller { now: self.world.clock.now(), ..world::root(&account.parse().unwrap()) }
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&self.sqs, &self.root(), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&self.sqs, &self.root(), operation, params).await
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }

    /// Makes a queue; returns its URL.
    async fn queue(&self, name: &str, attributes: Value) -> String {
        let made = self.send("CreateQueue", json!({"QueueName": name, "Attributes": attributes})).await;
        made["QueueUrl"].as_str().unwrap().to_owned()
    }

    async fn fifo(&self, name: &str) -> String {
        self.queue(name, json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"})).await
    }

    async fn put(&self, url: &str, body: &str) -> Value {
        self.send("SendMessage", json!({"QueueUrl": url, "MessageBody": body})).await
    }

    async fn put_in_group(&self, url: &str, group: &str, body: &str) -> Value {
        let message = json!({"QueueUrl": url, "MessageBody": body, "MessageGroupId": group});
        self.send("SendMessage", message).await
    }

    /// Receives up to ten messages, with all that can be asked for.
    async fn take(&self, url: &str) -> Vec<Value> {
        let ask = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"]});
        let found = self.send("ReceiveMessage", ask).await;
        found["Messages"].as_array().cloned().unwrap_or_default()
    }

    async fn bodies(&self, url: &str) -> Vec<String> {
        self.take(url).await.iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
    }

    async fn attribute(&self, url: &str, name: &str) -> String {
        let found = self.send("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": [name]})).await;
        found["Attributes"][name].as_str().unwrap_or_default().to_owned()
    }

    async fn delete(&self, url: &str, message: &Value) {
        let params = json!({"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]});
        self.send("DeleteMessage", params).await;
    }
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}")
}

fn redrive(target: &str, receives_max: u32) -> String {
    json!({"deadLetterTargetArn": arn(target), "maxReceiveCount": receives_max}).to_string()
}
