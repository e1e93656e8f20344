//! The steps of `cairn monitor`: each looks, and makes what is missing or other than wanted.

use std::time::Duration;

use serde_json::{Value, json};

use super::Enable;
use super::client::{CLOUDTRAIL, CLOUDWATCH, CallError, Client, IAM, LOGS, SNS, element};
use super::watches::{Watch, watches};

/// What the names of filters and alarms begin with.
const PREFIX: &str = "CairnMonitor-";
/// Where the metrics are.
const NAMESPACE: &str = "CloudTrailMetrics";
/// The role's inline policy, and the statement of the topic's.
const POLICY_NAME: &str = "write-log-streams";
const STATEMENT_ID: &str = "CairnMonitorAlarms";
/// Filters on one page.
const FILTERS_PER_PAGE: usize = 50;
/// Alarms on one page.
const ALARMS_PER_PAGE: usize = 100;
/// How often a trail is given a role that was just made, which AWS may not know everywhere yet.
const ATTEMPTS_MAX: usize = 5;
const PAUSE_BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

/// What there is to say in the end.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// What was changed.
    pub(super) changes: Vec<String>,
    /// What else to know.
    pub(super) notes: Vec<String>,
}

/// Why a step came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What to watch for cannot be read.
    #[error("the table of watches cannot be read")]
    Watches(#[from] serde_json::Error),
    /// There is no such trail, or more than one.
    #[error("{0}")]
    Trail(String),
}

/// A trail, as far as it is needed.
#[derive(Debug)]
pub(super) struct Trail {
    name: String,
    arn: String,
    group_arn: Option<String>,
}

/// A run.
pub(super) struct Monitor {
    client: Client,
    dry_run: bool,
    pub(super) said: Said,
}

impl Trail {
    /// `arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME`.
    fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    fn region(&self) -> &str {
        self.arn.split(':').nth(3).unwrap_or_default()
    }
}

impl Monitor {
    pub(super) fn new(client: Client, dry_run: bool) -> Self {
        Self { client, dry_run, said: Said::default() }
    }

    /// Notes a change; says whether to make it.
    fn changes(&mut self, what: impl Into<String>) -> bool {
        self.said.changes.push(what.into());
        !self.dry_run
    }

    /// The trail of that name, or the only one.
    pub(super) async fn trail(&self, name: Option<&str>) -> Result<Trail, StepError> {
        let input = match name {
            Some(name) => json!({ "trailNameList": [name] }),
            None => json!({ "includeShadowTrails": false }),
        };
        let answer = self.client.json(CLOUDTRAIL, "DescribeTrails", &input).await?;
        let text = |trail: &Value, member: &str| trail[member].as_str().map(str::to_owned);
        let trails = answer["trailList"].as_array().map_or(&[][..], Vec::as_slice);
        match (trails, name) {
            ([trail], _) => Ok(Trail {
                name: text(trail, "Name").unwrap_or_default(),
                arn: text(trail, "TrailARN").unwrap_or_default(),
                group_arn: text(trail, "CloudWatchLogsLogGroupArn"),
            }),
            ([], Some(name)) => Err(StepError::Trail(format!("there is no trail {name}"))),
            ([], None) => {
                Err(StepError::Trail("there is no trail in this region: make one first".to_owned()))
            }
            _ => Err(StepError::Trail("there are several trails: say which with --trail".to_owned())),
        }
    }

    /// Makes all that is missing.
    pub(super) async fn enable(&mut self, trail: &Trail, wanted: &Enable) -> Result<(), StepError> {
        let watches = watches()?;
        let group = self.log_group(trail, wanted).await?;
        let topic_arn = self.topic(trail, &wanted.topic).await?;
        self.metric_filters(&group, &watches).await?;
        self.alarms(&watches, &topic_arn, wanted.period).await?;
        self.said.notes.push(format!(
            "trail {} is watched in log group {group}: {} alarms tell {topic_arn}",
            trail.name,
            watches.len()
        ));
        Ok(())
    }

