//! Event notifications: configurations, what is owed for what happens, and the stage that sends it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::Clock;
use cairn_services::s3::{EventStage, Sinks};
use cairn_services::sinks::{QueueMessage, QueueSink, SinkFailure, Source, TopicMessage, TopicSink};
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{Bucket, BucketPut};
use cairn_wire::{Body, Call};
use prometheus::Registry;
use serde_json::{Value, json};

use super::{Shop, account, open};
use crate::world::{World, call};

pub(super) const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:events";
pub(super) const OTHER_QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:others";
pub(super) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:events";

/// Queues and topics that keep what they are sent, and can be made to refuse.
#[derive(Default)]
pub(super) struct Destinations {
    sent: Mutex<BTreeMap<String, Vec<Sent>>>,
    sick: Mutex<BTreeMap<String, SinkFailure>>,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) source: Source,
    pub(super) body: Value,
    pub(super) trace_header: Option<String>,
}

impl Destinations {
    pub(super) fn sinks(self: &Arc<Self>) -> Sinks {
        Sinks { queues: Some(Arc::clone(self) as _), topics: Some(Arc::clone(self) as _), ..Sinks::default() }
    }

    pub(super) fn make_sick(&self, arn: &str, code: &str, is_transient: bool) {
        let failure = SinkFailure { is_transient, code: code.into(), message: "refused by the test".into() };
        self.sick.lock().unwrap().insert(arn.into(), failure);
    }

    pub(super) fn heal(&self, arn: &str) {
        self.sick.lock().unwrap().remove(arn);
    }

    fn look(&self, arn: &str) -> Result<(), SinkFailure> {
        self.sick.lock().unwrap().get(arn).map_or(Ok(()), |failure| Err(failure.clone()))
    }

    pub(super) fn take(
        &self,
        source: Source,
        arn: &str,
        body: &str,
        trace_header: Option<String>,
    ) -> Result<(), SinkFailure> {
        self.look(arn)?;
        let body = serde_json::from_str(body).unwrap();
        self.sent.lock().unwrap().entry(arn.into()).or_default().push(Sent { source, body, trace_header });
        Ok(())
    }

    /// What came since the last look.
    pub(super) fn taken(&self, arn: &str) -> Vec<Sent> {
        self.sent.lock().unwrap().remove(arn).unwrap_or_default()
    }

    /// The events that came since the last look.
    pub(super) fn events(&self, arn: &str) -> Vec<Value> {
        self.taken(arn).into_iter().map(|mut sent| sent.body["Records"][0].take()).collect()
    }

