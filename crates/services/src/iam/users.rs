//! Users.

use cairn_core::{AccountId, Principal};
use cairn_store::Tx;
use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Iam;
use super::failure::{Failure, already_exists, invalid, no_such, over_quota};
use super::keys::new_user_id;
use super::page::{PageInput, page};
use super::state::{
    ACCOUNTS, OWNED_KEYS, Owner, Tag, USERS, User, account_key, existing_user, keys_of, owned_key_key,
    put_key, user_key,
};
use super::tags::check_tags;
use crate::Caller;

/// How many users an account has at most.
pub(super) const USERS_PER_ACCOUNT_MAX: usize = 5000;
/// The longest user name.
const USER_NAME_CHARS_MAX: usize = 64;
/// The longest path.
const PATH_CHARS_MAX: usize = 512;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateUser {
    path: Option<String>,
    user_name: String,
    permissions_boundary: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetUser {
    user_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUsers {
    path_prefix: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateUser {
    user_name: String,
    new_path: Option<String>,
    new_user_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteUser {
    user_name: String,
}

impl Iam {
    pub(super) async fn create_user(&self, caller: &Caller, input: CreateUser) -> Result<Reply, Failure> {
        check_user_name("userName", &input.user_name)?;
        let path = input.path.unwrap_or_else(|| "/".to_owned());
        check_path("path", &path)?;
        check_tags(&input.tags)?;
        if let Some(policy) = input.permissions_boundary {
            return Err(no_such(format!("Policy {policy} does not exist or is not attachable.")));
        }
        let user = User {
            id: new_user_id(self.entropy.as_ref()),
            name: input.user_name,
            path,
            created: caller.now,
            tags: input.tags,
        };
        let account = caller.account.clone();
        let made = user.clone();
        self.catalog
            .write(move |tx| {
                let key = user_key(&account, &user.name);
                if USERS.get(tx, key.bytes())?.is_some() {
                    return Err(already_exists(&format!("User with name {}", user.name)));
                }
                let of_account = account_key(&account);
                let users = USERS.count_prefix(tx, of_account.bytes(), USERS_PER_ACCOUNT_MAX)?;
                if users >= USERS_PER_ACCOUNT_MAX {
                    return Err(over_quota("UsersPerAccount", USERS_PER_ACCOUNT_MAX));
                }
                Ok::<_, Failure>(USERS.put(tx, key.bytes(), &user)?)
            })
            .await?;
        Ok(Reply::of(&json!({ "User": shown(&caller.account, &made, true) })))
    }

    pub(super) async fn get_user(&self, caller: &Caller, input: GetUser) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let name = match (input.user_name, &caller.principal) {
            (Some(name), _) => name,
            (None, Principal::IamUser { user_name, .. }) => user_name.clone(),
            (None, _) => return self.get_root(account).await,
        };
        let user = self.catalog.read(move |tx| existing_user(tx, &account, &name)).await?;
        Ok(Reply::of(&json!({ "User": shown(&caller.account, &user, true) })))
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

    pub(super) async fn list_users(&self, caller: &Caller, input: ListUsers) -> Result<Reply, Failure> {
        let prefix = input.path_prefix.unwrap_or_else(|| "/".to_owned());
        let of_account = account_key(&caller.account);
        let users = self.catalog.read(move |tx| USERS.scan_prefix(tx, of_account.bytes())).await?;
        let items = users
            .into_iter()
            .filter(|(_, user)| user.path.starts_with(&prefix))
            .map(|(_, user)| (user.name.to_lowercase(), shown(&caller.account, &user, false)));
        Ok(Reply::of(&page("Users", items.collect(), &input.page)?))
    }

    pub(super) async fn update_user(&self, caller: &Caller, input: UpdateUser) -> Result<Reply, Failure> {
        if let Some(name) = &input.new_user_name {
            check_user_name("newUserName", name)?;
        }
        if let Some(path) = &input.new_path {
            check_path("newPath", path)?;
        }
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut user = existing_user(tx, &account, &input.user_name)?;
                if let Some(path) = &input.new_path {
                    user.path.clone_from(path);
                }
                if let Some(name) = &input.new_user_name {
                    rename(tx, &account, &mut user, name)?;
                }
                Ok::<_, Failure>(USERS.put(tx, user_key(&account, &user.name).bytes(), &user)?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    pub(super) async fn delete_user(&self, caller: &Caller, input: DeleteUser) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let user = existing_user(tx, &account, &input.user_name)?;
                if !keys_of(tx, &account, &Owner::User(user.name.clone()))?.is_empty() {
                    return Err(conflict("Cannot delete entity, must delete access keys first."));
                }
                USERS.delete(tx, user_key(&account, &user.name).bytes())?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }
}

/// Gives the user another name, and its keys their owner of that name. The caller stores the user.
fn rename(tx: &mut dyn Tx, account: &AccountId, user: &mut User, name: &str) -> Result<(), Failure> {
    let (old_key, new_key) = (user_key(account, &user.name), user_key(account, name));
    if new_key != old_key && USERS.get(tx, new_key.bytes())?.is_some() {
        return Err(already_exists(&format!("User with name {name}")));
    }
    let (old, new) = (Owner::User(user.name.clone()), Owner::User(name.to_owned()));
    for mut key in keys_of(tx, account, &old)? {
        OWNED_KEYS.delete(tx, owned_key_key(account, &old, &key.id).bytes())?;
        key.owner = new.clone();
        put_key(tx, &key)?;
    }
    USERS.delete(tx, old_key.bytes())?;
    name.clone_into(&mut user.name);
    Ok(())
}

/// A user as replies show it, with its tags where the operation shows them and there are any.
fn shown(account: &AccountId, user: &User, with_tags: bool) -> Value {
    let mut shown = Map::new();
    shown.insert("Path".to_owned(), user.path.clone().into());
    shown.insert("UserName".to_owned(), user.name.clone().into());
    shown.insert("UserId".to_owned(), user.id.clone().into());
    shown.insert("Arn".to_owned(), format!("arn:aws:iam::{account}:user{}{}", user.path, user.name).into());
    shown.insert("CreateDate".to_owned(), user.created.seconds().into());
    if with_tags && !user.tags.is_empty() {
        shown.insert("Tags".to_owned(), json!(user.tags));
    }
    Value::Object(shown)
}

fn conflict(message: &str) -> Failure {
    cairn_wire::AwsError::with_status(409, "DeleteConflict", message).into()
}

/// The wire checks lengths and patterns from the model before; these say the same to every other caller.
fn check_user_name(member: &str, name: &str) -> Result<(), Failure> {
    let valid = (1..=USER_NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if valid {
        return Ok(());
    }
    Err(invalid(format!(
        "The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"
    )))
}

fn check_path(member: &str, path: &str) -> Result<(), Failure> {
    let valid = path == "/"
        || ((3..=PATH_CHARS_MAX).contains(&path.len())
            && path.starts_with('/')
            && path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    if valid {
        return Ok(());
    }
    Err(invalid(format!(
        "The specified value for {member} is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
    )))
}