    /// Removes the alarms and the filters.
    pub(super) async fn disable(&mut self, trail: &Trail) -> Result<(), StepError> {
        let alarms = self.existing_alarms().await?;
        let names: Vec<&str> = alarms.iter().filter_map(|alarm| alarm["AlarmName"].as_str()).collect();
        for names in names.chunks(ALARMS_PER_PAGE) {
            if self.changes(format!("deleted {} alarms", names.len())) {
                self.client.json(CLOUDWATCH, "DeleteAlarms", &json!({ "AlarmNames": names })).await?;
            }
        }
        let Some(group) = trail.group_arn.as_deref().and_then(group_name) else { return Ok(()) };
        for filter in self.existing_filters(group).await? {
            let name = filter["filterName"].as_str().unwrap_or_default();
            if self.changes(format!("deleted metric filter {name}")) {
                let input = json!({ "logGroupName": group, "filterName": name });
                self.client.json(LOGS, "DeleteMetricFilter", &input).await?;
            }
        }
        self.said.notes.push(format!("log group {group} stays, and trail {} still sends to it", trail.name));
        Ok(())
    }

    /// The name of the trail's log group, which is made and given to the trail where it has none.
    async fn log_group(&mut self, trail: &Trail, wanted: &Enable) -> Result<String, StepError> {
        if let Some(group) = trail.group_arn.as_deref().and_then(group_name) {
            return Ok(group.to_owned());
        }
        let group = wanted.log_group.clone();
        let (region, account) = (trail.region(), trail.account());
        let input = json!({ "logGroupNamePrefix": group });
        let found = self.client.json(LOGS, "DescribeLogGroups", &input).await?;
        let is_there = found["logGroups"]
            .as_array()
            .is_some_and(|groups| groups.iter().any(|found| found["logGroupName"] == *group));
        if !is_there && self.changes(format!("created log group {group}")) {
            self.client.json(LOGS, "CreateLogGroup", &json!({ "logGroupName": group })).await?;
        }
        let group_arn = format!("arn:aws:logs:{region}:{account}:log-group:{group}");
        self.role(trail, &wanted.role, &group_arn).await?;
        if self.changes(format!("sent trail {}'s events to log group {group}", trail.name)) {
            let input = json!({
                "Name": trail.arn,
                "CloudWatchLogsLogGroupArn": format!("{group_arn}:*"),
                "CloudWatchLogsRoleArn": format!("arn:aws:iam::{account}:role/{}", wanted.role),
            });
            self.update_trail(&input).await?;
        }
        Ok(group)
    }

    #[allow(clippy::disallowed_methods, reason = "the command waits for a real server")]
    async fn update_trail(&self, input: &Value) -> Result<(), CallError> {
        for _ in 1..ATTEMPTS_MAX {
            match self.client.json(CLOUDTRAIL, "UpdateTrail", input).await {
                Err(error) if error.says("Access denied.") => {
                    tokio::time::sleep(PAUSE_BETWEEN_ATTEMPTS).await
                }
                other => return other.map(|_| ()),
            }
        }
        self.client.json(CLOUDTRAIL, "UpdateTrail", input).await.map(|_| ())
    }

