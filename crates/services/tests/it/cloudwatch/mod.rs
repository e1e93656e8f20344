//! CloudWatch: metrics, their queries, and alarms on a clock that is handed in.

mod actions;
mod alarms;
mod composite;
mod metrics;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, Clock, Timestamp};
use cairn_services::Caller;
use cairn_services::cloudwatch::{ActionStage, AlarmStage, CloudWatch, Deps};
use cairn_services::sinks::{
    BusEvent, BusSink, FunctionSink, Sender, SinkFailure, Source, Switchboard, TopicMessage, TopicSink,
};
use cairn_wire::AwsError;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::world::{self, World};

/// A whole minute.
const START_S: i64 = 1_795_281_840;

/// CloudWatch on the world's catalog.
pub(crate) fn cloudwatch_of(world: &World) -> CloudWatch {
    with_sinks(world, Switchboard::default())
}

fn with_sinks(world: &World, switchboard: Switchboard) -> CloudWatch {
    let deps = Deps {
        catalog: world.catalog.clone(),
        clock: world.clock.clone(),
        entropy: world.entropy.clone(),
        switchboard,
    };
    CloudWatch::new(deps, &Registry::new()).unwrap()
}

pub(crate) fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

/// The account's root, at the time that the world's clock shows.
pub(crate) fn caller_at(world: &World) -> Caller {
    Caller { now: world.clock.now(), ..world::root(&account()) }
}

pub(crate) async fn send(
    world: &World,
    cloudwatch: &CloudWatch,
    operation: &str,
    params: Value,
) -> Result<Value, AwsError> {
    world::send(cloudwatch, &caller_at(world), operation, params).await
}

pub(crate) async fn refusal(
    world: &World,
    cloudwatch: &CloudWatch,
    operation: &str,
    params: Value,
) -> String {
    world::refusal(cloudwatch, &caller_at(world), operation, params).await
}

/// What was sent, and what takes nothing.
#[derive(Default)]
struct Sent {
    /// Where to, subject, message.
    messages: Mutex<Vec<(String, String, Value)>>,
    events: Mutex<Vec<BusEvent>>,
    /// Whether topics fail, for now or for good.
    topics_fail: Mutex<Option<bool>>,
}

#[async_trait]
impl TopicSink for Sent {
    async fn check(&self, _source: &Source, _topic_arn: &str) -> Result<(), SinkFailure> {
        Ok(())
    }

    async fn publish(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        assert_eq!(source.service, "cloudwatch.amazonaws.com");
        assert!(source.arn.starts_with("arn:aws:cloudwatch:us-east-1:111122223333:alarm:"), "{}", source.arn);
        if let Some(is_transient) = *self.topics_fail.lock().unwrap() {
            return Err(SinkFailure { is_transient, code: "Sick".into(), message: "for the test".into() });
        }
        let body = serde_json::from_str(&message.body).unwrap();
        self.messages.lock().unwrap().push((topic_arn.to_owned(), message.subject.unwrap(), body));
        Ok(())
    }

    async fn is_fifo(&self, _topic_arn: &str) -> Option<bool> {
        Some(false)
    }
}

#[async_trait]
impl FunctionSink for Sent {
    async fn check(&self, _sender: &Sender, _function_arn: &str) -> Result<(), SinkFailure> {
        Ok(())
    }

    async fn invoke(&self, sender: &Sender, function_arn: &str, payload: Bytes) -> Result<(), SinkFailure> {
        let Sender::Service(source) = sender else { panic!("a service invokes") };
        assert_eq!(source.service, "lambda.alarms.cloudwatch.amazonaws.com");
        let body = serde_json::from_slice(&payload).unwrap();
        self.messages.lock().unwrap().push((function_arn.to_owned(), String::new(), body));
        Ok(())
    }
}

#[async_trait]
impl BusSink for Sent {
    async fn put(&self, events: Vec<BusEvent>) -> Result<(), SinkFailure> {
        self.events.lock().unwrap().extend(events);
        Ok(())
    }
}

