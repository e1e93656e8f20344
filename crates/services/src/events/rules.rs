//! Rules: put, described, listed, switched and deleted.

use cairn_core::event_pattern::EventPattern;
use cairn_store::Tx;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Events;
use super::buses;
use super::error::{Failure, fail, no_rule, over_limit, validation};
use super::names::BusArn;
use super::page::{PageInput, page};
use super::schedules;
use super::state::{RULES, Rule, RuleState, rule_row};
use super::tags::{TagInput, checked_tags};
use crate::Caller;

/// Rules of a bus: AWS's quota is 300, and is raised for who asks.
const RULES_PER_BUS_MAX: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRule {
    name: String,
    schedule_expression: Option<String>,
    event_pattern: Option<String>,
    state: Option<RuleState>,
    description: Option<String>,
    role_arn: Option<String>,
    #[serde(default)]
    tags: Vec<TagInput>,
    event_bus_name: Option<String>,
}

/// The members that name a rule.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RuleName {
    #[serde(alias = "Rule")]
    pub(super) name: String,
    pub(super) event_bus_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRules {
    event_bus_name: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRuleNamesByTarget {
    target_arn: String,
    event_bus_name: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

/// The pattern, where it is one.
pub(super) fn parsed_pattern(text: &str) -> Result<EventPattern, Failure> {
    EventPattern::parse(text).map_err(|reason| {
        fail("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {reason}"))
    })
}

fn check(arn: &BusArn, input: &PutRule) -> Result<(), Failure> {
    if input.event_pattern.is_none() && input.schedule_expression.is_none() {
        return Err(validation("Parameter(s) EventPattern or ScheduleExpression must be specified."));
    }
    if let Some(pattern) = &input.event_pattern {
        parsed_pattern(pattern)?;
    }
    if let Some(schedule) = &input.schedule_expression {
        if !arn.is_default() {
            return Err(validation("ScheduleExpression is supported only on the default event bus."));
        }
        schedules::parsed(schedule)?;
    }
    Ok(())
}

/// The rule, or the refusal that says that there is none.
pub(super) fn found(tx: &mut dyn Tx, bus: &BusArn, name: &str) -> Result<Rule, Failure> {
    buses::found(tx, bus)?;
    RULES.get(tx, rule_row(bus, name).bytes())?.ok_or_else(|| no_rule(name, &bus.name))
}

impl Events {
    pub(super) async fn put_rule(&self, caller: &Caller, input: PutRule) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        check(&bus, &input)?;
        let tags = checked_tags(&input.tags)?;
        let (arn, own, now) = (bus.rule_arn(&input.name), bus.clone(), caller.now);
        let (account, state) = (caller.account.clone(), input.state.unwrap_or(RuleState::Enabled));
        self.catalog
            .write(move |tx| {
                buses::found(tx, &own)?;
                let row = rule_row(&own, &input.name);
                let before = RULES.get(tx, row.bytes())?;
                if before.is_none()
                    && RULES.count_prefix(tx, own.row().bytes(), RULES_PER_BUS_MAX)? >= RULES_PER_BUS_MAX
                {
                    return Err(over_limit());
                }
                let before = before.unwrap_or_else(|| Rule {
                    bus: own.clone(),
                    name: input.name.clone(),
                    pattern: None,
                    schedule: None,
                    state,
                    description: None,
                    role_arn: None,
                    created_by: account.clone(),
                    created: now,
                    tags: tags.clone(),
                    targets: Vec::new(),
                });
                // What is not said is taken away, but for targets and tags.
                let rule = Rule {
                    pattern: input.event_pattern.clone(),
                    schedule: input.schedule_expression.clone(),
                    state,
                    description: input.description.clone(),
                    role_arn: input.role_arn.clone(),
                    ..before
                };
                schedules::set(tx, &rule, now)?;
                RULES.put(tx, row.bytes(), &rule)?;
                Ok(())
            })
            .await?;
        self.views.forget(&bus);
        self.put_work();
        Ok(json!({ "RuleArn": arn }))
    }

    pub(super) async fn describe_rule(&self, caller: &Caller, input: RuleName) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let rule = self.catalog.read(move |tx| found(tx, &bus, &input.name)).await?;
        let mut reply = rule_shown(&rule);
        reply.insert("CreatedBy".into(), rule.created_by.to_string().into());
        Ok(Value::Object(reply))
    }

    pub(super) async fn list_rules(&self, caller: &Caller, input: ListRules) -> Result<Value, Failure> {
        let rules = self.rules_of(caller, input.event_bus_name.as_deref()).await?;
        let items = rules.into_iter().map(|rule| (rule.name.clone(), Value::Object(rule_shown(&rule))));
        page("Rules", items, &input.page)
    }

    pub(super) async fn list_rule_names(
        &self,
        caller: &Caller,
        input: ListRuleNamesByTarget,
    ) -> Result<Value, Failure> {
        let rules = self.rules_of(caller, input.event_bus_name.as_deref()).await?;
        let has_target = |rule: &Rule| rule.targets.iter().any(|target| target.arn == input.target_arn);
        let items = rules.into_iter().filter(has_target).map(|rule| (rule.name.clone(), rule.name.into()));
        page("RuleNames", items, &input.page)
    }

    async fn rules_of(&self, caller: &Caller, bus: Option<&str>) -> Result<Vec<Rule>, Failure> {
        let bus = BusArn::meant(caller, bus)?;
        self.catalog
            .read(move |tx| {
                buses::found(tx, &bus)?;
                Ok(RULES.scan_prefix(tx, bus.row().bytes())?.into_iter().map(|(_, rule)| rule).collect())
            })
            .await
    }

    /// Deletes a rule that has no targets. One that is not there is no fault.
    pub(super) async fn delete_rule(&self, caller: &Caller, input: RuleName) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let own = bus.clone();
        self.catalog
            .write(move |tx| {
                buses::found(tx, &own)?;
                let row = rule_row(&own, &input.name);
                let Some(rule) = RULES.get(tx, row.bytes())? else { return Ok(()) };
                if !rule.targets.is_empty() {
                    return Err(validation("Rule can't be deleted since it has targets."));
                }
                schedules::unset(tx, &rule)?;
                RULES.delete(tx, row.bytes())?;
                Ok(())
            })
            .await?;
        self.views.forget(&bus);
        Ok(json!({}))
    }

    pub(super) async fn switch_rule(
        &self,
        caller: &Caller,
        input: RuleName,
        state: RuleState,
    ) -> Result<Value, Failure> {
        let bus = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let (own, now) = (bus.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                let rule = found(tx, &own, &input.name)?;
                let is_on = |state| state != RuleState::Disabled;
                if is_on(rule.state) == is_on(state) {
                    return Ok(());
                }
                let rule = Rule { state, ..rule };
                schedules::set(tx, &rule, now)?;
                RULES.put(tx, rule.row().bytes(), &rule)?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.views.forget(&bus);
        self.put_work();
        Ok(json!({}))
    }

    /// Changes a rule that is there.
    pub(super) async fn change_rule<T: Send + 'static>(
        &self,
        bus: &BusArn,
        name: &str,
        change: impl Fn(&mut Rule) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (own, name) = (bus.clone(), name.to_owned());
        let changed = self
            .catalog
            .write(move |tx| {
                let mut rule = found(tx, &own, &name)?;
                let changed = change(&mut rule)?;
                RULES.put(tx, rule.row().bytes(), &rule)?;
                Ok::<_, Failure>(changed)
            })
            .await?;
        self.views.forget(bus);
        Ok(changed)
    }
}

fn rule_shown(rule: &Rule) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("Name".into(), rule.name.as_str().into());
    shown.insert("Arn".into(), rule.arn().into());
    let optional = [
        ("EventPattern", &rule.pattern),
        ("ScheduleExpression", &rule.schedule),
        ("Description", &rule.description),
        ("RoleArn", &rule.role_arn),
    ];
    for (name, value) in optional {
        shown.extend(value.as_ref().map(|text| (name.to_owned(), text.as_str().into())));
    }
    shown.insert("State".into(), json!(rule.state));
    shown.insert("EventBusName".into(), rule.bus.name.as_str().into());
    shown
}
