//! Walking a bucket's rows in byte order, with prefix, delimiter and markers: what the four listings share.
//!
//! Invariant: a group of keys behind a delimiter costs one seek, however many keys it has; so does a key, however
//! many versions it has.

use cairn_store::catalog::{Key, prefix_end};
use cairn_store::{CatalogError, Table, Tx};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Failure, invalid_argument};
use super::params::Params;
use super::state::{Upload, Version, object_prefix};

/// Rows read at once after a seek; doubled while rows follow one another.
const FIRST_BATCH: usize = 32;
/// Most rows read at once.
const BATCH_MAX: usize = 1024;
/// Most items on a page of any listing.
pub(super) const PAGE_MAX: i64 = 1000;

/// A row that belongs to a key.
pub(super) trait Row: Serialize + DeserializeOwned {
    /// The object's key.
    fn key(&self) -> &str;
}

impl Row for Version {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Row for Upload {
    fn key(&self) -> &str {
        &self.key
    }
}

/// What a listing asks for.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) delimiter: Option<String>,
    /// Keys and groups up to here are left out.
    pub(super) after: String,
    pub(super) limit: usize,
}

impl Query {
    /// From the params that all listings have.
    pub(super) fn of(params: Params<'_>, limit: usize, after: &str) -> Self {
        Self {
            bucket: params.bucket().to_owned(),
            prefix: params.text("Prefix").unwrap_or_default().to_owned(),
            delimiter: params.text("Delimiter").filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
            after: after.to_owned(),
            limit,
        }
    }

    /// The row that the walk begins at: the first behind all of the marker's key.
    pub(super) fn start(&self) -> Vec<u8> {
        if self.after.is_empty() {
            return Vec::new();
        }
        let marker = object_prefix(&self.bucket, &self.after);
        prefix_end(marker.bytes()).unwrap_or_default()
    }

    /// The group that the delimiter puts a key into.
    fn group_of(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix(self.prefix.as_str())?;
        let delimiter = self.delimiter.as_deref()?;
        let at = rest.find(delimiter)?;
        Some(format!("{}{}{delimiter}", self.prefix, &rest[..at]))
    }
}

/// How a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// To the next row.
    Next,
    /// Past all rows of the key.
    SkipKey,
    /// Past all keys of the group.
    SkipGroup,
    /// Not at all.
    Stop,
}

/// Shows each row from `from` on that the query's prefix takes in to `visit`, with its group where it is in one.
/// Groups that do not lie behind the marker are passed by.
pub(super) fn walk<R: Row>(
    tx: &mut dyn Tx,
    table: &Table<R>,
    query: &Query,
    from: Vec<u8>,
    mut visit: impl FnMut(R, Option<String>) -> Step,
) -> Result<(), CatalogError> {
    let base = Key::new().text(&query.bucket).text_prefix(&query.prefix);
    let end = prefix_end(base.bytes());
    let mut from = from.max(base.bytes().to_vec());
    let mut batch = FIRST_BATCH;
    loop {
        let rows = table.scan(tx, &from, end.as_deref(), batch)?;
        let full = rows.len() == batch;
        for (row_key, row) in rows {
            if row_key < from {
                continue;
            }
            let group = query.group_of(row.key());
            let passed = group.as_ref().is_some_and(|group| *group <= query.after);
            let (key, of_group) = (row.key().to_owned(), group.clone());
            let step = if passed { Step::SkipGroup } else { visit(row, group) };
            let jump = match (step, of_group) {
                (Step::Stop, _) => return Ok(()),
                (Step::Next, _) => None,
                (Step::SkipGroup, Some(group)) => {
                    prefix_end(Key::new().text(&query.bucket).text_prefix(&group).bytes())
                }
                (Step::SkipKey | Step::SkipGroup, _) => {
                    prefix_end(object_prefix(&query.bucket, &key).bytes())
                }
            };
            from = jump.unwrap_or_else(|| [row_key.as_slice(), &[0]].concat());
        }
        if !full || end.as_ref().is_some_and(|end| from >= *end) {
            return Ok(());
        }
        batch = (batch * 2).min(BATCH_MAX);
    }
}

/// The page size that a listing asks for: 0 to 1,000.
pub(super) fn page_size(params: Params<'_>, member: &str, query_name: &str) -> Result<usize, Failure> {
    let asked = params.number(member).unwrap_or(PAGE_MAX);
    if !(0..=i64::from(i32::MAX)).contains(&asked) {
        return Err(invalid_argument(
            &format!("Argument {query_name} must be an integer between 0 and 2147483647"),
            query_name,
            &asked.to_string(),
        ));
    }
    Ok(usize::try_from(asked.min(PAGE_MAX)).unwrap_or_default())
}

/// Whether texts are to be percent-encoded in the reply.
pub(super) fn encodes(params: Params<'_>) -> Result<bool, Failure> {
    match params.text("EncodingType") {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(other) => {
            Err(invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", other))
        }
    }
}

/// A text as the reply shows it. The encoding is that of forms, with slashes left alone, as S3 does.
pub(super) fn shown(text: &str, encoded: bool) -> String {
    if !encoded {
        return text.to_owned();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            b'/' | b'-' | b'_' | b'.' | b'*' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_grouped_by_the_first_delimiter_behind_the_prefix() {
        let query = |prefix: &str, delimiter: Option<&str>| Query {
            bucket: "b".into(),
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            after: String::new(),
            limit: 1,
        };
        assert_eq!(query("", Some("/")).group_of("a/b/c").as_deref(), Some("a/"));
        assert_eq!(query("a/", Some("/")).group_of("a/b/c").as_deref(), Some("a/b/"));
        assert_eq!(query("a/b", Some("/")).group_of("a/b/c").as_deref(), Some("a/b/"));
        assert_eq!(query("", Some("::")).group_of("a:b::c").as_deref(), Some("a:b::"));
        assert_eq!(query("a/b/", Some("/")).group_of("a/b/c"), None);
        assert_eq!(query("", None).group_of("a/b"), None);
    }

    #[test]
    fn encoded_texts_are_those_of_a_form_with_slashes() {
        assert_eq!(shown("a b/ü%*~", true), "a+b/%C3%BC%25*%7E");
        assert_eq!(shown("a b", false), "a b");
    }
}
