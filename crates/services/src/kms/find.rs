//! Which key a call means: by key id, key ARN, alias or alias ARN.

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::{CatalogError, Tx};

use super::error::{Failure, alias_not_found, fail, invalid_key_id, key_not_found};
use super::state::{ALIASES, KEYS, Key, KeyState, alias_arn, alias_row, key_arn, key_row};

/// A name of a key, with the account that it is looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyName {
    pub(super) region: Region,
    pub(super) account: AccountId,
    /// `alias/…`, or the key's id.
    pub(super) name: String,
}

impl KeyName {
    /// Reads a key's name as `account` gives it in `region`.
    pub(super) fn parse(given: &str, region: &Region, account: &AccountId) -> Result<Self, Failure> {
        let here =
            |name: &str| Self { region: region.clone(), account: account.clone(), name: name.to_owned() };
        let Some(rest) = given.strip_prefix("arn:") else {
            let plausible = !given.is_empty() && !given.contains(':');
            return if plausible { Ok(here(given)) } else { Err(invalid_key_id(given)) };
        };
        let invalid = || fail("InvalidArnException", format!("Invalid arn {given}"));
        let parts: Vec<&str> = rest.splitn(5, ':').collect();
        let [_, "kms", in_region, of_account, resource] = parts[..] else { return Err(invalid()) };
        if in_region != region.as_str() {
            return Err(fail("NotFoundException", format!("Invalid arn {in_region}")));
        }
        let account = of_account.parse().map_err(|_| invalid())?;
        let name = match resource.strip_prefix("key/") {
            Some(id) => id,
            None if resource.starts_with("alias/") => resource,
            None => return Err(invalid()),
        };
        Ok(Self { region: region.clone(), account, name: name.to_owned() })
    }

    /// The alias, where the name is one.
    pub(super) fn alias(&self) -> Option<&str> {
        self.name.starts_with("alias/").then_some(self.name.as_str())
    }

    /// The ARN that the name stands for.
    pub(super) fn arn(&self) -> String {
        match self.alias() {
            Some(alias) => alias_arn(&self.region, &self.account, alias),
            None => key_arn(&self.region, &self.account, &self.name),
        }
    }

    /// The key of that name, as of `now`.
    pub(super) fn find(&self, tx: &mut dyn Tx, now: Timestamp) -> Result<Key, Failure> {
        match self.look(tx, now)? {
            Some(key) => Ok(key),
            None if self.alias().is_some() => Err(alias_not_found(&self.arn())),
            None => Err(key_not_found(&self.arn())),
        }
    }

    /// The key of that name, where there is one.
    pub(super) fn look(&self, tx: &mut dyn Tx, now: Timestamp) -> Result<Option<Key>, CatalogError> {
        let id = match self.alias() {
            None => self.name.clone(),
            Some(alias) => match ALIASES.get(tx, alias_row(&self.region, &self.account, alias).bytes())? {
                Some(alias) => alias.key_id,
                None => return Ok(None),
            },
        };
        let found = KEYS.get(tx, key_row(&self.region, &self.account, &id).bytes())?;
        Ok(found.filter(|key| !is_deleted(key, now)))
    }
}

/// Whether the waiting time before a key's deletion is over.
pub(super) fn is_deleted(key: &Key, now: Timestamp) -> bool {
    matches!(key.state, KeyState::PendingDeletion { at, .. } if at <= now)
}

/// Refuses a key that cannot be used now.
pub(super) fn require_enabled(key: &Key) -> Result<(), Failure> {
    match key.state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(fail("DisabledException", format!("{} is disabled.", key.arn()))),
        KeyState::PendingDeletion { .. } => Err(pending_deletion(key)),
    }
}

/// Refuses a key that waits for its deletion.
pub(super) fn require_kept(key: &Key) -> Result<(), Failure> {
    match key.state {
        KeyState::PendingDeletion { .. } => Err(pending_deletion(key)),
        _ => Ok(()),
    }
}

/// Refuses what only a customer's own keys can do.
pub(super) fn require_customer(key: &Key) -> Result<(), Failure> {
    if key.aws_managed {
        let message = format!("{} is an AWS managed key: the operation is not allowed on it.", key.arn());
        return Err(fail("AccessDeniedException", message));
    }
    Ok(())
}

fn pending_deletion(key: &Key) -> Failure {
    fail("KMSInvalidStateException", format!("{} is pending deletion.", key.arn()))
}

#[cfg(test)]
mod tests {
    use cairn_wire::AwsError;

    use super::*;

    fn check(given: &str, expected: &str) {
        let (region, account) = ("eu-west-1".parse().unwrap(), "111122223333".parse().unwrap());
        let found = match KeyName::parse(given, &region, &account) {
            Ok(name) => name.arn(),
            Err(failure) => AwsError::from(failure).code.into_owned(),
        };
        assert_eq!(found, expected, "{given}");
    }

    #[test]
    fn a_key_is_named_by_id_alias_or_arn() {
        check("1234abcd", "arn:aws:kms:eu-west-1:111122223333:key/1234abcd");
        check("alias/a/b", "arn:aws:kms:eu-west-1:111122223333:alias/a/b");
        let foreign = "arn:aws:kms:eu-west-1:444455556666:key/1234abcd";
        check(foreign, foreign);
        check("arn:aws:kms:eu-west-1:444455556666:alias/a", "arn:aws:kms:eu-west-1:444455556666:alias/a");
        check("arn:aws:kms:us-east-1:111122223333:key/1234abcd", "NotFoundException");
        check("arn:aws:s3:::bucket", "InvalidArnException");
        check("arn:aws:kms:eu-west-1:111122223333:thing/1", "InvalidArnException");
        check("a:b", "NotFoundException");
    }
}
