//! What a call is about: the bus with its policy, the rule, and EventBridge's condition keys.

use cairn_wire::Call;
use serde_json::Value;

use super::error::Failure;
use super::names::{BusArn, Place, split};
use super::state::{RULES, rule_row};
use super::{Events, buses};
use crate::sinks::pass_role;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// Operations without a resource, as the service authorization reference has them.
const WITHOUT_RESOURCE: [&str; 8] = [
    "ListApiDestinations",
    "ListArchives",
    "ListConnections",
    "ListEventBuses",
    "ListReplays",
    "ListRuleNamesByTarget",
    "ListRules",
    "TestEventPattern",
];
/// Operations on a bus that they name by `Name`.
const ON_BUSES: [&str; 4] = ["CreateEventBus", "DeleteEventBus", "DescribeEventBus", "UpdateEventBus"];
/// Operations on a bus that they name by `EventBusName`.
const ON_PERMISSIONS: [&str; 2] = ["PutPermission", "RemovePermission"];
/// Operations on things of one kind, by the end of the operation's name, the member that names them, and their path.
const NAMED: [(&str, &str, &str); 4] = [
    ("ApiDestination", "Name", "api-destination"),
    ("Archive", "ArchiveName", "archive"),
    ("Connection", "Name", "connection"),
    ("Replay", "ReplayName", "replay"),
];
/// Who takes roles over.
const PRINCIPAL: &str = super::SERVICE_PRINCIPAL;

fn text<'a>(params: &'a Value, name: &str) -> Option<&'a str> {
    params.get(name).and_then(Value::as_str)
}

fn target(action: &str, resource_arn: String) -> Target {
    Target {
        action: format!("events:{action}"),
        resource_arn,
        resources: Vec::new(),
        policy: None,
        conditions: Vec::new(),
    }
}

impl Events {
    /// What the call is about first of all.
    pub(super) async fn find_target(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let (operation, params) = (call.operation.as_str(), &call.params);
        if WITHOUT_RESOURCE.contains(&operation) {
            return Ok(target(operation, "*".to_owned()));
        }
        let mut found = if operation == "PutEvents" {
            let named = Self::buses_named(caller, params);
            let bus = named.into_iter().next().unwrap_or_else(|| BusArn::default_of(&Place::of(caller)));
            self.put_target(&bus, params, caller).await?
        } else if ON_BUSES.contains(&operation) {
            self.bus_target(operation, &BusArn::meant(caller, text(params, "Name"))?).await?
        } else if ON_PERMISSIONS.contains(&operation) {
            self.bus_target(operation, &BusArn::meant(caller, text(params, "EventBusName"))?).await?
        } else if let Some(arn) = text(params, "ResourceARN") {
            let mut found = target(operation, arn.to_owned());
            found.conditions.extend(self.resource_tags(arn).await?);
            found
        } else if let Some((_, member, path)) = NAMED.iter().find(|(end, ..)| operation.ends_with(end)) {
            let name = text(params, member).unwrap_or_default();
            target(operation, self.named_arn(caller, path, name).await?)
        } else {
            self.rule_target(operation, caller, params).await?
        };
        found.conditions.extend(conditions(caller, operation, params));
        Ok(found)
    }

    /// A bus, with its policy.
    async fn bus_target(&self, action: &str, bus: &BusArn) -> Result<Target, Failure> {
        let own = bus.clone();
        let found = self.catalog.read(move |tx| buses::find(tx, &own)).await?;
        let policy = ResourcePolicy {
            owner: bus.account.clone(),
            document: found.and_then(|bus| bus.policy),
            must_allow: false,
        };
        Ok(Target { policy: Some(policy), ..target(action, bus.to_string()) })
    }

    async fn put_target(&self, bus: &BusArn, params: &Value, caller: &Caller) -> Result<Target, Failure> {
        let mut found = self.bus_target("PutEvents", bus).await?;
        let (arn, account) = (bus.to_string(), Some(bus.account.clone()));
        found.resources = vec![Resource { kind: "AWS::Events::EventBus", arn, account }];
        let entries = params.get("Entries").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let own = entries.iter().filter(|entry| {
            BusArn::meant(caller, text(entry, "EventBusName")).is_ok_and(|named| named == *bus)
        });
        let (mut sources, mut types) = (Vec::new(), Vec::new());
        for entry in own {
            sources.extend(text(entry, "Source").map(str::to_owned));
            types.extend(text(entry, "DetailType").map(str::to_owned));
        }
        found.conditions =
            vec![("events:source".to_owned(), sources), ("events:detail-type".to_owned(), types)];
        Ok(found)
    }

