//! Organizations: accounts of one organisation, its units, its service control policies, and who may act for it.
//!
//! On the road: a service like any other; IAM asks it, by [`ControlPolicies`], which policies bind an account, and
//! CloudTrail, by [`Organizations::place_of`], whether an account has an organisation.
//!
//! Invariants: an account is in one organisation at most; the management account is bound by no policy and never
//! leaves; every target has a policy as long as policies are enabled. Invitations need no e-mail: the invited account
//! sees them.
//! Source: the Organizations API reference and user guide.

mod accounts;
mod binding;
mod handshakes;
mod page;
mod policies;
mod services;
mod state;
mod tags;
mod units;

use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::{AccountId, Clock, Entropy};
use cairn_store::{Catalog, CatalogError, EventLog, Tx};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

pub use binding::Place;
pub(crate) use binding::{delegate_cloudtrail, place};

use self::binding::Bindings;
use self::state::{MEMBERSHIPS, ORGANIZATIONS, Organization, membership_key, not_in_use, organization_key};
use crate::failure::Failure;
use crate::iam::Iam;
use crate::{Access, Caller, EventKind, Operation, Service, Target, cloudtrail};

/// The region that Organizations' calls act in and are recorded in.
const GLOBAL_REGION: &str = "us-east-1";

/// The Organizations service.
pub struct Organizations {
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    iam: Arc<Iam>,
    bindings: Bindings,
    trails: Option<Trails>,
}

/// What the organisation's trails need to know of it.
#[derive(Clone)]
struct Trails {
    log: Arc<dyn EventLog>,
    changed: Arc<dyn Fn() + Send + Sync>,
}

impl Organizations {
    /// Organizations on the tables of `catalog`; accounts are made by `iam`.
    #[must_use]
    pub fn new(catalog: Catalog, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, iam: Arc<Iam>) -> Self {
        Self { catalog, clock, entropy, iam, bindings: Bindings::default(), trails: None }
    }

    /// Lets the organisation's trails follow its members, from the present end of `log` on; `changed` wakes the stages.
    #[must_use]
    pub fn followed_by_trails(
        mut self,
        log: Arc<dyn EventLog>,
        changed: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        self.trails = Some(Trails { log, changed });
        self
    }

    /// Called after every change and before its reply.
    fn changed(&self) {
        self.bindings.forget();
        if let Some(trails) = &self.trails {
            (trails.changed)();
        }
    }
}

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("AcceptHandshake", Access::Write),
    operation("AttachPolicy", Access::Write),
    operation("CancelHandshake", Access::Write),
    operation("CreateAccount", Access::Write),
    operation("CreateOrganization", Access::Write),
    operation("CreateOrganizationalUnit", Access::Write),
    operation("CreatePolicy", Access::Write),
    operation("DeclineHandshake", Access::Write),
    operation("DeleteOrganization", Access::Write),
    operation("DeleteOrganizationalUnit", Access::Write),
    operation("DeletePolicy", Access::Write),
    operation("DeregisterDelegatedAdministrator", Access::Write),
    operation("DescribeAccount", Access::Read),
    operation("DescribeCreateAccountStatus", Access::Read),
    operation("DescribeHandshake", Access::Read),
    operation("DescribeOrganization", Access::Read),
    operation("DescribeOrganizationalUnit", Access::Read),
    operation("DescribePolicy", Access::Read),
    operation("DetachPolicy", Access::Write),
    operation("DisableAWSServiceAccess", Access::Write),
    operation("DisablePolicyType", Access::Write),
    operation("EnableAWSServiceAccess", Access::Write),
    operation("EnablePolicyType", Access::Write),
    operation("InviteAccountToOrganization", Access::Write),
    operation("LeaveOrganization", Access::Write),
    operation("ListAWSServiceAccessForOrganization", Access::Read),
    operation("ListAccounts", Access::Read),
    operation("ListAccountsForParent", Access::Read),
    operation("ListChildren", Access::Read),
    operation("ListCreateAccountStatus", Access::Read),
    operation("ListDelegatedAdministrators", Access::Read),
    operation("ListDelegatedServicesForAccount", Access::Read),
    operation("ListHandshakesForAccount", Access::Read),
    operation("ListHandshakesForOrganization", Access::Read),
    operation("ListOrganizationalUnitsForParent", Access::Read),
    operation("ListParents", Access::Read),
    operation("ListPolicies", Access::Read),
    operation("ListPoliciesForTarget", Access::Read),
    operation("ListRoots", Access::Read),
    operation("ListTagsForResource", Access::Read),
    operation("ListTargetsForPolicy", Access::Read),
    operation("MoveAccount", Access::Write),
    operation("RegisterDelegatedAdministrator", Access::Write),
    operation("RemoveAccountFromOrganization", Access::Write),
    operation("TagResource", Access::Write),
    operation("UntagResource", Access::Write),
    operation("UpdateOrganizationalUnit", Access::Write),
    operation("UpdatePolicy", Access::Write),
];

