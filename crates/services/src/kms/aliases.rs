//! Aliases: other names of keys, unique in a region and account.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::{Failure, alias_not_found, fail};
use super::find::{KeyName, require_kept};
use super::page::{PageInput, page};
use super::state::{ALIASES, Alias, alias_arn, alias_row, place_row};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeAlias {
    alias_name: String,
    target_key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteAlias {
    alias_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListAliases {
    key_id: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

impl Kms {
    pub(super) async fn create_alias(&self, caller: &Caller, input: ChangeAlias) -> Result<Value, Failure> {
        let alias = check_alias(&input.alias_name)?.to_owned();
        let (target, now) = (own_key(caller, &input.target_key_id)?, caller.now);
        let row = alias_row(&caller.region, &caller.account, &alias);
        let arn = alias_arn(&caller.region, &caller.account, &alias);
        self.catalog
            .write(move |tx| {
                let key = target.find(tx, now)?;
                require_kept(&key)?;
                if ALIASES.get(tx, row.bytes())?.is_some() {
                    let message = format!("An alias with the name {arn} already exists");
                    return Err(fail("AlreadyExistsException", message));
                }
                let alias = Alias { name: alias.clone(), key_id: key.id, created: now, updated: now };
                Ok::<_, Failure>(ALIASES.put(tx, row.bytes(), &alias)?)
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn update_alias(&self, caller: &Caller, input: ChangeAlias) -> Result<Value, Failure> {
        let name = check_alias(&input.alias_name)?.to_owned();
        let (target, now) = (own_key(caller, &input.target_key_id)?, caller.now);
        let row = alias_row(&caller.region, &caller.account, &name);
        let arn = alias_arn(&caller.region, &caller.account, &name);
        self.catalog
            .write(move |tx| {
                let mut alias = ALIASES.get(tx, row.bytes())?.ok_or_else(|| alias_not_found(&arn))?;
                let key = target.find(tx, now)?;
                require_kept(&key)?;
                (alias.key_id, alias.updated) = (key.id, now);
                Ok::<_, Failure>(ALIASES.put(tx, row.bytes(), &alias)?)
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn delete_alias(&self, caller: &Caller, input: DeleteAlias) -> Result<Value, Failure> {
        let name = check_alias(&input.alias_name)?;
        let row = alias_row(&caller.region, &caller.account, name);
        let arn = alias_arn(&caller.region, &caller.account, name);
        self.catalog
            .write(
                move |tx| {
                    if ALIASES.delete(tx, row.bytes())? { Ok(()) } else { Err(alias_not_found(&arn)) }
                },
            )
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_aliases(&self, caller: &Caller, input: ListAliases) -> Result<Value, Failure> {
        let key = match &input.key_id {
            Some(given) => Some(self.key(caller, given).await?.id),
            None => None,
        };
        let prefix = place_row(&caller.region, &caller.account);
        let found = self.catalog.read(move |tx| ALIASES.scan_prefix(tx, prefix.bytes())).await?;
        let wanted =
            found.into_iter().filter(|(_, alias)| key.as_ref().is_none_or(|key| alias.key_id == *key));
        let shown = wanted.map(|(_, alias)| {
            let entry = json!({
                "AliasName": alias.name,
                "AliasArn": alias_arn(&caller.region, &caller.account, &alias.name),
                "TargetKeyId": alias.key_id,
                "CreationDate": alias.created.seconds(),
                "LastUpdatedDate": alias.updated.seconds(),
            });
            (alias.name, entry)
        });
        page("Aliases", shown.collect(), &input.page)
    }
}

/// An alias names a key of its own account and region, by id or ARN.
fn own_key(caller: &Caller, given: &str) -> Result<KeyName, Failure> {
    let name = KeyName::parse(super::keys::by_id(given)?, &caller.region, &caller.account)?;
    if name.account == caller.account { Ok(name) } else { Err(super::error::key_not_found(given)) }
}

/// `alias/` and letters, digits, `/`, `_` and `-`; what begins with `alias/aws/` is AWS's own.
fn check_alias(name: &str) -> Result<&str, Failure> {
    let Some(rest) = name.strip_prefix("alias/") else {
        let message = "Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
        return Err(fail("ValidationException", message));
    };
    if rest.starts_with("aws/") {
        return Err(fail("NotAuthorizedException", ""));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
    if rest.is_empty() || !rest.chars().all(allowed) {
        return Err(fail("InvalidAliasNameException", "Alias name contains invalid characters"));
    }
    Ok(name)
}
