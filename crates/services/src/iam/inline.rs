//! Inline policies of users, groups and roles.

use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Iam;
use super::document::{self, check_identity_policy, counted_chars};
use super::entity::Kind;
use super::failure::{Failure, no_such, over_limit};
use super::names::{POLICY_NAME_CHARS_MAX, check_name};
use super::page::{PageInput, page};
use crate::Caller;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutInline {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_name: String,
    policy_document: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OneInline {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    policy_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListInline {
    #[serde(alias = "UserName", alias = "GroupName", alias = "RoleName")]
    name: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn put_inline(
        &self,
        caller: &Caller,
        kind: Kind,
        input: PutInline,
    ) -> Result<Reply, Failure> {
        check_name("policyName", &input.policy_name, POLICY_NAME_CHARS_MAX)?;
        check_identity_policy(&input.policy_document)?;
        let (policy, document) = (input.policy_name, input.policy_document);
        self.change(kind, &caller.account, &input.name, move |_, entity| {
            entity.require_modifiable()?;
            entity.inline.insert(policy.clone(), document.clone());
            let chars: usize = entity.inline.values().map(|document| counted_chars(document)).sum();
            if chars > kind.inline_chars_max() {
                return Err(over_limit(format!(
                    "Maximum policy size of {} bytes exceeded for {} {}",
                    kind.inline_chars_max(),
                    kind.word(),
                    entity.name
                )));
            }
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn get_inline(
        &self,
        caller: &Caller,
        kind: Kind,
        input: OneInline,
    ) -> Result<Reply, Failure> {
        let entity = self.entity(kind, &caller.account, &input.name).await?;
        let found = entity.inline.get(&input.policy_name);
        let text = found.ok_or_else(|| no_inline(kind, &input.policy_name))?;
        let mut shown = Map::new();
        shown.insert(format!("{}Name", kind.title()), entity.name.clone().into());
        shown.insert("PolicyName".to_owned(), input.policy_name.into());
        shown.insert("PolicyDocument".to_owned(), document::shown(text));
        Ok(Reply::of(&shown))
    }

    pub(super) async fn delete_inline(
        &self,
        caller: &Caller,
        kind: Kind,
        input: OneInline,
    ) -> Result<Reply, Failure> {
        let policy = input.policy_name;
        self.change(kind, &caller.account, &input.name, move |_, entity| {
            entity.require_modifiable()?;
            entity.inline.remove(&policy).ok_or_else(|| no_inline(kind, &policy))?;
            Ok(Reply::empty())
        })
        .await
    }

    pub(super) async fn list_inline(
        &self,
        caller: &Caller,
        kind: Kind,
        input: ListInline,
    ) -> Result<Reply, Failure> {
        let entity = self.entity(kind, &caller.account, &input.name).await?;
        let items = entity.inline.into_keys().map(|name| (name.clone(), Value::String(name)));
        Ok(Reply::of(&page("PolicyNames", items.collect(), &input.page)?))
    }
}

fn no_inline(kind: Kind, policy: &str) -> Failure {
    no_such(format!("The {} policy with name {policy} cannot be found.", kind.word()))
}
