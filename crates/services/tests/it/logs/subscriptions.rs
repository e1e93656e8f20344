//! Subscription filters: what they refuse and show, what they send, and that a sick destination delays itself alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::Clock;
use cairn_services::Caller;
use cairn_services::logs::{FilterDeps, FilterStage, Logs, SubscriptionStage};
use cairn_services::sinks::{
    AsRole, FunctionSink, Roles, Sender, SinkFailure, StreamRecord, StreamSink, Switchboard,
};
use cairn_services::sts::TemporaryCredentials;
use cairn_store::queues::Queues;
use cairn_testkit::{memory_lines, memory_queues};
use prometheus::Registry;
use serde_json::{Value, json};

use super::{ACCOUNT, logs_sending};
use crate::world::{self, World, refusal};

/// Functions, streams and roles that take everything, but what is sick.
#[derive(Default)]
struct Doubles {
    /// What came, by the ARN that it came to, with the partition key.
    came: Mutex<Vec<(String, String, Value)>>,
    sick: Mutex<HashSet<String>>,
}

impl Doubles {
    fn take(&self, arn: &str, key: &str, data: &[u8]) -> Result<(), SinkFailure> {
        self.look(arn)?;
        let mut text = vec![0; u32::from_le_bytes(*data.last_chunk().unwrap()) as usize];
        libdeflater::Decompressor::new().gzip_decompress(data, &mut text).unwrap();
        let value = serde_json::from_slice(&text).unwrap();
        self.came.lock().unwrap().push((arn.to_owned(), key.to_owned(), value));
        Ok(())
    }

    fn look(&self, arn: &str) -> Result<(), SinkFailure> {
        match self.sick.lock().unwrap().contains(arn) {
            false => Ok(()),
            true => Err(SinkFailure {
                is_transient: true,
                code: "ServiceUnavailable".to_owned(),
                message: "sick".to_owned(),
            }),
        }
    }

    /// The messages of lines that came to `arn`, in the order in which they came.
    fn lines(&self, arn: &str) -> Vec<String> {
        let came = self.came.lock().unwrap();
        let data = came.iter().filter(|(to, _, value)| to == arn && value["messageType"] == "DATA_MESSAGE");
        let events = data.flat_map(|(_, _, value)| value["logEvents"].as_array().unwrap().clone());
        events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

#[async_trait]
impl StreamSink for Doubles {
    async fn check(&self, _: &Sender, arn: &str) -> Result<(), SinkFailure> {
        self.look(arn)
    }

    async fn put(&self, sender: &Sender, arn: &str, records: Vec<StreamRecord>) -> Result<(), SinkFailure> {
        assert!(matches!(sender, Sender::Role(_)), "streams are written to as a role");
        records.iter().try_for_each(|record| self.take(arn, &record.partition_key, &record.data))
    }
}

#[async_trait]
impl FunctionSink for Doubles {
    async fn check(&self, _: &Sender, arn: &str) -> Result<(), SinkFailure> {
        self.look(arn)
    }

    async fn invoke(&self, sender: &Sender, arn: &str, payload: Bytes) -> Result<(), SinkFailure> {
        let Sender::Service(source) = sender else { panic!("functions are invoked as a service") };
        assert_eq!(source.arn, format!("arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g:*"));
        if source.service == "logs.us-east-1.amazonaws.com" {
            // As where the function's policy names the service without its region.
            let (code, message) = ("AccessDeniedException".to_owned(), "no".to_owned());
            return Err(SinkFailure { is_transient: false, code, message });
        }
        let event: Value = serde_json::from_slice(&payload).unwrap();
        self.take(arn, "", &STANDARD.decode(event["awslogs"]["data"].as_str().unwrap()).unwrap())
    }
}

#[async_trait]
impl Roles for Doubles {
    async fn assume(&self, role: &AsRole) -> Result<Caller, SinkFailure> {
        self.look(&role.role_arn)?;
        Ok(world::root(&ACCOUNT.parse().unwrap()))
    }

    async fn credentials(
        &self,
        role: &AsRole,
        _: std::time::Duration,
    ) -> Result<TemporaryCredentials, SinkFailure> {
        panic!("nobody asks for credentials of {}", role.role_arn)
    }
}

struct Bench {
    world: World,
    doubles: Arc<Doubles>,
    logs: Arc<Logs>,
    queues: Arc<dyn Queues>,
    looking: FilterStage,
    paying: SubscriptionStage,
}

const STREAM: &str = "arn:aws:kinesis:us-east-1:111122223333:stream/s";
const OTHER: &str = "arn:aws:kinesis:us-east-1:111122223333:stream/t";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";
const ROLE: &str = "arn:aws:iam::111122223333:role/r";

impl Bench {
    async fn new() -> Self {
        let (world, doubles, queues) = (World::new(), Arc::new(Doubles::default()), memory_queues());
        let switchboard = Switchboard::default();
        switchboard.plug_streams(Arc::clone(&doubles) as _);
        switchboard.plug_functions(Arc::clone(&doubles) as _);
        switchboard.plug_roles(Arc::clone(&doubles) as _);
        let logs = Arc::new(logs_sending(&world, memory_lines(), switchboard));
        let (looking, paying) = stages_of(&logs, &queues).await;
        let bench = Self { world, doubles, logs, queues, looking, paying };
        bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
        bench.send("CreateLogStream", json!({"logGroupName": "g", "logStreamName": "s"})).await;
        bench
    }

    fn root(&self) -> Caller {
        Caller { now: self.world.clock.now(), ..world::root(&ACCOUNT.parse().unwrap()) }
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&*self.logs, &self.root(), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, params: Value) -> String {
        refusal(&*self.logs, &self.root(), "PutSubscriptionFilter", params).await
    }

    async fn subscribe(&self, name: &str, pattern: &str, to: &str) {
        self.send("PutSubscriptionFilter", filter(name, pattern, to)).await;
    }

    async fn put(&self, messages: &[String]) {
        let now = self.world.clock.now().millis();
        let events: Vec<Value> =
            messages.iter().map(|message| json!({"timestamp": now, "message": message})).collect();
        let params = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events});
        self.send("PutLogEvents", params).await;
    }

