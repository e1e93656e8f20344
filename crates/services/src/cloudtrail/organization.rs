//! Trails of an organization: who may make and change them, and the part that each member has of them.
//!
//! The management account has the trail; each other member has a part of it, a row of its own with a cursor, a status
//! and a digest chain, which takes the member's events. Invariant: the parts change in the transaction that changes the
//! trail or the organization, and begin and end at the position that the log has then.

use cairn_core::{AccountId, Timestamp};
use cairn_store::LogPosition;
use cairn_store::catalog::{CatalogError, Tx};
use cairn_trail::Trail;
use cairn_trail::config::TRAILS;
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::trails::{From, TrailRequest, next_incarnation, trails_of};
use super::{CloudTrail, reply};
use crate::organizations::{self, Place};
use crate::service::Caller;

/// RegisterOrganizationDelegatedAdmin's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RegisterRequest {
    member_account_id: String,
}

/// DeregisterOrganizationDelegatedAdmin's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeregisterRequest {
    delegated_admin_account_id: String,
}

impl CloudTrail {
    /// The organization that a trail is to be one of; none where that is not asked for.
    pub(super) async fn organization_of(
        &self,
        caller: &Caller,
        request: &TrailRequest,
    ) -> Result<Option<Place>, Failure> {
        if request.is_organization_trail != Some(true) {
            return Ok(None);
        }
        let account = caller.account.clone();
        self.deps
            .catalog
            .read(move |tx| {
                let place = check_administrator(tx, &account)?;
                if !place.cloudtrail_is_trusted {
                    return Err(AwsError::invalid(
                        "CloudTrailAccessNotEnabledException",
                        "CloudTrail service access is not enabled for your organization.",
                    )
                    .into());
                }
                Ok(Some(place))
            })
            .await
    }

    pub(super) async fn register_administrator(
        &self,
        caller: &Caller,
        request: RegisterRequest,
    ) -> Result<Value, Failure> {
        self.delegate(caller, request.member_account_id, true).await
    }

    pub(super) async fn deregister_administrator(
        &self,
        caller: &Caller,
        request: DeregisterRequest,
    ) -> Result<Value, Failure> {
        self.delegate(caller, request.delegated_admin_account_id, false).await
    }

    async fn delegate(&self, caller: &Caller, administrator: String, begins: bool) -> Result<Value, Failure> {
        let (account, at) = (caller.account.clone(), caller.now);
        self.deps
            .catalog
            .write(move |tx| {
                let outcome = organizations::delegate_cloudtrail(tx, &account, &administrator, begins, at)?;
                Ok::<_, Failure>(outcome.map_err(as_cloudtrails)?)
            })
            .await?;
        Ok(reply::nothing())
    }
}

/// An error of Organizations under the name that CloudTrail has for it.
fn as_cloudtrails(error: AwsError) -> AwsError {
    let is_about = |reason: &str| error.members.iter().any(|(_, value)| value == reason);
    let code = match error.code.as_ref() {
        "AWSOrganizationsNotInUseException" => "OrganizationsNotInUseException",
        "AccessDeniedException" => "NotOrganizationManagementAccountException",
        "AccountAlreadyRegisteredException" => "AccountRegisteredException",
        "ConstraintViolationException" if is_about("SERVICE_ACCESS_NOT_ENABLED") => {
            "CloudTrailAccessNotEnabledException"
        }
        "ConstraintViolationException" => "CannotDelegateManagementAccountException",
        "InvalidInputException" => "InvalidParameterException",
        _ => return error,
    };
    AwsError::invalid(code, error.message.clone())
}

/// The organization of `account`, which must be its management account or administer CloudTrail for it.
pub(super) fn check_administrator(tx: &mut dyn Tx, account: &AccountId) -> Result<Place, Failure> {
    let Some(place) = organizations::place(tx, account)? else {
        return Err(AwsError::invalid(
            "OrganizationsNotInUseException",
            "Your account is not a member of an organization.",
        )
        .into());
    };
    if place.management == *account || place.cloudtrail_administrators.contains(account) {
        return Ok(place);
    }
    Err(not_management().into())
}

/// Only the account that has a trail makes it an organization's.
pub(super) fn check_convertible(place: &Place, trail: &Trail) -> Result<(), AwsError> {
    if place.management == trail.arn.account() { Ok(()) } else { Err(not_management()) }
}

/// Only the management account makes an organization's trail one of its own.
pub(super) fn check_owner(trail: &Trail, from: &From) -> Result<(), AwsError> {
    if trail.arn.account() == from.account { Ok(()) } else { Err(not_management()) }
}

fn not_management() -> AwsError {
    AwsError::invalid(
        "NotOrganizationMasterAccountException",
        "The request was made from an account that is not the management account or a delegated administrator of the \
         organization.",
    )
}

/// The members' parts of a trail, also of accounts that are members no more.
pub(super) fn parts_of(tx: &mut dyn Tx, trail: &Trail) -> Result<Vec<Trail>, CatalogError> {
    let all = TRAILS.scan_prefix(tx, b"")?.into_iter().map(|(_, other)| other);
    Ok(all.filter(|other| other.shadow.is_some() && other.arn == trail.arn).collect())
}

/// Writes a trail, and what follows from it for the members.
pub(super) fn keep(
    tx: &mut dyn Tx,
    trail: &Trail,
    at: Timestamp,
    log_end: LogPosition,
) -> Result<(), CatalogError> {
    let before = TRAILS.get(tx, trail.key().bytes())?;
    TRAILS.put(tx, trail.key().bytes(), trail)?;
    if trail.organization || before.is_some_and(|before| before.organization) {
        keep_parts(tx, trail, at, log_end)?;
    }
    Ok(())
}

/// Gives every member of an organization its part of each trail, and lets the parts of others end.
pub(crate) fn members_changed(
    tx: &mut dyn Tx,
    management: &AccountId,
    at: Timestamp,
    log_end: LogPosition,
) -> Result<(), CatalogError> {
    let trails = trails_of(tx, management)?;
    let of_organization = trails.iter().filter(|trail| trail.organization && trail.shadow.is_none());
    of_organization.into_iter().try_for_each(|trail| keep_parts(tx, trail, at, log_end))
}

fn keep_parts(
    tx: &mut dyn Tx,
    trail: &Trail,
    at: Timestamp,
    log_end: LogPosition,
) -> Result<(), CatalogError> {
    let own = trail.arn.account();
    let place = organizations::place(tx, &own)?
        .filter(|place| Some(&place.organization_id) == trail.organization_id.as_ref())
        .filter(|place| place.cloudtrail_is_trusted);
    let mut members = place.map_or_else(Vec::new, |place| place.members);
    members.retain(|member| *member != own);
    let parts = parts_of(tx, trail)?;
    for member in members.iter().filter(|member| parts.iter().all(|part| part.account() != **member)) {
        let mut part = trail.shadow_for(member.clone(), next_incarnation(tx)?);
        part.follow(trail, true, at, log_end);
        TRAILS.put(tx, part.key().bytes(), &part)?;
    }
    for before in parts {
        let mut part = before.clone();
        part.follow(trail, members.contains(&before.account()), at, log_end);
        if part != before {
            TRAILS.put(tx, part.key().bytes(), &part)?;
        }
    }
    Ok(())
}
