//! PutPermission and RemovePermission: who of others may do what with a bus.

use cairn_core::policy::Document;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Events;
use super::error::{Failure, fail, not_found, validation};
use super::names::BusArn;
use super::state::Bus;
use crate::Caller;

/// Bytes of a bus's policy.
const POLICY_SIZE_BYTES_MAX: usize = 10_240;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutPermission {
    event_bus_name: Option<String>,
    action: Option<String>,
    principal: Option<String>,
    statement_id: Option<String>,
    condition: Option<Condition>,
    policy: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Condition {
    r#type: String,
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemovePermission {
    event_bus_name: Option<String>,
    statement_id: Option<String>,
    #[serde(default)]
    remove_all_permissions: bool,
}

impl Events {
    pub(super) async fn put_permission(
        &self,
        caller: &Caller,
        input: PutPermission,
    ) -> Result<Value, Failure> {
        let arn = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let now = caller.now;
        if let Some(policy) = input.policy {
            check_policy(&policy)?;
            self.change_bus(&arn, move |bus| {
                bus.policy = Some(policy.clone());
                bus.modified = Some(now);
                Ok(())
            })
            .await?;
            return Ok(json!({}));
        }
        let statement = statement(&arn, &input)?;
        self.change_bus(&arn, move |bus| {
            let mut statements = statements_of(bus);
            statements.retain(|known| known.get("Sid") != statement.get("Sid"));
            statements.push(statement.clone());
            set_statements(bus, statements)?;
            bus.modified = Some(now);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    pub(super) async fn remove_permission(
        &self,
        caller: &Caller,
        input: RemovePermission,
    ) -> Result<Value, Failure> {
        let arn = BusArn::meant(caller, input.event_bus_name.as_deref())?;
        let (removed, all, now) = (input.statement_id, input.remove_all_permissions, caller.now);
        if !all && removed.is_none() {
            return Err(validation(
                "Parameter StatementId is not valid. Reason: StatementId is a required argument.",
            ));
        }
        self.change_bus(&arn, move |bus| {
            bus.modified = Some(now);
            if all {
                bus.policy = None;
                return Ok(());
            }
            if bus.policy.is_none() {
                return Err(not_found("EventBus does not have a policy."));
            }
            let mut statements = statements_of(bus);
            let before = statements.len();
            statements.retain(|known| known.get("Sid").and_then(Value::as_str) != removed.as_deref());
            if statements.len() == before {
                return Err(not_found("Statement with the provided id does not exist."));
            }
            set_statements(bus, statements)
        })
        .await?;
        Ok(json!({}))
    }
}

fn check_policy(policy: &str) -> Result<(), Failure> {
    if policy.len() > POLICY_SIZE_BYTES_MAX {
        return Err(too_long());
    }
    Document::parse(policy)
        .map(drop)
        .map_err(|_| validation("Parameter Policy is not valid. Reason: it is malformed."))
}

fn too_long() -> Failure {
    fail("PolicyLengthExceededException", "The event bus policy length exceeds the limit.")
}

fn statement(arn: &BusArn, input: &PutPermission) -> Result<Value, Failure> {
    let required = |name: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| {
            validation(format!("Parameter {name} is not valid. Reason: {name} is a required argument."))
        })
    };
    let (sid, principal) =
        (required("StatementId", &input.statement_id)?, required("Principal", &input.principal)?);
    let action = required("Action", &input.action)?;
    if !action.starts_with("events:") {
        return Err(validation(format!("Provided value in parameter 'action' is not supported: {action}")));
    }
    let principal = match principal.as_str() {
        "*" => json!("*"),
        account if account.parse::<cairn_core::AccountId>().is_ok() => {
            json!({"AWS": format!("arn:aws:iam::{account}:root")})
        }
        _ => return Err(validation("Provided value in parameter 'principal' is not valid.")),
    };
    let mut statement = json!({
        "Sid": sid, "Effect": "Allow", "Principal": principal, "Action": action, "Resource": arn.to_string(),
    });
    if let Some(Condition { r#type, key, value }) = input.condition.clone() {
        statement["Condition"] = json!({ r#type: { key: value } });
    }
    Ok(statement)
}

fn statements_of(bus: &Bus) -> Vec<Value> {
    let policy: Value =
        bus.policy.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

fn set_statements(bus: &mut Bus, statements: Vec<Value>) -> Result<(), Failure> {
    bus.policy = (!statements.is_empty())
        .then(|| json!({"Version": "2012-10-17", "Statement": statements}).to_string());
    let size_bytes = bus.policy.as_ref().map_or(0, String::len);
    if size_bytes > POLICY_SIZE_BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

/// The policy as it is shown and as it decides.
pub(super) fn shown_policy(bus: &Bus) -> Option<&str> {
    bus.policy.as_deref()
}