    /// The names and keys of the events that came since the last look.
    fn names(&self, arn: &str) -> Vec<String> {
        let name =
            |event: &Value| format!("{} {}", text(&event["eventName"]), text(&event["s3"]["object"]["key"]));
        self.events(arn).iter().map(name).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[async_trait]
impl QueueSink for Destinations {
    async fn check(&self, _: &Source, queue_arn: &str) -> Result<(), SinkFailure> {
        self.look(queue_arn)
    }

    async fn send(&self, messages: Vec<(Source, String, QueueMessage)>) -> Vec<Result<(), SinkFailure>> {
        let take = |(source, arn, message): (Source, String, QueueMessage)| {
            self.take(source, &arn, &message.body, message.trace_header)
        };
        messages.into_iter().map(take).collect()
    }

    async fn is_fifo(&self, queue_arn: &str) -> Option<bool> {
        Some(queue_arn.ends_with(".fifo"))
    }
}

#[async_trait]
impl TopicSink for Destinations {
    async fn check(&self, _: &Source, topic_arn: &str) -> Result<(), SinkFailure> {
        self.look(topic_arn)
    }

    async fn publish(
        &self,
        source: &Source,
        topic_arn: &str,
        message: TopicMessage,
    ) -> Result<(), SinkFailure> {
        assert_eq!(message.subject.as_deref(), Some("Amazon S3 Notification"));
        self.take(source.clone(), topic_arn, &message.body, None)
    }

    async fn is_fifo(&self, topic_arn: &str) -> Option<bool> {
        Some(topic_arn.ends_with(".fifo"))
    }
}

/// A shop with a bucket `logs` that can notify.
async fn shop() -> (Shop, Arc<Destinations>, EventStage) {
    let destinations = Arc::new(Destinations::default());
    let mut shop = Shop::new();
    shop.s3 = open(&shop.world, shop.folder.path()).notifying(destinations.sinks());
    shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
    let stage = shop.s3.event_stage(&Registry::new()).unwrap();
    (shop, destinations, stage)
}

fn queue(arn: &str, events: &[&str]) -> Value {
    json!({"Id": arn, "QueueArn": arn, "Events": events})
}

fn configuration(queues: &[Value], topics: &[Value]) -> Value {
    json!({"Bucket": "logs", "NotificationConfiguration": {
        "QueueConfigurations": queues, "TopicConfigurations": topics,
    }})
}

async fn notify(shop: &Shop, queues: &[Value], topics: &[Value]) {
    shop.ok("PutBucketNotificationConfiguration", configuration(queues, topics)).await;
}

async fn read(shop: &Shop) -> Value {
    shop.ok("GetBucketNotificationConfiguration", json!({"Bucket": "logs"})).await
}

async fn refusal(shop: &Shop, params: Value) -> String {
    let error = shop.send(call("s3", "PutBucketNotificationConfiguration", params)).await.unwrap_err();
    let members: Vec<String> = error.members.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{} {}: {} [{}]", error.status, error.code, error.message, members.join(" "))
}

#[tokio::test]
async fn a_configuration_is_kept_and_its_destinations_get_the_test_event() {
    let (shop, destinations, _) = shop().await;
    let filter = json!({"Key": {"FilterRules": [
        {"Name": "suffix", "Value": ".gz"}, {"Name": "PREFIX", "Value": "AWSLogs/"},
    ]}});
    let topic = json!({"TopicArn": TOPIC, "Events": ["s3:ObjectCreated:*"], "Filter": filter});
    notify(&shop, &[queue(QUEUE, &["s3:ObjectRemoved:*", "s3:ObjectTagging:Put"])], &[topic]).await;
    let mut kept = read(&shop).await;
    let id = kept["TopicConfigurations"][0]["Id"].take();
    assert_eq!(text(&id).len(), 48);
    let shown = json!({
        "TopicConfigurations": [{
            "Id": null, "TopicArn": TOPIC, "Events": ["s3:ObjectCreated:*"],
            "Filter": {"Key": {"FilterRules": [
                {"Name": "Prefix", "Value": "AWSLogs/"}, {"Name": "Suffix", "Value": ".gz"},
            ]}},
        }],
        "QueueConfigurations": [queue(QUEUE, &["s3:ObjectRemoved:*", "s3:ObjectTagging:Put"])],
    });
    assert_eq!(kept, shown);
    for arn in [QUEUE, TOPIC] {
        let tests = destinations.taken(arn);
        let [test] = &tests[..] else { panic!("{tests:?}") };
        assert_eq!(
            test.body,
            json!({
                "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-21T17:24:26.000Z",
                "Bucket": "logs", "RequestId": "0707070707074707", "HostId": test.body["HostId"],
            })
        );
        let source = Source {
            service: "s3.amazonaws.com".into(),
            arn: "arn:aws:s3:::logs".into(),
            account: account(),
        };
        assert_eq!(test.source, source);
    }
    notify(&shop, &[], &[]).await;
    assert_eq!(read(&shop).await, json!({}));
}

#[tokio::test]
async fn what_cannot_be_configured_is_refused_and_changes_nothing() {
    let (shop, destinations, _) = shop().await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    let kept = read(&shop).await;
    destinations.make_sick(OTHER_QUEUE, "AWS.SimpleQueueService.NonExistentQueue", false);
    destinations.make_sick(TOPIC, "AccessDenied", false);
    let created = &["s3:ObjectCreated:*"];
    let filtered = |rules: Value| json!({"QueueArn": QUEUE, "Events": created, "Filter": {"Key": {"FilterRules": rules}}});
    let fifo = format!("{QUEUE}.fifo");
    let topic = json!({"TopicArn": TOPIC, "Events": ["s3:ObjectRemoved:*"]});
    let mut refusals = String::new();
    for queues in [
        json!([queue("invalid", created)]),
        json!([queue(TOPIC, created)]),
        json!([queue(OTHER_QUEUE, created), queue("invalid", created)]),
        json!([queue("arn:aws:sqs:eu-west-1:123456789012:events", created)]),
        json!([queue(QUEUE, &["s3:ObjectEaten:*"])]),
        json!([queue(QUEUE, &[])]),
        json!([{"Events": created}]),
        json!([filtered(json!([{"Name": "infix", "Value": "a"}]))]),
        json!([filtered(json!([{"Name": "prefix", "Value": "a"}, {"Name": "Prefix", "Value": "b"}]))]),
        json!([filtered(json!([{"Name": "prefix"}]))]),
        json!([filtered(json!([{"Name": "suffix", "Value": "x".repeat(1025)}]))]),
        json!([queue(QUEUE, created), queue(QUEUE, &["s3:ObjectRemoved:*"])]),
        json!([queue(QUEUE, created), queue(OTHER_QUEUE, &["s3:ObjectCreated:Put"])]),
        json!([queue(&fifo, created)]),
        json!([queue(OTHER_QUEUE, created)]),
    ] {
        let refused = refusal(&shop, configuration(queues.as_array().unwrap(), &[])).await;
        refusals += &refused.replace(&"x".repeat(1025), "xxx");
        refusals += "\n";
    }
    refusals += &refusal(&shop, configuration(&[queue(OTHER_QUEUE, created)], &[topic])).await;
    let function = json!({
        "LambdaFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f", "Events": created,
    });
    let other = json!({"LambdaFunctionConfigurations": [function]});
    refusals += "\n";
    refusals += &refusal(&shop, json!({"Bucket": "logs", "NotificationConfiguration": other})).await;
    insta::assert_snapshot!(refusals, @r#"
    400 InvalidArgument: The ARN could not be parsed [ArgumentName=Queue ArgumentValue=invalid]
    400 InvalidArgument: The ARN could not be parsed [ArgumentName=Queue ArgumentValue=arn:aws:sns:us-east-1:123456789012:events]
    400 InvalidArgument: The ARN could not be parsed [ArgumentName=Queue ArgumentValue=invalid]
    400 InvalidArgument: The notification destination service region is not valid for the bucket location constraint [ArgumentName=Queue ArgumentValue=arn:aws:sqs:eu-west-1:123456789012:events]
    400 InvalidArgument: The event 's3:ObjectEaten:*' is not supported for notifications [ArgumentName=Event ArgumentValue=s3:ObjectEaten:*]
    400 MalformedXML: The XML you provided was not well-formed or did not validate against our published schema []
    400 MalformedXML: The XML you provided was not well-formed or did not validate against our published schema []
    400 InvalidArgument: filter rule name must be either prefix or suffix [ArgumentName=FilterRule.Name ArgumentValue=infix]
    400 InvalidArgument: Cannot specify more than one prefix rule in a filter. [ArgumentName=FilterRule.Name ArgumentValue=prefix]
    400 MalformedXML: The XML you provided was not well-formed or did not validate against our published schema []
    400 InvalidArgument: Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation [ArgumentName=FilterRule.Value ArgumentValue=xxx]
    400 InvalidArgument: Same ID used for multiple configurations. IDs must be unique [ArgumentName=Id ArgumentValue=arn:aws:sqs:us-east-1:123456789012:events]
    400 InvalidArgument: Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping for the same event type. []
    400 InvalidArgument: Unable to validate the following destination configurations [ArgumentName1=arn:aws:sqs:us-east-1:123456789012:events.fifo ArgumentValue1=The destination queue is a FIFO queue, which is not supported]
    400 InvalidArgument: Unable to validate the following destination configurations [ArgumentName1=arn:aws:sqs:us-east-1:123456789012:others ArgumentValue1=The destination queue does not exist]
    400 InvalidArgument: Unable to validate the following destination configurations [ArgumentName1=arn:aws:sns:us-east-1:123456789012:events ArgumentValue1=Permissions on the destination topic do not allow S3 to publish notifications from this bucket ArgumentName2=arn:aws:sqs:us-east-1:123456789012:others ArgumentValue2=The destination queue does not exist]
    400 InvalidArgument: Unable to validate the following destination configurations [ArgumentName1=arn:aws:lambda:us-east-1:123456789012:function:f ArgumentValue1=The destination Lambda function does not exist]
    "#);
    assert_eq!(read(&shop).await, kept);
    assert_eq!(destinations.taken(OTHER_QUEUE).len(), 0);

    let mut unseen = configuration(&[queue(OTHER_QUEUE, created)], &[]);
    unseen["SkipDestinationValidation"] = true.into();
    shop.ok("PutBucketNotificationConfiguration", unseen).await;
    assert_eq!(read(&shop).await["QueueConfigurations"][0]["QueueArn"], OTHER_QUEUE);
}

#[tokio::test]
async fn a_destination_that_fails_by_a_fault_of_the_servers_is_not_called_missing() {
    let (shop, destinations, _) = shop().await;
    destinations.make_sick(QUEUE, "InternalError", true);
    let refused = refusal(&shop, configuration(&[queue(QUEUE, &["s3:ObjectCreated:*"])], &[])).await;
    assert!(refused.starts_with("500 "), "{refused}");
}

#[tokio::test]
async fn everything_that_happens_to_objects_is_told_in_its_order() {
    let (shop, destinations, stage) = shop().await;
    let all = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:ObjectAcl:Put"];
    notify(&shop, &[queue(QUEUE, &all)], &[]).await;
    destinations.taken(QUEUE);
    shop.put("a b", "first").await;
    shop.ok("CopyObject", json!({"Bucket": "logs", "Key": "copy", "CopySource": "logs/a%20b"})).await;
    let tagging =
        json!({"Bucket": "logs", "Key": "copy", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}});
    shop.ok("PutObjectTagging", tagging).await;
    shop.ok("DeleteObjectTagging", json!({"Bucket": "logs", "Key": "copy"})).await;
    // Of a bucket without ACLs nothing changes.
    shop.ok("PutObjectAcl", json!({"Bucket": "logs", "Key": "copy", "ACL": "bucket-owner-full-control"}))
        .await;
    let owner =
        json!({"Bucket": "logs", "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}});
    shop.ok("PutBucketOwnershipControls", owner).await;
    shop.ok("DeletePublicAccessBlock", json!({"Bucket": "logs"})).await;
    shop.ok("PutObjectAcl", json!({"Bucket": "logs", "Key": "copy", "ACL": "private"})).await;
    shop.ok("PutObjectAcl", json!({"Bucket": "logs", "Key": "copy", "ACL": "authenticated-read"})).await;
    let upload = shop.ok("CreateMultipartUpload", json!({"Bucket": "logs", "Key": "parts"})).await;
    let part = json!({"Bucket": "logs", "Key": "parts", "UploadId": upload["UploadId"], "PartNumber": 1});
    let part =
        Call { body: Some(Body::from_bytes(Bytes::from_static(b"part"))), ..call("s3", "UploadPart", part) };
    let part = shop.send(part).await.unwrap().result;
    let parts = json!({"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]});
    let complete =
        json!({"Bucket": "logs", "Key": "parts", "UploadId": upload["UploadId"], "MultipartUpload": parts});
    shop.ok("CompleteMultipartUpload", complete).await;
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "nothing"})).await;
    let doomed = json!({"Objects": [{"Key": "a b"}, {"Key": "parts"}, {"Key": "nothing"}]});
    shop.ok("DeleteObjects", json!({"Bucket": "logs", "Delete": doomed})).await;
    stage.run_once().await.unwrap();
    let events = destinations.events(QUEUE);
    let mut told = String::new();
    for event in &events {
        let (name, version) = (text(&event["eventName"]), text(&event["eventVersion"]));
        let mut object = event["s3"]["object"].clone();
        if object.get("sequencer").is_some() {
            object["sequencer"] = "…".into();
        }
        told += &format!("{version} {name} {object}\n");
    }
    insta::assert_snapshot!(told, @r#"
    2.1 ObjectCreated:Put {"key":"a+b","size":5,"eTag":"8b04d5e3775d298e78455efc5ca404d5","sequencer":"…"}
    2.1 ObjectCreated:Copy {"key":"copy","size":5,"eTag":"8b04d5e3775d298e78455efc5ca404d5","sequencer":"…"}
    2.3 ObjectTagging:Put {"key":"copy","eTag":"8b04d5e3775d298e78455efc5ca404d5"}
    2.3 ObjectTagging:Delete {"key":"copy","eTag":"8b04d5e3775d298e78455efc5ca404d5"}
    2.3 ObjectAcl:Put {"key":"copy","eTag":"8b04d5e3775d298e78455efc5ca404d5"}
    2.1 ObjectCreated:CompleteMultipartUpload {"key":"parts","size":4,"eTag":"1819d1a8700e59901a48215b8577ac07-1","sequencer":"…"}
    2.1 ObjectRemoved:Delete {"key":"a+b","sequencer":"…"}
    2.1 ObjectRemoved:Delete {"key":"parts","sequencer":"…"}
    2.1 ObjectRemoved:Delete {"key":"nothing","sequencer":"…"}
    "#);
    let sequencers: Vec<&str> =
        events.iter().filter_map(|event| event["s3"]["object"]["sequencer"].as_str()).collect();
    assert!(sequencers.is_sorted_by(|one, next| one < next), "{sequencers:?}");
    stage.run_once().await.unwrap();
    assert_eq!(destinations.events(QUEUE), [] as [Value; 0]);
}

#[tokio::test]
async fn versions_and_delete_markers_are_told_by_their_ids() {
    let (shop, destinations, stage) = shop().await;
    shop.set_versioning("Enabled").await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*", "s3:ObjectRemoved:*"])], &[]).await;
    destinations.taken(QUEUE);
    let first = shop.put("a", "1").await["VersionId"].clone();
    let marker = shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a"})).await["VersionId"].clone();
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a", "VersionId": first})).await;
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a", "VersionId": first})).await;
    shop.set_versioning("Suspended").await;
    shop.put("a", "2").await;
    stage.run_once().await.unwrap();
    let told: Vec<Value> = destinations
        .events(QUEUE)
        .into_iter()
        .map(|event| {
            let object = &event["s3"]["object"];
            json!([event["eventName"], object["versionId"], object["eTag"], object["size"]])
        })
        .collect();
    assert_eq!(
        told,
        [
            json!(["ObjectCreated:Put", first, "c4ca4238a0b923820dcc509a6f75849b", 1]),
            json!(["ObjectRemoved:DeleteMarkerCreated", marker, "d41d8cd98f00b204e9800998ecf8427e", null]),
            json!(["ObjectRemoved:Delete", first, null, null]),
            json!(["ObjectCreated:Put", null, "c81e728d9d4c2f636f067f89cc14862c", 1]),
        ]
    );
}

#[tokio::test]
async fn a_log_file_that_cloudtrail_delivers_is_told() {
    let (shop, destinations, stage) = shop().await;
    let service = json!({"Service": "cloudtrail.amazonaws.com"});
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": service, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*"},
    ]});
    shop.ok("PutBucketPolicy", json!({"Bucket": "logs", "Policy": policy.to_string()})).await;
    let topic = json!({"TopicArn": TOPIC, "Events": ["s3:ObjectCreated:Put"]});
    notify(&shop, &[], &[topic]).await;
    destinations.taken(TOPIC);
    let trail = OnBehalfOf {
        trail: "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit".parse().unwrap(),
        account: account(),
    };
    let put = BucketPut {
        bucket: "logs".into(),
        key: "AWSLogs/123456789012/CloudTrail/a.json.gz".into(),
        body: Bytes::from_static(b"gzip"),
        metadata: Vec::new(),
        kms_key_id: None,
    };
    shop.s3.put(put, &trail).await.unwrap();
    stage.run_once().await.unwrap();
    let events = destinations.events(TOPIC);
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(
        json!([
            event["eventName"],
            event["s3"]["object"]["key"],
            event["s3"]["object"]["size"],
            event["requestParameters"]
        ]),
        json!([
            "ObjectCreated:Put", "AWSLogs/123456789012/CloudTrail/a.json.gz", 4,
            {"sourceIPAddress": "cloudtrail.amazonaws.com"},
        ])
    );
}