    async fn put_texts(&self, messages: &[&str]) {
        self.put(&messages.iter().map(|message| (*message).to_owned()).collect::<Vec<_>>()).await;
    }

    async fn run(&self) {
        self.looking.run_once().await.unwrap();
        self.paying.settle().await;
    }

    fn sicken(&self, arn: &str) {
        self.doubles.sick.lock().unwrap().insert(arn.to_owned());
    }

    fn heal(&self, arn: &str) {
        self.doubles.sick.lock().unwrap().remove(arn);
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

async fn stages_of(logs: &Arc<Logs>, queues: &Arc<dyn Queues>) -> (FilterStage, SubscriptionStage) {
    let deps = FilterDeps { logs: Arc::clone(logs), queues: Arc::clone(queues), debt_key: [1; 32] };
    FilterStage::open(deps, &Registry::new()).await.unwrap()
}

fn filter(name: &str, pattern: &str, to: &str) -> Value {
    let mut params =
        json!({"logGroupName": "g", "filterName": name, "filterPattern": pattern, "destinationArn": to});
    if to.contains(":kinesis:") {
        params["roleArn"] = ROLE.into();
    }
    params
}

#[tokio::test]
async fn lines_that_match_come_in_an_envelope_behind_a_control_message() {
    let bench = Bench::new().await;
    bench.subscribe("f", "[level = ERROR, what]", STREAM).await;
    bench.put_texts(&["ERROR one", "INFO two", "ERROR three"]).await;
    bench.run().await;
    let came = bench.doubles.came.lock().unwrap().clone();
    assert_eq!(came.len(), 2);
    assert_eq!(came[0].2["messageType"], "CONTROL_MESSAGE");
    assert_eq!(
        came[0].2["logEvents"][0]["message"],
        "CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."
    );
    let (_, key, data) = &came[1];
    assert_eq!(key, "s", "lines of one stream go to one shard");
    let params = json!({"logGroupName": "g", "filterPattern": "ERROR"});
    let found = bench.send("FilterLogEvents", params).await;
    let event = |at: usize, what: &str| {
        json!({"id": found["events"][at]["eventId"], "timestamp": bench.world.clock.now().millis(),
            "message": format!("ERROR {what}"), "extractedFields": {"level": "ERROR", "what": what}})
    };
    assert_eq!(
        *data,
        json!({"messageType": "DATA_MESSAGE", "owner": ACCOUNT, "logGroup": "g", "logStream": "s",
            "subscriptionFilters": ["f"], "logEvents": [event(0, "one"), event(1, "three")]})
    );
}

#[tokio::test]
async fn a_sick_destination_delays_itself_alone_and_gets_all_in_the_end() {
    let bench = Bench::new().await;
    bench.subscribe("f", "", STREAM).await;
    bench.subscribe("h", "", OTHER).await;
    bench.sicken(STREAM);
    for at in 0..5 {
        bench.put_texts(&[&format!("line {at}")]).await;
        bench.run().await;
    }
    assert_eq!(bench.doubles.lines(OTHER).len(), 5);
    assert_eq!(bench.doubles.lines(STREAM), [""; 0]);
    // The server is stopped and started: what is owed is still owed.
    let (looking, paying) = stages_of(&bench.logs, &bench.queues).await;
    looking.run_once().await.unwrap();
    paying.settle().await;
    bench.heal(STREAM);
    paying.settle().await;
    assert_eq!(bench.doubles.lines(STREAM), [""; 0], "it pauses after a failure");
    bench.advance(2);
    paying.settle().await;
    assert_eq!(bench.doubles.lines(STREAM), ["line 0", "line 1", "line 2", "line 3", "line 4"]);
    assert_eq!(bench.doubles.lines(OTHER).len(), 5);
}

#[tokio::test]
async fn what_nobody_takes_for_a_day_is_dropped() {
    let bench = Bench::new().await;
    bench.subscribe("f", "", STREAM).await;
    bench.sicken(STREAM);
    bench.put_texts(&["old"]).await;
    bench.run().await;
    bench.advance(24 * 3600 + 1);
    bench.heal(STREAM);
    bench.put_texts(&["new"]).await;
    bench.run().await;
    assert_eq!(bench.doubles.lines(STREAM), ["new"]);
}

#[tokio::test]
async fn much_is_split_so_that_functions_take_it() {
    let bench = Bench::new().await;
    bench.subscribe("f", "", FUNCTION).await;
    // Texts that do not compress well.
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + u8::try_from((state >> 33) % 90).unwrap())
    };
    let lines: Vec<String> = (0..40).map(|_| (0..20_000).map(|_| letter()).collect()).collect();
    bench.put(&lines).await;
    bench.run().await;
    assert_eq!(bench.doubles.lines(FUNCTION), lines);
    assert!(bench.doubles.came.lock().unwrap().len() > 3);
}

