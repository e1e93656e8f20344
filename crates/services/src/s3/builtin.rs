//! The read-only buckets `awscloudtrail-policy-REGION` with the policy templates that `aws cloudtrail
//! create-subscription` fetches. They exist in every region, belong to nobody, and everybody with credentials may
//! read them.
//!
//! Source: the AWS CLI's cloudtrail customisation (placeholders); the CloudTrail user guide's pages on bucket and
//! topic policies (statements).

use cairn_core::{Principal, Timestamp};
use cairn_wire::Call;
use serde_json::{Value, json};

use super::error::{Failure, access_denied, no_such_key};
use super::params::Params;
use super::state::NULL_VERSION;
use crate::Caller;

const PREFIX: &str = "awscloudtrail-policy-";
const S3_TEMPLATE: &str = "policy/S3/AWSCloudTrail-S3BucketPolicy-2014-12-17.json";
const SNS_TEMPLATE: &str = "policy/SNS/AWSCloudTrail-SnsTopicPolicy-2014-12-17.json";
/// 2014-12-17T00:00:00Z, the day in the templates' names.
const WRITTEN_AT_SECONDS: i64 = 1_418_774_400;

/// One object of a built-in bucket.
pub(super) struct Template {
    pub(super) key: &'static str,
    pub(super) body: String,
}

impl Template {
    pub(super) fn modified_at(&self) -> Timestamp {
        Timestamp::from_seconds(WRITTEN_AT_SECONDS)
    }
}

/// Whether a bucket is built in.
pub(super) fn is_builtin(bucket: &str) -> bool {
    bucket.starts_with(PREFIX)
}

/// Refuses what is not a read by somebody known.
pub(super) fn check_access(caller: &Caller, call: &Call) -> Result<(), Failure> {
    let reads = ["GetObject", "HeadObject", "HeadBucket", "GetBucketLocation"];
    let known = !matches!(caller.principal, Principal::Anonymous | Principal::Unknown { .. });
    if known && reads.contains(&call.operation.as_str()) { Ok(()) } else { Err(access_denied()) }
}

/// The template that a call names.
pub(super) fn template(params: Params<'_>) -> Result<Template, Failure> {
    let wanted = params.key();
    let other_version = params.version_id().is_some_and(|id| id != NULL_VERSION);
    templates()
        .into_iter()
        .find(|template| template.key == wanted && !other_version)
        .ok_or_else(|| no_such_key(wanted))
}

/// Both templates, in the order of their keys.
pub(super) fn templates() -> [Template; 2] {
    let template = |key, document: Value| Template { key, body: format!("{document:#}\n") };
    [template(S3_TEMPLATE, bucket_policy()), template(SNS_TEMPLATE, topic_policy())]
}

/// The CLI replaces `<BucketName>`, `<CustomerAccountID>` and `<Prefix>/`.
fn bucket_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AWSCloudTrailAclCheck20141217",
                "Effect": "Allow",
                "Principal": {"Service": "cloudtrail.amazonaws.com"},
                "Action": "s3:GetBucketAcl",
                "Resource": "arn:aws:s3:::<BucketName>",
            },
            {
                "Sid": "AWSCloudTrailWrite20141217",
                "Effect": "Allow",
                "Principal": {"Service": "cloudtrail.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": "arn:aws:s3:::<BucketName>/<Prefix>/AWSLogs/<CustomerAccountID>/*",
                "Condition": {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
            },
        ],
    })
}

/// The CLI replaces `<Region>`, `<SNSTopicOwnerAccountId>` and `<SNSTopicName>`.
fn topic_policy() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "AWSCloudTrailSNSPolicy20141217",
            "Effect": "Allow",
            "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": "SNS:Publish",
            "Resource": "arn:aws:sns:<Region>:<SNSTopicOwnerAccountId>:<SNSTopicName>",
        }],
    })
}
