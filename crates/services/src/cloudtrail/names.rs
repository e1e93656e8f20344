//! Trail names and ARNs, as callers give them.

use cairn_core::TrailArn;
use cairn_wire::AwsError;

use crate::service::Caller;

/// Characters of a trail's name.
const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;

/// The trail that a caller means by a short name, which is one of the caller's account and region, or by an ARN.
pub(super) fn meant_trail(text: &str, caller: &Caller) -> Result<TrailArn, AwsError> {
    if text.starts_with("arn:") {
        return trail_arn(text);
    }
    check_trail_name(text)?;
    Ok(TrailArn::new(&caller.region, &caller.account, text))
}

/// The trail that an ARN names. Of other accounts' trails only those of the caller's organization can be seen.
pub(super) fn trail_arn(text: &str) -> Result<TrailArn, AwsError> {
    text.parse().map_err(|_| invalid_arn(text))
}

/// `CloudTrailARNInvalidException`.
pub(super) fn invalid_arn(text: &str) -> AwsError {
    AwsError::invalid("CloudTrailARNInvalidException", format!("The specified ARN is not valid: {text}"))
}

/// Checks a new trail's name, or a short name that is to be looked up.
pub(super) fn check_trail_name(name: &str) -> Result<(), AwsError> {
    match trail_name_fault(name) {
        Some(message) => Err(AwsError::invalid("InvalidTrailNameException", message)),
        None => Ok(()),
    }
}

fn trail_name_fault(name: &str) -> Option<String> {
    let length = name.chars().count();
    if length < *NAME_LENGTH.start() {
        return Some(format!(
            "Trail name too short. Minimum allowed length: 3 characters. Specified name length: {length} characters."
        ));
    }
    if length > *NAME_LENGTH.end() {
        return Some(format!(
            "Trail name too long. Maximum allowed length: 128 characters. Specified name length: {length} characters."
        ));
    }
    // The grammar of the next two is the real service's.
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some("Trail name must starts with a letter or number.".into());
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Some("Trail name must ends with a letter or number.".into());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || is_mark(b)) {
        return Some(
            "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), \
             hyphens (-), and underscores (_)."
                .into(),
        );
    }
    if name.as_bytes().windows(2).any(|pair| is_mark(pair[0]) && is_mark(pair[1])) {
        return Some(
            "Trail name must not contain adjacent periods (.), hyphens (-), or underscores (_).".into(),
        );
    }
    if name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Some("Trail name must not be in IP address format.".into());
    }
    None
}

fn is_mark(byte: u8) -> bool {
    matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::trail_name_fault;

    #[test]
    fn trail_names_are_refused_with_the_texts_of_the_real_service() {
        let chars = "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).";
        let long = "a".repeat(129);
        let table = [
            (
                "ab",
                "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters.",
            ),
            (
                "",
                "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 0 characters.",
            ),
            (
                long.as_str(),
                "Trail name too long. Maximum allowed length: 128 characters. Specified name length: 129 characters.",
            ),
            ("-abc", "Trail name must starts with a letter or number."),
            ("abc-", "Trail name must ends with a letter or number."),
            ("a b c", chars),
            ("abcédef", chars),
            (
                "my-_namespace",
                "Trail name must not contain adjacent periods (.), hyphens (-), or underscores (_).",
            ),
            (
                "my--namespace",
                "Trail name must not contain adjacent periods (.), hyphens (-), or underscores (_).",
            ),
            ("192.168.5.4", "Trail name must not be in IP address format."),
        ];
        for (name, message) in table {
            assert_eq!(trail_name_fault(name).as_deref(), Some(message), "{name}");
        }
        for name in ["abc", "My.Trail-1_x", "192.168.5.400", &"a".repeat(128)] {
            assert_eq!(trail_name_fault(name), None, "{name}");
        }
    }
}
