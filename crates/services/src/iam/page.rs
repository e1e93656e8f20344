//! Pages of a list: `Marker` in, `MaxItems` of it, `IsTruncated` and the next `Marker` out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::failure::{Failure, invalid};

/// How many items a page has where the call does not say.
const PAGE_ITEMS_DEFAULT: usize = 100;
/// How many items a page has at most.
const PAGE_ITEMS_MAX: usize = 1000;

/// The members of a list call that choose the page.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageInput {
    marker: Option<String>,
    max_items: Option<usize>,
}

/// The reply with one page of `items`, which are sorted by the text beside them, as `member`.
///
/// A marker is the sort text of the last item before the page, so pages stay right when items come and go between them.
pub(super) fn page(member: &str, items: Vec<(String, Value)>, input: &PageInput) -> Result<Value, Failure> {
    let after = input.marker.as_deref().map(read_marker).transpose()?;
    let count = input.max_items.unwrap_or(PAGE_ITEMS_DEFAULT).clamp(1, PAGE_ITEMS_MAX);
    let mut rest = items.into_iter().filter(|(sort, _)| after.as_ref().is_none_or(|after| sort > after));
    let mut list = Vec::new();
    let mut last = String::new();
    for (sort, item) in rest.by_ref().take(count) {
        list.push(item);
        last = sort;
    }
    let truncated = rest.next().is_some();
    let mut reply = Map::new();
    reply.insert(member.to_owned(), Value::Array(list));
    reply.insert("IsTruncated".to_owned(), Value::Bool(truncated));
    if truncated {
        reply.insert("Marker".to_owned(), Value::String(URL_SAFE_NO_PAD.encode(last)));
    }
    Ok(Value::Object(reply))
}

fn read_marker(marker: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| invalid("Invalid Marker."))
}