/// CloudWatch with its stages, and what they send.
struct Alarms {
    world: World,
    cloudwatch: Arc<CloudWatch>,
    stage: AlarmStage,
    actions: ActionStage,
    sent: Arc<Sent>,
}

impl Alarms {
    fn new() -> Self {
        let world = World::new();
        world.clock.set(Timestamp::from_seconds(START_S));
        Self::on(world, Arc::default())
    }

    fn on(world: World, sent: Arc<Sent>) -> Self {
        let switchboard = Switchboard::default();
        switchboard.plug_topics(Arc::clone(&sent) as _);
        switchboard.plug_functions(Arc::clone(&sent) as _);
        switchboard.plug_buses(Arc::clone(&sent) as _);
        let cloudwatch = Arc::new(with_sinks(&world, switchboard));
        let stage = AlarmStage::new(Arc::clone(&cloudwatch));
        let actions = ActionStage::new(Arc::clone(&cloudwatch));
        Self { world, cloudwatch, stage, actions, sent }
    }

    /// The same after a crash: all that was in memory is gone.
    fn restarted(self) -> Self {
        Self::on(self.world, self.sent)
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        send(&self.world, &self.cloudwatch, operation, params).await.unwrap()
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&self.world, &self.cloudwatch, operation, params).await
    }

    /// Sets the clock to so many seconds after the start, and runs the stages.
    async fn at(&self, second: i64) {
        self.world.clock.set(Timestamp::from_seconds(START_S + second));
        self.run().await;
    }

    async fn run(&self) {
        self.stage.run_once().await.unwrap();
        self.actions.run_once().await.unwrap();
    }

    async fn put(&self, value: f64) {
        let datum = json!({"MetricName": "Denied", "Value": value, "StorageResolution": 1});
        self.send("PutMetricData", json!({"Namespace": "App", "MetricData": [datum]})).await;
        self.run().await;
    }

    /// An alarm on Denied: with what `further` says.
    async fn alarm(&self, name: &str, further: Value) {
        let mut params = json!({"AlarmName": name, "Namespace": "App", "MetricName": "Denied", "Statistic": "Sum",
            "Period": 60, "EvaluationPeriods": 1, "Threshold": 5.0,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold"});
        for (member, value) in further.as_object().unwrap() {
            params[member] = value.clone();
        }
        params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.send("PutMetricAlarm", params).await;
        self.run().await;
    }

    async fn described(&self, name: &str) -> Value {
        let params = json!({"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]});
        let mut reply = self.send("DescribeAlarms", params).await;
        for kind in ["MetricAlarms", "CompositeAlarms"] {
            if let Some(alarm) = reply[kind].as_array_mut().unwrap().pop() {
                return alarm;
            }
        }
        Value::Null
    }

    async fn state(&self, name: &str) -> String {
        self.described(name).await["StateValue"].as_str().unwrap_or("none").to_owned()
    }

    /// Where messages went to, and their subjects or the alarms' states.
    fn messages(&self) -> Vec<String> {
        let messages = std::mem::take(&mut *self.sent.messages.lock().unwrap());
        messages
            .iter()
            .map(|(to, subject, _)| format!("{} {subject}", to.rsplit(':').next().unwrap()))
            .collect()
    }

    async fn history(&self, name: &str, kind: &str) -> Vec<String> {
        let params = json!({"AlarmName": name, "HistoryItemType": kind, "ScanBy": "TimestampAscending"});
        let reply = self.send("DescribeAlarmHistory", params).await;
        let items = reply["AlarmHistoryItems"].as_array().unwrap();
        items.iter().map(|item| item["HistorySummary"].as_str().unwrap().to_owned()).collect()
    }

    fn wait(&self, seconds: u64) {
        self.world.clock.set(self.world.clock.now().plus(Duration::from_secs(seconds)));
    }
}

fn topic(name: &str) -> String {
    format!("arn:aws:sns:us-east-1:111122223333:{name}")
}
