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
    Mfa,
    Oidc,
    Passwords,
    Report,
    Simulator,
}

/// What has tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tagged {
    Entity(Kind),
    Policy,
    Mfa,
    Oidc,
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
    /// The MFA device whose serial number the call gives.
    Mfa,
    /// An MFA device that is to be made.
    NewMfa,
    /// The identity provider whose ARN the call gives.
    Oidc,
    /// An identity provider that is to be made.
    NewOidc,
    /// The user, group or role whose ARN the call gives.
    Principal,
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
use Part::{
    Account, Attached, Boundary, Groups, Inline, Keys, Mfa, Oidc, Passwords, Policies, Report, Roles,
    Simulator, Tags, Users,
};

const USER: About = About::Entity(User);
const GROUP: About = About::Entity(Group);
const ROLE: About = About::Entity(Role);

const ROWS: &[Row] = &[
    write("AddClientIDToOpenIDConnectProvider", Oidc, About::Oidc),
    write("AddUserToGroup", Groups, GROUP),
    write("AttachGroupPolicy", Attached(Group), GROUP),
    write("AttachRolePolicy", Attached(Role), ROLE),
    write("AttachUserPolicy", Attached(User), USER),
    write("ChangePassword", Passwords, USER),
    write("CreateAccessKey", Keys, USER),
    write("CreateAccountAlias", Account, About::Nothing),
    write("CreateGroup", Groups, About::New(Group)),
    write("CreateLoginProfile", Passwords, USER),
    write("CreateOpenIDConnectProvider", Oidc, About::NewOidc),
    write("CreatePolicy", Policies, About::NewPolicy),
    write("CreatePolicyVersion", Policies, About::Policy),
    write("CreateRole", Roles, About::New(Role)),
    write("CreateServiceLinkedRole", Roles, About::LinkedRole),
    write("CreateUser", Users, About::New(User)),
    write("CreateVirtualMFADevice", Mfa, About::NewMfa),
    write("DeactivateMFADevice", Mfa, USER),
    write("DeleteAccessKey", Keys, USER),
    write("DeleteAccountAlias", Account, About::Nothing),
    write("DeleteAccountPasswordPolicy", Passwords, About::Nothing),
    write("DeleteGroup", Groups, GROUP),
    write("DeleteGroupPolicy", Inline(Group), GROUP),
    write("DeleteLoginProfile", Passwords, USER),
    write("DeleteOpenIDConnectProvider", Oidc, About::Oidc),
    write("DeletePolicy", Policies, About::Policy),
    write("DeletePolicyVersion", Policies, About::Policy),
    write("DeleteRole", Roles, ROLE),
    write("DeleteRolePermissionsBoundary", Boundary(Role), ROLE),
    write("DeleteRolePolicy", Inline(Role), ROLE),
    write("DeleteServiceLinkedRole", Roles, ROLE),
    write("DeleteUser", Users, USER),
    write("DeleteUserPermissionsBoundary", Boundary(User), USER),
    write("DeleteUserPolicy", Inline(User), USER),
    write("DeleteVirtualMFADevice", Mfa, About::Mfa),
    write("DetachGroupPolicy", Attached(Group), GROUP),
    write("DetachRolePolicy", Attached(Role), ROLE),
    write("DetachUserPolicy", Attached(User), USER),
    write("EnableMFADevice", Mfa, USER),
    read("GenerateCredentialReport", Report, About::Nothing),
    read("GetAccessKeyLastUsed", Keys, About::KeyOwner),
    read("GetAccountAuthorizationDetails", Account, About::Nothing),
    read("GetAccountPasswordPolicy", Passwords, About::Nothing),
    read("GetAccountSummary", Account, About::Nothing),
    read("GetContextKeysForCustomPolicy", Simulator, About::Nothing),
    read("GetContextKeysForPrincipalPolicy", Simulator, About::Principal),
    read("GetCredentialReport", Report, About::Nothing),
    read("GetGroup", Groups, GROUP),
    read("GetGroupPolicy", Inline(Group), GROUP),
    read("GetLoginProfile", Passwords, USER),
    read("GetMFADevice", Mfa, USER),
    read("GetOpenIDConnectProvider", Oidc, About::Oidc),
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
    read("ListMFADeviceTags", Tags(Tagged::Mfa), About::Mfa),
    read("ListMFADevices", Mfa, USER),
    read("ListOpenIDConnectProviderTags", Tags(Tagged::Oidc), About::Oidc),
    read("ListOpenIDConnectProviders", Oidc, About::Nothing),
    read("ListPolicies", Policies, About::ListedPolicies),
    read("ListPolicyTags", Tags(Tagged::Policy), About::Policy),
    read("ListPolicyVersions", Policies, About::Policy),
    read("ListRolePolicies", Inline(Role), ROLE),
    read("ListRoleTags", Tags(Tagged::Entity(Role)), ROLE),
    read("ListRoles", Roles, About::Listed(Role)),
    read("ListSSHPublicKeys", Users, USER),
    read("ListServiceSpecificCredentials", Users, USER),
    read("ListSigningCertificates", Users, USER),
    read("ListUserPolicies", Inline(User), USER),
    read("ListUserTags", Tags(Tagged::Entity(User)), USER),
    read("ListUsers", Users, About::Listed(User)),
    read("ListVirtualMFADevices", Mfa, About::Nothing),
    write("PutGroupPolicy", Inline(Group), GROUP),
    write("PutRolePermissionsBoundary", Boundary(Role), ROLE),
    write("PutRolePolicy", Inline(Role), ROLE),
    write("PutUserPermissionsBoundary", Boundary(User), USER),
    write("PutUserPolicy", Inline(User), USER),
    write("RemoveClientIDFromOpenIDConnectProvider", Oidc, About::Oidc),
    write("RemoveUserFromGroup", Groups, GROUP),
    write("ResyncMFADevice", Mfa, USER),
    write("SetDefaultPolicyVersion", Policies, About::Policy),
    read("SimulateCustomPolicy", Simulator, About::Nothing),
    read("SimulatePrincipalPolicy", Simulator, About::Principal),
    write("TagMFADevice", Tags(Tagged::Mfa), About::Mfa),
    write("TagOpenIDConnectProvider", Tags(Tagged::Oidc), About::Oidc),
    write("TagPolicy", Tags(Tagged::Policy), About::Policy),
    write("TagRole", Tags(Tagged::Entity(Role)), ROLE),
    write("TagUser", Tags(Tagged::Entity(User)), USER),
    write("UntagMFADevice", Tags(Tagged::Mfa), About::Mfa),
    write("UntagOpenIDConnectProvider", Tags(Tagged::Oidc), About::Oidc),
    write("UntagPolicy", Tags(Tagged::Policy), About::Policy),
    write("UntagRole", Tags(Tagged::Entity(Role)), ROLE),
    write("UntagUser", Tags(Tagged::Entity(User)), USER),
    write("UpdateAccessKey", Keys, USER),
    write("UpdateAccountPasswordPolicy", Passwords, About::Nothing),
    write("UpdateAssumeRolePolicy", Roles, ROLE),
    write("UpdateGroup", Groups, GROUP),
    write("UpdateLoginProfile", Passwords, USER),
    write("UpdateOpenIDConnectProviderThumbprint", Oidc, About::Oidc),
    write("UpdateRole", Roles, ROLE),
    write("UpdateRoleDescription", Roles, ROLE),
    write("UpdateUser", Users, USER),
];
