//! Groups, and who is in them.

use cairn_core::AccountId;
use cairn_store::{CatalogError, Tx};
use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::Value;

use super::Iam;
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, must_first, not_an_action, over_quota};
use super::names::{check_name, check_path, root_path};
use super::page::{PageInput, page};
use super::show::{Detail, show};
use super::users::require_bare;
use crate::Caller;

/// How many groups a user is in at most.
pub(super) const GROUPS_PER_USER_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateGroup {
    path: Option<String>,
    group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetGroup {
    group_name: String,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateGroup {
    group_name: String,
    new_path: Option<String>,
    new_group_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteGroup {
    group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Membership {
    group_name: String,
    user_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListGroupsForUser {
    user_name: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn group_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "AddUserToGroup" => self.add_user_to_group(caller, call.input()?).await,
            "CreateGroup" => self.create_group(caller, call.input()?).await,
            "DeleteGroup" => self.delete_group(caller, call.input()?).await,
            "GetGroup" => self.get_group(caller, call.input()?).await,
            "ListGroups" => self.list_entities(Kind::Group, caller, call.input()?).await,
            "ListGroupsForUser" => self.list_groups_for_user(caller, call.input()?).await,
            "RemoveUserFromGroup" => self.remove_user_from_group(caller, call.input()?).await,
            "UpdateGroup" => {
                let input: UpdateGroup = call.input()?;
                let (name, path) = (input.new_group_name, input.new_path);
                self.rename_entity(Kind::Group, caller, input.group_name, name, path).await
            }
            other => Err(not_an_action(other)),
        }
    }

    async fn create_group(&self, caller: &Caller, input: CreateGroup) -> Result<Reply, Failure> {
        check_name("groupName", &input.group_name, Kind::Group.name_chars_max())?;
        let path = input.path.unwrap_or_else(root_path);
        check_path("path", &path)?;
        let entropy = self.entropy.as_ref();
        let group = Entity::new(Kind::Group, entropy, input.group_name, path, Vec::new(), caller.now);
        self.create_entity(Kind::Group, caller, group, None, |_, group| Ok(group)).await
    }

    async fn get_group(&self, caller: &Caller, input: GetGroup) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.group_name);
        let (group, users) = self
            .catalog
            .read(move |tx| {
                let group = entity::existing(tx, Kind::Group, &account, &name)?;
                let mut users = Vec::new();
                for user in entity::all(tx, Kind::User, &account)? {
                    if user.groups.contains(&group.id) {
                        let shown = show(tx, Kind::User, &account, &user, Detail::Listed)?;
                        users.push((user.name.to_lowercase(), shown));
                    }
                }
                Ok::<_, Failure>((show(tx, Kind::Group, &account, &group, Detail::Listed)?, users))
            })
            .await?;
        let mut reply = page("Users", users, &input.page)?;
        reply["Group"] = group;
        Ok(Reply::of(&reply))
    }

    async fn delete_group(&self, caller: &Caller, input: DeleteGroup) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.group_name);
        self.catalog
            .write(move |tx| {
                let group = entity::existing(tx, Kind::Group, &account, &name)?;
                let users = entity::all(tx, Kind::User, &account)?;
                if users.iter().any(|user| user.groups.contains(&group.id)) {
                    return Err(must_first("remove users from group"));
                }
                require_bare(&group)?;
                entity::delete(tx, Kind::Group, &account, &group.name)?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    /// Adding a user twice changes nothing.
    async fn add_user_to_group(&self, caller: &Caller, input: Membership) -> Result<Reply, Failure> {
        let (account, group) = (caller.account.clone(), input.group_name);
        self.change(Kind::User, &caller.account, &input.user_name, move |tx, user| {
            let group = entity::existing(tx, Kind::Group, &account, &group)?;
            if !user.groups.contains(&group.id) {
                if user.groups.len() >= GROUPS_PER_USER_MAX {
                    return Err(over_quota("GroupsPerUser", GROUPS_PER_USER_MAX));
                }
                user.groups.push(group.id);
            }
            Ok(Reply::empty())
        })
        .await
    }

    async fn remove_user_from_group(&self, caller: &Caller, input: Membership) -> Result<Reply, Failure> {
        let (account, group) = (caller.account.clone(), input.group_name);
        self.change(Kind::User, &caller.account, &input.user_name, move |tx, user| {
            let group = entity::existing(tx, Kind::Group, &account, &group)?;
            user.groups.retain(|id| *id != group.id);
            Ok(Reply::empty())
        })
        .await
    }

    async fn list_groups_for_user(
        &self,
        caller: &Caller,
        input: ListGroupsForUser,
    ) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.user_name);
        let items = self
            .catalog
            .read(move |tx| {
                let user = entity::existing(tx, Kind::User, &account, &name)?;
                let mut items: Vec<(String, Value)> = Vec::new();
                for group in groups_of(tx, &account, &user)? {
                    let shown = show(tx, Kind::Group, &account, &group, Detail::Listed)?;
                    items.push((group.name.to_lowercase(), shown));
                }
                Ok::<_, Failure>(items)
            })
            .await?;
        Ok(Reply::of(&page("Groups", items, &input.page)?))
    }
}

/// The groups that a user is in, by name.
pub(super) fn groups_of(
    tx: &mut dyn Tx,
    account: &AccountId,
    user: &Entity,
) -> Result<Vec<Entity>, CatalogError> {
    if user.groups.is_empty() {
        return Ok(Vec::new());
    }
    let groups = entity::all(tx, Kind::Group, account)?;
    Ok(groups.into_iter().filter(|group| user.groups.contains(&group.id)).collect())
}