    /// The role that CloudTrail writes to the log group with.
    async fn role(&mut self, trail: &Trail, role: &str, group_arn: &str) -> Result<(), StepError> {
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "sts:AssumeRole",
            "Condition": { "StringEquals": { "aws:SourceArn": trail.arn } },
        }] });
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": format!("{group_arn}:log-stream:*"),
        }] });
        match self.client.query(IAM, "GetRole", &[("RoleName", role)]).await {
            Ok(_) => {}
            Err(error) if error.is(&["NoSuchEntity"]) => {
                if self.changes(format!("created role {role}")) {
                    let trust = trust.to_string();
                    let input = [("RoleName", role), ("AssumeRolePolicyDocument", trust.as_str())];
                    self.client.query(IAM, "CreateRole", &input).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let named = [("RoleName", role), ("PolicyName", POLICY_NAME)];
        let found = match self.client.query(IAM, "GetRolePolicy", &named).await {
            Ok(answer) => element(&answer, "PolicyDocument").and_then(|text| {
                let plain = percent_encoding::percent_decode_str(&text).decode_utf8().ok()?.into_owned();
                serde_json::from_str::<Value>(&plain).ok()
            }),
            Err(error) if error.is(&["NoSuchEntity"]) => None,
            Err(error) => return Err(error.into()),
        };
        if found.as_ref() != Some(&policy) && self.changes(format!("let role {role} write to the log group"))
        {
            let policy = policy.to_string();
            let input = [named[0], named[1], ("PolicyDocument", policy.as_str())];
            self.client.query(IAM, "PutRolePolicy", &input).await?;
        }
        Ok(())
    }

    /// The topic's ARN; it is made where it is not there, and lets alarms publish.
    async fn topic(&mut self, trail: &Trail, topic: &str) -> Result<String, StepError> {
        let arn = match topic.starts_with("arn:") {
            true => topic.to_owned(),
            false => format!("arn:aws:sns:{}:{}:{topic}", trail.region(), trail.account()),
        };
        let found = match self.client.query(SNS, "GetTopicAttributes", &[("TopicArn", &arn)]).await {
            Ok(answer) => Some(answer),
            Err(error) if error.is(&["NotFound"]) && !topic.starts_with("arn:") => None,
            Err(error) => return Err(error.into()),
        };
        if found.is_none() && self.changes(format!("created topic {topic}")) {
            self.client.query(SNS, "CreateTopic", &[("Name", topic)]).await?;
        }
        let found = match found {
            None if !self.dry_run => {
                Some(self.client.query(SNS, "GetTopicAttributes", &[("TopicArn", &arn)]).await?)
            }
            found => found,
        };
        let policy = found.as_deref().and_then(policy_attribute);
        let mut policy = policy.unwrap_or_else(|| json!({ "Version": "2012-10-17", "Statement": [] }));
        let statement = json!({
            "Sid": STATEMENT_ID, "Effect": "Allow", "Principal": { "Service": "cloudwatch.amazonaws.com" },
            "Action": "SNS:Publish", "Resource": arn,
            "Condition": { "StringEquals": { "aws:SourceAccount": trail.account() } },
        });
        let statements = policy["Statement"].as_array_mut();
        let has = |statements: &Vec<Value>| statements.iter().any(|found| found["Sid"] == STATEMENT_ID);
        match statements {
            Some(statements) if has(statements) => return Ok(arn),
            Some(statements) => statements.push(statement),
            None => policy["Statement"] = json!([policy["Statement"].clone(), statement]),
        }
        if self.changes("let alarms publish to the topic") {
            let policy = policy.to_string();
            let input =
                [("TopicArn", arn.as_str()), ("AttributeName", "Policy"), ("AttributeValue", &policy)];
            self.client.query(SNS, "SetTopicAttributes", &input).await?;
        }
        Ok(arn)
    }

    async fn metric_filters(&mut self, group: &str, watches: &[Watch]) -> Result<(), StepError> {
        let there = self.existing_filters(group).await?;
        for watch in watches {
            // With zeros where other events came, an alarm returns to OK within a period or two.
            let wanted = json!({
                "filterName": format!("{PREFIX}{}", watch.name),
                "filterPattern": watch.pattern,
                "metricTransformations": [{
                    "metricName": watch.name, "metricNamespace": NAMESPACE, "metricValue": "1", "defaultValue": 0.0,
                }],
            });
            if there.iter().any(|found| holds(found, &wanted)) {
                continue;
            }
            if self.changes(format!("put metric filter {PREFIX}{}", watch.name)) {
                let mut input = wanted;
                input["logGroupName"] = json!(group);
                self.client.json(LOGS, "PutMetricFilter", &input).await?;
            }
        }
        Ok(())
    }

    async fn alarms(&mut self, watches: &[Watch], topic_arn: &str, period: u32) -> Result<(), StepError> {
        let there = self.existing_alarms().await?;
        for watch in watches {
            let control = watch.control.as_ref().map(|control| format!(" ({control})")).unwrap_or_default();
            let wanted = json!({
                "AlarmName": format!("{PREFIX}{}", watch.name),
                "AlarmDescription": format!("{}{control}", watch.title),
                "ActionsEnabled": true,
                "AlarmActions": [topic_arn],
                "MetricName": watch.name,
                "Namespace": NAMESPACE,
                "Statistic": "Sum",
                "Period": period,
                "EvaluationPeriods": 1,
                "Threshold": f64::from(watch.threshold),
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
                "TreatMissingData": "notBreaching",
            });
            if there.iter().any(|found| holds(found, &wanted)) {
                continue;
            }
            if self.changes(format!("put alarm {PREFIX}{}", watch.name)) {
                self.client.json(CLOUDWATCH, "PutMetricAlarm", &wanted).await?;
            }
        }
        Ok(())
    }

    async fn existing_filters(&self, group: &str) -> Result<Vec<Value>, StepError> {
        let mut input =
            json!({ "logGroupName": group, "filterNamePrefix": PREFIX, "limit": FILTERS_PER_PAGE });
        let mut filters = Vec::new();
        loop {
            let page = match self.client.json(LOGS, "DescribeMetricFilters", &input).await {
                // A group that is still to be made, when nothing is done.
                Err(error) if error.is(&["ResourceNotFoundException"]) && self.dry_run => return Ok(filters),
                page => page?,
            };
            filters.extend(page["metricFilters"].as_array().cloned().unwrap_or_default());
            match page["nextToken"].as_str() {
                Some(token) => input["nextToken"] = json!(token),
                None => return Ok(filters),
            }
        }
    }

    async fn existing_alarms(&self) -> Result<Vec<Value>, StepError> {
        let mut input = json!({ "AlarmNamePrefix": PREFIX, "MaxRecords": ALARMS_PER_PAGE });
        let mut alarms = Vec::new();
        loop {
            let page = self.client.json(CLOUDWATCH, "DescribeAlarms", &input).await?;
            alarms.extend(page["MetricAlarms"].as_array().cloned().unwrap_or_default());
            match page["NextToken"].as_str() {
                Some(token) => input["NextToken"] = json!(token),
                None => return Ok(alarms),
            }
        }
    }
}

/// Whether what was found has all that is wanted.
fn holds(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| found.get(name).is_some_and(|found| holds(found, wanted)))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(found, wanted)| holds(found, wanted))
        }
        (Value::Number(found), Value::Number(wanted)) => found.as_f64() == wanted.as_f64(),
        (found, wanted) => found == wanted,
    }
}

