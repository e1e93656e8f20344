//! The organisation itself and its accounts.

use cairn_core::AccountId;
use cairn_wire::{AwsError, Call, RequestFacts};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::page;
use super::state::{
    Creation, MEMBERSHIPS, Member, ORGANIZATIONS, Organization, membership_key, organization_key,
    organization_of,
};
use super::{Answer, Failure, For, Occasion, Organizations, denied, invalid, required, violation};
use crate::{Caller, Service};

/// Accounts of one organisation.
const ACCOUNTS_MAX: usize = 1000;
/// Account creations that are remembered, the oldest are forgotten first.
const CREATIONS_MAX: usize = 1000;
/// The role that a new account has for its management account, where the call names none.
const ACCESS_ROLE: &str = "OrganizationAccountAccessRole";
const ADMINISTRATOR_ACCESS: &str = "arn:aws:iam::aws:policy/AdministratorAccess";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateOrganization {
    feature_set: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateAccount {
    email: String,
    account_name: String,
    role_name: Option<String>,
}

impl Organizations {
    pub(super) async fn create_organization(&self, caller: &Caller, input: CreateOrganization) -> Answer {
        if input.feature_set.as_deref().is_some_and(|set| set != "ALL") {
            return Err(invalid("INVALID_ENUM", "Only organizations with all features are supported."));
        }
        let occasion = self.occasion(caller);
        let made = self
            .catalog
            .write(move |tx| {
                if organization_of(tx, &occasion.caller)?.is_some() {
                    return Err(already_in_one().into());
                }
                let account = occasion.caller.clone();
                let root_id = format!("r-{}", &occasion.random[10..14]);
                let mut organization = Organization {
                    id: format!("o-{}", occasion.random(10)),
                    root_id: root_id.clone(),
                    management: account.clone(),
                    policies_enabled: false,
                    members: std::collections::BTreeMap::new(),
                    units: std::collections::BTreeMap::new(),
                    policies: std::collections::BTreeMap::new(),
                    attachments: std::collections::BTreeMap::new(),
                    services: std::collections::BTreeMap::new(),
                    delegations: Vec::new(),
                    creations: Vec::new(),
                    handshakes: std::collections::BTreeMap::new(),
                    tags: std::collections::BTreeMap::new(),
                };
                let member = Member {
                    name: "Management account".to_owned(),
                    email: email_of(&account),
                    parent: root_id,
                    was_created: false,
                    joined_at: occasion.now,
                };
                organization.join(account.clone(), member);
                MEMBERSHIPS.put(tx, membership_key(&account).bytes(), &organization.id)?;
                ORGANIZATIONS.put(tx, organization_key(&organization.id).bytes(), &organization)?;
                Ok::<_, Failure>(json!({"Organization": shown_organization(&organization)}))
            })
            .await;
        self.bindings.forget();
        Ok(made?)
    }

    /// Makes an account with a role that its management account may assume.
    pub(super) async fn create_account(&self, caller: &Caller, input: CreateAccount) -> Answer {
        self.view(caller, For::Management, {
            let email = input.email.clone();
            move |organization| check_new(organization, &email).map(|()| Value::Null)
        })
        .await?;
        let account = self.iam.create_account().await.map_err(AwsError::internal)?;
        let role = input.role_name.clone().unwrap_or_else(|| ACCESS_ROLE.to_owned());
        self.give_access(caller, &account, &role).await?;
        self.change(caller, For::Management, move |organization, occasion| {
            check_new(organization, &input.email)?;
            let creation = Creation {
                id: format!("car-{}", occasion.random),
                account: account.clone(),
                name: input.account_name.clone(),
                at: occasion.now,
            };
            let member = Member {
                name: input.account_name.clone(),
                email: input.email.clone(),
                parent: organization.root_id.clone(),
                was_created: true,
                joined_at: occasion.now,
            };
            organization.join(account.clone(), member);
            let shown = json!({"CreateAccountStatus": shown_creation(&creation)});
            if organization.creations.len() >= CREATIONS_MAX {
                organization.creations.remove(0);
            }
            organization.creations.push(creation);
            Ok(shown)
        })
        .await
    }

    /// Makes the role by which the management account gets into a new account.
    async fn give_access(&self, caller: &Caller, account: &AccountId, role: &str) -> Result<(), AwsError> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{}:root", caller.account)},
            "Action": "sts:AssumeRole",
        }]});
        let inside = Caller {
            principal: cairn_core::Principal::Root { account: account.clone(), alias: None },
            account: account.clone(),
            ..caller.clone()
        };
        let make = json!({"RoleName": role, "AssumeRolePolicyDocument": trust.to_string()});
        let attach = json!({"RoleName": role, "PolicyArn": ADMINISTRATOR_ACCESS});
        for (operation, params) in [("CreateRole", make), ("AttachRolePolicy", attach)] {
            let call = Call {
                service: "iam".to_owned(),
                operation: operation.to_owned(),
                params,
                body: None,
                request: RequestFacts::default(),
            };
            self.iam.handle(&inside, call).await?;
        }
        Ok(())
    }
}

