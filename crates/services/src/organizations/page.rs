//! Pages of a list: `NextToken` in, `MaxResults` of it, the next `NextToken` out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Answer, invalid, text};

/// How many items a page has where the call does not say, and at most.
const PAGE_ITEMS_MAX: usize = 20;

/// The reply with one page of `items`, which are sorted by the text beside them, as `member`.
pub(super) fn page(member: &str, items: Vec<(String, Value)>, params: &Value) -> Answer {
    let after = match text(params, "NextToken") {
        None => None,
        Some(token) => {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok();
            let read = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            Some(read.ok_or_else(|| invalid("INVALID_NEXT_TOKEN", "The provided NextToken is not valid."))?)
        }
    };
    let asked =
        params.get("MaxResults").and_then(Value::as_u64).and_then(|asked| usize::try_from(asked).ok());
    let count = asked.unwrap_or(PAGE_ITEMS_MAX).clamp(1, PAGE_ITEMS_MAX);
    let mut rest = items.into_iter().filter(|(sort, _)| after.as_ref().is_none_or(|after| sort > after));
    let taken: Vec<(String, Value)> = rest.by_ref().take(count).collect();
    let last = taken.last().map(|(sort, _)| URL_SAFE_NO_PAD.encode(sort));
    let list: Vec<Value> = taken.into_iter().map(|(_, item)| item).collect();
    let mut reply = json!({ member: list });
    if let (Some(last), Some(_)) = (last, rest.next()) {
        reply["NextToken"] = last.into();
    }
    Ok(reply)
}