#[tokio::test]
async fn a_filter_that_is_deleted_sends_nothing_any_more_and_its_queue_goes() {
    let bench = Bench::new().await;
    bench.subscribe("f", "", STREAM).await;
    bench.put_texts(&["one"]).await;
    bench.looking.run_once().await.unwrap();
    assert_eq!(bench.queues.names().len(), 1);
    bench.send("DeleteSubscriptionFilter", json!({"logGroupName": "g", "filterName": "f"})).await;
    bench.put_texts(&["two"]).await;
    bench.run().await;
    assert_eq!(bench.doubles.lines(STREAM), [""; 0]);
    assert_eq!(bench.queues.names(), []);
    let params = json!({"logGroupName": "g", "filterName": "f"});
    let gone = refusal(&*bench.logs, &bench.root(), "DeleteSubscriptionFilter", params).await;
    assert_eq!(gone, "400 ResourceNotFoundException: The specified subscription filter does not exist.");
}

#[tokio::test]
async fn what_a_subscription_filter_cannot_be_is_refused_in_awss_words() {
    let bench = Bench::new().await;
    let mut cases = vec![
        (
            filter("f", "", "arn:aws:lambda:us-east-1:444455556666:function:f"),
            "400 AccessDeniedException: Cross-account lambda invocation passing is not allowed. You must use \
             DestinationPolicies to create cross account lambda triggers.",
        ),
        (filter("f", "a:b", STREAM), "400 InvalidParameterException: Invalid character(s) in term ':'"),
    ];
    let mut without_role = filter("f", "", STREAM);
    without_role.as_object_mut().unwrap().remove("roleArn");
    cases.push((
        without_role,
        "400 InvalidParameterException: destinationArn for vendor kinesis cannot be used without roleArn",
    ));
    let mut elsewhere = filter("f", "", STREAM);
    elsewhere["logGroupName"] = "none".into();
    cases.push((elsewhere, "400 ResourceNotFoundException: The specified log group does not exist."));
    for (params, wanted) in cases {
        assert_eq!(bench.refused(params).await, wanted);
    }
    bench.sicken(STREAM);
    bench.sicken(FUNCTION);
    assert_eq!(
        bench.refused(filter("f", "", STREAM)).await,
        "400 InvalidParameterException: Could not deliver test message to specified Kinesis stream. Check if the given \
         kinesis stream is in ACTIVE state."
    );
    assert_eq!(
        bench.refused(filter("f", "", FUNCTION)).await,
        "400 InvalidParameterException: Could not execute the lambda function. Make sure you have given CloudWatch Logs \
         permission to execute your function."
    );
    bench.subscribe("a", "", OTHER).await;
    bench.subscribe("b", "[]", OTHER).await;
    bench.subscribe("b", "", OTHER).await;
    let refused = bench.refused(filter("c", "", OTHER)).await;
    assert_eq!(refused, "400 LimitExceededException: Resource limit exceeded.");
    let shown = bench.send("DescribeSubscriptionFilters", json!({"logGroupName": "g"})).await;
    assert_eq!(
        shown["subscriptionFilters"][1],
        json!({"filterName": "b", "filterPattern": "", "logGroupName": "g", "destinationArn": OTHER,
            "roleArn": ROLE, "distribution": "ByLogStream", "applyOnTransformedLogs": false,
            "creationTime": bench.world.clock.now().millis()})
    );
}