fn already_in_one() -> AwsError {
    AwsError::invalid(
        "AlreadyInOrganizationException",
        "The AWS account is already a member of an organization.",
    )
}

/// Accounts have no e-mail address here; clients want to see one.
pub(super) fn email_of(account: &AccountId) -> String {
    format!("{account}@accounts.invalid")
}

fn check_new(organization: &Organization, email: &str) -> Result<(), AwsError> {
    check_room(organization)?;
    if organization.members.values().any(|member| member.email.eq_ignore_ascii_case(email)) {
        return Err(invalid("DUPLICATE_TAG_KEY", "EMAIL_ALREADY_EXISTS"));
    }
    Ok(())
}

pub(super) fn check_room(organization: &Organization) -> Result<(), AwsError> {
    if organization.members.len() >= ACCOUNTS_MAX {
        return Err(violation(
            "ACCOUNT_NUMBER_LIMIT_EXCEEDED",
            "You have exceeded the allowed number of AWS accounts.",
        ));
    }
    Ok(())
}

fn shown_organization(organization: &Organization) -> Value {
    let policy_type = json!({"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"});
    json!({
        "Id": organization.id,
        "Arn": organization.arn("organization", ""),
        "FeatureSet": "ALL",
        "MasterAccountArn": organization.arn("account", organization.management.as_str()),
        "MasterAccountId": organization.management,
        "MasterAccountEmail": email_of(&organization.management),
        "AvailablePolicyTypes": [policy_type],
    })
}

pub(super) fn describe_organization(organization: &Organization, _params: &Value) -> Answer {
    Ok(json!({"Organization": shown_organization(organization)}))
}

pub(super) fn delete_organization(
    organization: &mut Organization,
    _occasion: &Occasion,
    _params: &Value,
) -> Answer {
    if organization.members.len() > 1 {
        return Err(AwsError::invalid(
            "OrganizationNotEmptyException",
            "To delete an organization you must first remove all member accounts (except the master).",
        ));
    }
    organization.members.clear();
    Ok(Value::Null)
}

fn shown_creation(creation: &Creation) -> Value {
    json!({
        "Id": creation.id,
        "AccountName": creation.name,
        "State": "SUCCEEDED",
        "RequestedTimestamp": creation.at.seconds(),
        "CompletedTimestamp": creation.at.seconds(),
        "AccountId": creation.account,
    })
}

pub(super) fn describe_creation(organization: &Organization, params: &Value) -> Answer {
    let wanted = required(params, "CreateAccountRequestId");
    let found = organization.creations.iter().find(|creation| creation.id == wanted).ok_or_else(|| {
        AwsError::invalid(
            "CreateAccountStatusNotFoundException",
            "You specified an account creation request that does not exist.",
        )
    })?;
    Ok(json!({"CreateAccountStatus": shown_creation(found)}))
}

pub(super) fn list_creations(organization: &Organization, params: &Value) -> Answer {
    let states = params.get("States").and_then(Value::as_array);
    let wanted = states.is_none_or(|states| states.is_empty() || states.contains(&json!("SUCCEEDED")));
    let shown = organization.creations.iter().filter(|_| wanted);
    page(
        "CreateAccountStatuses",
        shown.map(|creation| (creation.id.clone(), shown_creation(creation))).collect(),
        params,
    )
}

