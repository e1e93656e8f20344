//! Tags on everything in IAM that has them.

use cairn_wire::{Call, Reply};
use serde::Deserialize;
use serde_json::json;

use super::Iam;
use super::dispatch::verb;
use super::failure::{Failure, invalid_input, over_quota};
use super::mfa;
use super::operations::Tagged;
use super::page::{PageInput, page};
use super::policies::Keep;
use super::policy_state;
use super::state::Tag;
use crate::Caller;

/// How many tags anything has at most.
const TAGS_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// What the tags are on, by the member that names it.
#[derive(Deserialize)]
struct Named {
    #[serde(
        alias = "UserName",
        alias = "RoleName",
        alias = "PolicyArn",
        alias = "SerialNumber",
        alias = "OpenIDConnectProviderArn"
    )]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddTags {
    #[serde(flatten)]
    of: Named,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RemoveTags {
    #[serde(flatten)]
    of: Named,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListTags {
    #[serde(flatten)]
    of: Named,
    #[serde(flatten)]
    page: PageInput,
}

impl Tagged {
    /// Its word in quotas.
    fn title(self) -> &'static str {
        match self {
            Self::Entity(kind) => kind.title(),
            Self::Policy => "Policy",
            Self::Mfa => "MFADevice",
            Self::Oidc => "OpenIdConnectProvider",
        }
    }
}

impl Iam {
    pub(super) async fn tag_operation(
        &self,
        caller: &Caller,
        tagged: Tagged,
        call: &Call,
    ) -> Result<Reply, Failure> {
        match verb(call) {
            "Tag" => {
                let input: AddTags = call.input()?;
                check_tags(&input.tags, tagged.title())?;
                let added = input.tags;
                self.edit_tags(caller, tagged, input.of.name, move |tags| add(tags, &added, tagged.title()))
                    .await
            }
            "Untag" => {
                let input: RemoveTags = call.input()?;
                let keys = input.tag_keys;
                let remove = move |tags: &mut Vec<Tag>| {
                    tags.retain(|tag| !keys.iter().any(|key| same_key(key, &tag.key)));
                    Ok(())
                };
                self.edit_tags(caller, tagged, input.of.name, remove).await
            }
            _ => {
                let input: ListTags = call.input()?;
                let mut tags = self.tags_of(caller, tagged, input.of.name).await?;
                tags.sort_by_key(|tag| tag.key.to_lowercase());
                let items = tags.iter().map(|tag| (tag.key.to_lowercase(), json!(tag)));
                Ok(Reply::of(&page("Tags", items.collect(), &input.page)?))
            }
        }
    }

    async fn edit_tags(
        &self,
        caller: &Caller,
        tagged: Tagged,
        name: String,
        mut edit: impl FnMut(&mut Vec<Tag>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        match tagged {
            Tagged::Entity(kind) => {
                let edit = move |_: &mut dyn cairn_store::Tx, entity: &mut super::entity::Entity| {
                    edit(&mut entity.tags).map(|()| Reply::empty())
                };
                self.change(kind, &caller.account, &name, edit).await
            }
            Tagged::Mfa => {
                let account = caller.account.clone();
                self.catalog
                    .write(move |tx| {
                        let mut device = mfa::existing(tx, &account, &name)?;
                        edit(&mut device.tags)?;
                        Ok::<_, Failure>(mfa::put(tx, &account, &device)?)
                    })
                    .await?;
                Ok(Reply::empty())
            }
            Tagged::Oidc => {
                self.change_provider(caller, name, move |provider| edit(&mut provider.tags)).await
            }
            Tagged::Policy => {
                self.change_policy(caller, name, move |_, _, _, policy| {
                    edit(&mut policy.tags).map(|()| Keep::Yes)
                })
                .await
            }
        }
    }

    async fn tags_of(&self, caller: &Caller, tagged: Tagged, name: String) -> Result<Vec<Tag>, Failure> {
        match tagged {
            Tagged::Entity(kind) => Ok(self.entity(kind, &caller.account, &name).await?.tags),
            Tagged::Mfa => {
                let account = caller.account.clone();
                Ok(self.catalog.read(move |tx| mfa::existing(tx, &account, &name)).await?.tags)
            }
            Tagged::Oidc => Ok(self.oidc(caller, name).await?.tags),
            Tagged::Policy => {
                let account = caller.account.clone();
                let found = self.catalog.read(move |tx| policy_state::existing(tx, &account, &name));
                Ok(found.await?.tags)
            }
        }
    }
}

/// Sets tags; one with the key of another takes its place.
fn add(tags: &mut Vec<Tag>, added: &[Tag], title: &str) -> Result<(), Failure> {
    for tag in added {
        match tags.iter_mut().find(|known| same_key(&known.key, &tag.key)) {
            Some(known) => *known = tag.clone(),
            None => tags.push(tag.clone()),
        }
    }
    if tags.len() > TAGS_MAX {
        return Err(over_quota(&format!("TagsPer{title}"), TAGS_MAX));
    }
    Ok(())
}

/// IAM keeps the case of tag keys and ignores it when it compares them.
fn same_key(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

pub(super) fn check_tags(tags: &[Tag], title: &str) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(over_quota(&format!("TagsPer{title}"), TAGS_MAX));
    }
    for (at, tag) in tags.iter().enumerate() {
        if tag.key.to_lowercase().starts_with("aws:") {
            return Err(invalid_input("Tag keys that begin with aws: are reserved."));
        }
        let fits = (1..=TAG_KEY_CHARS_MAX).contains(&tag.key.chars().count())
            && tag.value.chars().count() <= TAG_VALUE_CHARS_MAX;
        if !fits {
            return Err(invalid_input(format!(
                "A tag has a key of 1 to {TAG_KEY_CHARS_MAX} and a value of at most {TAG_VALUE_CHARS_MAX} characters."
            )));
        }
        // Text of control characters could not be listed again: XML 1.0 has no way to write most of them.
        if [&tag.key, &tag.value].into_iter().any(|text| text.contains(char::is_control)) {
            return Err(invalid_input("A tag has no control characters."));
        }
        if tags[..at].iter().any(|earlier| same_key(&earlier.key, &tag.key)) {
            return Err(invalid_input(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_no_reply_could_show_are_refused() {
        let takes = |key: &str, value: &str| {
            check_tags(&[Tag { key: key.to_owned(), value: value.to_owned() }], "User").is_ok()
        };
        assert!(takes("team é", ""));
        assert!(!takes("a\0b", "x"));
        assert!(!takes("a", "x\u{1}"));
    }
}
