//! Tags on users.

use cairn_wire::Reply;
use serde::Deserialize;
use serde_json::json;

use super::Iam;
use super::failure::{Failure, invalid_input, over_quota};
use super::page::{PageInput, page};
use super::state::{Tag, USERS, existing_user, user_key};
use crate::Caller;

/// How many tags a user has at most.
const TAGS_PER_USER_MAX: usize = 50;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagUser {
    user_name: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UntagUser {
    user_name: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListUserTags {
    user_name: String,
    #[serde(flatten)]
    page: PageInput,
}

impl Iam {
    pub(super) async fn tag_user(&self, caller: &Caller, input: TagUser) -> Result<Reply, Failure> {
        check_tags(&input.tags)?;
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut user = existing_user(tx, &account, &input.user_name)?;
                for tag in &input.tags {
                    match user.tags.iter_mut().find(|known| same_key(&known.key, &tag.key)) {
                        Some(known) => *known = tag.clone(),
                        None => user.tags.push(tag.clone()),
                    }
                }
                if user.tags.len() > TAGS_PER_USER_MAX {
                    return Err(over_quota("TagsPerUser", TAGS_PER_USER_MAX));
                }
                Ok::<_, Failure>(USERS.put(tx, user_key(&account, &user.name).bytes(), &user)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    pub(super) async fn untag_user(&self, caller: &Caller, input: UntagUser) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        self.catalog
            .write(move |tx| {
                let mut user = existing_user(tx, &account, &input.user_name)?;
                user.tags.retain(|tag| !input.tag_keys.iter().any(|key| same_key(key, &tag.key)));
                Ok::<_, Failure>(USERS.put(tx, user_key(&account, &user.name).bytes(), &user)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    pub(super) async fn list_user_tags(
        &self,
        caller: &Caller,
        input: ListUserTags,
    ) -> Result<Reply, Failure> {
        let account = caller.account.clone();
        let name = input.user_name;
        let mut user = self.catalog.read(move |tx| existing_user(tx, &account, &name)).await?;
        user.tags.sort_by_key(|tag| tag.key.to_lowercase());
        let items = user.tags.iter().map(|tag| (tag.key.to_lowercase(), json!(tag)));
        Ok(Reply::of(&page("Tags", items.collect(), &input.page)?))
    }
}

/// IAM keeps the case of tag keys and ignores it when it compares them.
fn same_key(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

pub(super) fn check_tags(tags: &[Tag]) -> Result<(), Failure> {
    if tags.len() > TAGS_PER_USER_MAX {
        return Err(over_quota("TagsPerUser", TAGS_PER_USER_MAX));
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
        if tags[..at].iter().any(|earlier| same_key(&earlier.key, &tag.key)) {
            return Err(invalid_input(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
    }
    Ok(())
}
