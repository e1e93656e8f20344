//! Organizations on a real catalog, with IAM beside it.

use std::sync::Arc;

use cairn_core::{AccountId, Principal};
use cairn_services::iam::Iam;
use cairn_services::organizations::Organizations;
use cairn_services::{Caller, Service};
use serde_json::{Value, json};

use crate::world::{World, call, root};

const MANAGEMENT: &str = "111122223333";

struct Company {
    organizations: Arc<Organizations>,
    iam: Arc<Iam>,
    _world: World,
}

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

impl Company {
    async fn new() -> Self {
        let world = World::new();
        let iam = Arc::new(world.iam());
        iam.ensure_first_account(Some(&account(MANAGEMENT))).await.unwrap();
        let (catalog, clock, entropy) = (world.catalog.clone(), world.clock.clone(), world.entropy.clone());
        let organizations = Arc::new(Organizations::new(catalog, clock, entropy, Arc::clone(&iam)));
        iam.bind_by(Arc::clone(&organizations) as _);
        let company = Self { organizations, iam, _world: world };
        company.ok("CreateOrganization", json!({"FeatureSet": "ALL"})).await;
        company
    }

    async fn ask(&self, caller: &Caller, operation: &str, params: Value) -> Result<Value, String> {
        let answer = self.organizations.handle(caller, call("organizations", operation, params)).await;
        answer.map(|reply| reply.result).map_err(|error| error.code.into_owned())
    }

    async fn ok(&self, operation: &str, params: Value) -> Value {
        self.ask(&root(&account(MANAGEMENT)), operation, params).await.unwrap()
    }

    async fn refused(&self, operation: &str, params: Value) -> String {
        self.ask(&root(&account(MANAGEMENT)), operation, params).await.unwrap_err()
    }

    async fn new_account(&self, name: &str) -> AccountId {
        let params = json!({"AccountName": name, "Email": format!("{name}@example.com")});
        let made = self.ok("CreateAccount", params).await;
        assert_eq!(made["CreateAccountStatus"]["State"], "SUCCEEDED");
        account(made["CreateAccountStatus"]["AccountId"].as_str().unwrap())
    }

    async fn root_id(&self) -> String {
        self.ok("ListRoots", json!({})).await["Roots"][0]["Id"].as_str().unwrap().to_owned()
    }

    async fn unit(&self, parent: &str, name: &str) -> String {
        let made = self.ok("CreateOrganizationalUnit", json!({"ParentId": parent, "Name": name})).await;
        made["OrganizationalUnit"]["Id"].as_str().unwrap().to_owned()
    }

    async fn policy(&self, name: &str, statement: Value) -> String {
        let content = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        let params =
            json!({"Name": name, "Description": "", "Type": "SERVICE_CONTROL_POLICY", "Content": content});
        self.ok("CreatePolicy", params).await["Policy"]["PolicySummary"]["Id"].as_str().unwrap().to_owned()
    }

    async fn enable(&self) {
        let root = self.root_id().await;
        let params = json!({"RootId": root, "PolicyType": "SERVICE_CONTROL_POLICY"});
        self.ok("EnablePolicyType", params).await;
    }

    /// The names of the policies that bind the root of an account, by level.
    async fn bound(&self, of: &AccountId) -> Vec<Vec<String>> {
        let principal = Principal::Root { account: of.clone(), alias: None };
        let rights = self.iam.rights_of(&principal, None).await.unwrap();
        let names = |level: &Vec<cairn_core::policy::NamedPolicy>| {
            level.iter().map(|policy| policy.name.clone()).collect()
        };
        rights.control.iter().map(names).collect()
    }
}

#[tokio::test]
async fn policies_bind_level_by_level_and_never_the_management_account() {
    let company = Company::new().await;
    let member = company.new_account("dev").await;
    assert!(company.bound(&member).await.is_empty(), "policies are not enabled");
    company.enable().await;
    let full = "p-FullAWSAccess".to_owned();
    assert_eq!(company.bound(&member).await, vec![vec![full.clone()], vec![full.clone()]]);
    let root = company.root_id().await;
    let unit = company.unit(&root, "sandbox").await;
    let moved = json!({"AccountId": member, "SourceParentId": root, "DestinationParentId": unit});
    company.ok("MoveAccount", moved).await;
    let denial =
        company.policy("no-s3", json!([{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}])).await;
    company.ok("AttachPolicy", json!({"PolicyId": denial, "TargetId": unit})).await;
    let levels = company.bound(&member).await;
    assert_eq!(levels, vec![vec![full.clone()], vec![full.clone(), denial.clone()], vec![full.clone()]]);
    assert!(company.bound(&account(MANAGEMENT)).await.is_empty());
    company.ok("DetachPolicy", json!({"PolicyId": full, "TargetId": unit})).await;
    assert_eq!(company.bound(&member).await[1], vec![denial.clone()]);
    let last = json!({"PolicyId": denial, "TargetId": unit});
    assert_eq!(company.refused("DetachPolicy", last).await, "ConstraintViolationException");
}

