//! Pages of lists: a marker is the last item's key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{Failure, invalid};

/// Items of a page, whatever a call asks for.
const ITEMS_MAX: usize = 50;

/// The members that ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageInput {
    max_items: Option<usize>,
    marker: Option<String>,
}

/// One page of `items`, which come in the order of their keys, under the member `name`.
pub(super) fn page(name: &str, items: Vec<(String, Value)>, input: &PageInput) -> Result<Value, Failure> {
    let after = input.marker.as_deref().filter(|marker| !marker.is_empty()).map(key_of).transpose()?;
    let limit = input.max_items.unwrap_or(ITEMS_MAX).clamp(1, ITEMS_MAX);
    let mut rest = items.into_iter().skip_while(|(key, _)| after.as_ref().is_some_and(|after| key <= after));
    let shown: Vec<(String, Value)> = rest.by_ref().take(limit).collect();
    let marker = shown.last().filter(|_| rest.next().is_some()).map(|(key, _)| URL_SAFE_NO_PAD.encode(key));
    let shown: Vec<Value> = shown.into_iter().map(|(_, item)| item).collect();
    let mut page = json!({ name: shown });
    if let Some(marker) = marker {
        page["NextMarker"] = marker.into();
    }
    Ok(page)
}

fn key_of(marker: &str) -> Result<String, Failure> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| invalid("Invalid marker"))
}
