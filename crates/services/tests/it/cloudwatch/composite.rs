//! Composite alarms follow the alarms of their rules, and hold their actions back where another alarm says so.

use serde_json::{Value, json};

use super::{Alarms, topic};

async fn world() -> Alarms {
    let alarms = Alarms::new();
    for name in ["a", "b", "suppressor"] {
        alarms.alarm(name, json!({"TreatMissingData": "ignore"})).await;
    }
    alarms
}

async fn set(alarms: &Alarms, name: &str, state: &str) {
    alarms
        .send("SetAlarmState", json!({"AlarmName": name, "StateValue": state, "StateReason": "by hand"}))
        .await;
    alarms.run().await;
}

async fn composite(alarms: &Alarms, name: &str, rule: &str, further: Value) {
    let mut params = json!({"AlarmName": name, "AlarmRule": rule, "AlarmActions": [topic(name)], "OKActions": [topic(name)]});
    for (member, value) in further.as_object().unwrap() {
        params[member] = value.clone();
    }
    alarms.send("PutCompositeAlarm", params).await;
    alarms.run().await;
    alarms.messages();
}

#[tokio::test]
async fn a_composite_alarm_follows_its_children() {
    let alarms = world().await;
    composite(&alarms, "both", "ALARM(a) AND ALARM(\"b\")", json!({})).await;
    composite(&alarms, "above", "ALARM(both)", json!({})).await;
    assert_eq!(alarms.state("both").await, "OK");
    set(&alarms, "a", "ALARM").await;
    assert_eq!(alarms.state("both").await, "OK");
    set(&alarms, "b", "ALARM").await;
    assert_eq!((alarms.state("both").await, alarms.state("above").await), ("ALARM".into(), "ALARM".into()));
    let messages = std::mem::take(&mut *alarms.sent.messages.lock().unwrap());
    let (_, subject, body) = messages.iter().find(|(to, _, _)| to.ends_with(":both")).unwrap();
    assert_eq!(subject, "ALARM: \"both\" in US East (N. Virginia)");
    assert_eq!(body["AlarmRule"], "ALARM(a) AND ALARM(\"b\")");
    assert_eq!(body["TriggeringChildren"][0]["Arn"], "arn:aws:cloudwatch:us-east-1:111122223333:alarm:b");
    assert_eq!(body["TriggeringChildren"][0]["State"]["Value"], "ALARM");
    set(&alarms, "a", "OK").await;
    assert_eq!((alarms.state("both").await, alarms.state("above").await), ("OK".into(), "OK".into()));

    let related = async |member: &str, name: &str| {
        let reply = alarms.send("DescribeAlarms", json!({member: name})).await;
        let names = ["MetricAlarms", "CompositeAlarms"].into_iter().flat_map(|kind| {
            let all = reply[kind].as_array().unwrap().clone();
            all.into_iter().map(|alarm| alarm["AlarmName"].as_str().unwrap().to_owned())
        });
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(related("ChildrenOfAlarmName", "both").await, "a b");
    assert_eq!(related("ParentsOfAlarmName", "a").await, "both");
    assert_eq!(related("ParentsOfAlarmName", "both").await, "above");
}

#[tokio::test]
async fn rules_name_alarms_that_are_there_and_not_themselves() {
    let alarms = world().await;
    let put = |name: &str, rule: &str| json!({"AlarmName": name, "AlarmRule": rule});
    assert_eq!(
        alarms.refused("PutCompositeAlarm", put("c", "ALARM(a) OR ALARM(x)")).await,
        "400 ValidationError: Could not save the composite alarm as alarms [x] in the alarm rule do not exist"
    );
    composite(&alarms, "c", "ALARM(a)", json!({})).await;
    composite(&alarms, "d", "ALARM(c)", json!({})).await;
    assert_eq!(
        alarms.refused("PutCompositeAlarm", put("c", "ALARM(d)")).await,
        "400 ValidationError: The alarm c would depend on itself."
    );
    assert_eq!(
        alarms.refused("DeleteAlarms", json!({"AlarmNames": ["a"]})).await,
        "400 ValidationError: Alarm [a] could not be deleted as there are composite alarm(s) depending on it: [c]"
    );
    assert_eq!(
        alarms.refused("PutCompositeAlarm", put("a", "TRUE")).await,
        "400 ValidationError: An alarm of the other type has the name a already. Delete it first."
    );
    alarms.send("DeleteAlarms", json!({"AlarmNames": ["a", "c", "d"]})).await;
}

fn suppressed(wait_s: u64, extension_s: u64) -> Value {
    json!({"ActionsSuppressor": "suppressor", "ActionsSuppressorWaitPeriod": wait_s,
        "ActionsSuppressorExtensionPeriod": extension_s})
}

#[tokio::test]
async fn actions_wait_for_the_suppressor_and_no_longer_than_they_should() {
    let alarms = world().await;
    composite(&alarms, "c", "ALARM(a)", suppressed(20, 30)).await;
    set(&alarms, "suppressor", "OK").await;
    alarms.at(30).await;
    alarms.messages();
    set(&alarms, "a", "ALARM").await;
    assert_eq!(alarms.described("c").await["ActionsSuppressedBy"], "WaitPeriod");
    assert_eq!(alarms.messages(), Vec::<String>::new());
    alarms.at(40).await;
    assert_eq!(alarms.messages(), Vec::<String>::new());
    alarms.at(51).await;
    assert_eq!(alarms.messages(), ["c ALARM: \"c\" in US East (N. Virginia)"]);
    assert_eq!(alarms.described("c").await["ActionsSuppressedBy"], Value::Null);
}

#[tokio::test]
async fn a_suppressor_in_alarm_holds_actions_back_until_its_extension_is_over() {
    let alarms = world().await;
    composite(&alarms, "c", "ALARM(a)", suppressed(20, 30)).await;
    alarms.at(60).await;
    alarms.messages();
    set(&alarms, "suppressor", "ALARM").await;
    set(&alarms, "a", "ALARM").await;
    assert_eq!(alarms.described("c").await["ActionsSuppressedBy"], "Alarm");
    alarms.at(500).await;
    assert_eq!(alarms.messages(), Vec::<String>::new());
    set(&alarms, "suppressor", "OK").await;
    assert_eq!(alarms.described("c").await["ActionsSuppressedBy"], "ExtensionPeriod");
    alarms.at(520).await;
    assert_eq!(alarms.messages(), Vec::<String>::new());
    alarms.at(540).await;
    assert_eq!(alarms.messages(), ["c ALARM: \"c\" in US East (N. Virginia)"]);
}
