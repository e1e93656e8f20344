//! Pages of lists: a token is the sort text of the last item before the page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::error::{Failure, invalid};

/// Items of a page where the caller asks for no number, and the most for most operations.
pub(super) const PAGE_ITEMS: usize = 50;

/// The sort text that a page begins after.
pub(super) fn after(token: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(token) = token else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Some).ok_or_else(invalid_token)
}

pub(super) fn invalid_token() -> Failure {
    invalid("The specified nextToken is invalid.")
}

/// The token of the page after the item of that sort text.
pub(super) fn token(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// The reply with the page's items, which come with their sort texts; one more than a page where there are more.
pub(super) fn page(member: &str, mut items: Vec<(String, Value)>, limit: usize) -> Value {
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().map(|(sort, _)| token(sort));
    let shown: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
    let mut reply = json!({ member: shown });
    if let Some(token) = last.filter(|_| more) {
        reply["nextToken"] = token.into();
    }
    reply
}
