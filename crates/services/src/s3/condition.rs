//! Conditional requests: If-Match and its kin, for reads, for the source of a copy and for writes.
//!
//! Source: the S3 API reference of GetObject, CopyObject and PutObject; recorded replies for the copies.

use super::error::{Failure, fail, no_such_key, not_implemented, not_modified, precondition_failed};
use super::params::Params;
use super::state::Version;

/// The four conditions of a read.
pub(super) struct ReadConditions<'a> {
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    modified_since: Option<i64>,
    unmodified_since: Option<i64>,
    of_copy: bool,
}

impl<'a> ReadConditions<'a> {
    /// Those of GetObject and HeadObject.
    pub(super) fn of_read(params: Params<'a>) -> Self {
        Self {
            if_match: params.text("IfMatch"),
            if_none_match: params.text("IfNoneMatch"),
            modified_since: params.number("IfModifiedSince"),
            unmodified_since: params.number("IfUnmodifiedSince"),
            of_copy: false,
        }
    }

    /// Those on the source of a copy.
    pub(super) fn of_copy(params: Params<'a>) -> Self {
        Self {
            if_match: params.text("CopySourceIfMatch"),
            if_none_match: params.text("CopySourceIfNoneMatch"),
            modified_since: params.number("CopySourceIfModifiedSince"),
            unmodified_since: params.number("CopySourceIfUnmodifiedSince"),
            of_copy: true,
        }
    }

    /// Whether an object of this ETag and age may be read, at `now` (seconds).
    pub(super) fn check(&self, etag: &str, modified_at: i64, now: i64) -> Result<(), Failure> {
        let refused = |condition: &str| {
            let name = if self.of_copy { format!("x-amz-copy-source-{condition}") } else { condition.into() };
            precondition_failed(&name)
        };
        match (self.if_match, self.unmodified_since) {
            (Some(wanted), _) if !etag_matches(wanted, etag) => return Err(refused("If-Match")),
            (None, Some(since)) if modified_at > since => return Err(refused("If-Unmodified-Since")),
            _ => {}
        }
        let failed = match (self.if_none_match, self.modified_since) {
            (Some(unwanted), _) => etag_matches(unwanted, etag).then_some("If-None-Match"),
            // A time that has not come yet is ignored.
            (None, Some(since)) => (since <= now && modified_at <= since).then_some("If-Modified-Since"),
            (None, None) => None,
        };
        match failed {
            None => Ok(()),
            Some(condition) if self.of_copy => Err(refused(condition)),
            Some(_) => Err(not_modified()),
        }
    }
}

/// Whether one of the ETags in a condition, quoted or not, is `etag`.
pub(super) fn etag_matches(condition: &str, etag: &str) -> bool {
    condition.split(',').any(|one| {
        let one = one.trim();
        one == "*" || one.trim_start_matches("W/").trim_matches('"') == etag
    })
}

/// The conditions of a write.
#[derive(Clone, Debug, Default)]
pub(super) struct WriteConditions {
    if_match: Option<String>,
    if_none_match: bool,
}

impl WriteConditions {
    /// From If-Match and If-None-Match; the latter takes `*` only.
    pub(super) fn of(params: Params<'_>) -> Result<Self, Failure> {
        let if_none_match = match params.text("IfNoneMatch") {
            None => false,
            Some("*") => true,
            Some(_) => return Err(not_implemented("If-None-Match")),
        };
        Ok(Self { if_match: params.text("IfMatch").map(str::to_owned), if_none_match })
    }

    /// Whether a write over the newest version `current` may happen.
    pub(super) fn check(&self, key: &str, current: Option<&Version>) -> Result<(), Failure> {
        let object = current.and_then(|version| version.object.as_ref());
        if self.if_none_match && object.is_some() {
            return Err(precondition_failed("If-None-Match"));
        }
        match (&self.if_match, object) {
            (Some(_), None) => Err(no_such_key(key)),
            (Some(wanted), Some(object)) if !etag_matches(wanted, &object.etag) => {
                Err(precondition_failed("If-Match"))
            }
            _ => Ok(()),
        }
    }
}

/// A part of an object's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ByteRange {
    pub(super) offset_bytes: u64,
    pub(super) length_bytes: u64,
}

impl ByteRange {
    /// Reads a Range header over `size_bytes` bytes. One that is no single byte range is ignored, as S3 does.
    pub(super) fn parse(header: &str, size_bytes: u64) -> Result<Option<Self>, Failure> {
        let Some((first, last)) = header
            .trim()
            .strip_prefix("bytes=")
            .filter(|ranges| !ranges.contains(','))
            .and_then(|range| range.trim().split_once('-'))
        else {
            return Ok(None);
        };
        let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(start), Ok(end)) if start <= end => (start, end.saturating_add(1).min(size_bytes)),
            (Ok(start), Err(_)) if last.is_empty() => (start, size_bytes),
            (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => {
                (size_bytes.saturating_sub(suffix), size_bytes)
            }
            (Err(_), Ok(0)) if first.is_empty() => (size_bytes, size_bytes),
            _ => return Ok(None),
        };
        if start >= size_bytes {
            return Err(fail(416, "InvalidRange", "The requested range is not satisfiable")
                .with("RangeRequested", header)
                .with("ActualObjectSize", size_bytes.to_string()));
        }
        Ok(Some(Self { offset_bytes: start, length_bytes: end - start }))
    }

    /// `bytes 0-4/10`.
    pub(super) fn content_range(self, size_bytes: u64) -> String {
        let last = (self.offset_bytes + self.length_bytes).saturating_sub(1);
        format!("bytes {}-{last}/{size_bytes}", self.offset_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(header: &str) -> Option<(u64, u64)> {
        ByteRange::parse(header, 10).ok()?.map(|range| (range.offset_bytes, range.length_bytes))
    }

    #[test]
    fn a_range_is_read_as_http_says_and_nonsense_is_ignored() {
        assert_eq!(range("bytes=0-4"), Some((0, 5)));
        assert_eq!(range("bytes=4-"), Some((4, 6)));
        assert_eq!(range("bytes=-3"), Some((7, 3)));
        assert_eq!(range("bytes=-30"), Some((0, 10)));
        assert_eq!(range("bytes=8-99"), Some((8, 2)));
        for ignored in ["bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-"] {
            assert!(ByteRange::parse(ignored, 10).unwrap().is_none(), "{ignored}");
        }
        for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(ByteRange::parse(beyond, 10).unwrap_err().0.status, 416, "{beyond}");
        }
    }

    #[test]
    fn an_etag_matches_quoted_or_not_and_in_a_list() {
        for condition in ["abc", "\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(etag_matches(condition, "abc"), "{condition}");
        }
        assert!(!etag_matches("\"abcd\"", "abc"));
    }
}