    /// A rule, under the policy of its bus.
    async fn rule_target(&self, operation: &str, caller: &Caller, params: &Value) -> Result<Target, Failure> {
        let bus = BusArn::meant(caller, text(params, "EventBusName"))?;
        let name = text(params, "Name").or_else(|| text(params, "Rule")).unwrap_or_default();
        let mut found = self.bus_target(operation, &bus).await?;
        found.resource_arn = bus.rule_arn(name);
        let row = rule_row(&bus, name);
        let rule = self.catalog.read(move |tx| RULES.get(tx, row.bytes())).await?;
        if let Some(rule) = rule {
            let creator = rule.created_by.to_string();
            found.conditions.push(("events:creatorAccount".to_owned(), vec![creator]));
            found.conditions.extend(shown_tags(&rule.tags));
        }
        Ok(found)
    }

    /// The tags of a bus or rule, as conditions.
    async fn resource_tags(&self, arn: &str) -> Result<Vec<(String, Vec<String>)>, Failure> {
        let (bus, rule) = (arn.parse::<BusArn>().ok(), BusArn::of_rule(arn));
        let tags = self
            .catalog
            .read(move |tx| match (&bus, &rule) {
                (Some(bus), _) => Ok::<_, Failure>(buses::find(tx, bus)?.map(|bus| bus.tags)),
                (None, Some((bus, rule))) => {
                    Ok(RULES.get(tx, rule_row(bus, rule).bytes())?.map(|rule| rule.tags))
                }
                (None, None) => Ok(None),
            })
            .await?;
        Ok(shown_tags(&tags.unwrap_or_default()))
    }

    /// What it needs besides.
    pub(super) async fn find_further_targets(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, Failure> {
        let (operation, params) = (call.operation.as_str(), &call.params);
        let mut further = Vec::new();
        if operation == "PutEvents" {
            for bus in Self::buses_named(caller, params).iter().skip(1) {
                further.push(self.put_target(bus, params, caller).await?);
            }
        }
        let has_tags = params.get("Tags").and_then(Value::as_array).is_some_and(|tags| !tags.is_empty());
        if has_tags && ["CreateEventBus", "PutRule"].contains(&operation) {
            let tagged = self.find_target(caller, call).await?;
            further.push(Target { action: "events:TagResource".to_owned(), policy: None, ..tagged });
        }
        let mut roles: Vec<&str> = text(params, "RoleArn").into_iter().collect();
        let targets = params.get("Targets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        roles.extend(targets.iter().filter_map(|target| text(target, "RoleArn")));
        roles.sort_unstable();
        roles.dedup();
        further.extend(roles.into_iter().map(|role| pass_role(role, PRINCIPAL)));
        let named = |member: &str, action: &str| {
            text(params, member).filter(|arn| split(arn).is_some()).map(|arn| target(action, arn.to_owned()))
        };
        match operation {
            "CreateApiDestination" => further.extend(named("ConnectionArn", operation)),
            "CreateArchive" | "StartReplay" => further.extend(named("EventSourceArn", operation)),
            _ => {}
        }
        Ok(further)
    }
}

fn shown_tags(tags: &[(String, String)]) -> Vec<(String, Vec<String>)> {
    tags.iter().map(|(name, value)| (format!("aws:ResourceTag/{name}"), vec![value.clone()])).collect()
}

/// The condition keys that the call's own members give.
fn conditions(caller: &Caller, operation: &str, params: &Value) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let listed = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    if operation == "PutRule" {
        found.push(("events:creatorAccount".to_owned(), vec![caller.account.to_string()]));
    }
    if operation == "PutTargets" {
        let arns = listed("Targets").iter().filter_map(|one| text(one, "Arn").map(str::to_owned)).collect();
        found.push(("events:TargetArn".to_owned(), arns));
    }
    let mut keys: Vec<String> =
        listed("TagKeys").iter().filter_map(|key| key.as_str().map(str::to_owned)).collect();
    for tag in listed("Tags") {
        let (Some(name), Some(value)) = (text(&tag, "Key"), text(&tag, "Value")) else { continue };
        found.push((format!("aws:RequestTag/{name}"), vec![value.to_owned()]));
        keys.push(name.to_owned());
    }
    found.push(("aws:TagKeys".to_owned(), keys));
    found
}
