//! Service control policies.

use cairn_core::policy::parse_identity_policy;
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::page::page;
use super::state::{FULL_ACCESS, FULL_ACCESS_DOCUMENT, Organization, Policy};
use super::{Answer, Occasion, required, text, violation};

/// The one kind of policy.
const KIND: &str = "SERVICE_CONTROL_POLICY";
/// Policies of one organisation.
const POLICIES_MAX: usize = 2000;
/// Policies of one root, unit or account.
const ATTACHED_MAX: usize = 5;
/// The largest policy, in bytes.
const POLICY_SIZE_BYTES_MAX: usize = 5120;

fn no_policy() -> AwsError {
    AwsError::invalid(
        "PolicyNotFoundException",
        "We can't find a policy with the PolicyId that you specified.",
    )
}

fn no_target() -> AwsError {
    AwsError::invalid(
        "TargetNotFoundException",
        "We can't find a root, OU, account, or policy with the TargetId that you specified.",
    )
}

fn check_kind(params: &Value, member: &str) -> Result<(), AwsError> {
    if required(params, member) == KIND {
        return Ok(());
    }
    Err(AwsError::invalid(
        "PolicyTypeNotAvailableForOrganizationException",
        "You can't use the specified policy type with the feature set currently enabled for the organization.",
    ))
}

fn check_content(content: &str) -> Result<(), AwsError> {
    if content.len() > POLICY_SIZE_BYTES_MAX {
        return Err(violation(
            "POLICY_CONTENT_LIMIT_EXCEEDED",
            "You have exceeded the allowed maximum size of a policy.",
        ));
    }
    parse_identity_policy(content).map(drop).map_err(|_| {
        AwsError::invalid(
            "MalformedPolicyDocumentException",
            "The provided policy document does not meet the requirements of the specified policy type.",
        )
    })
}

/// A policy's summary; none where there is no such policy.
fn summary(organization: &Organization, id: &str) -> Option<Value> {
    if id == FULL_ACCESS {
        return Some(json!({
            "Id": id,
            "Arn": format!("arn:aws:organizations::aws:policy/service_control_policy/{id}"),
            "Name": "FullAWSAccess",
            "Description": "Allows access to every operation",
            "Type": KIND,
            "AwsManaged": true,
        }));
    }
    let policy = organization.policies.get(id)?;
    Some(json!({
        "Id": id,
        "Arn": organization.arn("policy", &format!("service_control_policy/{id}")),
        "Name": policy.name,
        "Description": policy.description,
        "Type": KIND,
        "AwsManaged": false,
    }))
}

fn shown(organization: &Organization, id: &str) -> Answer {
    let summary = summary(organization, id).ok_or_else(no_policy)?;
    let content = organization.document(id).unwrap_or(FULL_ACCESS_DOCUMENT);
    Ok(json!({"Policy": {"PolicySummary": summary, "Content": content}}))
}

fn summaries<'a>(organization: &Organization, ids: impl Iterator<Item = &'a String>) -> Vec<(String, Value)> {
    ids.filter_map(|id| Some((id.clone(), summary(organization, id)?))).collect()
}

pub(super) fn create(organization: &mut Organization, occasion: &Occasion, params: &Value) -> Answer {
    check_kind(params, "Type")?;
    let (name, content) = (required(params, "Name"), required(params, "Content"));
    check_content(content)?;
    if organization.policies.len() >= POLICIES_MAX {
        return Err(violation("POLICY_NUMBER_LIMIT_EXCEEDED", "You have exceeded the number of policies."));
    }
    check_name(organization, "", name)?;
    let id = format!("p-{}", occasion.random(8));
    let policy = Policy {
        name: name.to_owned(),
        description: required(params, "Description").to_owned(),
        content: content.to_owned(),
    };
    organization.policies.insert(id.clone(), policy);
    super::tags::begin(organization, &id, params);
    shown(organization, &id)
}

fn check_name(organization: &Organization, id: &str, name: &str) -> Result<(), AwsError> {
    let taken = organization.policies.iter().any(|(other, policy)| other != id && policy.name == name);
    if taken || name == "FullAWSAccess" {
        let message = "A policy with the same name already exists.";
        return Err(AwsError::invalid("DuplicatePolicyException", message));
    }
    Ok(())
}

pub(super) fn describe(organization: &Organization, params: &Value) -> Answer {
    shown(organization, required(params, "PolicyId"))
}

pub(super) fn update(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = required(params, "PolicyId");
    if let Some(name) = text(params, "Name") {
        check_name(organization, id, name)?;
    }
    if let Some(content) = text(params, "Content") {
        check_content(content)?;
    }
    let policy = organization.policies.get_mut(id).ok_or_else(no_policy)?;
    for (member, value) in [
        ("Name", &mut policy.name),
        ("Description", &mut policy.description),
        ("Content", &mut policy.content),
    ] {
        if let Some(given) = text(params, member) {
            given.clone_into(value);
        }
    }
    shown(organization, id)
}

pub(super) fn delete(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = required(params, "PolicyId");
    if !organization.policies.contains_key(id) {
        return Err(no_policy());
    }
    if organization.attachments.values().flatten().any(|attached| attached == id) {
        return Err(AwsError::invalid(
            "PolicyInUseException",
            "The policy is attached to one or more entities. You must detach it from all roots, OUs, and accounts \
             before performing this operation.",
        ));
    }
    organization.policies.remove(id);
    organization.tags.remove(id);
    Ok(Value::Null)
}