/// An account as lists show it.
pub(super) fn shown_account(organization: &Organization, account: &AccountId, member: &Member) -> Value {
    json!({
        "Id": account,
        "Arn": organization.arn("account", account.as_str()),
        "Email": member.email,
        "Name": member.name,
        "Status": "ACTIVE",
        "State": "ACTIVE",
        "JoinedMethod": if member.was_created { "CREATED" } else { "INVITED" },
        "JoinedTimestamp": member.joined_at.seconds(),
    })
}

fn listed(organization: &Organization, params: &Value, wanted: impl Fn(&Member) -> bool) -> Answer {
    let members = organization.members.iter().filter(|(_, member)| wanted(member));
    let items = members
        .map(|(account, member)| (account.to_string(), shown_account(organization, account, member)))
        .collect();
    page("Accounts", items, params)
}

pub(super) fn list(organization: &Organization, params: &Value) -> Answer {
    listed(organization, params, |_| true)
}

pub(super) fn list_for_parent(organization: &Organization, params: &Value) -> Answer {
    let parent = required(params, "ParentId").to_owned();
    if !organization.is_parent(&parent) {
        return Err(super::units::no_parent());
    }
    listed(organization, params, |member| member.parent == parent)
}

fn no_account() -> AwsError {
    AwsError::invalid("AccountNotFoundException", "You specified an account that doesn't exist.")
}

/// The account that a call names, of the organisation.
pub(super) fn named(organization: &Organization, params: &Value) -> Result<AccountId, AwsError> {
    let named: Option<AccountId> = required(params, "AccountId").parse().ok();
    named.filter(|account| organization.members.contains_key(account)).ok_or_else(no_account)
}

pub(super) fn describe(organization: &Organization, params: &Value) -> Answer {
    let account = named(organization, params)?;
    let member = organization.members.get(&account).ok_or_else(no_account)?;
    Ok(json!({"Account": shown_account(organization, &account, member)}))
}

pub(super) fn move_account(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let account = named(organization, params)?;
    let (from, to) = (required(params, "SourceParentId"), required(params, "DestinationParentId"));
    if !organization.is_parent(to) {
        return Err(AwsError::invalid(
            "DestinationParentNotFoundException",
            "We can't find the destination container (a root or OU) with the ParentId that you specified.",
        ));
    }
    let member = organization.members.get_mut(&account).ok_or_else(no_account)?;
    if member.parent != from {
        return Err(AwsError::invalid(
            "SourceParentNotFoundException",
            "We can't find a source root or OU with the ParentId that you specified.",
        ));
    }
    if from == to {
        return Err(AwsError::invalid(
            "DuplicateAccountException",
            "That account is already present in the specified destination.",
        ));
    }
    to.clone_into(&mut member.parent);
    Ok(Value::Null)
}

fn let_go(organization: &mut Organization, account: &AccountId) -> Answer {
    if *account == organization.management {
        return Err(AwsError::invalid(
            "MasterCannotLeaveOrganizationException",
            "You can't remove a management account from an organization.",
        ));
    }
    organization.leave(account);
    Ok(Value::Null)
}

pub(super) fn remove(organization: &mut Organization, _: &Occasion, params: &Value) -> Answer {
    let account = named(organization, params)?;
    if organization.delegations.iter().any(|delegation| delegation.account == account) {
        return Err(violation(
            "CANNOT_REMOVE_DELEGATED_ADMINISTRATOR_FROM_ORG",
            "You can't remove a delegated administrator from the organization: deregister it first.",
        ));
    }
    let_go(organization, &account)
}

pub(super) fn leave(organization: &mut Organization, occasion: &Occasion, _params: &Value) -> Answer {
    if organization.delegations.iter().any(|delegation| delegation.account == occasion.caller) {
        return Err(denied("A delegated administrator cannot leave its organization."));
    }
    let_go(organization, &occasion.caller)
}
