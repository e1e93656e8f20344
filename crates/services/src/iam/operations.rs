//! Every operation of IAM: its record, which part of the service does it, and what it is about.
//!
//! Source of the resources: the service authorization reference's page on IAM.

use super::entity::Kind;
use crate::{Access, EventKind, Operation};

/// The part of the service that does an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Users,
    Groups,
    Roles,
    Keys,
    Account,
    Policies,
    Inline(Kind),
    Attached(Kind),
    Boundary(Kind),
    Tags(Tagged),
}

/// What has tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagged {
    Entity(Kind),
    Policy,
}

/// What an operation is about: the resource that policies are matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An entity that the call names; of users, the caller where it names none.
    Entity(Kind),
    /// An entity that is to be made, under the path that the call gives.
    New(Kind),
    /// Entities under a path.
    Listed(Kind),
    /// The user whose access key the call names.
    KeyOwner,
    /// The managed policy whose ARN the call gives.
    Policy,
    /// A managed policy that is to be made.
    NewPolicy,
    /// Managed policies under a path.
    ListedPolicies,
    /// A service-linked role.
    LinkedRole,
    /// Nothing in particular.
    Nothing,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) operation: Operation,
    pub(super) part: Part,
    pub(super) about: About,
}

/// The row of an operation.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.operation.name == name)
}

/// The operations alone.
pub(super) fn operations() -> &'static [Operation] {
    static ALL: std::sync::LazyLock<Vec<Operation>> =
        std::sync::LazyLock::new(|| ROWS.iter().map(|row| row.operation).collect());
    &ALL
}

const fn read(name: &'static str, part: Part, about: About) -> Row {
    new(name, Access::Read, part, about)
}

const fn write(name: &'static str, part: Part, about: About) -> Row {
    new(name, Access::Write, part, about)
}

const fn new(name: &'static str, access: Access, part: Part, about: About) -> Row {
    Row { operation: Operation { name, event_name: name, access, kind: EventKind::Management }, part, about }
}

use Kind::{Group, Role, User};
use Part::{Account, Attached, Boundary, Groups, Inline, Keys, Policies, Roles, Tags, Users};

const USER: About = About::Entity(User);
const GROUP: About = About::Entity(Group);
const ROLE: About = About::Entity(Role);

const ROWS: &[Row] = &[
    write("AddUserToGroup", Groups, GROUP),
    write("AttachGroupPolicy", Attached(Group), GROUP),
    write("AttachRolePolicy", Attached(Role), ROLE),
    write("AttachUserPolicy", Attached(User), USER),
    write("CreateAccessKey", Keys, USER),
    write("CreateAccountAlias", Account, About::Nothing),
    write("CreateGroup", Groups, About::New(Group)),
    write("CreatePolicy", Policies, About::NewPolicy),
    write("CreatePolicyVersion", Policies, About::Policy),
    write("CreateRole", Roles, About::New(Role)),
    write("CreateServiceLinkedRole", Roles, About::LinkedRole),
    write("CreateUser", Users, About::New(User)),
    write("DeleteAccessKey", Keys, USER),
    write("DeleteAccountAlias", Account, About::Nothing),
    write("DeleteGroup", Groups, GROUP),
    write("DeleteGroupPolicy", Inline(Group), GROUP),
    write("DeletePolicy", Policies, About::Policy),
    write("DeletePolicyVersion", Policies, About::Policy),
    write("DeleteRole", Roles, ROLE),
    write("DeleteRolePermissionsBoundary", Boundary(Role), ROLE),
    write("DeleteRolePolicy", Inline(Role), ROLE),
    write("DeleteServiceLinkedRole", Roles, ROLE),
    write("DeleteUser", Users, USER),
    write("DeleteUserPermissionsBoundary", Boundary(User), USER),
    write("DeleteUserPolicy", Inline(User), USER),
    write("DetachGroupPolicy", Attached(Group), GROUP),
    write("DetachRolePolicy", Attached(Role), ROLE),
    write("DetachUserPolicy", Attached(User), USER),
    read("GetAccessKeyLastUsed", Keys, About::KeyOwner),
    read("GetAccountSummary", Account, About::Nothing),
    read("GetGroup", Groups, GROUP),
    read("GetGroupPolicy", Inline(Group), GROUP),
    read("GetPolicy", Policies, About::Policy),
    read("GetPolicyVersion", Policies, About::Policy),
    read("GetRole", Roles, ROLE),
    read("GetRolePolicy", Inline(Role), ROLE),
    read("GetServiceLinkedRoleDeletionStatus", Roles, About::LinkedRole),
    read("GetUser", Users, USER),
    read("GetUserPolicy", Inline(User), USER),
    read("ListAccessKeys", Keys, USER),
    read("ListAccountAliases", Account, About::Nothing),
    read("ListAttachedGroupPolicies", Attached(Group), GROUP),
    read("ListAttachedRolePolicies", Attached(Role), ROLE),
    read("ListAttachedUserPolicies", Attached(User), USER),
    read("ListEntitiesForPolicy", Policies, About::Policy),
    read("ListGroupPolicies", Inline(Group), GROUP),
    read("ListGroups", Groups, About::Listed(Group)),
    read("ListGroupsForUser", Groups, USER),
    read("ListInstanceProfilesForRole", Roles, ROLE),
    read("ListPolicies", Policies, About::ListedPolicies),
    read("ListPolicyTags", Tags(Tagged::Policy), About::Policy),
    read("ListPolicyVersions", Policies, About::Policy),
    read("ListRolePolicies", Inline(Role), ROLE),
    read("ListRoleTags", Tags(Tagged::Entity(Role)), ROLE),
    read("ListRoles", Roles, About::Listed(Role)),
    read("ListServiceSpecificCredentials", Users, USER),
    read("ListSigningCertificates", Users, USER),
    read("ListSSHPublicKeys", Users, USER),
    read("ListUserPolicies", Inline(User), USER),
    read("ListUserTags", Tags(Tagged::Entity(User)), USER),
    read("ListUsers", Users, About::Listed(User)),
    write("PutGroupPolicy", Inline(Group), GROUP),
    write("PutRolePermissionsBoundary", Boundary(Role), ROLE),
    write("PutRolePolicy", Inline(Role), ROLE),
    write("PutUserPermissionsBoundary", Boundary(User), USER),
    write("PutUserPolicy", Inline(User), USER),
    write("RemoveUserFromGroup", Groups, GROUP),
    write("SetDefaultPolicyVersion", Policies, About::Policy),
    write("TagPolicy", Tags(Tagged::Policy), About::Policy),
    write("TagRole", Tags(Tagged::Entity(Role)), ROLE),
    write("TagUser", Tags(Tagged::Entity(User)), USER),
    write("UntagPolicy", Tags(Tagged::Policy), About::Policy),
    write("UntagRole", Tags(Tagged::Entity(Role)), ROLE),
    write("UntagUser", Tags(Tagged::Entity(User)), USER),
    write("UpdateAccessKey", Keys, USER),
    write("UpdateAssumeRolePolicy", Roles, ROLE),
    write("UpdateGroup", Groups, GROUP),
    write("UpdateRole", Roles, ROLE),
    write("UpdateRoleDescription", Roles, ROLE),
    write("UpdateUser", Users, USER),
];