/// Members that name the resource of a call, by what they name.
const RESOURCE_MEMBERS: [&str; 8] = [
    "PolicyId",
    "AccountId",
    "OrganizationalUnitId",
    "ParentId",
    "ChildId",
    "TargetId",
    "RootId",
    "ResourceId",
];

/// Random letters of an id.
const ID_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// How many of them a call has.
const ID_LENGTH: usize = 32;

/// What a change works with.
#[derive(Clone, Debug)]
struct Occasion {
    now: cairn_core::Timestamp,
    caller: AccountId,
    /// Random letters and digits, of which ids are made.
    random: String,
}

impl Occasion {
    /// So many random characters.
    fn random(&self, length: usize) -> &str {
        &self.random[..length]
    }
}

/// What an operation answers.
type Answer = Result<Value, AwsError>;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// The management account.
    Management,
    /// The management account and those it delegated a service to.
    Administrators,
    /// Every account of the organisation.
    Members,
}

impl For {
    fn check(self, organization: &Organization, caller: &AccountId) -> Result<(), AwsError> {
        let may = *caller == organization.management
            || match self {
                Self::Management => false,
                Self::Administrators => {
                    organization.delegations.iter().any(|delegation| delegation.account == *caller)
                }
                Self::Members => true,
            };
        if may { Ok(()) } else { Err(denied("You don't have permissions to access this resource.")) }
    }
}

impl Organizations {
    fn occasion(&self, caller: &Caller) -> Occasion {
        Occasion {
            now: self.clock.now(),
            caller: caller.account.clone(),
            random: self.entropy.text(ID_ALPHABET, ID_LENGTH),
        }
    }

    /// Reads the caller's organisation.
    async fn view(
        &self,
        caller: &Caller,
        who: For,
        answer: impl Fn(&Organization) -> Answer + Send + 'static,
    ) -> Answer {
        let organization = self.organization_of(&caller.account).await.map_err(AwsError::internal)?;
        let organization = organization.ok_or_else(not_in_use)?;
        who.check(&organization, &caller.account)?;
        answer(&organization)
    }

    /// Changes the caller's organisation.
    async fn change(
        &self,
        caller: &Caller,
        who: For,
        change: impl Fn(&mut Organization, &Occasion) -> Answer + Send + 'static,
    ) -> Answer {
        let (occasion, trails) = (self.occasion(caller), self.trails.clone());
        let changed = self
            .catalog
            .write(move |tx| {
                let mut organization =
                    state::organization_of(tx, &occasion.caller)?.ok_or_else(not_in_use)?;
                who.check(&organization, &occasion.caller)?;
                let before = organization.members.keys().cloned().collect::<Vec<_>>();
                let answer = change(&mut organization, &occasion)?;
                let id = organization.id.clone();
                for gone in before.iter().filter(|account| !organization.members.contains_key(*account)) {
                    MEMBERSHIPS.delete(tx, membership_key(gone).bytes())?;
                }
                for account in organization.members.keys().filter(|account| !before.contains(*account)) {
                    MEMBERSHIPS.put(tx, membership_key(account).bytes(), &id)?;
                }
                if organization.members.is_empty() {
                    ORGANIZATIONS.delete(tx, organization_key(&id).bytes())?;
                } else {
                    ORGANIZATIONS.put(tx, organization_key(&id).bytes(), &organization)?;
                }
                trails_follow(tx, trails.as_ref(), &organization, occasion.now)?;
                Ok::<_, Failure>(answer)
            })
            .await;
        self.changed();
        Ok(changed?)
    }

    async fn answer(&self, caller: &Caller, call: &Call) -> Answer {
        match call.operation.as_str() {
            "CreateOrganization" => self.create_organization(caller, call.input()?).await,
            "CreateAccount" => self.create_account(caller, call.input()?).await,
            "InviteAccountToOrganization" => self.invite(caller, call.input()?).await,
            "AcceptHandshake" | "DeclineHandshake" | "CancelHandshake" => {
                self.settle_handshake(caller, &call.operation, call.input()?).await
            }
            "DescribeHandshake" => self.describe_handshake(caller, call.input()?).await,
            "ListHandshakesForAccount" | "ListHandshakesForOrganization" => {
                self.list_handshakes(caller, call).await
            }
            _ => {
                let (who, operation) = found(&call.operation)?;
                let params = call.params.clone();
                match operation {
                    Act::View(view) => self.view(caller, who, move |org| view(org, &params)).await,
                    Act::Change(change) => {
                        self.change(caller, who, move |org, occasion| change(org, occasion, &params)).await
                    }
                }
            }
        }
    }
}

fn trails_follow(
    tx: &mut dyn Tx,
    trails: Option<&Trails>,
    organization: &Organization,
    now: cairn_core::Timestamp,
) -> Result<(), CatalogError> {
    let Some(trails) = trails else { return Ok(()) };
    cloudtrail::organization::members_changed(tx, &organization.management, now, trails.log.end())
}

