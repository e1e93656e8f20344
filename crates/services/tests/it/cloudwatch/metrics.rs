//! Data that are put come back as they are asked for.

use std::time::Duration;

use cairn_core::{Clock, Timestamp};
use cairn_services::sinks::{MetricDatum, MetricSink};
use cairn_store::CatalogError;
use serde_json::{Value, json};

use super::{START_S, account, cloudwatch_of, refusal, send};
use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.clock.set(Timestamp::from_seconds(START_S + 3600));
    world
}

fn query(id: &str, stat: &str, period: i64) -> Value {
    json!({"Id": id, "MetricStat": {
        "Metric": {"Namespace": "App", "MetricName": "Latency", "Dimensions": [{"Name": "Host", "Value": "a"}]},
        "Period": period, "Stat": stat}})
}

async fn values(world: &World, cloudwatch: &cairn_services::cloudwatch::CloudWatch, queries: Value) -> Value {
    let params = json!({"MetricDataQueries": queries, "StartTime": START_S, "EndTime": START_S + 600,
        "ScanBy": "TimestampAscending"});
    let reply = send(world, cloudwatch, "GetMetricData", params).await.unwrap();
    reply["MetricDataResults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| {
            let times = result["Timestamps"].as_array().unwrap();
            assert_eq!(times.len(), result["Values"].as_array().unwrap().len());
            let times: Vec<i64> = times.iter().map(|at| at.as_i64().unwrap() - START_S).collect();
            json!([result["Label"], times, result["Values"]])
        })
        .collect()
}

#[tokio::test]
async fn data_come_back_by_statistic_and_period() {
    let world = world();
    let cloudwatch = cloudwatch_of(&world);
    let host = json!([{"Name": "Host", "Value": "a"}]);
    let datum = |at: i64, value: f64| {
        json!({"MetricName": "Latency", "Dimensions": host, "Timestamp": START_S + at, "Value": value,
            "Unit": "Milliseconds"})
    };
    let put = json!({"Namespace": "App", "MetricData": [
        datum(0, 10.0), datum(30, 20.0), datum(61, 60.0), datum(300, 5.0),
        {"MetricName": "Latency", "Dimensions": host, "Timestamp": START_S + 301, "Values": [1.0, 2.0],
            "Counts": [3.0, 1.0], "Unit": "Milliseconds"},
        {"MetricName": "Errors", "Timestamp": START_S + 5,
            "StatisticValues": {"SampleCount": 4.0, "Sum": 10.0, "Minimum": 1.0, "Maximum": 4.0}},
    ]});
    send(&world, &cloudwatch, "PutMetricData", put).await.unwrap();

    let found = values(&world, &cloudwatch, json!([query("a", "Average", 60), query("b", "p90", 300)])).await;
    assert_eq!(
        found,
        json!([["Latency", [0, 60, 300], [15.0, 60.0, 2.0]], ["Latency", [0, 300], [60.0, 5.0]]])
    );

    let mut hidden = query("m", "Sum", 60);
    hidden["ReturnData"] = json!(false);
    let e1 = json!({"Id": "e1", "Expression": "FILL(m, 0) / 2", "Label": "half"});
    let found = values(&world, &cloudwatch, json!([e1, hidden])).await;
    assert_eq!(
        found,
        json!([[
            "half",
            [0, 60, 120, 180, 240, 300, 360, 420, 480, 540],
            [15.0, 30.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0]
        ]])
    );

    let statistics = json!({"Namespace": "App", "MetricName": "Errors", "StartTime": START_S, "EndTime": START_S + 60,
        "Period": 60, "Statistics": ["Sum", "SampleCount", "Average", "Minimum", "Maximum"],
        "ExtendedStatistics": ["p50"]});
    let reply = send(&world, &cloudwatch, "GetMetricStatistics", statistics).await.unwrap();
    assert_eq!(
        reply,
        json!({"Label": "Errors", "Datapoints": [{"Timestamp": START_S, "Unit": "None", "Sum": 10.0,
            "SampleCount": 4.0, "Average": 2.5, "Minimum": 1.0, "Maximum": 4.0}]})
    );
}

