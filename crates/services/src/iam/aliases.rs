//! The account's alias. An account has at most one: a new one takes the place of the old.

use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::Value;

use super::Iam;
use super::failure::{Failure, already_exists, invalid, no_such, not_an_action};
use super::page::{PageInput, page};
use super::state::{ACCOUNTS, ALIASES, account_key, alias_key};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountAlias {
    account_alias: String,
}

impl Iam {
    pub(super) async fn account_operation(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        match call.operation.as_str() {
            "CreateAccountAlias" => self.create_account_alias(caller, call.input()?).await,
            "DeleteAccountAlias" => self.delete_account_alias(caller, call.input()?).await,
            "GetAccountAuthorizationDetails" => self.get_details(caller, call.input()?).await,
            "GetAccountSummary" => self.get_account_summary(caller).await,
            "ListAccountAliases" => self.list_account_aliases(caller, call.input()?).await,
            other => Err(not_an_action(other)),
        }
    }

    async fn create_account_alias(&self, caller: &Caller, input: AccountAlias) -> Result<Reply, Failure> {
        let alias = input.account_alias;
        check_alias(&alias)?;
        let of = caller.account.clone();
        self.catalog
            .write(move |tx| {
                if ALIASES.get(tx, alias_key(&alias).bytes())?.is_some() {
                    return Err(already_exists(&format!("The account alias {alias}")));
                }
                let key = account_key(&of);
                let found = ACCOUNTS.get(tx, key.bytes())?;
                let mut account =
                    found.ok_or_else(|| no_such(format!("The account {of} cannot be found.")))?;
                if let Some(old) = account.alias.replace(alias.clone()) {
                    ALIASES.delete(tx, alias_key(&old).bytes())?;
                }
                ALIASES.put(tx, alias_key(&alias).bytes(), &of)?;
                Ok::<_, Failure>(ACCOUNTS.put(tx, key.bytes(), &account)?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    async fn delete_account_alias(&self, caller: &Caller, input: AccountAlias) -> Result<Reply, Failure> {
        let alias = input.account_alias;
        let of = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let key = account_key(&of);
                let found = ACCOUNTS.get(tx, key.bytes())?;
                let Some(mut account) =
                    found.filter(|account| account.alias.as_deref() == Some(alias.as_str()))
                else {
                    return Err(no_such(format!("The account alias with name {alias} cannot be found.")));
                };
                account.alias = None;
                ALIASES.delete(tx, alias_key(&alias).bytes())?;
                Ok::<_, Failure>(ACCOUNTS.put(tx, key.bytes(), &account)?)
            })
            .await?;
        self.credentials.forget();
        Ok(Reply::empty())
    }

    async fn list_account_aliases(&self, caller: &Caller, input: PageInput) -> Result<Reply, Failure> {
        let key = account_key(&caller.account);
        let found = self.catalog.read(move |tx| ACCOUNTS.get(tx, key.bytes())).await?;
        let alias = found.and_then(|account| account.alias);
        let items = alias.into_iter().map(|alias| (alias.clone(), Value::String(alias)));
        Ok(Reply::of(&page("AccountAliases", items.collect(), &input)?))
    }
}

/// `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`, as in IAM's model.
fn check_alias(alias: &str) -> Result<(), Failure> {
    let valid = (3..=63).contains(&alias.len())
        && alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !alias.starts_with('-')
        && !alias.ends_with('-')
        && !alias.contains("--");
    if valid {
        return Ok(());
    }
    Err(invalid(
        "The specified value for accountAlias is invalid. It must contain only lowercase alphanumeric characters and hyphens.",
    ))
}