/// The name in `arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*`.
fn group_name(arn: &str) -> Option<&str> {
    let name = arn.splitn(7, ':').nth(6)?;
    Some(name.strip_suffix(":*").unwrap_or(name))
}

/// The attribute Policy of GetTopicAttributes' answer.
fn policy_attribute(answer: &str) -> Option<Value> {
    let (_, behind) = answer.split_once("<key>Policy</key>")?;
    serde_json::from_str(&element(behind, "value")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_holds_what_is_wanted_whatever_else_it_has() {
        let found = json!({ "a": 5, "b": [{ "c": "x", "more": 1 }], "d": true });
        assert!(holds(&found, &json!({ "a": 5.0, "b": [{ "c": "x" }] })));
        for wanted in
            [json!({ "a": 6 }), json!({ "b": [] }), json!({ "b": [{ "c": "y" }] }), json!({ "e": 1 })]
        {
            assert!(!holds(&found, &wanted), "{wanted}");
        }
    }

    #[test]
    fn names_and_policies_are_found_in_arns_and_answers() {
        assert_eq!(group_name("arn:aws:logs:us-east-1:111122223333:log-group:/a/b:*"), Some("/a/b"));
        assert_eq!(group_name("arn:aws:logs"), None);
        let answer = "<entry><key>Policy</key><value>{&quot;Statement&quot;:[]}</value></entry>";
        assert_eq!(policy_attribute(answer), Some(json!({ "Statement": [] })));
    }
}
