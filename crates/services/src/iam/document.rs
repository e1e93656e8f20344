//! Policy documents as IAM takes them and gives them back.

use cairn_core::policy::{Document, parse_identity_policy, parse_trust_policy};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::{Failure, malformed};

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A document as replies show it: percent-encoded.
pub(super) fn shown(document: &str) -> Value {
    Value::String(utf8_percent_encode(document, ENCODED).to_string())
}

/// The characters that count against the limits: "IAM does not count white space".
pub(super) fn counted_chars(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Checks a policy for a user, group or role.
pub(super) fn check_identity_policy(text: &str) -> Result<Document, Failure> {
    parse_identity_policy(text).map_err(|error| malformed(error.to_string()))
}

/// Checks a role's trust policy.
pub(super) fn check_trust_policy(text: &str) -> Result<Document, Failure> {
    parse_trust_policy(text).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_counts_nothing_and_replies_encode_everything_reserved() {
        assert_eq!(counted_chars("{ \"a\" :\n 1 }"), 7);
        assert_eq!(shown("{\"a b\": \"ü-_.~\"}"), "%7B%22a%20b%22%3A%20%22%C3%BC-_.~%22%7D");
    }
}
