//! What a call is about: the function with its policy and tags, and the role that is handed over.

use cairn_core::AccountId;
use cairn_store::Catalog;
use cairn_wire::Call;
use serde_json::Value;

use super::error::Failure;
use super::name::{LATEST, Named};
use super::permissions::policy;
use super::runner::SERVICE;
use super::state::FUNCTIONS;
use crate::sinks::pass_role;
use crate::{Caller, Resource, ResourcePolicy, Target};

/// What is done to no function in particular.
const TO_NOTHING: [&str; 2] = ["GetAccountSettings", "ListFunctions"];

pub(super) async fn target(catalog: &Catalog, caller: &Caller, call: &Call) -> Result<Target, Failure> {
    let operation = call.operation.as_str();
    let action = match operation {
        "Invoke" => "lambda:InvokeFunction".to_owned(),
        other => format!("lambda:{other}"),
    };
    if TO_NOTHING.contains(&operation) {
        return Ok(Target {
            action,
            resource_arn: "*".to_owned(),
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        });
    }
    let named = named(caller, call)?;
    let mut target = on_function(catalog, action, &named).await?;
    // What an alias is made of is the function's.
    target.resources = resources(operation, &named.function.arn(), &named.function.account);
    target.conditions.extend(tags_asked_for(call));
    Ok(target)
}

pub(super) async fn further_targets(
    catalog: &Catalog,
    caller: &Caller,
    call: &Call,
) -> Result<Vec<Target>, Failure> {
    let mut targets = Vec::new();
    if ["CreateFunction", "UpdateFunctionConfiguration"].contains(&call.operation.as_str())
        && let Some(role) = text(call, "Role")
    {
        targets.push(pass_role(role, SERVICE));
    }
    let has_tags = call.params.get("Tags").and_then(Value::as_object).is_some_and(|tags| !tags.is_empty());
    if call.operation == "CreateFunction" && has_tags {
        let mut target = on_function(catalog, "lambda:TagResource".to_owned(), &named(caller, call)?).await?;
        target.conditions.extend(tags_asked_for(call));
        targets.push(target);
    }
    Ok(targets)
}

async fn on_function(catalog: &Catalog, action: String, named: &Named) -> Result<Target, Failure> {
    let at = named.clone();
    let (document, tags) = catalog
        .read(move |tx| {
            let document = policy(tx, &at)?.map(|policy| policy.text());
            let function = FUNCTIONS.get(tx, at.function.row().bytes())?;
            Ok::<_, Failure>((document, function.map(|function| function.tags).unwrap_or_default()))
        })
        .await?;
    Ok(Target {
        action,
        resource_arn: named.arn(),
        resources: Vec::new(),
        policy: Some(ResourcePolicy { owner: named.function.account.clone(), document, must_allow: false }),
        conditions: tags
            .into_iter()
            .map(|(key, value)| (format!("aws:ResourceTag/{key}"), vec![value]))
            .collect(),
    })
}

/// Data events alone name their resources.
fn resources(operation: &str, arn: &str, account: &AccountId) -> Vec<Resource> {
    let resource =
        || Resource { kind: "AWS::Lambda::Function", arn: arn.to_owned(), account: Some(account.clone()) };
    if operation == "Invoke" { vec![resource()] } else { Vec::new() }
}

fn text<'a>(call: &'a Call, member: &str) -> Option<&'a str> {
    call.params.get(member).and_then(Value::as_str)
}

/// The function that a call names.
pub(super) fn named(caller: &Caller, call: &Call) -> Result<Named, Failure> {
    if let Some(resource) = text(call, "Resource") {
        let named = Named::of_arn(resource);
        return named.ok_or_else(|| super::error::invalid(format!("Invalid resource ARN: {resource}")));
    }
    let given = text(call, "FunctionName").unwrap_or_default();
    // An alias is not the qualifier of the call that makes or changes it.
    let named = Named::parse(given, text(call, "Qualifier"), caller)?;
    let at_function = Named { qualifier: None, ..named.clone() };
    Ok(match named.qualifier.as_deref() {
        // Policies and rights do not tell the latest version from the function, but where it is invoked by that name.
        Some(LATEST) if call.operation != "Invoke" => at_function,
        _ => named,
    })
}

/// `aws:RequestTag/…` and `aws:TagKeys`.
fn tags_asked_for(call: &Call) -> Vec<(String, Vec<String>)> {
    let tags = call.params.get("Tags").and_then(Value::as_object);
    let tags: Vec<(&String, &Value)> = tags.into_iter().flatten().collect();
    let removed = call.params.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
    let keys = tags.iter().map(|(key, _)| (*key).clone());
    let keys: Vec<String> = keys.chain(removed.filter_map(Value::as_str).map(str::to_owned)).collect();
    let mut conditions: Vec<(String, Vec<String>)> = tags
        .iter()
        .map(|(key, value)| {
            (format!("aws:RequestTag/{key}"), vec![value.as_str().unwrap_or_default().to_owned()])
        })
        .collect();
    if !keys.is_empty() {
        conditions.push(("aws:TagKeys".to_owned(), keys));
    }
    conditions
}
