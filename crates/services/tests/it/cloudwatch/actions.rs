//! What alarms owe is paid, once or more, whatever happens in between.

use serde_json::json;

use super::{Alarms, topic};

const RAISED: &str = "t ALARM: \"denied\" in US East (N. Virginia)";

async fn raised_but_not_paid() -> Alarms {
    let alarms = Alarms::new();
    alarms.alarm("denied", json!({"AlarmActions": [topic("t")], "Threshold": 1.0})).await;
    alarms.wait(5);
    let put = json!({"Namespace": "App", "MetricData": [{"MetricName": "Denied", "Value": 1}]});
    alarms.send("PutMetricData", put).await;
    alarms.stage.run_once().await.unwrap();
    assert_eq!((alarms.state("denied").await.as_str(), alarms.messages().len()), ("ALARM", 0));
    alarms
}

#[tokio::test]
async fn a_crash_between_the_change_and_its_action_loses_no_action() {
    let alarms = raised_but_not_paid().await.restarted();
    alarms.run().await;
    assert_eq!(alarms.messages(), [RAISED]);
    let alarms = alarms.restarted();
    alarms.run().await;
    assert_eq!(alarms.messages(), Vec::<String>::new(), "what is paid is not owed any more");
    assert_eq!(alarms.state("denied").await, "ALARM");
}

#[tokio::test]
async fn data_of_the_time_before_a_crash_raise_the_alarm_after_it() {
    let alarms = Alarms::new();
    alarms.alarm("denied", json!({"AlarmActions": [topic("t")], "Threshold": 1.0})).await;
    let put = json!({"Namespace": "App", "MetricData": [{"MetricName": "Denied", "Value": 1}]});
    alarms.send("PutMetricData", put).await;
    let alarms = alarms.restarted();
    alarms.run().await;
    assert_eq!(alarms.messages(), [RAISED]);
}

#[tokio::test]
async fn a_sick_topic_delays_itself_alone_and_is_paid_once_it_is_well() {
    let alarms = raised_but_not_paid().await;
    *alarms.sent.topics_fail.lock().unwrap() = Some(true);
    alarms.actions.run_once().await.unwrap();
    assert_eq!(alarms.messages(), Vec::<String>::new());
    assert!(!alarms.sent.events.lock().unwrap().is_empty(), "the event is not held up");
    *alarms.sent.topics_fail.lock().unwrap() = None;
    alarms.actions.run_once().await.unwrap();
    assert_eq!(alarms.messages(), Vec::<String>::new(), "it is not its time yet");
    alarms.wait(2);
    alarms.actions.run_once().await.unwrap();
    assert_eq!(alarms.messages(), [RAISED]);
}

#[tokio::test]
async fn what_is_refused_for_good_is_said_in_the_history() {
    let alarms = raised_but_not_paid().await;
    *alarms.sent.topics_fail.lock().unwrap() = Some(false);
    alarms.actions.run_once().await.unwrap();
    let told = format!("Failed to execute action {}", topic("t"));
    assert_eq!(alarms.history("denied", "Action").await, [told]);
}

#[tokio::test]
async fn a_function_is_invoked_with_the_alarms_data() {
    let alarms = Alarms::new();
    let function = "arn:aws:lambda:us-east-1:111122223333:function:remedy";
    alarms.alarm("denied", json!({"AlarmActions": [function], "Threshold": 1.0})).await;
    alarms.wait(5);
    alarms.put(3.0).await;
    let messages = std::mem::take(&mut *alarms.sent.messages.lock().unwrap());
    let (to, _, body) = &messages[0];
    assert_eq!(to, function);
    assert_eq!(body["alarmArn"], "arn:aws:cloudwatch:us-east-1:111122223333:alarm:denied");
    assert_eq!(body["time"], "2026-11-21T17:24:05.000+0000");
    assert_eq!(body["alarmData"]["state"]["value"], "ALARM");
    assert_eq!(body["alarmData"]["previousState"]["value"], "INSUFFICIENT_DATA");
    assert_eq!(
        body["alarmData"]["configuration"]["metrics"],
        json!([{"id": "m1", "returnData": true, "metricStat": {
            "metric": {"namespace": "App", "name": "Denied", "dimensions": {}}, "period": 60, "stat": "Sum"}}])
    );
}
