//! Roles.

use cairn_core::{AccountId, Timestamp};
use cairn_store::CatalogError;
use cairn_wire::{Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Iam;
use super::attached::clear_boundary;
use super::document::{check_trust_policy, counted_chars};
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, invalid, not_an_action, over_quota};
use super::names::{check_name, check_path, root_path};
use super::page::{PageInput, page};
use super::show::{Detail, show};
use super::state::Tag;
use super::tags::check_tags;
use super::trust;
use super::users::require_bare;
use crate::Caller;

/// How long a session of a role may last where the role does not say, in seconds.
const SESSION_DURATION_DEFAULT_S: u32 = 3600;
/// The bounds of what a role may say.
const SESSION_DURATION_S: std::ops::RangeInclusive<u32> = 3600..=43_200;
/// The characters of a trust policy, without white space.
pub(super) const TRUST_CHARS_MAX: usize = 2048;

/// What roles have and users and groups have not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoleFacts {
    /// The trust policy, as it was given.
    pub(super) trust: String,
    /// The users and roles that the trust policy names: ARN and unique id at the time. Who is made later under the
    /// same name is not trusted.
    pub(super) trusted: Vec<(String, String)>,
    pub(super) description: Option<String>,
    pub(super) max_session_duration_s: u32,
    pub(super) last_used: Option<RoleUse>,
}

/// When and where a role was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoleUse {
    pub(super) at: Timestamp,
    pub(super) region: String,
}