#[tokio::test]
async fn a_trace_header_goes_with_the_message() {
    let (shop, destinations, stage) = shop().await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    destinations.taken(QUEUE);
    let mut put = call("s3", "PutObject", json!({"Bucket": "logs", "Key": "a"}));
    put.request.headers.push(("x-amzn-trace-id".into(), "Root=1-1-1;Sampled=1".into()));
    shop.send(put).await.unwrap();
    stage.run_once().await.unwrap();
    assert_eq!(destinations.taken(QUEUE)[0].trace_header.as_deref(), Some("Root=1-1-1;Sampled=1"));
}

#[tokio::test]
async fn a_sick_destination_delays_itself_alone_and_gets_all_in_order_once_it_is_well() {
    let (shop, destinations, stage) = shop().await;
    let topic = json!({"TopicArn": TOPIC, "Events": ["s3:ObjectRemoved:*"]});
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[topic]).await;
    destinations.taken(QUEUE);
    destinations.taken(TOPIC);
    destinations.make_sick(QUEUE, "AccessDenied", false);
    for key in ["1", "2", "3"] {
        shop.put(key, "x").await;
    }
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "2"})).await;
    stage.run_once().await.unwrap();
    assert_eq!(destinations.names(TOPIC), ["ObjectRemoved:Delete 2"]);
    assert_eq!(destinations.names(QUEUE), [] as [&str; 0]);
    destinations.heal(QUEUE);
    // It is not tried again before its pause is over.
    stage.run_once().await.unwrap();
    assert_eq!(destinations.names(QUEUE), [] as [&str; 0]);
    assert_eq!(stage.next_due(), shop.world.clock.now().plus(Duration::from_secs(1)));
    shop.world.clock.advance(Duration::from_secs(1));
    stage.run_once().await.unwrap();
    let created = |key: u32| format!("ObjectCreated:Put {key}");
    assert_eq!(destinations.names(QUEUE), [created(1), created(2), created(3)]);
}

