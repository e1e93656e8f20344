//! What is tried before a trail is made or changed: whether its bucket takes files in the trail's name, its topic messages,
//! and its log group lines of its role.
//!
//! The real service reads the bucket's ACL and puts an empty object at the head of each folder that the trail will
//! write to. These markers stay, even where the call then fails. The topic is told `CloudTrail validation message.` each
//! time that a trail which has one is made or changed.

use bytes::Bytes;
use cairn_core::logfile::account_root;
use cairn_trail::bucket::OnBehalfOf;
use cairn_trail::{Bucket, BucketPut, LogGroups, LogPlace, PutFailure, Topic, TopicFailure, Trail};
use cairn_wire::AwsError;

use super::destinations;

/// Checks that `trail` can write to its bucket, and puts a marker into each of `folders`: `CloudTrail`.
pub(super) async fn check_bucket(
    bucket: &dyn Bucket,
    trail: &Trail,
    folders: &[&str],
) -> Result<(), AwsError> {
    let who = on_behalf_of(trail);
    let refused = |failure| bucket_error(&trail.bucket, failure);
    bucket.check_acl(&trail.bucket, &who).await.map_err(refused)?;
    for folder in folders {
        let put = BucketPut {
            bucket: trail.bucket.clone(),
            key: marker_key(trail, folder),
            body: Bytes::new(),
            metadata: Vec::new(),
            kms_key_id: None,
        };
        bucket.put(put, &who).await.map_err(refused)?;
    }
    Ok(())
}

/// Checks that `trail` can encrypt its log files under its KMS key; says the key's ARN.
pub(super) async fn check_key(bucket: &dyn Bucket, trail: &Trail, key: &str) -> Result<String, AwsError> {
    let who = on_behalf_of(trail);
    bucket.check_key(&trail.bucket, key, &who).await.map_err(|failure| match failure.code.as_str() {
        "KMS.DisabledException" | "KMS.KMSInvalidStateException" => {
            AwsError::invalid("KmsException", failure.message)
        }
        "InternalError" | "InternalFailure" => AwsError::internal(failure),
        _ => destinations::unusable_kms_key(&trail.bucket, key),
    })
}

/// What a trail's topic is told when the trail is made or changed.
const VALIDATION_MESSAGE: &str = "CloudTrail validation message.";

/// Checks that the trail's topic, where it has one, is there and lets CloudTrail publish.
pub(super) async fn check_topic(topic: &dyn Topic, trail: &Trail) -> Result<(), AwsError> {
    let Some(topic_arn) = trail.sns_topic_arn() else { return Ok(()) };
    topic.check(&topic_arn, &on_behalf_of(trail)).await.map_err(topic_error)
}

/// Publishes the validation message on the trail's topic, where it has one.
pub(super) async fn validate_topic(topic: &dyn Topic, trail: &Trail) -> Result<(), AwsError> {
    let Some(topic_arn) = trail.sns_topic_arn() else { return Ok(()) };
    let message = VALIDATION_MESSAGE.to_owned();
    topic.publish(&topic_arn, message, &on_behalf_of(trail)).await.map_err(topic_error)
}

/// Checks that the trail's role can be assumed and may write to its log group, where it has one.
pub(super) async fn check_log_group(groups: &dyn LogGroups, trail: &Trail) -> Result<(), AwsError> {
    let Some(place) = LogPlace::of(trail) else { return Ok(()) };
    groups.check(&place).await.map_err(|failure| match failure.code.as_str() {
        code if is_internal(code) => AwsError::internal(failure),
        _ if failure.is_of_role => destinations::denied_role(),
        "ResourceNotFoundException" => destinations::unknown_log_group(),
        _ => destinations::denied_log_group(),
    })
}

fn on_behalf_of(trail: &Trail) -> OnBehalfOf {
    OnBehalfOf { trail: trail.arn.clone(), account: trail.arn.account() }
}

fn topic_error(failure: TopicFailure) -> AwsError {
    if is_internal(&failure.code) { AwsError::internal(failure) } else { destinations::unusable_topic() }
}

/// Codes that say nothing of the destination.
fn is_internal(code: &str) -> bool {
    matches!(code, "InternalError" | "InternalFailure" | "ServiceUnavailable" | "SlowDown")
}

/// The folders that a trail of this configuration writes to.
pub(super) fn folders(trail: &Trail) -> &'static [&'static str] {
    if trail.log_file_validation { &["CloudTrail", "CloudTrail-Digest"] } else { &["CloudTrail"] }
}

fn marker_key(trail: &Trail, folder: &str) -> String {
    let (prefix, organization) = (trail.key_prefix.as_deref(), trail.organization_id.as_deref());
    format!("{}{folder}/", account_root(prefix, organization, &trail.arn.account()))
}

fn bucket_error(bucket: &str, failure: PutFailure) -> AwsError {
    match failure.code.as_str() {
        "NoSuchBucket" => {
            AwsError::invalid("S3BucketDoesNotExistException", format!("S3 bucket {bucket} does not exist!"))
        }
        code if is_internal(code) => AwsError::internal(failure),
        // Denied by its policy, owned by another account, or otherwise not fit to deliver to.
        _ => AwsError::invalid(
            "InsufficientS3BucketPolicyException",
            format!("Incorrect S3 bucket policy is detected for bucket: {bucket}"),
        ),
    }
}
