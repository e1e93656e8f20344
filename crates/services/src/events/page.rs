//! Pages of lists: a token is the sort text of the last item before the page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, validation};

/// Items of a page where the call names no limit.
const ITEMS_DEFAULT: usize = 100;

/// The members that ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageInput {
    next_token: Option<String>,
    limit: Option<usize>,
    name_prefix: Option<String>,
}

/// One page of `items`, which come with their names in order, under the member `name`.
pub(super) fn page(
    name: &str,
    items: impl IntoIterator<Item = (String, Value)>,
    input: &PageInput,
) -> Result<Value, Failure> {
    let after = input.next_token.as_deref().map(decoded).transpose()?;
    let prefix = input.name_prefix.as_deref().unwrap_or_default();
    let mut items: Vec<(String, Value)> = items
        .into_iter()
        .filter(|(sort, _)| sort.starts_with(prefix) && after.as_ref().is_none_or(|after| sort > after))
        .collect();
    let limit = input.limit.unwrap_or(ITEMS_DEFAULT);
    let has_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map(|(sort, _)| URL_SAFE_NO_PAD.encode(sort));
    let shown: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    let mut reply = json!({ name: shown });
    if let Some(token) = last.filter(|_| has_more) {
        reply["NextToken"] = token.into();
    }
    Ok(reply)
}

fn decoded(token: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| validation("Parameter NextToken is not valid."))
}
