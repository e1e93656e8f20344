//! Buses: made, described, listed, changed and deleted. Each account has the default bus in each region, made or not.

use cairn_store::{CatalogError, Tx};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Events;
use super::error::{Failure, exists, no_bus, over_limit, validation};
use super::names::{BusArn, DEFAULT_BUS, Place};
use super::page::{PageInput, page};
use super::permissions::shown_policy;
use super::state::{BUSES, Bus, DeadLetterConfig, RULES};
use super::tags::{TagInput, checked_tags};
use crate::Caller;

/// Buses of an account in a region, the default bus among them.
const BUSES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateEventBus {
    name: String,
    event_source_name: Option<String>,
    #[serde(flatten)]
    settings: BusSettings,
    #[serde(default)]
    tags: Vec<TagInput>,
}

/// What can be said of a bus.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BusSettings {
    description: Option<String>,
    kms_key_identifier: Option<String>,
    dead_letter_config: Option<DeadLetterConfig>,
    log_config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateEventBus {
    name: Option<String>,
    #[serde(flatten)]
    settings: BusSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BusName {
    name: Option<String>,
}

impl BusSettings {
    fn check(&self) -> Result<(), Failure> {
        let level = self.log_config.as_ref().and_then(|config| config.get("Level")).and_then(Value::as_str);
        if level.is_some_and(|level| level != "OFF") {
            return Err(validation("LogConfig is not supported: this server writes no logs of event buses."));
        }
        Ok(())
    }

    fn apply(&self, bus: &mut Bus) {
        let dead_letters = self.dead_letter_config.as_ref().and_then(|config| config.arn.clone());
        bus.description.clone_from(&self.description);
        bus.kms_key = self.kms_key_identifier.clone().filter(|key| !key.is_empty());
        bus.dead_letter_arn = dead_letters;
    }
}

/// The bus; a default bus is there always.
pub(super) fn find(tx: &mut dyn Tx, arn: &BusArn) -> Result<Option<Bus>, CatalogError> {
    let found = BUSES.get(tx, arn.row().bytes())?;
    Ok(found.or_else(|| arn.is_default().then(|| Bus::new(arn.clone(), None))))
}

/// The bus, or the refusal that says that there is none.
pub(super) fn found(tx: &mut dyn Tx, arn: &BusArn) -> Result<Bus, Failure> {
    find(tx, arn)?.ok_or_else(|| no_bus(&arn.name))
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name == DEFAULT_BUS {
        return Err(exists(format!("Event bus {name} already exists.")));
    }
    if name.contains('/') || name.starts_with("aws.") {
        return Err(validation("Event bus name must not contain '/'."));
    }
    Ok(())
}

impl Events {
    pub(super) async fn create_bus(&self, caller: &Caller, input: CreateEventBus) -> Result<Value, Failure> {
        check_name(&input.name)?;
        input.settings.check()?;
        if input.event_source_name.is_some() {
            return Err(validation("Partner event sources are not supported."));
        }
        let arn = BusArn::meant(caller, Some(&input.name))?;
        let mut bus = Bus::new(arn, Some(caller.now));
        input.settings.apply(&mut bus);
        bus.tags = checked_tags(&input.tags)?;
        let made = bus.clone();
        self.catalog
            .write(move |tx| {
                let row = made.arn.row();
                if BUSES.get(tx, row.bytes())?.is_some() {
                    return Err(exists(format!("Event bus {} already exists.", made.arn.name)));
                }
                if BUSES.count_prefix(tx, made.arn.place().row().bytes(), BUSES_MAX)? + 1 >= BUSES_MAX {
                    return Err(over_limit());
                }
                BUSES.put(tx, row.bytes(), &made)?;
                Ok(())
            })
            .await?;
        self.views.forget(&bus.arn);
        let mut reply = settings_shown(&bus);
        reply.insert("EventBusArn".into(), bus.arn.to_string().into());
        Ok(Value::Object(reply))
    }

    pub(super) async fn update_bus(&self, caller: &Caller, input: UpdateEventBus) -> Result<Value, Failure> {
        input.settings.check()?;
        let arn = BusArn::meant(caller, input.name.as_deref())?;
        let (settings, now) = (input.settings, caller.now);
        let bus = self
            .change_bus(&arn, move |bus| {
                settings.apply(bus);
                bus.modified = Some(now);
                Ok(())
            })
            .await?;
        let mut reply = settings_shown(&bus);
        reply.insert("Arn".into(), bus.arn.to_string().into());
        reply.insert("Name".into(), bus.arn.name.into());
        Ok(Value::Object(reply))
    }

    pub(super) async fn describe_bus(&self, caller: &Caller, input: BusName) -> Result<Value, Failure> {
        let arn = BusArn::meant(caller, input.name.as_deref())?;
        let bus = self.catalog.read(move |tx| found(tx, &arn)).await?;
        let mut reply = settings_shown(&bus);
        reply.extend(bus_shown(&bus));
        Ok(Value::Object(reply))
    }

    pub(super) async fn list_buses(&self, caller: &Caller, input: PageInput) -> Result<Value, Failure> {
        let place = Place::of(caller);
        let mut buses = self
            .catalog
            .read(move |tx| {
                let mut buses: Vec<Bus> =
                    BUSES.scan_prefix(tx, place.row().bytes())?.into_iter().map(|(_, bus)| bus).collect();
                if !buses.iter().any(|bus| bus.arn.is_default()) {
                    buses.push(Bus::new(BusArn::default_of(&place), None));
                }
                Ok::<_, CatalogError>(buses)
            })
            .await?;
        buses.sort_by(|left, right| left.arn.name.cmp(&right.arn.name));
        let items = buses.iter().map(|bus| (bus.arn.name.clone(), Value::Object(bus_shown(bus))));
        page("EventBuses", items, &input)
    }

    /// Deletes a bus with its rules. One that is not there is no fault.
    pub(super) async fn delete_bus(&self, caller: &Caller, input: BusName) -> Result<Value, Failure> {
        let arn = BusArn::meant(caller, input.name.as_deref())?;
        if arn.is_default() {
            return Err(validation("Cannot delete event bus default."));
        }
        let gone = arn.clone();
        let rules = self
            .catalog
            .write(move |tx| {
                let rules = RULES.scan_prefix(tx, gone.row().bytes())?;
                for (row, rule) in &rules {
                    super::schedules::unset(tx, rule)?;
                    RULES.delete(tx, row)?;
                }
                BUSES.delete(tx, gone.row().bytes())?;
                Ok::<_, CatalogError>(rules)
            })
            .await?;
        self.views.forget(&arn);
        for (_, rule) in rules {
            let ids = rule.targets.iter().map(|target| target.id.clone()).collect::<Vec<_>>();
            self.forget_debts(&rule, &ids).await?;
        }
        Ok(json!({}))
    }

    /// Changes a bus that is there.
    pub(super) async fn change_bus(
        &self,
        arn: &BusArn,
        change: impl Fn(&mut Bus) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Bus, Failure> {
        let own = arn.clone();
        let changed = self
            .catalog
            .write(move |tx| {
                let mut bus = found(tx, &own)?;
                change(&mut bus)?;
                BUSES.put(tx, own.row().bytes(), &bus)?;
                Ok::<_, Failure>(bus)
            })
            .await?;
        self.views.forget(arn);
        Ok(changed)
    }
}

fn bus_shown(bus: &Bus) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("Name".into(), bus.arn.name.as_str().into());
    shown.insert("Arn".into(), bus.arn.to_string().into());
    for (name, time) in [("CreationTime", bus.created), ("LastModifiedTime", bus.modified)] {
        shown.extend(time.map(|time| (name.to_owned(), time.seconds().into())));
    }
    shown.extend(bus.description.as_ref().map(|text| ("Description".to_owned(), text.as_str().into())));
    shown.extend(shown_policy(bus).map(|text| ("Policy".to_owned(), text.into())));
    shown
}

fn settings_shown(bus: &Bus) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.extend(bus.description.as_ref().map(|text| ("Description".to_owned(), text.as_str().into())));
    shown.extend(bus.kms_key.as_ref().map(|key| ("KmsKeyIdentifier".to_owned(), key.as_str().into())));
    shown
        .extend(bus.dead_letter_arn.as_ref().map(|arn| ("DeadLetterConfig".to_owned(), json!({"Arn": arn}))));
    shown
}
