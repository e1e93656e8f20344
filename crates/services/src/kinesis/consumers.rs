//! Consumers with a throughput of their own: making, describing, listing and removing them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::{Failure, fail, invalid, no_consumer, over_limit};
use super::name::{StreamName, consumer_of_arn};
use super::state::{Consumer, Stream};
use super::streams::parse;
use super::tags::check_tags;
use super::{Shared, views};
use crate::Caller;

/// The most consumers of a stream.
const CONSUMERS_MAX: usize = 20;
/// How many are listed at a time where nobody says.
const PAGE_DEFAULT: u64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Register {
    consumer_name: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

/// Where the next page begins.
#[derive(Deserialize, Serialize)]
struct Token {
    after: String,
}

impl Shared {
    pub(super) async fn register_consumer(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let Register { consumer_name, tags } = parse(params)?;
        check_tags(&tags)?;
        let name = StreamName::of_params(caller, params)?;
        let consumer = Consumer { name: consumer_name, created: caller.now, tags, policy: None };
        let shown = self.change(&name, |stream| {
            if stream.consumers.iter().any(|known| known.name == consumer.name) {
                return Err(fail(
                    "ResourceInUseException",
                    format!("Consumer {} of stream {} already exists.", consumer.name, stream.name.name),
                ));
            }
            if stream.consumers.len() >= CONSUMERS_MAX {
                return Err(over_limit(format!("A stream can have {CONSUMERS_MAX} consumers.")));
            }
            let shown = shown(stream, &consumer);
            stream.consumers.push(consumer);
            Ok(shown)
        });
        Ok(json!({"Consumer": shown.await?}))
    }

    pub(super) async fn deregister_consumer(&self, params: &Value) -> Result<Value, Failure> {
        self.change(&consumed_stream(params)?, |stream| {
            let name = named_consumer(stream, params)?.name.clone();
            stream.consumers.retain(|consumer| consumer.name != name);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) fn describe_consumer(&self, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&consumed_stream(params)?)?;
        let mut shown = shown(&stream, named_consumer(&stream, params)?);
        shown["StreamARN"] = stream.name.arn().into();
        Ok(json!({ "ConsumerDescription": shown }))
    }

    pub(super) async fn list_consumers(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let stream = self.stream(&StreamName::of_params(caller, params)?)?;
        let after = match params.get("NextToken").and_then(Value::as_str) {
            None => None,
            Some(token) => {
                let token: Option<Token> = self.open_token(caller, "consumers", token).await;
                Some(token.ok_or_else(|| invalid("Invalid NextToken."))?.after)
            }
        };
        let limit = params.get("MaxResults").and_then(Value::as_u64).unwrap_or(PAGE_DEFAULT);
        let mut consumers: Vec<&Consumer> = stream.consumers.iter().collect();
        consumers.sort_by(|one, other| one.name.cmp(&other.name));
        let mut left = consumers
            .into_iter()
            .filter(|consumer| after.as_ref().is_none_or(|after| consumer.name > *after));
        let page: Vec<&Consumer> = left.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let mut reply =
            json!({"Consumers": page.iter().map(|consumer| shown(&stream, consumer)).collect::<Vec<_>>()});
        if let (true, Some(last)) = (left.next().is_some(), page.last()) {
            let token = Token { after: last.name.clone() };
            reply["NextToken"] = self.seal_token(caller, "consumers", &token).await?.into();
        }
        Ok(reply)
    }
}

fn shown(stream: &Stream, consumer: &Consumer) -> Value {
    json!({
        "ConsumerName": consumer.name,
        "ConsumerARN": stream.consumer_arn(consumer),
        "ConsumerStatus": "ACTIVE",
        "ConsumerCreationTimestamp": views::time(consumer.created),
    })
}

/// The stream whose consumer a call names, by the consumer's ARN or by the stream's.
pub(super) fn consumed_stream(params: &Value) -> Result<StreamName, Failure> {
    let text = |member: &str| params.get(member).and_then(Value::as_str);
    let arn = text("ConsumerARN").or_else(|| text("StreamARN"));
    let arn =
        arn.ok_or_else(|| invalid("Either ConsumerARN, or StreamARN and ConsumerName must be provided."))?;
    StreamName::of_arn(arn).ok_or_else(|| invalid(format!("Invalid ARN: {arn}")))
}

/// The consumer that a call names, by its ARN or by its name.
pub(super) fn named_consumer<'a>(stream: &'a Stream, params: &Value) -> Result<&'a Consumer, Failure> {
    let text = |member: &str| params.get(member).and_then(Value::as_str);
    let found = match text("ConsumerARN") {
        Some(arn) => stream.consumers.iter().find(|consumer| stream.consumer_arn(consumer) == arn),
        None => stream.consumers.iter().find(|consumer| Some(consumer.name.as_str()) == text("ConsumerName")),
    };
    found.ok_or_else(|| no_consumer(text("ConsumerARN").or_else(|| text("ConsumerName")).unwrap_or_default()))
}

/// The consumer of an ARN.
pub(super) fn consumer_at<'a>(stream: &'a mut Stream, arn: &str) -> Result<&'a mut Consumer, Failure> {
    let named = consumer_of_arn(arn);
    let is_named =
        |consumer: &&mut Consumer| named == Some((consumer.name.as_str(), consumer.created.seconds()));
    stream.consumers.iter_mut().find(is_named).ok_or_else(|| no_consumer(arn))
}
