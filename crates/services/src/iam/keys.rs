//! Access keys of users and of root.

use cairn_core::{AccountId, Entropy, Principal, Timestamp};
use cairn_store::{Sealer, Tx};
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Iam;
use super::entity::{self, Kind};
use super::failure::{Failure, invalid, invalid_input, no_such, not_an_action, over_quota};
use super::page::{PageInput, page};
use super::secrets::KeptSecret;
use super::state::{
    AccessKey, KEYS, KeyUse, OWNED_KEYS, Owner, access_key_key, keys_of, owned_key_key, put_key,
};
use crate::Caller;

/// How many access keys a user, or root, has at most.
pub(super) const ACCESS_KEYS_PER_USER_MAX: usize = 2;

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Characters of an access key id after `AKIA`.
const ID_CHARS: usize = 16;
/// Characters of a secret access key: 240 bits.
const SECRET_CHARS: usize = 40;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateAccessKey {
    user_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListAccessKeys {
    user_name: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAccessKey {
    user_name: Option<String>,
    access_key_id: String,
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteAccessKey {
    user_name: Option<String>,
    access_key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetAccessKeyLastUsed {
    access_key_id: String,
}

/// A new active key, and its secret in clear.
pub(super) fn new_access_key(
    entropy: &dyn Entropy,
    sealer: &Sealer,
    account: &AccountId,
    owner: Owner,
    created: Timestamp,
) -> (AccessKey, String) {
    let id = format!("AKIA{}", entropy.text(ID_ALPHABET, ID_CHARS));
    let clear = entropy.text(SECRET_ALPHABET, SECRET_CHARS);
    let secret = KeptSecret::seal(sealer, &id, &clear);
    (AccessKey { id, account: account.clone(), owner, secret, active: true, created, last_use: None }, clear)
}

impl Iam {
    pub(super) async fn key_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreateAccessKey" => self.create_access_key(caller, call.input()?).await,
            "DeleteAccessKey" => self.delete_access_key(caller, call.input()?).await,
            "GetAccessKeyLastUsed" => self.get_access_key_last_used(caller, call.input()?).await,
            "ListAccessKeys" => self.list_access_keys(caller, call.input()?).await,
            "UpdateAccessKey" => self.update_access_key(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_access_key(&self, caller: &Caller, input: CreateAccessKey) -> Result<Reply, Failure> {
        let owner = named_or_caller(caller, input.user_name)?;
        let (key, secret) =
            new_access_key(self.entropy.as_ref(), &self.sealer, &caller.account, owner, caller.now);
        let made = key.clone();
        self.catalog
            .write(move |tx| {
                require_owner(tx, &key.account, &key.owner)?;
                if keys_of(tx, &key.account, &key.owner)?.len() >= ACCESS_KEYS_PER_USER_MAX {
                    return Err(over_quota("AccessKeysPerUser", ACCESS_KEYS_PER_USER_MAX));
                }
                Ok::<_, Failure>(put_key(tx, &key)?)
            })
            .await?;
        self.credentials.forget();
        let mut shown = Map::new();
        show_user_name(&mut shown, &made.owner);
        shown.insert("AccessKeyId".to_owned(), made.id.into());
        shown.insert("Status".to_owned(), status(made.active).into());
        shown.insert("SecretAccessKey".to_owned(), secret.into());
        shown.insert("CreateDate".to_owned(), made.created.seconds().into());
        Ok(Reply::of(&json!({ "AccessKey": shown })))
    }

    async fn list_access_keys(&self, caller: &Caller, input: ListAccessKeys) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let owner = named_or_caller(caller, input.user_name)?;
        let keys = self
            .catalog
            .read(move |tx| {
                require_owner(tx, &account, &owner)?;
                Ok::<_, Failure>(keys_of(tx, &account, &owner)?)
            })
            .await?;
        let items = keys.into_iter().map(|key| {
            let mut shown = Map::new();
            show_user_name(&mut shown, &key.owner);
            shown.insert("AccessKeyId".to_owned(), key.id.clone().into());
            shown.insert("Status".to_owned(), status(key.active).into());
            shown.insert("CreateDate".to_owned(), key.created.seconds().into());
            (key.id, Value::Object(shown))
        });
        Ok(Reply::of(&page("AccessKeyMetadata", items.collect(), &input.page)?))
    }

    async fn update_access_key(&self, caller: &Caller, input: UpdateAccessKey) -> Result<Reply, Failure> {
        let active = match input.status.as_str() {
            "Active" => true,
            "Inactive" => false,
            other => return Err(invalid_input(format!("The status {other} cannot be set."))),
        };
        let account = caller.account.clone();
        let owner = named_or_caller(caller, input.user_name)?;
        self.catalog
            .write(move |tx| {
                let mut key = existing_key(tx, &account, &owner, &input.access_key_id)?;
                key.active = active;
                Ok::<_, Failure>(put_key(tx, &key)?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    async fn delete_access_key(&self, caller: &Caller, input: DeleteAccessKey) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let owner = named_or_caller(caller, input.user_name)?;
        self.catalog
            .write(move |tx| {
                let key = existing_key(tx, &account, &owner, &input.access_key_id)?;
                KEYS.delete(tx, access_key_key(&key.id).bytes())?;
                OWNED_KEYS.delete(tx, owned_key_key(&account, &owner, &key.id).bytes())?;
                Ok::<_, Failure>(())
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    /// A key of nobody, or of another account, is refused and not "not found": AWS does not tell the two apart.
    async fn get_access_key_last_used(
        &self,
        caller: &Caller,
        input: GetAccessKeyLastUsed,
    ) -> Result<Reply, Failure> {
        let id = input.access_key_id;
        let wanted = access_key_key(&id);
        let found = self.catalog.read(move |tx| KEYS.get(tx, wanted.bytes())).await?;
        let Some(key) = found.filter(|key| key.account == caller.account) else {
            let arn = caller.principal.arn().unwrap_or_default();
            let message = format!(
                "User: {arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key {id}"
            );
            return Err(AwsError::with_status(403, "AccessDenied", message).into());
        };
        let last_use = self.credentials.noted_use(&id).or(key.last_use);
        let mut shown = Map::new();
        show_user_name(&mut shown, &key.owner);
        shown.insert("AccessKeyLastUsed".to_owned(), last_use.map_or_else(never_used, show_use));
        Ok(Reply::of(&shown))
    }
}

/// Whom a call is about: the user that it names, or whoever calls.
pub(super) fn named_or_caller(caller: &Caller, user_name: Option<String>) -> Result<Owner, Failure> {
    match (user_name, &caller.principal) {
        (Some(name), _) => Ok(Owner::User(name)),
        (None, Principal::IamUser { user_name, .. }) => Ok(Owner::User(user_name.clone())),
        (None, Principal::Root { .. }) => Ok(Owner::Root),
        (None, _) => Err(invalid("Must specify userName when calling with non-User credentials")),
    }
}

fn show_user_name(shown: &mut Map<String, Value>, owner: &Owner) {
    if let Some(name) = owner.user_name() {
        shown.insert("UserName".to_owned(), name.into());
    }
}

fn show_use(last: KeyUse) -> Value {
    json!({"LastUsedDate": last.at.seconds(), "ServiceName": last.service, "Region": last.region})
}

fn never_used() -> Value {
    json!({"ServiceName": "N/A", "Region": "N/A"})
}

fn status(active: bool) -> &'static str {
    if active { "Active" } else { "Inactive" }
}

fn require_owner(tx: &mut dyn Tx, account: &AccountId, owner: &Owner) -> Result<(), Failure> {
    match owner {
        Owner::Root => Ok(()),
        Owner::User(name) => entity::existing(tx, Kind::User, account, name).map(|_| ()),
    }
}

fn existing_key(tx: &mut dyn Tx, account: &AccountId, owner: &Owner, id: &str) -> Result<AccessKey, Failure> {
    require_owner(tx, account, owner)?;
    let found = KEYS.get(tx, access_key_key(id).bytes())?;
    found
        .filter(|key| key.account == *account && key.owner == *owner)
        .ok_or_else(|| no_such(format!("The Access Key with id {id} cannot be found.")))
}
