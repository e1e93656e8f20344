//! Pages of lists: a token is the sort text of the last item before the page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, invalid};

/// Items of a page.
pub(super) const PAGE_ITEMS: usize = 100;

/// The member that asks for a later page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageInput {
    next_token: Option<String>,
}

impl PageInput {
    /// The sort text that the page begins after.
    pub(super) fn after(&self) -> Result<Option<String>, Failure> {
        let Some(token) = self.next_token.as_deref().filter(|token| !token.is_empty()) else {
            return Ok(None);
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.map(Some).ok_or_else(|| invalid("NextToken"))
    }
}

/// The reply with the page's items, which come with their sort texts; one more than a page where there are more.
pub(super) fn page(member: &str, mut items: Vec<(String, Value)>) -> Value {
    let more = items.len() > PAGE_ITEMS;
    items.truncate(PAGE_ITEMS);
    let last = items.last().map(|(sort, _)| URL_SAFE_NO_PAD.encode(sort));
    let shown: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    let mut reply = json!({ member: shown });
    if let Some(token) = last.filter(|_| more) {
        reply["NextToken"] = token.into();
    }
    reply
}