#[tokio::test]
async fn pages_of_points_leave_none_out() {
    let world = world();
    let cloudwatch = cloudwatch_of(&world);
    let data: Vec<Value> = (0..7)
        .map(|minute| {
            json!({"MetricName": "Latency", "Dimensions": [{"Name": "Host", "Value": "a"}],
                "Timestamp": START_S + minute * 60, "Value": minute})
        })
        .collect();
    send(&world, &cloudwatch, "PutMetricData", json!({"Namespace": "App", "MetricData": data}))
        .await
        .unwrap();
    let (mut seen, mut token, mut pages) = (Vec::new(), Value::Null, 0);
    loop {
        let params = json!({"MetricDataQueries": [query("a", "Sum", 60), query("b", "Sum", 60)],
            "StartTime": START_S, "EndTime": START_S + 600, "MaxDatapoints": 4, "NextToken": token});
        let reply = send(&world, &cloudwatch, "GetMetricData", params).await.unwrap();
        for result in reply["MetricDataResults"].as_array().unwrap() {
            for value in result["Values"].as_array().unwrap() {
                seen.push(format!("{}{}", result["Id"].as_str().unwrap(), value));
            }
        }
        pages += 1;
        token = reply["NextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    let of = |id: &str| (0..7).rev().map(|value| format!("{id}{value}.0")).collect::<Vec<_>>();
    assert_eq!((seen, pages), ([of("a"), of("b")].concat(), 4));
}

#[tokio::test]
async fn metrics_are_listed_by_what_they_are() {
    let world = world();
    let cloudwatch = cloudwatch_of(&world);
    for (namespace, name, host) in
        [("App", "Latency", "a"), ("App", "Latency", "b"), ("App", "Errors", "a"), ("B", "x", "")]
    {
        let dimensions = if host.is_empty() { json!([]) } else { json!([{"Name": "Host", "Value": host}]) };
        let put = json!({"Namespace": namespace, "MetricData": [{"MetricName": name, "Value": 1, "Dimensions": dimensions}]});
        send(&world, &cloudwatch, "PutMetricData", put).await.unwrap();
    }
    let listed = async |params: Value| {
        let reply = send(&world, &cloudwatch, "ListMetrics", params).await.unwrap();
        let names = reply["Metrics"].as_array().unwrap().iter().map(|metric| {
            let host = metric["Dimensions"][0]["Value"].as_str().unwrap_or_default();
            format!(
                "{}/{}/{host}",
                metric["Namespace"].as_str().unwrap(),
                metric["MetricName"].as_str().unwrap()
            )
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(json!({})).await, "App/Errors/a App/Latency/a App/Latency/b B/x/");
    assert_eq!(
        listed(json!({"Namespace": "App", "MetricName": "Latency"})).await,
        "App/Latency/a App/Latency/b"
    );
    assert_eq!(listed(json!({"MetricName": "x"})).await, "B/x/");
    assert_eq!(listed(json!({"Dimensions": [{"Name": "Host", "Value": "b"}]})).await, "App/Latency/b");
    assert_eq!(
        listed(json!({"Dimensions": [{"Name": "Host"}]})).await,
        "App/Errors/a App/Latency/a App/Latency/b"
    );
    world.clock.set(world.clock.now().plus(Duration::from_secs(5 * 3600)));
    assert_eq!(listed(json!({"RecentlyActive": "PT3H", "Namespace": "B"})).await, "");
    assert_eq!(listed(json!({"Namespace": "B"})).await, "B/x/");
    world.clock.set(world.clock.now().plus(Duration::from_secs(15 * 24 * 3600)));
    assert_eq!(listed(json!({})).await, "");
}

#[tokio::test]
async fn wrong_data_are_refused_in_awss_words() {
    let world = world();
    let cloudwatch = cloudwatch_of(&world);
    let put = async |datum: Value| {
        let told =
            refusal(&world, &cloudwatch, "PutMetricData", json!({"Namespace": "App", "MetricData": [datum]}))
                .await;
        told.strip_prefix("400 ").unwrap().to_owned()
    };
    assert_eq!(
        put(json!({"MetricName": "m", "Value": 1, "Values": [2]})).await,
        "InvalidParameterCombinationException: The parameters MetricData.member.1.Value and MetricData.member.1.Values \
         are mutually exclusive and you have specified both."
    );
    assert_eq!(
        put(json!({"MetricName": "m", "Value": "NaN"})).await,
        "InvalidParameterValueException: The value NaN for parameter MetricData.member.1.Value is invalid."
    );
    assert_eq!(
        put(json!({"MetricName": "m", "Values": [1, 2], "Counts": [1]})).await,
        "InvalidParameterValueException: The parameters MetricData.member.1.Values and MetricData.member.1.Counts must be \
         of the same size."
    );
    assert_eq!(
        put(json!({"MetricName": "m"})).await,
        "MissingRequiredParameterException: The parameter MetricData.member.1.Value is required."
    );
    let now_s = world.clock.now().seconds();
    for (at, told) in
        [(now_s + 7300, "two hours in the future"), (now_s - 1_300_000, "two weeks in the past")]
    {
        assert!(put(json!({"MetricName": "m", "Value": 1, "Timestamp": at})).await.contains(told));
    }
    let queries = json!([{"Id": "e", "Expression": "m1 + 1"}]);
    let params = json!({"MetricDataQueries": queries, "StartTime": START_S, "EndTime": START_S + 600});
    assert_eq!(
        refusal(&world, &cloudwatch, "GetMetricData", params).await,
        "400 ValidationError: Error in expression 'e': the query 'm1' is not known before it"
    );
}

#[tokio::test]
async fn what_services_add_comes_and_goes_with_their_transactions() {
    let world = world();
    let cloudwatch = std::sync::Arc::new(cloudwatch_of(&world));
    let datum = MetricDatum {
        namespace: "CloudTrailMetrics".into(),
        name: "Denied".into(),
        dimensions: Vec::new(),
        timestamp: Timestamp::from_seconds(START_S),
        values: vec![(1.0, 5.0), (f64::NAN, 1.0)],
        unit: "Count".into(),
    };
    for is_kept in [false, true] {
        let (sink, datum) = (std::sync::Arc::clone(&cloudwatch), datum.clone());
        let done = world
            .catalog
            .write(move |tx| {
                sink.put_in(tx, &account(), &"us-east-1".parse().unwrap(), std::slice::from_ref(&datum))?;
                if is_kept { Ok(()) } else { Err(CatalogError::Version { table: "", found: 0, known: 0 }) }
            })
            .await;
        assert_eq!(done.is_ok(), is_kept);
    }
    let params = json!({"Namespace": "CloudTrailMetrics", "MetricName": "Denied", "StartTime": START_S,
        "EndTime": START_S + 60, "Period": 60, "Statistics": ["Sum"], "Unit": "Count"});
    let reply = send(&world, &cloudwatch, "GetMetricStatistics", params).await.unwrap();
    assert_eq!(reply["Datapoints"][0]["Sum"], 5.0);
}