#[tokio::test]
async fn what_nobody_took_for_a_day_is_dropped_and_what_is_newer_is_sent() {
    let (shop, destinations, _) = shop().await;
    let registry = Registry::new();
    let second = open(&shop.world, shop.folder.path()).notifying(destinations.sinks());
    let stage = second.event_stage(&registry).unwrap();
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    destinations.taken(QUEUE);
    destinations.make_sick(QUEUE, "AWS.SimpleQueueService.NonExistentQueue", false);
    shop.put("old", "x").await;
    stage.run_once().await.unwrap();
    shop.world.clock.advance(Duration::from_secs(23 * 3600));
    shop.put("new", "x").await;
    shop.world.clock.advance(Duration::from_secs(2 * 3600));
    destinations.heal(QUEUE);
    stage.run_once().await.unwrap();
    assert_eq!(destinations.names(QUEUE), ["ObjectCreated:Put new"]);
    let count = |name: &str| {
        let found = registry.gather().into_iter().find(|family| family.name() == name).unwrap();
        found.get_metric()[0].get_counter().get_value() as u64
    };
    assert_eq!(count("cairn_s3_events_dropped_total"), 1);
    assert_eq!(count("cairn_s3_events_sent_total"), 1);
    assert_eq!(count("cairn_s3_event_failures_total"), 1);
}