#[tokio::test]
async fn an_account_knows_its_place() {
    let company = Company::new().await;
    let member = company.new_account("dev").await;
    let principal = Principal::Root { account: member.clone(), alias: None };
    let rights = company.iam.rights_of(&principal, None).await.unwrap();
    let place = rights.affiliation.clone().unwrap();
    let described = company.ok("DescribeOrganization", json!({})).await;
    assert_eq!(place.organization_id, described["Organization"]["Id"].as_str().unwrap());
    assert_eq!(place.path, format!("{}/{}/", place.organization_id, company.root_id().await));
    company.ok("RemoveAccountFromOrganization", json!({"AccountId": member})).await;
    assert_eq!(company.iam.rights_of(&principal, None).await.unwrap().affiliation, None);
    let outside = company.ask(&root(&member), "DescribeOrganization", json!({})).await;
    assert_eq!(outside.unwrap_err(), "AWSOrganizationsNotInUseException");
}

#[tokio::test]
async fn a_new_account_has_a_role_for_its_management_account() {
    let company = Company::new().await;
    let member = company.new_account("dev").await;
    let asked = call("iam", "GetRole", json!({"RoleName": "OrganizationAccountAccessRole"}));
    let role = company.iam.handle(&root(&member), asked).await.unwrap().result;
    let trust = role["Role"]["AssumeRolePolicyDocument"].as_str().unwrap();
    assert!(trust.contains(MANAGEMENT), "{trust}");
    let attached =
        call("iam", "ListAttachedRolePolicies", json!({"RoleName": "OrganizationAccountAccessRole"}));
    let attached = company.iam.handle(&root(&member), attached).await.unwrap().result;
    assert_eq!(attached["AttachedPolicies"][0]["PolicyName"], "AdministratorAccess");
}

#[tokio::test]
async fn members_may_look_and_leave_and_administrators_may_list() {
    let company = Company::new().await;
    let (first, second) = (company.new_account("one").await, company.new_account("two").await);
    let as_first = root(&first);
    assert_eq!(company.ask(&as_first, "ListAccounts", json!({})).await.unwrap_err(), "AccessDeniedException");
    let trail = "cloudtrail.amazonaws.com";
    let delegate = json!({"AccountId": first, "ServicePrincipal": trail});
    assert_eq!(
        company.refused("RegisterDelegatedAdministrator", delegate.clone()).await,
        "ConstraintViolationException"
    );
    company.ok("EnableAWSServiceAccess", json!({"ServicePrincipal": trail})).await;
    company.ok("RegisterDelegatedAdministrator", delegate.clone()).await;
    let listed = company.ask(&as_first, "ListAccounts", json!({})).await.unwrap();
    assert_eq!(listed["Accounts"].as_array().map(Vec::len), Some(3));
    assert_eq!(company.ask(&as_first, "CreatePolicy", json!({})).await.unwrap_err(), "AccessDeniedException");
    let place = company.organizations.place_of(&second).await.unwrap().unwrap();
    assert_eq!(place.cloudtrail_administrators, std::slice::from_ref(&first));
    assert!(place.cloudtrail_is_trusted && place.members.len() == 3);
    company.ok("DeregisterDelegatedAdministrator", delegate).await;
    company.ask(&as_first, "LeaveOrganization", json!({})).await.unwrap();
    company.ok("RemoveAccountFromOrganization", json!({"AccountId": second})).await;
    company.ok("DeleteOrganization", json!({})).await;
    assert_eq!(company.refused("DescribeOrganization", json!({})).await, "AWSOrganizationsNotInUseException");
}