/// A role, for STS.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its unique id: `AROA…`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// Its trust policy; users and roles in it are named by their unique ids.
    pub trust_policy: String,
    /// How long its sessions may last.
    pub max_session_duration_s: u32,
    /// The ARN of its permissions boundary.
    pub permissions_boundary: Option<String>,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateRole {
    path: Option<String>,
    role_name: String,
    assume_role_policy_document: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OneRole {
    role_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateRole {
    role_name: String,
    description: Option<String>,
    max_session_duration: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateTrust {
    role_name: String,
    policy_document: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListOfRole {
    role_name: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn role_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreateRole" => self.create_role(caller, call.input()?).await,
            "CreateServiceLinkedRole" => self.create_service_linked_role(caller, call.input()?).await,
            "DeleteRole" => self.delete_role(caller, call.input()?).await,
            "DeleteServiceLinkedRole" => self.delete_service_linked_role(caller, call.input()?).await,
            "GetRole" => {
                let input: OneRole = call.input()?;
                self.show_entity(Kind::Role, caller, input.role_name).await
            }
            "GetServiceLinkedRoleDeletionStatus" => self.deletion_status(caller, call.input()?).await,
            "ListInstanceProfilesForRole" => {
                let input: ListOfRole = call.input()?;
                self.entity(Kind::Role, &caller.account, &input.role_name).await?;
                Ok(Reply::of(&page("InstanceProfiles", Vec::new(), &input.page)?))
            }
            "ListRoles" => self.list_entities(Kind::Role, caller, call.input()?).await,
            "UpdateAssumeRolePolicy" => self.update_trust(caller, call.input()?).await,
            "UpdateRole" => self.update_role(caller, call.input()?).await.map(|_| Reply::empty()),
            "UpdateRoleDescription" => {
                let role = self.update_role(caller, call.input()?).await?;
                Ok(Reply::of(&json!({ "Role": role })))
            }
            other => Err(not_an_action(other)),
        }
    }

    async fn create_role(&self, caller: &Caller, input: CreateRole) -> Result<Reply, Failure> {
        check_name("roleName", &input.role_name, Kind::Role.name_chars_max())?;
        let path = input.path.unwrap_or_else(root_path);
        check_path("path", &path)?;
        check_tags(&input.tags, "Role")?;
        if path.starts_with("/aws-service-role/") {
            return Err(invalid("The path /aws-service-role/ is reserved for service-linked roles."));
        }
        let max_session_duration_s = input.max_session_duration.unwrap_or(SESSION_DURATION_DEFAULT_S);
        check_duration(max_session_duration_s)?;
        let document = check_trust(&input.assume_role_policy_document)?;
        let (trust, description) = (input.assume_role_policy_document, input.description);
        let entropy = self.entropy.as_ref();
        let role = Entity::new(Kind::Role, entropy, input.role_name, path, input.tags, caller.now);
        let complete = move |tx: &mut dyn cairn_store::Tx, mut role: Entity| {
            role.role = Some(RoleFacts {
                trust: trust.clone(),
                trusted: trust::bind(tx, &document)?,
                description: description.clone(),
                max_session_duration_s,
                last_used: None,
            });
            Ok(role)
        };
        self.create_entity(Kind::Role, caller, role, input.permissions_boundary, complete).await
    }

    async fn update_trust(&self, caller: &Caller, input: UpdateTrust) -> Result<Reply, Failure> {
        let document = check_trust(&input.policy_document)?;
        let text = input.policy_document;
        self.change(Kind::Role, &caller.account, &input.role_name, move |tx, role| {
            role.require_modifiable()?;
            let trusted = trust::bind(tx, &document)?;
            if let Some(facts) = &mut role.role {
                facts.trust.clone_from(&text);
                facts.trusted = trusted;
            }
            Ok(Reply::empty())
        })
        .await
    }

    async fn update_role(&self, caller: &Caller, input: UpdateRole) -> Result<serde_json::Value, Failure> {
        if let Some(duration_s) = input.max_session_duration {
            check_duration(duration_s)?;
        }
        let account = caller.account.clone();
        let (description, duration_s) = (input.description, input.max_session_duration);
        self.change(Kind::Role, &caller.account, &input.role_name, move |tx, role| {
            if let Some(facts) = &mut role.role {
                // What is not named stays, as with AWS, though its reference speaks of a default of one hour.
                if let Some(description) = &description {
                    facts.description = Some(description.clone()).filter(|text| !text.is_empty());
                }
                if let Some(duration_s) = duration_s {
                    facts.max_session_duration_s = duration_s;
                }
            }
            show(tx, Kind::Role, &account, role, Detail::Whole)
        })
        .await
    }

    async fn delete_role(&self, caller: &Caller, input: OneRole) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.role_name);
        self.catalog
            .write(move |tx| {
                let mut role = entity::existing(tx, Kind::Role, &account, &name)?;
                role.require_modifiable()?;
                require_bare(&role)?;
                clear_boundary(tx, &account, &mut role)?;
                entity::delete(tx, Kind::Role, &account, &role.name)?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    /// The role of an account, for STS; none where there is no such role.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn role(&self, account: &AccountId, name: &str) -> Result<Option<Role>, CatalogError> {
        let (of, name) = (account.clone(), name.to_owned());
        let found = self.catalog.read(move |tx| entity::find(tx, Kind::Role, &of, &name)).await?;
        Ok(found.and_then(|entity| {
            let arn = entity.arn(Kind::Role, account);
            let facts = entity.role?;
            Some(Role {
                id: entity.id,
                name: entity.name,
                path: entity.path,
                arn,
                trust_policy: trust::by_ids(&facts),
                max_session_duration_s: facts.max_session_duration_s,
                permissions_boundary: entity.boundary,
                tags: entity.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            })
        }))
    }
}

fn check_duration(duration_s: u32) -> Result<(), Failure> {
    if SESSION_DURATION_S.contains(&duration_s) {
        return Ok(());
    }
    Err(invalid(format!(
        "The requested MaxSessionDuration {duration_s} is not between {} and {} seconds.",
        SESSION_DURATION_S.start(),
        SESSION_DURATION_S.end()
    )))
}

fn check_trust(text: &str) -> Result<cairn_core::policy::Document, Failure> {
    let document = check_trust_policy(text)?;
    if counted_chars(text) > TRUST_CHARS_MAX {
        return Err(over_quota("ACLSizePerRole", TRUST_CHARS_MAX));
    }
    Ok(document)
}
