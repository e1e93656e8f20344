//! The root, organisational units, and what lies in what.

use cairn_core::AccountId;
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::page::page;
use super::state::{Organization, Unit};
use super::{Answer, Occasion, required, text, violation};

/// Units of one organisation.
const UNITS_MAX: usize = 2000;
/// Units one in another.
const DEPTH_MAX: usize = 5;

pub(super) fn no_parent() -> AwsError {
    AwsError::invalid(
        "ParentNotFoundException",
        "We can't find a root or OU with the ParentId that you specified.",
    )
}

fn no_unit() -> AwsError {
    AwsError::invalid(
        "OrganizationalUnitNotFoundException",
        "We can't find an OU with the OrganizationalUnitId that you specified.",
    )
}

fn duplicate() -> AwsError {
    AwsError::invalid("DuplicateOrganizationalUnitException", "An OU with the same name already exists.")
}

fn shown(organization: &Organization, id: &str, unit: &Unit) -> Value {
    json!({"Id": id, "Arn": organization.arn("ou", id), "Name": unit.name})
}

pub(super) fn list_roots(organization: &Organization, params: &Value) -> Answer {
    let types = match organization.policies_enabled {
        true => json!([{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"}]),
        false => json!([]),
    };
    let id = &organization.root_id;
    let root = json!({"Id": id, "Arn": organization.arn("root", id), "Name": "Root", "PolicyTypes": types});
    page("Roots", vec![(id.clone(), root)], params)
}

pub(super) fn list_parents(organization: &Organization, params: &Value) -> Answer {
    let child = required(params, "ChildId");
    let account: Option<AccountId> = child.parse().ok();
    let of_account =
        account.and_then(|account| organization.members.get(&account)).map(|member| &member.parent);
    let parent = of_account.or_else(|| organization.units.get(child).map(|unit| &unit.parent)).ok_or_else(|| {
        AwsError::invalid(
            "ChildNotFoundException",
            "We can't find an organizational unit (OU) or AWS account with the ChildId that you specified.",
        )
    })?;
    let kind = if *parent == organization.root_id { "ROOT" } else { "ORGANIZATIONAL_UNIT" };
    page("Parents", vec![(parent.clone(), json!({"Id": parent, "Type": kind}))], params)
}

pub(super) fn list_children(organization: &Organization, params: &Value) -> Answer {
    let parent = required(params, "ParentId");
    if !organization.is_parent(parent) {
        return Err(no_parent());
    }
    let kind = required(params, "ChildType");
    let ids: Vec<String> = match kind {
        "ACCOUNT" => {
            let inside = organization.members.iter().filter(|(_, member)| member.parent == parent);
            inside.map(|(account, _)| account.to_string()).collect()
        }
        _ => {
            let inside = organization.units.iter().filter(|(_, unit)| unit.parent == parent);
            inside.map(|(id, _)| id.clone()).collect()
        }
    };
    let items = ids.into_iter().map(|id| (id.clone(), json!({"Id": id, "Type": kind}))).collect();
    page("Children", items, params)
}

pub(super) fn list_for_parent(organization: &Organization, params: &Value) -> Answer {
    let parent = required(params, "ParentId");
    if !organization.is_parent(parent) {
        return Err(no_parent());
    }
    let inside = organization.units.iter().filter(|(_, unit)| unit.parent == parent);
    let items = inside.map(|(id, unit)| (id.clone(), shown(organization, id, unit))).collect();
    page("OrganizationalUnits", items, params)
}

pub(super) fn create(organization: &mut Organization, occasion: &Occasion, params: &Value) -> Answer {
    let (parent, name) = (required(params, "ParentId"), required(params, "Name"));
    if !organization.is_parent(parent) {
        return Err(no_parent());
    }
    if organization.units.len() >= UNITS_MAX {
        return Err(violation("OU_NUMBER_LIMIT_EXCEEDED", "You have exceeded the allowed number of OUs."));
    }
    if organization.depth_of(parent) >= DEPTH_MAX {
        return Err(violation("OU_DEPTH_LIMIT_EXCEEDED", "You have exceeded the allowed depth of OUs."));
    }
    if organization.units.values().any(|unit| unit.parent == parent && unit.name == name) {
        return Err(duplicate());
    }
    let root = organization.root_id.trim_start_matches("r-").to_owned();
    let id = format!("ou-{root}-{}", occasion.random(8));
    let unit = Unit { name: name.to_owned(), parent: parent.to_owned() };
    let answer = json!({"OrganizationalUnit": shown(organization, &id, &unit)});
    organization.units.insert(id.clone(), unit);
    organization.begin_policies(&id);
    super::tags::begin(organization, &id, params);
    Ok(answer)
}

pub(super) fn describe(organization: &Organization, params: &Value) -> Answer {
    let id = required(params, "OrganizationalUnitId");
    let unit = organization.units.get(id).ok_or_else(no_unit)?;
    Ok(json!({"OrganizationalUnit": shown(organization, id, unit)}))
}

pub(super) fn update(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = required(params, "OrganizationalUnitId");
    let unit = organization.units.get(id).ok_or_else(no_unit)?.clone();
    if let Some(name) = text(params, "Name") {
        let taken = |(other, sibling): (&String, &Unit)| {
            other != id && sibling.parent == unit.parent && sibling.name == name
        };
        if organization.units.iter().any(taken) {
            return Err(duplicate());
        }
        let unit = organization.units.get_mut(id).ok_or_else(no_unit)?;
        name.clone_into(&mut unit.name);
    }
    describe(organization, params)
}

pub(super) fn delete(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let id = required(params, "OrganizationalUnitId");
    if !organization.units.contains_key(id) {
        return Err(no_unit());
    }
    let inhabited = organization.units.values().any(|unit| unit.parent == id)
        || organization.members.values().any(|member| member.parent == id);
    if inhabited {
        return Err(AwsError::invalid(
            "OrganizationalUnitNotEmptyException",
            "The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, \
             and try the operation again.",
        ));
    }
    organization.units.remove(id);
    organization.attachments.remove(id);
    organization.tags.remove(id);
    Ok(Value::Null)
}
