//! Users.

use cairn_core::AccountId;
use cairn_store::{CatalogError, Tx};
use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::json;

use super::Iam;
use super::attached::{clear_boundary, set_boundary};
use super::entity::{self, Entity, Kind};
use super::failure::{Failure, already_exists, must_first, no_such, not_an_action, over_quota};
use super::keys::named_or_caller;
use super::mfa;
use super::names::{check_name, check_path, root_path};
use super::page::{PageInput, page};
use super::password;
use super::show::{Detail, show};
use super::state::{ACCOUNTS, OWNED_KEYS, Owner, Tag, account_key, keys_of, owned_key_key, put_key};
use super::tags::check_tags;
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateUser {
    path: Option<String>,
    user_name: String,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetUser {
    user_name: Option<String>,
}

/// The input of every list of users, groups or roles.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListByPath {
    path_prefix: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateUser {
    user_name: String,
    new_path: Option<String>,
    new_user_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteUser {
    user_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListOfUser {
    user_name: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn user_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreateUser" => self.create_user(caller, call.input()?).await,
            "DeleteUser" => self.delete_user(caller, call.input()?).await,
            "GetUser" => self.get_user(caller, call.input()?).await,
            "ListServiceSpecificCredentials" => {
                self.none_of_user(caller, call.input()?, "ServiceSpecificCredentials").await
            }
            "ListSigningCertificates" => self.none_of_user(caller, call.input()?, "Certificates").await,
            "ListSSHPublicKeys" => self.none_of_user(caller, call.input()?, "SSHPublicKeys").await,
            "ListUsers" => self.list_entities(Kind::User, caller, call.input()?).await,
            "UpdateUser" => self.update_user(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_user(&self, caller: &Caller, input: CreateUser) -> Result<Reply, Failure> {
        check_name("userName", &input.user_name, Kind::User.name_chars_max())?;
        let path = input.path.unwrap_or_else(root_path);
        check_path("path", &path)?;
        check_tags(&input.tags, "User")?;
        let user =
            Entity::new(Kind::User, self.entropy.as_ref(), input.user_name, path, input.tags, caller.now);
        self.create_entity(Kind::User, caller, user, input.permissions_boundary, |_, user| Ok(user)).await
    }

    /// Stores a new entity, which `complete` finishes within the transaction, and shows it.
    pub(super) async fn create_entity(
        &self,
        kind: Kind,
        caller: &Caller,
        entity: Entity,
        boundary: Option<String>,
        mut complete: impl FnMut(&mut dyn Tx, Entity) -> Result<Entity, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let shown = self
            .catalog
            .write(move |tx| {
                if entity::is_taken(tx, kind, &account, &entity.name)? {
                    return Err(already_exists(&format!("{} with name {}", kind.title(), entity.name)));
                }
                if entity::count(tx, kind, &account)? >= kind.per_account_max() {
                    return Err(over_quota(&format!("{}sPerAccount", kind.title()), kind.per_account_max()));
                }
                let mut made = complete(tx, entity.clone())?;
                if let Some(arn) = &boundary {
                    set_boundary(tx, &account, &mut made, arn)?;
                }
                entity::put(tx, kind, &account, &made)?;
                show(tx, kind, &account, &made, Detail::Whole)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::of(&json!({ kind.title(): shown })))
    }

    async fn get_user(&self, caller: &Caller, input: GetUser) -> Result<Reply, Failure> {
        match named_or_caller(caller, input.user_name)? {
            Owner::User(name) => self.show_entity(Kind::User, caller, name).await,
            Owner::Root => self.get_root(caller.account.clone()).await,
        }
    }

    pub(super) async fn show_entity(
        &self,
        kind: Kind,
        caller: &Caller,
        name: String,
    ) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let read = self.catalog.read(move |tx| entity::existing(tx, kind, &account, &name));
        let mut found = read.await?;
        self.role_uses.complete(&mut found);
        let account = caller.account.clone();
        let shown = self.catalog.read(move |tx| show(tx, kind, &account, &found, Detail::Whole));
        Ok(Reply::of(&json!({ kind.title(): shown.await? })))
    }

    /// What GetUser says of root: it has neither name nor path.
    async fn get_root(&self, account: AccountId) -> Result<Reply, Failure> {
        let key = account_key(&account);
        let found = self.catalog.read(move |tx| ACCOUNTS.get(tx, key.bytes())).await?;
        let found = found.ok_or_else(|| no_such(format!("The account {account} cannot be found.")))?;
        let arn = format!("arn:aws:iam::{account}:root");
        Ok(Reply::of(
            &json!({"User": {"UserId": account, "Arn": arn, "CreateDate": found.created.seconds()}}),
        ))
    }

    pub(super) async fn list_entities(
        &self,
        kind: Kind,
        caller: &Caller,
        input: ListByPath,
    ) -> Result<Reply, Failure> {
        let prefix = input.path_prefix.unwrap_or_else(root_path);
        let account = caller.account.clone();
        let items = self
            .catalog
            .read(move |tx| {
                let mut items = Vec::new();
                for entity in entity::all(tx, kind, &account)? {
                    if entity.path.starts_with(&prefix) {
                        let shown = show(tx, kind, &account, &entity, Detail::Listed)?;
                        items.push((entity.name.to_lowercase(), shown));
                    }
                }
                Ok::<_, Failure>(items)
            })
            .await?;
        Ok(Reply::of(&page(&format!("{}s", kind.title()), items, &input.page)?))
    }

    async fn update_user(&self, caller: &Caller, input: UpdateUser) -> Result<Reply, Failure> {
        self.rename_entity(Kind::User, caller, input.user_name, input.new_user_name, input.new_path).await
    }

    /// Gives a user or group another name, another path, or both.
    pub(super) async fn rename_entity(
        &self,
        kind: Kind,
        caller: &Caller,
        name: String,
        new_name: Option<String>,
        new_path: Option<String>,
    ) -> Result<Reply, Failure> {
        if let Some(name) = &new_name {
            check_name(&format!("new{}Name", kind.title()), name, kind.name_chars_max())?;
        }
        if let Some(path) = &new_path {
            check_path("newPath", path)?;
        }
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut entity = entity::existing(tx, kind, &account, &name)?;
                if let Some(path) = &new_path {
                    entity.path.clone_from(path);
                }
                if let Some(new) = &new_name {
                    if new.to_lowercase() != name.to_lowercase() && entity::is_taken(tx, kind, &account, new)?
                    {
                        return Err(already_exists(&format!("{} with name {new}", kind.title())));
                    }
                    entity::delete(tx, kind, &account, &name)?;
                    entity.name.clone_from(new);
                    if kind == Kind::User {
                        hand_over_keys(tx, &account, &name, new)?;
                    }
                }
                Ok::<_, Failure>(entity::put(tx, kind, &account, &entity)?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    async fn delete_user(&self, caller: &Caller, input: DeleteUser) -> Result<Reply, Failure> {
        let (account, name) = (caller.account.clone(), input.user_name);
        self.catalog
            .write(move |tx| {
                let mut user = entity::existing(tx, Kind::User, &account, &name)?;
                if !keys_of(tx, &account, &Owner::User(user.name.clone()))?.is_empty() {
                    return Err(must_first("delete access keys"));
                }
                password::require_none(tx, &account, &user)?;
                mfa::require_none(tx, &account, &user)?;
                require_bare(&user)?;
                if !user.groups.is_empty() {
                    return Err(must_first("remove users from group"));
                }
                clear_boundary(tx, &account, &mut user)?;
                entity::delete(tx, Kind::User, &account, &user.name)?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    /// A list of something that Cairn's users cannot have, and that clients ask for before they delete one.
    async fn none_of_user(&self, caller: &Caller, input: ListOfUser, member: &str) -> Result<Reply, Failure> {
        if let Some(name) = &input.user_name {
            self.entity(Kind::User, &caller.account, name).await?;
        }
        Ok(Reply::of(&page(member, Vec::new(), &input.page)?))
    }
}

/// Refuses to delete an entity that still has policies.
pub(super) fn require_bare(entity: &Entity) -> Result<(), Failure> {
    if !entity.attached.is_empty() {
        return Err(must_first("detach all policies"));
    }
    if !entity.inline.is_empty() {
        return Err(must_first("delete policies"));
    }
    Ok(())
}

/// Gives the keys of a user their owner of the new name.
fn hand_over_keys(tx: &mut dyn Tx, account: &AccountId, old: &str, new: &str) -> Result<(), CatalogError> {
    let (old, new) = (Owner::User(old.to_owned()), Owner::User(new.to_owned()));
    for mut key in keys_of(tx, account, &old)? {
        OWNED_KEYS.delete(tx, owned_key_key(account, &old, &key.id).bytes())?;
        key.owner = new.clone();
        put_key(tx, &key)?;
    }
    Ok(())
}