#[tokio::test]
async fn an_account_that_is_there_joins_by_an_invitation() {
    let company = Company::new().await;
    let other = company.iam.create_account().await.unwrap();
    let target = json!({"Target": {"Id": other, "Type": "ACCOUNT"}});
    let invited = company.ok("InviteAccountToOrganization", target.clone()).await;
    let id = invited["Handshake"]["Id"].clone();
    assert_eq!(company.refused("InviteAccountToOrganization", target).await, "DuplicateHandshakeException");
    let as_other = root(&other);
    let seen = company.ask(&as_other, "ListHandshakesForAccount", json!({})).await.unwrap();
    assert_eq!(seen["Handshakes"][0]["Id"], id);
    let accept = json!({"HandshakeId": id});
    assert_eq!(company.refused("AcceptHandshake", accept.clone()).await, "AccessDeniedException");
    company.ask(&as_other, "AcceptHandshake", accept.clone()).await.unwrap();
    assert!(company.ask(&as_other, "DescribeOrganization", json!({})).await.is_ok());
    let again = company.ask(&as_other, "AcceptHandshake", accept).await.unwrap_err();
    assert_eq!(again, "HandshakeAlreadyInStateException");
}

#[tokio::test]
async fn units_lie_in_one_another_and_go_when_they_are_empty() {
    let company = Company::new().await;
    let top = company.root_id().await;
    let mut parent = top.clone();
    for depth in 1..=5 {
        parent = company.unit(&parent, &format!("level {depth}")).await;
    }
    let deeper = json!({"ParentId": parent, "Name": "level 6"});
    assert_eq!(company.refused("CreateOrganizationalUnit", deeper).await, "ConstraintViolationException");
    let twice = json!({"ParentId": top, "Name": "level 1"});
    assert_eq!(
        company.refused("CreateOrganizationalUnit", twice).await,
        "DuplicateOrganizationalUnitException"
    );
    let children = json!({"ParentId": top, "ChildType": "ORGANIZATIONAL_UNIT"});
    let first = company.ok("ListChildren", children).await["Children"][0]["Id"].clone();
    let inhabited = json!({"OrganizationalUnitId": first});
    assert_eq!(
        company.refused("DeleteOrganizationalUnit", inhabited).await,
        "OrganizationalUnitNotEmptyException"
    );
    company.ok("DeleteOrganizationalUnit", json!({"OrganizationalUnitId": parent})).await;
    let parents = company.ok("ListParents", json!({"ChildId": first})).await;
    assert_eq!(parents["Parents"], json!([{"Id": top, "Type": "ROOT"}]));
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let company = Company::new().await;
    let top = company.root_id().await;
    for number in 0..25 {
        company.unit(&top, &format!("unit {number}")).await;
    }
    let first = company.ok("ListOrganizationalUnitsForParent", json!({"ParentId": top})).await;
    assert_eq!(first["OrganizationalUnits"].as_array().map(Vec::len), Some(20));
    let next = json!({"ParentId": top, "NextToken": first["NextToken"]});
    let rest = company.ok("ListOrganizationalUnitsForParent", next).await;
    assert_eq!(rest["OrganizationalUnits"].as_array().map(Vec::len), Some(5));
    assert_eq!(rest.get("NextToken"), None);
    let broken = json!({"ParentId": top, "NextToken": "?"});
    assert_eq!(company.refused("ListOrganizationalUnitsForParent", broken).await, "InvalidInputException");
}

#[tokio::test]
async fn calls_are_about_what_they_name() {
    let company = Company::new().await;
    let member = company.new_account("dev").await;
    let top = company.root_id().await;
    let unit = company.unit(&top, "sandbox").await;
    let denial =
        company.policy("no-s3", json!([{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}])).await;
    let organization = company.ok("DescribeOrganization", json!({})).await;
    let id = organization["Organization"]["Id"].as_str().unwrap().to_owned();
    let arn = |kind: &str, rest: &str| format!("arn:aws:organizations::{MANAGEMENT}:{kind}/{id}/{rest}");
    for (operation, params, expected) in [
        ("DescribeAccount", json!({"AccountId": member}), arn("account", member.as_str())),
        ("ListChildren", json!({"ParentId": top, "ChildType": "ACCOUNT"}), arn("root", &top)),
        ("DeleteOrganizationalUnit", json!({"OrganizationalUnitId": unit}), arn("ou", &unit)),
        (
            "AttachPolicy",
            json!({"PolicyId": denial, "TargetId": unit}),
            arn("policy", &format!("service_control_policy/{denial}")),
        ),
        ("ListAccounts", json!({}), "*".to_owned()),
    ] {
        let call = call("organizations", operation, params);
        let target = company.organizations.target(&root(&account(MANAGEMENT)), &call).await.unwrap();
        assert_eq!(target.resource_arn, expected, "{operation}");
    }
}
