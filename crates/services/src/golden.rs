//! How tests hold the catalog's rows against the texts that were once written.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads a row's text as a value, which is written as the same text again.
pub(crate) fn check<V: Serialize + DeserializeOwned>(text: &str) {
    let value: V = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), text);
}