/// An operation on the caller's organisation.
enum Act {
    View(fn(&Organization, &Value) -> Answer),
    Change(fn(&mut Organization, &Occasion, &Value) -> Answer),
}

fn found(operation: &str) -> Result<(For, Act), AwsError> {
    use Act::{Change, View};
    use For::{Administrators, Management, Members};
    Ok(match operation {
        "DescribeOrganization" => (Members, View(accounts::describe_organization)),
        "DeleteOrganization" => (Management, Change(accounts::delete_organization)),
        "DescribeCreateAccountStatus" => (Administrators, View(accounts::describe_creation)),
        "ListCreateAccountStatus" => (Administrators, View(accounts::list_creations)),
        "ListAccounts" => (Administrators, View(accounts::list)),
        "ListAccountsForParent" => (Administrators, View(accounts::list_for_parent)),
        "DescribeAccount" => (Administrators, View(accounts::describe)),
        "MoveAccount" => (Management, Change(accounts::move_account)),
        "RemoveAccountFromOrganization" => (Management, Change(accounts::remove)),
        "LeaveOrganization" => (Members, Change(accounts::leave)),
        "ListRoots" => (Administrators, View(units::list_roots)),
        "ListParents" => (Administrators, View(units::list_parents)),
        "ListChildren" => (Administrators, View(units::list_children)),
        "CreateOrganizationalUnit" => (Management, Change(units::create)),
        "DescribeOrganizationalUnit" => (Administrators, View(units::describe)),
        "UpdateOrganizationalUnit" => (Management, Change(units::update)),
        "DeleteOrganizationalUnit" => (Management, Change(units::delete)),
        "ListOrganizationalUnitsForParent" => (Administrators, View(units::list_for_parent)),
        "CreatePolicy" => (Management, Change(policies::create)),
        "DescribePolicy" => (Administrators, View(policies::describe)),
        "UpdatePolicy" => (Management, Change(policies::update)),
        "DeletePolicy" => (Management, Change(policies::delete)),
        "ListPolicies" => (Administrators, View(policies::list)),
        "AttachPolicy" => (Management, Change(policies::attach)),
        "DetachPolicy" => (Management, Change(policies::detach)),
        "ListPoliciesForTarget" => (Administrators, View(policies::list_for_target)),
        "ListTargetsForPolicy" => (Administrators, View(policies::list_targets)),
        "EnablePolicyType" => (Management, Change(policies::enable_type)),
        "DisablePolicyType" => (Management, Change(policies::disable_type)),
        "EnableAWSServiceAccess" => (Management, Change(services::enable)),
        "DisableAWSServiceAccess" => (Management, Change(services::disable)),
        "ListAWSServiceAccessForOrganization" => (Administrators, View(services::list)),
        "RegisterDelegatedAdministrator" => (Management, Change(services::register)),
        "DeregisterDelegatedAdministrator" => (Management, Change(services::deregister)),
        "ListDelegatedAdministrators" => (Administrators, View(services::list_administrators)),
        "ListDelegatedServicesForAccount" => (Administrators, View(services::list_delegated)),
        "TagResource" => (Management, Change(tags::add)),
        "UntagResource" => (Management, Change(tags::remove)),
        "ListTagsForResource" => (Administrators, View(tags::list)),
        other => {
            let message = format!("The operation {other} is not supported.");
            return Err(AwsError::invalid("UnsupportedOperationException", message));
        }
    })
}

#[async_trait]
impl Service for Organizations {
    fn model(&self) -> &'static str {
        "organizations"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn global_region(&self) -> Option<&'static str> {
        Some(GLOBAL_REGION)
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let named =
            RESOURCE_MEMBERS.iter().find_map(|member| call.params.get(member).and_then(Value::as_str));
        let arn = match named {
            Some(id) => {
                let organization = self.organization_of(&caller.account).await.map_err(AwsError::internal)?;
                organization.and_then(|organization| organization.arn_of(id))
            }
            None => None,
        };
        Ok(Target {
            action: format!("organizations:{}", call.operation),
            resource_arn: arn.unwrap_or_else(|| "*".to_owned()),
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        })
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let answer = self.answer(caller, &call).await?;
        Ok(if answer.is_null() { Reply::empty() } else { Reply::of(&answer) })
    }
}

fn denied(message: &str) -> AwsError {
    AwsError::invalid("AccessDeniedException", message)
}

/// `ConstraintViolationException` with its reason.
fn violation(reason: &'static str, message: impl Into<String>) -> AwsError {
    AwsError::invalid("ConstraintViolationException", message).with_member("Reason", reason)
}

/// `InvalidInputException` with its reason.
fn invalid(reason: &'static str, message: impl Into<String>) -> AwsError {
    AwsError::invalid("InvalidInputException", message).with_member("Reason", reason)
}

/// A text member of the params.
fn text<'a>(params: &'a Value, member: &str) -> Option<&'a str> {
    params.get(member).and_then(Value::as_str)
}

/// A text member that the model requires.
fn required<'a>(params: &'a Value, member: &str) -> &'a str {
    text(params, member).unwrap_or_default()
}