#[tokio::test]
async fn more_than_a_page_is_sent_in_one_run() {
    let (shop, destinations, stage) = shop().await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    destinations.taken(QUEUE);
    for number in 0..205 {
        shop.put(&format!("{number:03}"), "x").await;
    }
    stage.run_once().await.unwrap();
    let names = destinations.names(QUEUE);
    assert_eq!(names.len(), 205);
    assert!(names.is_sorted());
}

#[tokio::test]
async fn the_stage_is_woken_by_new_debts() {
    let (shop, destinations, stage) = shop().await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    destinations.taken(QUEUE);
    let mark = stage.mark();
    assert!(futures::FutureExt::now_or_never(stage.wait_past(mark)).is_none());
    shop.ok("DeleteObject", json!({"Bucket": "logs", "Key": "a"})).await;
    assert!(futures::FutureExt::now_or_never(stage.wait_past(mark)).is_none());
    shop.put("a", "x").await;
    assert!(futures::FutureExt::now_or_never(stage.wait_past(mark)).is_some());
}

#[tokio::test]
async fn a_restart_sends_what_was_owed_before_it() {
    let (shop, destinations, stage) = shop().await;
    notify(&shop, &[queue(QUEUE, &["s3:ObjectCreated:*"])], &[]).await;
    destinations.taken(QUEUE);
    shop.put("a", "x").await;
    drop(stage);
    let Shop { s3, world, folder, .. } = shop;
    drop(s3);
    let s3 = open(&world, folder.path()).notifying(destinations.sinks());
    s3.event_stage(&Registry::new()).unwrap().run_once().await.unwrap();
    assert_eq!(destinations.names(QUEUE), ["ObjectCreated:Put a"]);
}

/// A world over which S3 can be opened again and again.
pub(super) fn reopen(world: &World, folder: &std::path::Path, sinks: Sinks) -> cairn_services::s3::S3 {
    open(world, folder).notifying(sinks)
}
