//! Resource policies: which services, and whom else, an account lets write to its log groups.
//!
//! An account's policies of a region count together, as one document. A policy of a single group's names that group in
//! its statements, so it counts with the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_core::policy::Document;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::{CatalogError, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, internal, invalid, limit_exceeded, not_found};
use super::page::{PAGE_ITEMS, after, page};
use crate::Caller;

/// Policies by region, account, and name or group's ARN.
const POLICIES: Table<Policy> = Table::new("logs.resource_policy", 1);

/// Policies of an account in a region.
const ACCOUNT_POLICIES_MAX: usize = 10;
/// Accounts and regions whose policies are kept for use again.
const KEPT_MAX: usize = 10_000;

/// A resource policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Policy {
    /// Its name: none of a single group's.
    name: Option<String>,
    /// The group that it is attached to; none of an account's.
    resource_arn: Option<String>,
    document: String,
    updated: Timestamp,
    /// Which writing this is, of a single group's.
    #[serde(default)]
    revision: u64,
}

impl Policy {
    fn key(&self) -> &str {
        self.name.as_deref().or(self.resource_arn.as_deref()).unwrap_or_default()
    }

    fn shown(&self) -> Value {
        let mut shown = json!({
            "policyDocument": self.document,
            "lastUpdatedTime": self.updated.millis(),
            "policyScope": if self.resource_arn.is_some() { "RESOURCE" } else { "ACCOUNT" },
        });
        if let Some(name) = &self.name {
            shown["policyName"] = name.as_str().into();
        }
        if let Some(arn) = &self.resource_arn {
            shown["resourceArn"] = arn.as_str().into();
            shown["revisionId"] = self.revision.to_string().into();
        }
        shown
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutPolicy {
    policy_name: Option<String>,
    policy_document: Option<String>,
    resource_arn: Option<String>,
    expected_revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletePolicy {
    policy_name: Option<String>,
    resource_arn: Option<String>,
    expected_revision_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribePolicies {
    next_token: Option<String>,
    limit: Option<usize>,
    resource_arn: Option<String>,
    policy_scope: Option<String>,
}

/// The policies of accounts in regions, each as one document; read once, kept until one of them changes.
#[derive(Default)]
pub(super) struct Together(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    documents: HashMap<(Region, AccountId), Option<Arc<str>>>,
    changes: u64,
}

impl Together {
    fn forget(&self, place: &(Region, AccountId)) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.changes += 1;
        kept.documents.remove(place);
    }
}

impl Logs {
    pub(super) async fn put_policy(&self, caller: &Caller, input: PutPolicy) -> Result<Value, Failure> {
        let document = input.policy_document.ok_or_else(|| invalid("policyDocument is required."))?;
        if let Err(problem) = Document::parse(&document) {
            return Err(invalid(format!("Error in policy document: {problem}")));
        }
        let mut policy = Policy {
            name: input.policy_name.filter(|_| input.resource_arn.is_none()),
            resource_arn: input.resource_arn,
            document,
            updated: caller.now,
            revision: 1,
        };
        match &policy.resource_arn {
            Some(arn) => drop(self.group(&own_group(caller, arn)?).await?),
            None if policy.name.is_none() => return Err(invalid("policyName is required.")),
            None => {}
        }
        let place = GroupName::place(&caller.region, &caller.account);
        let expected = input.expected_revision_id;
        let written = self
            .catalog
            .write(move |tx| {
                let row = place.clone().text(policy.key());
                let known = POLICIES.get(tx, row.bytes())?;
                check_revision(known.as_ref(), expected.as_deref())?;
                if let Some(known) = &known {
                    policy.revision = known.revision + 1;
                } else if policy.resource_arn.is_none() {
                    let rows = POLICIES.scan_prefix(tx, place.bytes())?;
                    let of_account = rows.iter().filter(|(_, other)| other.resource_arn.is_none()).count();
                    if of_account >= ACCOUNT_POLICIES_MAX {
                        return Err(limit_exceeded());
                    }
                }
                POLICIES.put(tx, row.bytes(), &policy)?;
                Ok::<_, Failure>(policy.clone())
            })
            .await?;
        self.policies.forget(&(caller.region.clone(), caller.account.clone()));
        let mut reply = json!({ "resourcePolicy": written.shown() });
        if written.resource_arn.is_some() {
            reply["revisionId"] = written.revision.to_string().into();
        }
        Ok(reply)
    }

    pub(super) async fn delete_policy(&self, caller: &Caller, input: DeletePolicy) -> Result<Value, Failure> {
        let named = input.policy_name.or(input.resource_arn);
        let key = named.ok_or_else(|| invalid("policyName or resourceArn is required."))?;
        let row = GroupName::place(&caller.region, &caller.account).text(&key);
        self.catalog
            .write(move |tx| {
                let known = POLICIES.get(tx, row.bytes())?;
                let missing = || not_found(format!("Policy with name [{key}] does not exist."));
                let known = known.ok_or_else(missing)?;
                check_revision(Some(&known), input.expected_revision_id.as_deref())?;
                Ok::<_, Failure>(POLICIES.delete(tx, row.bytes())?)
            })
            .await?;
        self.policies.forget(&(caller.region.clone(), caller.account.clone()));
        Ok(json!({}))
    }

    pub(super) async fn describe_policies(
        &self,
        caller: &Caller,
        input: DescribePolicies,
    ) -> Result<Value, Failure> {
        let of_groups = input.policy_scope.as_deref() == Some("RESOURCE") || input.resource_arn.is_some();
        let after = after(input.next_token.as_deref())?;
        let limit = input.limit.unwrap_or(PAGE_ITEMS);
        let found = self.policies_of(&caller.region, &caller.account).await?;
        let items = found
            .into_iter()
            .filter(|policy| policy.resource_arn.is_some() == of_groups)
            .filter(|policy| input.resource_arn.is_none() || policy.resource_arn == input.resource_arn)
            .filter(|policy| after.as_deref().is_none_or(|after| policy.key() > after))
            .take(limit + 1)
            .map(|policy| (policy.key().to_owned(), policy.shown()));
        Ok(page("resourcePolicies", items.collect(), limit))
    }

    /// The resource policies of an account in a region as one document; none where there are none.
    pub(super) async fn policy_of(
        &self,
        region: &Region,
        account: &AccountId,
    ) -> Result<Option<Arc<str>>, Failure> {
        let place = (region.clone(), account.clone());
        let changes = {
            let kept = self.policies.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = kept.documents.get(&place) {
                return Ok(known.clone());
            }
            kept.changes
        };
        let policies = self.policies_of(region, account).await?;
        let document = together(policies.iter().map(|policy| policy.document.as_str()))?.map(Arc::from);
        let mut kept = self.policies.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.changes == changes {
            if kept.documents.len() >= KEPT_MAX {
                kept.documents.clear();
            }
            kept.documents.insert(place, document.clone());
        }
        Ok(document)
    }

    async fn policies_of(&self, region: &Region, account: &AccountId) -> Result<Vec<Policy>, CatalogError> {
        let place = GroupName::place(region, account);
        let rows = self.catalog.read(move |tx| POLICIES.scan_prefix(tx, place.bytes())).await?;
        Ok(rows.into_iter().map(|(_, policy)| policy).collect())
    }
}

/// The group of an ARN, which must be the caller's own.
fn own_group(caller: &Caller, arn: &str) -> Result<GroupName, Failure> {
    let own =
        GroupName::of_arn(arn).filter(|name| name.account == caller.account && name.region == caller.region);
    own.ok_or_else(|| invalid("The resourceArn must be that of a log group of this account and region."))
}

fn check_revision(known: Option<&Policy>, expected: Option<&str>) -> Result<(), Failure> {
    let Some(expected) = expected else { return Ok(()) };
    match known {
        Some(known) if known.revision.to_string() == expected => Ok(()),
        _ => Err(invalid("The specified revision id is not that of the policy.")),
    }
}

/// The statements of all documents in one.
fn together<'a>(documents: impl Iterator<Item = &'a str>) -> Result<Option<String>, Failure> {
    let mut statements = Vec::new();
    for text in documents {
        let mut document: Value = serde_json::from_str(text).map_err(internal)?;
        match document.get_mut("Statement").map(Value::take) {
            Some(Value::Array(several)) => statements.extend(several),
            Some(one) => statements.push(one),
            None => {}
        }
    }
    let is_some = !statements.is_empty();
    Ok(is_some.then(|| json!({ "Version": "2012-10-17", "Statement": statements }).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn policies_are_written_and_read_as_in_their_first_version() {
        check::<Policy>(
            r#"{"name":"p","resource_arn":null,"document":"{}","updated":1795281866042,"revision":2}"#,
        );
    }

    #[test]
    fn the_statements_of_all_policies_count_together() {
        let one = r#"{"Version":"2012-10-17","Statement":{"Sid":"a"}}"#;
        let two = r#"{"Version":"2012-10-17","Statement":[{"Sid":"b"},{"Sid":"c"}]}"#;
        let whole = together([one, two].into_iter()).unwrap().unwrap();
        assert_eq!(whole, r#"{"Version":"2012-10-17","Statement":[{"Sid":"a"},{"Sid":"b"},{"Sid":"c"}]}"#);
        assert_eq!(together(std::iter::empty()).unwrap(), None);
    }
}
