//! Metric filters: what they refuse, what they show, what they count, exactly once.

use std::sync::Arc;

use cairn_services::cloudwatch::CloudWatch;
use cairn_services::logs::{FilterDeps, FilterStage};
use cairn_services::sinks::Switchboard;
use cairn_testkit::{memory_lines, memory_queues};
use prometheus::Registry;
use serde_json::{Value, json};

use super::{ACCOUNT, logs_sending};
use crate::cloudwatch;
use crate::world::{self, World, refusal};

const START_MS: i64 = 1_795_281_840_000;

struct Bench {
    world: World,
    cloudwatch: Arc<CloudWatch>,
    logs: Arc<cairn_services::logs::Logs>,
    stage: FilterStage,
}

impl Bench {
    /// The group `g` with the stream `s`, at the beginning of a minute.
    async fn new() -> Self {
        let world = World::new();
        world.clock.set(cairn_core::Timestamp::from_millis(START_MS));
        let switchboard = Switchboard::default();
        let cloudwatch = Arc::new(cloudwatch::cloudwatch_of(&world));
        switchboard.plug_metrics(Arc::clone(&cloudwatch) as _);
        let logs = Arc::new(logs_sending(&world, memory_lines(), switchboard));
        let stage = stage_of(&logs).await;
        let bench = Self { world, cloudwatch, logs, stage };
        bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
        bench.send("CreateLogStream", json!({"logGroupName": "g", "logStreamName": "s"})).await;
        bench
    }

    fn root(&self) -> cairn_services::Caller {
        use cairn_core::Clock;
        cairn_services::Caller { now: self.world.clock.now(), ..world::root(&ACCOUNT.parse().unwrap()) }
    }

    async fn send(&self, operation: &str, params: Value) -> Value {
        let sent = world::send(&*self.logs, &self.root(), operation, params.clone()).await;
        sent.unwrap_or_else(|error| panic!("{operation} {params}: {error}"))
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        refusal(&*self.logs, &self.root(), operation, params).await
    }

    async fn filter(&self, name: &str, pattern: &str, transformation: Value) {
        self.send("PutMetricFilter", filter(name, pattern, transformation)).await;
    }

    async fn put(&self, messages: &[&str]) {
        use cairn_core::Clock;
        let now = self.world.clock.now().millis();
        let events: Vec<Value> =
            messages.iter().map(|message| json!({"timestamp": now, "message": message})).collect();
        let params = json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events});
        self.send("PutLogEvents", params).await;
    }

    fn advance(&self, seconds: u64) {
        self.world.clock.advance(std::time::Duration::from_secs(seconds));
    }

    /// Samples and sum of each minute that has some.
    async fn counted(&self, metric: &str, dimensions: Value) -> Vec<(f64, f64)> {
        let params = json!({
            "Namespace": "N", "MetricName": metric, "Dimensions": dimensions, "Period": 60,
            "StartTime": (START_MS / 1000 - 3600) as f64, "EndTime": (START_MS / 1000 + 3600) as f64,
            "Statistics": ["SampleCount", "Sum"],
        });
        let reply =
            cloudwatch::send(&self.world, &self.cloudwatch, "GetMetricStatistics", params).await.unwrap();
        let mut points: Vec<Value> = reply["Datapoints"].as_array().cloned().unwrap_or_default();
        points.sort_by_key(|point| point["Timestamp"].to_string());
        let number = |value: &Value| value.as_f64().unwrap();
        points.iter().map(|point| (number(&point["SampleCount"]), number(&point["Sum"]))).collect()
    }
}

async fn stage_of(logs: &Arc<cairn_services::logs::Logs>) -> FilterStage {
    let deps = FilterDeps { logs: Arc::clone(logs), queues: memory_queues(), debt_key: [1; 32] };
    FilterStage::open(deps, &Registry::new()).await.unwrap().0
}

fn filter(name: &str, pattern: &str, transformation: Value) -> Value {
    let mut whole = json!({"metricName": "M", "metricNamespace": "N", "metricValue": "1"});
    whole.as_object_mut().unwrap().extend(transformation.as_object().unwrap().clone());
    json!({"logGroupName": "g", "filterName": name, "filterPattern": pattern, "metricTransformations": [whole]})
}

