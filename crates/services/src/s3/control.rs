//! S3 Control, as far as the tags of buckets: what Terraform reads and writes them by.
//!
//! On the road: a service of its own behind the front door, over the buckets of S3. Source: the S3 Control API
//! reference; records as those of S3, whose event source it shares.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::{Value, json};

use super::S3;
use super::attributes::{self, BUCKET_TAGS_MAX, tag_set};
use super::error::{Failure, access_denied, fail, invalid_request};
use super::params::Params;
use super::state::Bucket;
use super::target::{policy_of, resource_account};
use crate::service::{Access, Caller, EventKind, Operation, Resource, Service, Target};

const fn operation(name: &'static str, access: Access) -> Operation {
    Operation { name, event_name: name, access, kind: EventKind::Management }
}

const OPERATIONS: &[Operation] = &[
    operation("ListTagsForResource", Access::Read),
    operation("TagResource", Access::Write),
    operation("UntagResource", Access::Write),
];

/// The service.
pub struct S3Control(Arc<S3>);

impl S3Control {
    /// The service over the buckets of `s3`.
    #[must_use]
    pub fn new(s3: Arc<S3>) -> Self {
        Self(s3)
    }

    async fn bucket(&self, params: Params<'_>) -> Result<Bucket, Failure> {
        let name = bucket_name(params)
            .ok_or_else(|| invalid_request("The resource is not a bucket: tags of others are not built."))?;
        let bucket = self.0.bucket_if_any(name).await?;
        let bucket =
            bucket.ok_or_else(|| fail(404, "NoSuchResource", "The specified resource doesn't exist."))?;
        if params.text("AccountId") != Some(bucket.owner.as_str()) {
            return Err(access_denied());
        }
        Ok(bucket)
    }

    async fn answer(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let bucket = self.bucket(params).await?;
        match call.operation.as_str() {
            "ListTagsForResource" => Ok(Reply::of(&json!({"Tags": tag_set(&bucket.tags)}))),
            "TagResource" => {
                let given = attributes::listed_tags(params.list("Tags"), BUCKET_TAGS_MAX)?;
                self.change(&bucket.name, move |tags| {
                    tags.retain(|(key, _)| !given.iter().any(|(other, _)| other == key));
                    tags.extend(given.iter().cloned());
                })
                .await
            }
            "UntagResource" => {
                let keys: Vec<String> =
                    params.list("TagKeys").iter().filter_map(Value::as_str).map(str::to_owned).collect();
                self.change(&bucket.name, move |tags| tags.retain(|(key, _)| !keys.contains(key))).await
            }
            other => Err(super::unsupported(other)),
        }
    }

    async fn change(
        &self,
        bucket: &str,
        change: impl Fn(&mut Vec<(String, String)>) + Send + 'static,
    ) -> Result<Reply, Failure> {
        self.0
            .change_bucket(bucket, move |bucket| {
                change(&mut bucket.tags);
                if bucket.tags.len() > BUCKET_TAGS_MAX {
                    return Err(fail(
                        400,
                        "TooManyTags",
                        format!("A bucket can have at most {BUCKET_TAGS_MAX} tags."),
                    ));
                }
                Ok(())
            })
            .await
    }
}

/// The bucket that the call's ARN names.
fn bucket_name(params: Params<'_>) -> Option<&str> {
    let parts: Vec<&str> = params.required("ResourceArn").splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, "s3", "", "", name] if !name.is_empty() && !name.contains('/') => Some(name),
        _ => None,
    }
}

#[async_trait]
impl Service for S3Control {
    fn model(&self) -> &'static str {
        "s3control"
    }

    fn checks_values(&self) -> bool {
        true
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        let params = Params(&call.params);
        let arn = params.required("ResourceArn").to_owned();
        let name = bucket_name(params).unwrap_or_default();
        let bucket = self.0.bucket_if_any(name).await?;
        let owner = bucket.as_ref().map(|bucket| bucket.owner.clone());
        Ok(Target {
            action: format!("s3:{}", call.operation),
            resource_arn: arn.clone(),
            conditions: resource_account(owner.as_ref()),
            policy: policy_of(caller, name, bucket, None),
            resources: vec![Resource { kind: "AWS::S3::Bucket", arn, account: owner }],
        })
    }

    async fn handle(&self, _caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        Ok(self.answer(&call).await?)
    }
}
