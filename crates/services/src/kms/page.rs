//! Pages of lists: a marker is the last item's id.

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Failure;

/// Items of a page where the call names no limit.
const ITEMS_DEFAULT: usize = 100;

/// The members that ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PageInput {
    limit: Option<usize>,
    marker: Option<String>,
}

/// One page of `items`, which come with their ids, under the member `name`.
pub(super) fn page(name: &str, mut items: Vec<(String, Value)>, input: &PageInput) -> Result<Value, Failure> {
    items.sort_by(|left, right| left.0.cmp(&right.0));
    if let Some(marker) = &input.marker {
        items.retain(|(id, _)| id > marker);
    }
    let limit = input.limit.unwrap_or(ITEMS_DEFAULT);
    let truncated = items.len() > limit;
    items.truncate(limit);
    let marker = items.last().map(|(id, _)| id.clone());
    let shown: Vec<Value> = items.into_iter().map(|(_, value)| value).collect();
    let mut reply = json!({ name: shown, "Truncated": truncated });
    if let Some(marker) = marker.filter(|_| truncated) {
        reply["NextMarker"] = marker.into();
    }
    Ok(reply)
}
