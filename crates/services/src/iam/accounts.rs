//! Accounts and their root: made by the program, not through the API.

use cairn_core::AccountId;
use cairn_store::{CatalogError, Sealer, Tx};
use cairn_wire::sigv4::Secret;

use super::Iam;
use super::keys::new_access_key;
use super::state::{ACCOUNTS, AccessKey, Account, Owner, account_key, keys_of, put_key};

/// An access key and its secret.
#[derive(Clone, Debug)]
pub struct AccessKeyPair {
    /// `AKIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret: Secret,
}

/// An account and the keys of its root.
#[derive(Clone, Debug)]
pub struct RootCredentials {
    /// The account.
    pub account: AccountId,
    /// The root's access key; none where its owner deleted or deactivated it.
    pub key: Option<AccessKeyPair>,
    /// Whether the account was made just now.
    pub is_new: bool,
}

impl Iam {
    /// The oldest account, or the one `wanted`; made, with an access key for its root, where it does not exist. An
    /// account's id is random where none is wanted.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn ensure_first_account(
        &self,
        wanted: Option<&AccountId>,
    ) -> Result<RootCredentials, CatalogError> {
        let wanted = wanted.cloned();
        let fallback = self.random_account_id();
        let (now, sealer) = (self.clock.now(), self.sealer.clone());
        let (key, _) = new_access_key(self.entropy.as_ref(), &sealer, &fallback, Owner::Root, now);
        self.catalog
            .write(move |tx| {
                let found = match &wanted {
                    Some(id) => ACCOUNTS.get(tx, account_key(id).bytes())?,
                    None => oldest(ACCOUNTS.scan_prefix(tx, &[])?.into_iter().map(|(_, account)| account)),
                };
                match found {
                    Some(account) => root_credentials(tx, &sealer, account.id, false),
                    None => {
                        let id = wanted.clone().unwrap_or_else(|| fallback.clone());
                        let account = Account { id: id.clone(), alias: None, created: key.created };
                        ACCOUNTS.put(tx, account_key(&id).bytes(), &account)?;
                        put_key(tx, &AccessKey { account: id.clone(), ..key.clone() })?;
                        root_credentials(tx, &sealer, id, true)
                    }
                }
            })
            .await
    }

    /// A further account, with an access key for its root, under a random id.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn create_account(&self) -> Result<AccountId, CatalogError> {
        loop {
            let id = self.random_account_id();
            if self.ensure_first_account(Some(&id)).await?.is_new {
                return Ok(id);
            }
        }
    }

    /// The keys of an account's root; none where there is no such account.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn root_credentials(
        &self,
        account: &AccountId,
    ) -> Result<Option<RootCredentials>, CatalogError> {
        let (account, sealer) = (account.clone(), self.sealer.clone());
        self.catalog
            .read(move |tx| match ACCOUNTS.get(tx, account_key(&account).bytes())? {
                None => Ok(None),
                Some(found) => root_credentials(tx, &sealer, found.id, false).map(Some),
            })
            .await
    }

    /// All accounts, the oldest first.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn accounts(&self) -> Result<Vec<AccountId>, CatalogError> {
        let found = self.catalog.read(|tx| ACCOUNTS.scan_prefix(tx, &[])).await?;
        let mut accounts: Vec<Account> = found.into_iter().map(|(_, account)| account).collect();
        accounts.sort_by_key(|account| account.created);
        Ok(accounts.into_iter().map(|account| account.id).collect())
    }

    /// Twelve digits, the first of which is not zero: spreadsheets and YAML lose leading zeros.
    fn random_account_id(&self) -> AccountId {
        let first = self.entropy.text(b"123456789", 1);
        let rest = self.entropy.text(b"0123456789", 11);
        format!("{first}{rest}").parse().expect("twelve digits are an account id")
    }
}

fn oldest(accounts: impl Iterator<Item = Account>) -> Option<Account> {
    accounts.min_by_key(|account| account.created)
}

fn root_credentials(
    tx: &mut dyn Tx,
    sealer: &Sealer,
    account: AccountId,
    is_new: bool,
) -> Result<RootCredentials, CatalogError> {
    let keys = keys_of(tx, &account, &Owner::Root)?;
    let pair = |key: AccessKey| {
        let secret = key.open_secret(sealer)?;
        Ok::<_, CatalogError>(AccessKeyPair { access_key_id: key.id, secret })
    };
    let key = keys.into_iter().find(|key| key.active).map(pair).transpose()?;
    Ok(RootCredentials { account, key, is_new })
}
