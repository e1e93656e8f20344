//! Services that act in all accounts, and accounts that administer one.

use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::accounts::{named, shown_account};
use super::page::page;
use super::state::{Delegation, Organization};
use super::{Answer, Occasion, invalid, required, text, violation};

/// Services that can be given access.
const SERVICES_MAX: usize = 100;

/// The service principal that a call names.
fn principal(params: &Value) -> Result<String, AwsError> {
    let name = required(params, "ServicePrincipal");
    if name.ends_with(".amazonaws.com") {
        return Ok(name.to_owned());
    }
    Err(invalid("UNRECOGNIZED_SERVICE_PRINCIPAL", "You specified an unrecognized service principal."))
}

pub(super) fn enable(organization: &mut Organization, occasion: &Occasion, params: &Value) -> Answer {
    let service = principal(params)?;
    if organization.services.len() >= SERVICES_MAX {
        return Err(violation("SERVICE_ACCESS_NOT_ENABLED", "Too many services have access."));
    }
    organization.services.entry(service).or_insert(occasion.now);
    Ok(Value::Null)
}

pub(super) fn disable(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    organization.services.remove(&principal(params)?);
    Ok(Value::Null)
}

pub(super) fn list(organization: &Organization, params: &Value) -> Answer {
    let shown = |(service, since): (&String, &cairn_core::Timestamp)| {
        (service.clone(), json!({"ServicePrincipal": service, "DateEnabled": since.seconds()}))
    };
    page("EnabledServicePrincipals", organization.services.iter().map(shown).collect(), params)
}

pub(super) fn register(organization: &mut Organization, occasion: &Occasion, params: &Value) -> Answer {
    let (account, service) = (named(organization, params)?, principal(params)?);
    if account == organization.management {
        return Err(violation(
            "CANNOT_REGISTER_MASTER_AS_DELEGATED_ADMINISTRATOR",
            "You cannot register the management account as a delegated administrator for a service integrated with \
             Organizations.",
        ));
    }
    if !organization.services.contains_key(&service) {
        return Err(violation(
            "SERVICE_ACCESS_NOT_ENABLED",
            "Service access is not enabled for the service.",
        ));
    }
    if delegated(organization, &account, &service) {
        return Err(AwsError::invalid(
            "AccountAlreadyRegisteredException",
            "The specified account is already a delegated administrator for this AWS service.",
        ));
    }
    organization.delegations.push(Delegation { account, service, since: occasion.now });
    Ok(Value::Null)
}

fn delegated(organization: &Organization, account: &cairn_core::AccountId, service: &str) -> bool {
    organization
        .delegations
        .iter()
        .any(|delegation| delegation.account == *account && delegation.service == service)
}

pub(super) fn deregister(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let (account, service) = (named(organization, params)?, principal(params)?);
    if !delegated(organization, &account, &service) {
        return Err(not_registered());
    }
    organization
        .delegations
        .retain(|delegation| delegation.account != account || delegation.service != service);
    Ok(Value::Null)
}

fn not_registered() -> AwsError {
    AwsError::invalid(
        "AccountNotRegisteredException",
        "The specified account is not a delegated administrator for this AWS service.",
    )
}

pub(super) fn list_administrators(organization: &Organization, params: &Value) -> Answer {
    let wanted = text(params, "ServicePrincipal");
    let items = organization
        .members
        .iter()
        .filter_map(|(account, member)| {
            let of_account = organization.delegations.iter().filter(|delegation| {
                delegation.account == *account && wanted.is_none_or(|service| delegation.service == service)
            });
            let since = of_account.map(|delegation| delegation.since).min()?;
            let mut shown = shown_account(organization, account, member);
            shown["DelegationEnabledDate"] = since.seconds().into();
            Some((account.to_string(), shown))
        })
        .collect();
    page("DelegatedAdministrators", items, params)
}

pub(super) fn list_delegated(organization: &Organization, params: &Value) -> Answer {
    let account = named(organization, params)?;
    let of_account = organization.delegations.iter().filter(|delegation| delegation.account == account);
    let mut items: Vec<(String, Value)> = of_account
        .map(|delegation| {
            let shown = json!({
                "ServicePrincipal": delegation.service,
                "DelegationEnabledDate": delegation.since.seconds(),
            });
            (delegation.service.clone(), shown)
        })
        .collect();
    if items.is_empty() {
        return Err(not_registered());
    }
    items.sort_by(|a, b| a.0.cmp(&b.0));
    page("DelegatedServices", items, params)
}
