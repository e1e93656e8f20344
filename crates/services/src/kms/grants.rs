//! Grants: what a principal may do with a key besides its policy. They work as soon as they are made, so their tokens
//! are checked for their form alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Principal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Kms;
use super::error::{Failure, dry_run, fail, validation};
use super::find::{KeyName, require_kept};
use super::keys::by_id;
use super::material::random;
use super::page::{PageInput, page};
use super::state::{
    Constraints, EncryptionContext, GRANTS, Grant, Key, grant_row, grants_row, key_arn, place_row,
};
use crate::Caller;

/// What a symmetric key's grant may allow.
const OPERATIONS: [&str; 10] = [
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
    "GenerateDataKeyPair",
];
/// Grants of one key.
const GRANTS_PER_KEY_MAX: usize = 50_000;
/// What a grant's token begins with, before base64.
const TOKEN_MARK: &str = "cairn-grant:";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateGrant {
    key_id: String,
    grantee_principal: String,
    retiring_principal: Option<String>,
    operations: Vec<String>,
    #[serde(default)]
    constraints: Constraints,
    name: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListGrants {
    key_id: String,
    grant_id: Option<String>,
    grantee_principal: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRetirable {
    retiring_principal: String,
    #[serde(flatten)]
    page: PageInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RevokeGrant {
    key_id: String,
    grant_id: String,
    #[serde(default)]
    dry_run: bool,
}

/// Which grant is to be retired: by token, or by key and id.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RetireGrant {
    pub(super) grant_token: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) grant_id: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

impl Kms {
    pub(super) async fn create_grant(&self, caller: &Caller, input: CreateGrant) -> Result<Value, Failure> {
        check_grant(&input)?;
        let new = Grant {
            id: hex::encode(random::<32>()),
            key_id: String::new(),
            name: input.name,
            created: caller.now,
            grantee: input.grantee_principal,
            retiring: input.retiring_principal,
            issuer: format!("arn:aws:iam::{}:root", caller.account),
            operations: input.operations,
            constraints: input.constraints,
        };
        if input.dry_run {
            require_kept(&self.key(caller, by_id(&input.key_id)?).await?)?;
            return Err(dry_run());
        }
        let (name, now) =
            (KeyName::parse(by_id(&input.key_id)?, &caller.region, &caller.account)?, caller.now);
        let (key, grant) = self
            .catalog
            .write(move |tx| {
                let key = name.find(tx, now)?;
                require_kept(&key)?;
                let grants = GRANTS.scan_prefix(tx, grants_row(&key).bytes())?;
                if let Some((_, same)) = grants.iter().find(|(_, grant)| is_same(grant, &new)) {
                    return Ok((key, same.clone()));
                }
                if grants.len() >= GRANTS_PER_KEY_MAX {
                    return Err(fail("LimitExceededException", "The key has too many grants."));
                }
                let grant = Grant { key_id: key.id.clone(), ..new.clone() };
                GRANTS.put(tx, grant_row(&key, &grant.id).bytes(), &grant)?;
                Ok::<_, Failure>((key, grant))
            })
            .await?;
        Ok(json!({"GrantId": grant.id, "GrantToken": token(&key, &grant)}))
    }

    pub(super) async fn list_grants(&self, caller: &Caller, input: ListGrants) -> Result<Value, Failure> {
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        let grants = self.grants_of(&key).await?;
        let wanted = grants.into_iter().filter(|grant| {
            input.grant_id.as_ref().is_none_or(|id| grant.id == *id)
                && input.grantee_principal.as_ref().is_none_or(|who| grant.grantee == *who)
        });
        page(
            "Grants",
            wanted.map(|grant| (grant.id.clone(), shown(&key.arn(), grant))).collect(),
            &input.page,
        )
    }

    pub(super) async fn list_retirable(
        &self,
        caller: &Caller,
        input: ListRetirable,
    ) -> Result<Value, Failure> {
        let prefix = place_row(&caller.region, &caller.account);
        let grants = self.catalog.read(move |tx| GRANTS.scan_prefix(tx, prefix.bytes())).await?;
        let wanted = grants.into_iter().map(|(_, grant)| grant);
        let wanted = wanted.filter(|grant| grant.retiring.as_ref() == Some(&input.retiring_principal));
        let shown = wanted.map(|grant| {
            (grant.id.clone(), shown(&key_arn(&caller.region, &caller.account, &grant.key_id), grant))
        });
        page("Grants", shown.collect(), &input.page)
    }

    pub(super) async fn revoke_grant(&self, caller: &Caller, input: RevokeGrant) -> Result<Value, Failure> {
        let key = self.key(caller, by_id(&input.key_id)?).await?;
        require_kept(&key)?;
        self.remove_grant(key, input.grant_id, input.dry_run).await
    }

    pub(super) async fn retire_grant(&self, caller: &Caller, input: RetireGrant) -> Result<Value, Failure> {
        let (key_id, grant_id) = input.names()?;
        let key = self.key(caller, by_id(&key_id)?).await?;
        self.remove_grant(key, grant_id, input.dry_run).await
    }

    async fn remove_grant(&self, key: Key, grant_id: String, is_dry: bool) -> Result<Value, Failure> {
        self.catalog
            .write(move |tx| {
                if !GRANTS.delete(tx, grant_row(&key, &grant_id).bytes())? {
                    let message = format!("Grant ID {grant_id} not found for key {}", key.arn());
                    return Err(fail("NotFoundException", message));
                }
                // An error leaves no trace of the transaction.
                if is_dry { Err(dry_run()) } else { Ok(()) }
            })
            .await?;
        Ok(json!({}))
    }

    /// All grants of a key.
    pub(super) async fn grants_of(&self, key: &Key) -> Result<Vec<Grant>, Failure> {
        let prefix = grants_row(key);
        let found = self.catalog.read(move |tx| GRANTS.scan_prefix(tx, prefix.bytes())).await?;
        Ok(found.into_iter().map(|(_, grant)| grant).collect())
    }
}

impl RetireGrant {
    /// The key and the grant that are meant.
    pub(super) fn names(&self) -> Result<(String, String), Failure> {
        match (&self.grant_token, &self.key_id, &self.grant_id) {
            (Some(token), None, None) => parse_token(token),
            (None, Some(key), Some(grant)) => Ok((key.clone(), grant.clone())),
            _ => {
                Err(validation("Either the grant token, or the key ID and the grant ID, must be specified."))
            }
        }
    }
}

fn token(key: &Key, grant: &Grant) -> String {
    STANDARD.encode(format!("{TOKEN_MARK}{} {}", key.arn(), grant.id))
}

/// The key and the grant that a token names.
pub(super) fn parse_token(token: &str) -> Result<(String, String), Failure> {
    let invalid = || fail("InvalidGrantTokenException", "");
    let text =
        STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    let (key, grant) =
        text.strip_prefix(TOKEN_MARK).and_then(|names| names.split_once(' ')).ok_or_else(invalid)?;
    Ok((key.to_owned(), grant.to_owned()))
}

fn check_grant(input: &CreateGrant) -> Result<(), Failure> {
    if let Some(other) = input.operations.iter().find(|name| !OPERATIONS.contains(&name.as_str())) {
        return Err(validation(format!(
            "The grant operation {other} is not valid for a SYMMETRIC_DEFAULT key"
        )));
    }
    if input.operations.is_empty() {
        return Err(validation("A grant allows at least one operation."));
    }
    let principals = [Some(&input.grantee_principal), input.retiring_principal.as_ref()];
    for principal in principals.into_iter().flatten() {
        let plausible = principal.starts_with("arn:aws:iam::")
            || principal.starts_with("arn:aws:sts::")
            || principal.ends_with(".amazonaws.com")
            || (principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit()));
        if !plausible {
            return Err(fail("InvalidArnException", format!("Invalid arn {principal}")));
        }
    }
    Ok(())
}

/// A call with a name that is repeated finds the grant that it made.
fn is_same(grant: &Grant, new: &Grant) -> bool {
    let facts = |grant: &Grant| {
        let operations = grant.operations.clone();
        (
            grant.name.clone(),
            grant.grantee.clone(),
            grant.retiring.clone(),
            operations,
            grant.constraints.clone(),
        )
    };
    new.name.is_some() && facts(grant) == facts(new)
}

/// Whether `grant` lets `principal` do `action` (`kms:Decrypt`) with this encryption context.
pub(super) fn allows(
    grant: &Grant,
    principal: &Principal,
    action: &str,
    context: &EncryptionContext,
) -> bool {
    let operation = action.strip_prefix("kms:").unwrap_or(action);
    let may_retire = operation == "RetireGrant" && is(grant.retiring.as_deref(), principal);
    let may_use =
        is(Some(&grant.grantee), principal) && grant.operations.iter().any(|name| name == operation);
    may_retire || (may_use && fits(&grant.constraints, operation, context))
}

fn fits(constraints: &Constraints, operation: &str, context: &EncryptionContext) -> bool {
    // Constraints bind operations that take an encryption context.
    if ["DescribeKey", "CreateGrant", "RetireGrant"].contains(&operation) {
        return true;
    }
    constraints.encryption_context_equals.as_ref().is_none_or(|equal| equal == context)
        && constraints
            .encryption_context_subset
            .as_ref()
            .is_none_or(|subset| subset.iter().all(|(name, value)| context.get(name) == Some(value)))
}

fn is(named: Option<&str>, principal: &Principal) -> bool {
    let Some(named) = named else { return false };
    match principal {
        Principal::Service { name } => name == named,
        _ => [principal.arn(), principal.role_arn()].into_iter().flatten().any(|arn| arn == named),
    }
}

fn shown(key_arn: &str, grant: Grant) -> Value {
    let mut shown = json!({
        "KeyId": key_arn,
        "GrantId": grant.id,
        "CreationDate": grant.created.seconds(),
        "GranteePrincipal": grant.grantee,
        "IssuingAccount": grant.issuer,
        "Operations": grant.operations,
        "Name": grant.name.unwrap_or_default(),
    });
    if let Some(retiring) = grant.retiring {
        shown["RetiringPrincipal"] = retiring.into();
    }
    if grant.constraints != Constraints::default() {
        shown["Constraints"] = json!(grant.constraints);
    }
    shown
}
