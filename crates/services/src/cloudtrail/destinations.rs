//! The form of what a trail delivers to: bucket names, key prefixes, topics, log groups, KMS keys.

use cairn_core::Region;
use cairn_wire::AwsError;

/// Characters of a key prefix.
const PREFIX_CHARACTERS_MAX: usize = 200;
/// Characters of a topic's name or ARN.
const TOPIC_CHARACTERS_MAX: usize = 256;
/// Characters of a bucket's name.
const BUCKET_LENGTH: std::ops::RangeInclusive<usize> = 3..=63;

/// Checks that a text can be a bucket's name.
pub(super) fn check_bucket_name(name: &str) -> Result<(), AwsError> {
    let refused = |message: String| Err(AwsError::invalid("InvalidS3BucketNameException", message));
    let length = name.chars().count();
    if length < *BUCKET_LENGTH.start() {
        return refused(format!(
            "Bucket name too short. Minimum allowed length: 3 characters. Specified name length: {length} characters."
        ));
    }
    if length > *BUCKET_LENGTH.end() {
        return refused(format!(
            "Bucket name too long. Maximum allowed length: 63 characters. Specified name length: {length} characters."
        ));
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    if !bytes.iter().all(|b| alphanumeric(*b) || matches!(b, b'.' | b'-')) {
        return refused(
            "Bucket name can only contain lowercase letters, numbers, periods (.), and hyphens (-).".into(),
        );
    }
    if !alphanumeric(bytes[0]) || !alphanumeric(bytes[bytes.len() - 1]) {
        return refused("Bucket name must start and end with a letter or number.".into());
    }
    if name.contains("..") || name.parse::<std::net::Ipv4Addr>().is_ok() {
        return refused(
            "Bucket name must not contain adjacent periods (.) or be in IP address format.".into(),
        );
    }
    Ok(())
}

/// Checks that a text can be a key prefix.
pub(super) fn check_key_prefix(prefix: &str) -> Result<(), AwsError> {
    let length = prefix.chars().count();
    if length <= PREFIX_CHARACTERS_MAX {
        return Ok(());
    }
    Err(AwsError::invalid(
        "InvalidS3PrefixException",
        format!(
            "S3 prefix too long. Maximum allowed length: {PREFIX_CHARACTERS_MAX} characters. Specified prefix length: {length} characters."
        ),
    ))
}

/// Checks that a text can be a topic's name or ARN. FIFO topics take no notifications of CloudTrail.
pub(super) fn check_topic(topic: &str) -> Result<(), AwsError> {
    let name = match topic.strip_prefix("arn:") {
        None => Some(topic),
        Some(rest) => match rest.splitn(5, ':').collect::<Vec<_>>().as_slice() {
            [_, "sns", region, account, name] if region.parse::<Region>().is_ok() && is_account(account) => {
                Some(*name)
            }
            _ => None,
        },
    };
    let fits = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if topic.chars().count() <= TOPIC_CHARACTERS_MAX && name.is_some_and(fits) {
        return Ok(());
    }
    Err(AwsError::invalid(
        "InvalidSnsTopicNameException",
        format!("The SNS topic name or ARN is not valid: {topic}"),
    ))
}

/// The topic is not there, or its policy does not let CloudTrail publish.
pub(super) fn unusable_topic() -> AwsError {
    AwsError::invalid(
        "InsufficientSnsTopicPolicyException",
        "SNS Topic does not exist or the topic policy is incorrect!",
    )
}

/// Checks that a text can name a KMS key that the trail can use: an alias, a key id, or the ARN of either in the
/// trail's home region.
pub(super) fn check_kms_key(key: &str, home: &Region) -> Result<(), AwsError> {
    let local = match key.strip_prefix("arn:") {
        None => Some(key),
        Some(rest) => match rest.splitn(5, ':').collect::<Vec<_>>().as_slice() {
            [_, "kms", region, account, resource] if *region == home.as_str() && is_account(account) => {
                resource.strip_prefix("key/").or(Some(*resource).filter(|r| r.starts_with("alias/")))
            }
            _ => None,
        },
    };
    let well_formed = |key: &str| match key.strip_prefix("alias/") {
        Some(alias) => {
            !alias.is_empty()
                && alias.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-'))
        }
        None => is_key_id(key),
    };
    if local.is_some_and(well_formed) {
        return Ok(());
    }
    Err(AwsError::invalid("KmsKeyNotFoundException", format!("KMS key not found: {key}")))
}

/// The key is not there, or its policy does not let CloudTrail use it.
pub(super) fn unusable_kms_key(bucket: &str, key: &str) -> AwsError {
    AwsError::invalid(
        "InsufficientEncryptionPolicyException",
        format!("Insufficient permissions to access S3 bucket {bucket} or KMS key {key}."),
    )
}

/// Checks the form of a log group and the role to write to it with; both or neither are given.
pub(super) fn check_log_group(group: Option<&str>, role: Option<&str>) -> Result<(), AwsError> {
    const GROUP: &str = "InvalidCloudWatchLogsLogGroupArnException";
    const ROLE: &str = "InvalidCloudWatchLogsRoleArnException";
    const BOTH: &str = "You must specify a log group and a role ARN.";
    match (group, role) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(AwsError::invalid(ROLE, BOTH)),
        (None, Some(_)) => Err(AwsError::invalid(GROUP, BOTH)),
        (Some(group), _) if !is_log_group_arn(group) => {
            Err(AwsError::invalid(GROUP, "CloudTrail cannot validate the specified log group ARN."))
        }
        (_, Some(role)) if !is_role_arn(role) => {
            Err(AwsError::invalid(ROLE, "CloudTrail cannot validate the specified role ARN."))
        }
        (Some(_), Some(_)) => Ok(()),
    }
}

/// The role may not write to the log group. Terraform tries again on this prefix.
pub(super) fn denied_log_group() -> AwsError {
    AwsError::invalid(
        "InvalidCloudWatchLogsLogGroupArnException",
        "Access denied. Verify in IAM that the role has adequate permissions.",
    )
}

/// There is no such log group.
pub(super) fn unknown_log_group() -> AwsError {
    AwsError::invalid(
        "InvalidCloudWatchLogsLogGroupArnException",
        "CloudTrail cannot validate the specified log group ARN.",
    )
}

/// The role does not trust CloudTrail, or is not there. Terraform tries again on this prefix.
pub(super) fn denied_role() -> AwsError {
    AwsError::invalid(
        "InvalidCloudWatchLogsRoleArnException",
        "Access denied. Check the trust relationships for your role.",
    )
}

fn is_account(text: &str) -> bool {
    text.parse::<cairn_core::AccountId>().is_ok()
}

/// A UUID, or `mrk-` and 32 hex digits.
fn is_key_id(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.strip_prefix("mrk-") {
        Some(digits) => digits.len() == 32 && hex(digits),
        None => text.to_ascii_lowercase().parse::<cairn_core::EventId>().is_ok(),
    }
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*`.
fn is_log_group_arn(text: &str) -> bool {
    match text.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "logs", region, account, "log-group", name] => {
            region.parse::<Region>().is_ok()
                && is_account(account)
                && name.strip_suffix(":*").is_some_and(|name| !name.is_empty() && !name.contains(':'))
        }
        _ => false,
    }
}

/// `arn:aws:iam::ACCOUNT:role/NAME`.
fn is_role_arn(text: &str) -> bool {
    match text.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "iam", "", account, role] => {
            is_account(account) && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
        }
        _ => false,
    }
}