#[tokio::test]
async fn lines_that_match_are_counted_once_in_the_minute_of_their_time() {
    let bench = Bench::new().await;
    bench.put(&["ERROR before the filter"]).await;
    bench.stage.run_once().await.unwrap();
    bench.advance(1);
    bench.filter("f", "ERROR", json!({})).await;
    bench.filter("size", "[level, size > 10]", json!({"metricName": "Size", "metricValue": "$size"})).await;
    bench.put(&["ERROR 1", "INFO 2", "ERROR 30"]).await;
    bench.stage.run_once().await.unwrap();
    bench.advance(60);
    bench.put(&["ERROR 5", "x y"]).await;
    bench.stage.run_once().await.unwrap();
    bench.stage.run_once().await.unwrap();
    // A stage that is opened anew goes on behind what was counted.
    stage_of(&bench.logs).await.run_once().await.unwrap();
    assert_eq!(bench.counted("M", json!([])).await, [(2.0, 2.0), (1.0, 1.0)]);
    assert_eq!(bench.counted("Size", json!([])).await, [(1.0, 30.0)]);
}

#[tokio::test]
async fn dimensions_come_from_the_line_and_lines_without_them_count_for_nothing() {
    let bench = Bench::new().await;
    let dimensions = json!({"dimensions": {"Code": "$.code"}, "metricValue": "$.ms", "unit": "Milliseconds"});
    bench.filter("f", "{ $.ms = * }", dimensions).await;
    bench
        .put(&[r#"{"ms":5,"code":"a"}"#, r#"{"ms":7,"code":"b"}"#, r#"{"ms":9}"#, r#"{"ms":"x","code":"a"}"#])
        .await;
    bench.stage.run_once().await.unwrap();
    assert_eq!(bench.counted("M", json!([{"Name": "Code", "Value": "a"}])).await, [(1.0, 5.0)]);
    assert_eq!(bench.counted("M", json!([{"Name": "Code", "Value": "b"}])).await, [(1.0, 7.0)]);
    assert_eq!(bench.counted("M", json!([])).await, []);
}

#[tokio::test]
async fn a_default_value_is_added_for_minutes_in_which_lines_came_and_none_matched() {
    let bench = Bench::new().await;
    bench.filter("f", "ERROR", json!({"defaultValue": 0.5})).await;
    bench.put(&["INFO"]).await;
    bench.stage.run_once().await.unwrap();
    bench.put(&["INFO again"]).await;
    bench.stage.run_once().await.unwrap();
    assert_eq!(bench.counted("M", json!([])).await, [], "the minute is not over");
    bench.advance(66);
    bench.stage.run_once().await.unwrap();
    bench.stage.run_once().await.unwrap();
    assert_eq!(bench.counted("M", json!([])).await, [(1.0, 0.5)]);
    // A minute with a match, and then one without lines, have no default.
    bench.put(&["INFO"]).await;
    bench.stage.run_once().await.unwrap();
    bench.put(&["ERROR"]).await;
    bench.stage.run_once().await.unwrap();
    bench.advance(180);
    bench.stage.run_once().await.unwrap();
    assert_eq!(bench.counted("M", json!([])).await, [(1.0, 0.5), (1.0, 1.0)]);
}

#[tokio::test]
async fn metric_filters_are_shown_changed_and_deleted() {
    let bench = Bench::new().await;
    bench.filter("f1", "ERROR", json!({"defaultValue": 0.0})).await;
    bench.filter("f2", " ", json!({"metricName": "Other", "unit": "Count"})).await;
    bench.filter("f1", "WARN", json!({"metricValue": "2"})).await;
    let shown = bench.send("DescribeMetricFilters", json!({"logGroupName": "g"})).await;
    assert_eq!(
        shown["metricFilters"][0],
        json!({"filterName": "f1", "filterPattern": "WARN", "logGroupName": "g", "creationTime": START_MS,
            "applyOnTransformedLogs": false,
            "metricTransformations": [{"metricName": "M", "metricNamespace": "N", "metricValue": "2"}]})
    );
    let named = |reply: &Value| -> Vec<String> {
        let filters = reply["metricFilters"].as_array().unwrap().iter();
        filters.map(|filter| filter["filterName"].as_str().unwrap().to_owned()).collect()
    };
    let asked = [
        (json!({"metricName": "Other", "metricNamespace": "N"}), vec!["f2"]),
        (json!({"filterNamePrefix": "f"}), vec!["f1", "f2"]),
        (json!({"filterNamePrefix": "g"}), vec![]),
    ];
    for (params, wanted) in asked {
        assert_eq!(named(&bench.send("DescribeMetricFilters", params).await), wanted);
    }
    let first = bench.send("DescribeMetricFilters", json!({"limit": 1})).await;
    let second =
        bench.send("DescribeMetricFilters", json!({"limit": 1, "nextToken": first["nextToken"]})).await;
    assert_eq!((named(&first), named(&second)), (vec!["f1".to_owned()], vec!["f2".to_owned()]));
    assert_eq!(second.get("nextToken"), None);
    let groups = bench.send("DescribeLogGroups", json!({})).await;
    assert_eq!(groups["logGroups"][0]["metricFilterCount"], 2);
    bench.send("DeleteMetricFilter", json!({"logGroupName": "g", "filterName": "f2"})).await;
    let gone = bench.refused("DeleteMetricFilter", json!({"logGroupName": "g", "filterName": "f2"})).await;
    assert_eq!(gone, "400 ResourceNotFoundException: The specified metric filter does not exist.");
    // A group that is made anew has nothing of its predecessor.
    bench.send("DeleteLogGroup", json!({"logGroupName": "g"})).await;
    bench.send("CreateLogGroup", json!({"logGroupName": "g"})).await;
    assert_eq!(named(&bench.send("DescribeMetricFilters", json!({"logGroupName": "g"})).await), [""; 0]);
}

#[tokio::test]
async fn what_a_metric_filter_cannot_be_is_refused_in_awss_words() {
    let bench = Bench::new().await;
    let exclusive =
        "Invalid metric transformation: dimensions and default value are mutually exclusive properties";
    let cases = [
        (filter("f", "a:b", json!({})), "Invalid character(s) in term ':'"),
        (filter("f", "{ $.a", json!({})), "Invalid filter pattern"),
        (
            filter("f", "ERROR", json!({"metricValue": "$.a"})),
            "Invalid metric transformation: metric value $.a must be a valid number",
        ),
        (
            filter("f", "[a, b]", json!({"metricValue": "$c"})),
            "Invalid metric transformation: metric value $c must be a valid number",
        ),
        (
            filter("f", "ERROR", json!({"dimensions": {"d": "$.a"}})),
            "The specified filter pattern does not support dimensions",
        ),
        (filter("f", "{ $.a = 1 }", json!({"dimensions": {"d": "$.a"}, "defaultValue": 0.0})), exclusive),
        (
            filter("f", "{ $.a = 1 }", json!({"dimensions": {"d": "fixed"}})),
            "Invalid metric transformation: dimension value must be valid selector",
        ),
    ];
    for (params, message) in cases {
        let refused = bench.refused("PutMetricFilter", params).await;
        assert_eq!(refused, format!("400 InvalidParameterException: {message}"));
    }
    let mut elsewhere = filter("f", "", json!({}));
    elsewhere["logGroupName"] = "none".into();
    let refused = bench.refused("PutMetricFilter", elsewhere).await;
    assert_eq!(refused, "400 ResourceNotFoundException: The specified log group does not exist.");
    for number in 0..100 {
        bench.filter(&format!("f{number}"), if number < 5 { "%a%" } else { "" }, json!({})).await;
    }
    let refused = bench.refused("PutMetricFilter", filter("one more", "", json!({}))).await;
    assert_eq!(refused, "400 LimitExceededException: Resource limit exceeded.");
    let refused = bench.refused("PutMetricFilter", filter("f6", "%a%", json!({}))).await;
    assert_eq!(refused, "400 LimitExceededException: Resource limit exceeded.");
}

#[tokio::test]
async fn a_pattern_is_tested_on_messages_that_are_handed_in() {
    let bench = Bench::new().await;
    let params = json!({"filterPattern": "[..., code = 4*, ]",
        "logEventMessages": ["a 404 1", "b 200 2", "c \"x y\" 403 3"]});
    let reply = bench.send("TestMetricFilter", params).await;
    assert_eq!(
        reply["matches"],
        json!([
            {"eventNumber": 1, "eventMessage": "a 404 1",
                "extractedValues": {"$1": "a", "$code": "404", "$3": "1"}},
            {"eventNumber": 3, "eventMessage": "c \"x y\" 403 3",
                "extractedValues": {"$1": "c", "$2": "x y", "$code": "403", "$4": "3"}},
        ])
    );
}