pub(super) fn list(organization: &Organization, params: &Value) -> Answer {
    check_kind(params, "Filter")?;
    let full = FULL_ACCESS.to_owned();
    let ids = organization.policies.keys().chain([&full]);
    let mut items = summaries(organization, ids);
    items.sort_by(|a, b| a.0.cmp(&b.0));
    page("Policies", items, params)
}

fn check_attachable(organization: &Organization, params: &Value) -> Result<(String, String), AwsError> {
    let (policy, target) = (required(params, "PolicyId"), required(params, "TargetId"));
    summary(organization, policy).ok_or_else(no_policy)?;
    if !organization.is_target(target) {
        return Err(no_target());
    }
    if !organization.policies_enabled {
        return Err(AwsError::invalid(
            "PolicyTypeNotEnabledException",
            "The specified policy type isn't currently enabled in this root.",
        ));
    }
    Ok((policy.to_owned(), target.to_owned()))
}

pub(super) fn attach(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let (policy, target) = check_attachable(organization, params)?;
    let attached = organization.attachments.entry(target).or_default();
    if attached.contains(&policy) {
        return Err(AwsError::invalid(
            "DuplicatePolicyAttachmentException",
            "The selected policy is already attached to the specified target.",
        ));
    }
    if attached.len() >= ATTACHED_MAX {
        return Err(violation(
            "MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
            "You have attached the maximum number of policies to the specified target.",
        ));
    }
    attached.push(policy);
    Ok(Value::Null)
}

pub(super) fn detach(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let (policy, target) = check_attachable(organization, params)?;
    let attached = organization.attachments.entry(target).or_default();
    if !attached.contains(&policy) {
        return Err(AwsError::invalid(
            "PolicyNotAttachedException",
            "The policy isn't attached to the specified target in the specified root.",
        ));
    }
    if attached.len() == 1 {
        return Err(violation(
            "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
            "You cannot remove the last policy attached to the specified target. You must have at least one attached \
             at all times.",
        ));
    }
    attached.retain(|other| *other != policy);
    Ok(Value::Null)
}

pub(super) fn list_for_target(organization: &Organization, params: &Value) -> Answer {
    check_kind(params, "Filter")?;
    let target = required(params, "TargetId");
    if !organization.is_target(target) {
        return Err(no_target());
    }
    let attached = organization.attachments.get(target).map_or(&[][..], Vec::as_slice);
    let mut items = summaries(organization, attached.iter());
    items.sort_by(|a, b| a.0.cmp(&b.0));
    page("Policies", items, params)
}

pub(super) fn list_targets(organization: &Organization, params: &Value) -> Answer {
    let policy = required(params, "PolicyId");
    summary(organization, policy).ok_or_else(no_policy)?;
    let having =
        organization.attachments.iter().filter(|(_, attached)| attached.iter().any(|id| id == policy));
    let items = having
        .filter_map(|(target, _)| {
            let (kind, name) = if *target == organization.root_id {
                ("ROOT", "Root")
            } else if let Some(unit) = organization.units.get(target) {
                ("ORGANIZATIONAL_UNIT", unit.name.as_str())
            } else {
                let account = target.parse().ok()?;
                ("ACCOUNT", organization.members.get(&account)?.name.as_str())
            };
            let arn = organization.arn_of(target)?;
            Some((target.clone(), json!({"TargetId": target, "Arn": arn, "Name": name, "Type": kind})))
        })
        .collect();
    page("Targets", items, params)
}

fn check_root(organization: &Organization, params: &Value) -> Result<(), AwsError> {
    check_kind(params, "PolicyType")?;
    if required(params, "RootId") == organization.root_id {
        return Ok(());
    }
    Err(AwsError::invalid(
        "RootNotFoundException",
        "We can't find a root with the RootId that you specified.",
    ))
}

fn shown_root(organization: &Organization) -> Answer {
    let mut roots = super::units::list_roots(organization, &Value::Null)?;
    Ok(json!({"Root": roots["Roots"][0].take()}))
}

/// From now on policies bind; every target begins with the one that allows everything.
pub(super) fn enable_type(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    check_root(organization, params)?;
    if organization.policies_enabled {
        return Err(AwsError::invalid(
            "PolicyTypeAlreadyEnabledException",
            "The specified policy type is already enabled in the specified root.",
        ));
    }
    organization.policies_enabled = true;
    let targets: Vec<String> = std::iter::once(organization.root_id.clone())
        .chain(organization.units.keys().cloned())
        .chain(organization.members.keys().map(ToString::to_string))
        .collect();
    for target in targets {
        organization.begin_policies(&target);
    }
    shown_root(organization)
}

pub(super) fn disable_type(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    check_root(organization, params)?;
    if !organization.policies_enabled {
        return Err(AwsError::invalid(
            "PolicyTypeNotEnabledException",
            "The specified policy type isn't currently enabled in this root.",
        ));
    }
    organization.policies_enabled = false;
    organization.attachments.clear();
    shown_root(organization)
}
