//! Alarms on a clock that is handed in: when they are raised, when they return, and what they say.

use serde_json::{Value, json};

use super::{Alarms, START_S, topic};

#[tokio::test]
async fn five_denied_calls_raise_the_alarm_which_returns_to_ok_by_itself() {
    let alarms = Alarms::new();
    let actions = json!({"AlarmActions": [topic("t")], "OKActions": [topic("t")], "TreatMissingData": "notBreaching",
        "Period": 300, "AlarmDescription": "denied calls"});
    alarms.alarm("denied", actions).await;
    assert_eq!(alarms.state("denied").await, "OK");
    assert_eq!(alarms.messages(), ["t OK: \"denied\" in US East (N. Virginia)"]);
    for call in 1..=5 {
        alarms.world.clock.set(cairn_core::Timestamp::from_seconds(START_S + call * 50));
        alarms.put(1.0).await;
        assert_eq!(alarms.state("denied").await, if call < 5 { "OK" } else { "ALARM" }, "after {call} calls");
    }
    let raised = alarms.described("denied").await;
    assert_eq!(
        raised["StateReason"],
        "Threshold Crossed: 1 out of the last 1 datapoints [5.0 (21/11/26 17:24:00)] was greater than or equal to the \
         threshold (5.0) (minimum 1 datapoint for OK -> ALARM transition)."
    );
    assert_eq!(alarms.messages(), ["t ALARM: \"denied\" in US East (N. Virginia)"]);
    // The calls leave the last five minutes one by one; then the range of three periods.
    alarms.at(300).await;
    assert_eq!(alarms.state("denied").await, "ALARM");
    alarms.at(360).await;
    assert_eq!(alarms.state("denied").await, "OK");
    assert_eq!(alarms.messages(), ["t OK: \"denied\" in US East (N. Virginia)"]);
    assert_eq!(
        alarms.history("denied", "StateUpdate").await,
        [
            "Alarm updated from INSUFFICIENT_DATA to OK",
            "Alarm updated from OK to ALARM",
            "Alarm updated from ALARM to OK",
        ]
    );
    assert_eq!(alarms.history("denied", "ConfigurationUpdate").await, ["Alarm \"denied\" created"]);
    let action = format!("Successfully executed action {}", topic("t"));
    assert_eq!(alarms.history("denied", "Action").await, [action.clone(), action.clone(), action]);
    let events: Vec<String> = alarms
        .sent
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| {
            let detail: Value = serde_json::from_str(&event.detail).unwrap();
            format!("{} {} {}", event.source, event.detail_type, detail["state"]["value"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        events,
        ["OK", "ALARM", "OK"].map(|state| format!("aws.cloudwatch CloudWatch Alarm State Change {state}"))
    );
}

#[tokio::test]
async fn the_message_to_a_topic_is_awss() {
    let alarms = Alarms::new();
    let actions = json!({"AlarmActions": [topic("t")], "AlarmDescription": "denied calls", "Unit": "None",
        "Dimensions": [], "DatapointsToAlarm": 1});
    alarms.alarm("denied", actions).await;
    alarms.wait(10);
    alarms.put(7.0).await;
    let messages = std::mem::take(&mut *alarms.sent.messages.lock().unwrap());
    let (_, subject, body) = &messages[0];
    assert_eq!(subject, "ALARM: \"denied\" in US East (N. Virginia)");
    assert_eq!(
        *body,
        json!({
            "AlarmName": "denied", "AlarmDescription": "denied calls", "AWSAccountId": "111122223333",
            "AlarmConfigurationUpdatedTimestamp": "2026-11-21T17:24:00.000+0000", "NewStateValue": "ALARM",
            "NewStateReason": "Threshold Crossed: 1 out of the last 1 datapoints [7.0 (21/11/26 17:24:00)] was greater than \
                or equal to the threshold (5.0) (minimum 1 datapoint for OK -> ALARM transition).",
            "StateChangeTime": "2026-11-21T17:24:10.000+0000", "Region": "US East (N. Virginia)",
            "AlarmArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:denied", "OldStateValue": "INSUFFICIENT_DATA",
            "OKActions": [], "AlarmActions": [topic("t")], "InsufficientDataActions": [],
            "Trigger": {"MetricName": "Denied", "Namespace": "App", "StatisticType": "Statistic", "Statistic": "SUM",
                "Unit": "None", "Dimensions": [], "Period": 60, "EvaluationPeriods": 1, "DatapointsToAlarm": 1,
                "ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": 5.0, "TreatMissingData": "missing",
                "EvaluateLowSampleCountPercentile": ""},
        })
    );
}

#[tokio::test]
async fn short_periods_are_looked_at_every_ten_seconds() {
    let alarms = Alarms::new();
    alarms.alarm("short", json!({"Period": 10, "Threshold": 1.0, "TreatMissingData": "notBreaching"})).await;
    alarms.at(11).await;
    alarms.put(1.0).await;
    assert_eq!(alarms.state("short").await, "ALARM");
    for second in [20, 30] {
        alarms.at(second).await;
        assert_eq!(alarms.state("short").await, "ALARM", "its last point is in range at {second}");
    }
    alarms.at(41).await;
    alarms.at(51).await;
    assert_eq!(alarms.state("short").await, "OK");
}

#[tokio::test]
async fn a_period_that_is_not_over_lowers_no_alarm_and_raises_none_that_more_data_could_take_back() {
    let alarms = Alarms::new();
    alarms.alarm("average", json!({"Statistic": "Average"})).await;
    alarms
        .alarm("few", json!({"ComparisonOperator": "LessThanThreshold", "Threshold": 2.0, "TreatMissingData": "ignore"}))
        .await;
    alarms.at(5).await;
    alarms.put(9.0).await;
    alarms.put(1.0).await;
    assert_eq!((alarms.state("average").await, alarms.state("few").await), unknown());
    alarms.at(60).await;
    assert_eq!(alarms.state("average").await, "ALARM");
    assert_eq!(alarms.state("few").await, "OK");
    alarms.at(65).await;
    alarms.put(1.0).await;
    assert_eq!(alarms.state("few").await, "OK", "the second minute is not over");
    alarms.at(120).await;
    assert_eq!(alarms.state("few").await, "ALARM");
    assert_eq!(alarms.state("average").await, "OK");
}

fn unknown() -> (String, String) {
    ("INSUFFICIENT_DATA".to_owned(), "INSUFFICIENT_DATA".to_owned())
}

#[tokio::test]
async fn alarms_on_expressions_and_percentiles_are_evaluated_too() {
    let alarms = Alarms::new();
    let metric = json!({"Id": "m", "ReturnData": false, "MetricStat": {
        "Metric": {"Namespace": "App", "MetricName": "Denied"}, "Period": 60, "Stat": "Sum"}});
    let expression = json!({"Id": "e", "Expression": "FILL(m, 0) * 10", "Label": "tenfold"});
    let of_math = json!({"Namespace": null, "MetricName": null, "Statistic": null, "Period": null,
        "Metrics": [expression, metric], "Threshold": 40.0});
    alarms.alarm("math", of_math).await;
    alarms.alarm("p90", json!({"Statistic": null, "ExtendedStatistic": "p90"})).await;
    let ignoring =
        json!({"Statistic": null, "ExtendedStatistic": "p90", "EvaluateLowSampleCountPercentile": "ignore"});
    alarms.alarm("p90 of few", ignoring).await;
    assert_eq!(alarms.state("math").await, "OK");
    alarms.at(5).await;
    for _ in 0..5 {
        alarms.put(9.0).await;
    }
    alarms.at(60).await;
    assert_eq!(alarms.state("math").await, "ALARM");
    assert_eq!(alarms.state("p90").await, "ALARM");
    assert_eq!(alarms.state("p90 of few").await, "INSUFFICIENT_DATA");
    let shown = alarms.described("math").await;
    assert_eq!(shown["Metrics"][0]["Expression"], "FILL(m, 0) * 10");
    assert_eq!(shown["Metrics"][1]["ReturnData"], false);
}

#[tokio::test]
async fn a_state_set_by_hand_acts_and_lasts_until_the_next_look() {
    let alarms = Alarms::new();
    alarms.alarm("denied", json!({"AlarmActions": [topic("t")], "TreatMissingData": "notBreaching"})).await;
    let set = json!({"AlarmName": "denied", "StateValue": "ALARM", "StateReason": "by hand", "StateReasonData": "{}"});
    alarms.send("SetAlarmState", set.clone()).await;
    alarms.actions.run_once().await.unwrap();
    assert_eq!(alarms.state("denied").await, "ALARM");
    assert_eq!(alarms.messages(), ["t ALARM: \"denied\" in US East (N. Virginia)"]);
    alarms.at(60).await;
    assert_eq!(alarms.state("denied").await, "OK");
    alarms.send("DisableAlarmActions", json!({"AlarmNames": ["denied", "nobody"]})).await;
    alarms.send("SetAlarmState", set).await;
    alarms.actions.run_once().await.unwrap();
    assert_eq!(alarms.messages(), Vec::<String>::new());
    alarms.send("EnableAlarmActions", json!({"AlarmNames": ["denied"]})).await;
    assert_eq!(alarms.described("denied").await["ActionsEnabled"], true);
    let nobody = json!({"AlarmName": "nobody", "StateValue": "OK", "StateReason": "r"});
    assert_eq!(
        alarms.refused("SetAlarmState", nobody).await,
        "404 ResourceNotFound: The alarm nobody does not exist"
    );
}

#[tokio::test]
async fn an_update_keeps_the_state_and_the_tags() {
    let alarms = Alarms::new();
    let tags = json!([{"Key": "team", "Value": "red"}]);
    alarms.alarm("denied", json!({"Tags": tags, "TreatMissingData": "breaching"})).await;
    assert_eq!(alarms.state("denied").await, "ALARM");
    alarms.alarm("denied", json!({"Threshold": 8.0, "TreatMissingData": "ignore"})).await;
    let shown = alarms.described("denied").await;
    assert_eq!((&shown["StateValue"], &shown["Threshold"]), (&json!("ALARM"), &json!(8.0)));
    let arn = json!({"ResourceARN": shown["AlarmArn"]});
    assert_eq!(alarms.send("ListTagsForResource", arn).await["Tags"], tags);
    assert_eq!(
        alarms.history("denied", "ConfigurationUpdate").await,
        ["Alarm \"denied\" created", "Alarm \"denied\" updated"]
    );
    alarms.send("DeleteAlarms", json!({"AlarmNames": ["denied", "nobody"]})).await;
    assert_eq!(alarms.state("denied").await, "none");
    alarms.at(120).await;
}

#[tokio::test]
async fn alarms_are_found_by_what_they_are() {
    let alarms = Alarms::new();
    for name in ["a1", "a2", "b1"] {
        alarms.alarm(name, json!({"AlarmActions": [topic(name)], "TreatMissingData": "notBreaching"})).await;
    }
    alarms.alarm("b2", json!({"Statistic": "Maximum"})).await;
    let found = async |params: Value| {
        let reply = alarms.send("DescribeAlarms", params).await;
        let names: Vec<&str> = reply["MetricAlarms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|own| own["AlarmName"].as_str().unwrap())
            .collect();
        (names.join(" "), reply["NextToken"].clone())
    };
    assert_eq!(found(json!({})).await.0, "a1 a2 b1 b2");
    assert_eq!(found(json!({"AlarmNamePrefix": "a"})).await.0, "a1 a2");
    assert_eq!(found(json!({"AlarmNames": ["b1", "a1", "zz"]})).await.0, "a1 b1");
    assert_eq!(found(json!({"StateValue": "INSUFFICIENT_DATA"})).await.0, "b2");
    assert_eq!(found(json!({"ActionPrefix": topic("b")})).await.0, "b1");
    let (first, token) = found(json!({"MaxRecords": 3})).await;
    let (second, end) = found(json!({"MaxRecords": 3, "NextToken": token})).await;
    assert_eq!((first.as_str(), second.as_str(), end), ("a1 a2 b1", "b2", Value::Null));
    let of_metric = json!({"Namespace": "App", "MetricName": "Denied", "Statistic": "Maximum"});
    let reply = alarms.send("DescribeAlarmsForMetric", of_metric).await;
    assert_eq!(reply["MetricAlarms"][0]["AlarmName"], "b2");
    assert_eq!(reply["MetricAlarms"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn wrong_alarms_are_refused() {
    let alarms = Alarms::new();
    let put = async |further: Value| {
        let mut params = json!({"AlarmName": "a", "Namespace": "App", "MetricName": "m", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold"});
        for (member, value) in further.as_object().unwrap() {
            params[member] = value.clone();
        }
        params.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        alarms.refused("PutMetricAlarm", params).await
    };
    for (further, told) in [
        (json!({"Period": 45}), "The parameter Period must be 10, 20, 30 or a multiple of 60."),
        (
            json!({"Period": 300, "EvaluationPeriods": 400}),
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).",
        ),
        (
            json!({"DatapointsToAlarm": 2}),
            "Datapoints to alarm must be smaller than or equal to evaluation periods.",
        ),
        (json!({"TreatMissingData": "no"}), "The value no for parameter TreatMissingData is not supported."),
        (json!({"Statistic": null}), "One of the parameters Statistic and ExtendedStatistic is required."),
        (
            json!({"AlarmActions": ["arn:aws:automate:us-east-1:ec2:stop"]}),
            "is not supported: only Amazon SNS topics",
        ),
        (json!({"AlarmActions": ["t"]}), "Invalid arn syntax: t"),
        (
            json!({"AlarmActions": ["arn:aws:sns:eu-west-1:111122223333:t"]}),
            "Invalid region eu-west-1 specified. Only us-east-1 is supported.",
        ),
        (json!({"ThresholdMetricId": "ad1"}), "Alarms on anomaly detection are not supported."),
    ] {
        let found = put(further.clone()).await;
        assert!(found.starts_with("400 ValidationError: ") && found.contains(told), "{further}: {found}");
    }
}
