//! What a call is about: the action, resource, policy and condition keys that decide whether it is allowed, and the
//! resources that its record shows.

use cairn_core::AccountId;
use cairn_wire::Call;
use serde_json::Value;

use super::S3;
use super::attributes::header_tags;
use super::copy::CopySource;
use super::delete::DELETE_OBJECTS_MAX;
use super::error::{Failure, malformed_xml};
use super::operations::{self, Entry, Scope};
use super::params::Params;
use super::policy::is_public;
use super::state::{BUCKETS, Bucket, bucket_key};
use super::{builtin, unsupported};
use crate::service::{Caller, Resource, ResourcePolicy, Target};

/// Condition keys that are request headers of the same name.
const HEADER_KEYS: [&str; 9] = [
    "x-amz-acl",
    "x-amz-copy-source",
    "x-amz-metadata-directive",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-content-sha256",
    "x-amz-object-ownership",
];

/// Condition keys that are members of listings.
const LISTING_KEYS: [(&str, &str); 3] =
    [("Prefix", "s3:prefix"), ("Delimiter", "s3:delimiter"), ("MaxKeys", "s3:max-keys")];

impl S3 {
    pub(super) async fn find_target(&self, caller: &Caller, call: &Call) -> Result<Target, Failure> {
        let entry = operations::find(&call.operation).ok_or_else(|| unsupported(&call.operation))?;
        let params = Params(&call.params);
        let name = params.bucket();
        if entry.scope == Scope::Account {
            return Ok(Target {
                action: entry.action.into(),
                resource_arn: "*".into(),
                resources: Vec::new(),
                policy: None,
                conditions: Vec::new(),
            });
        }
        // Whoever makes a bucket asks nobody, even where the name is taken.
        let bucket = match call.operation.as_str() {
            "CreateBucket" => None,
            _ => self.bucket_if_any(name).await?,
        };
        let owner = bucket.as_ref().map(|bucket| bucket.owner.clone());
        let action = match params.version_id() {
            Some(_) => entry.version_action,
            None => entry.action,
        };
        let mut target = Target {
            action: action.into(),
            resource_arn: resource_arn(entry, params),
            resources: shown_resources(entry, params, owner.as_ref()),
            policy: if call.operation == "CreateBucket" { None } else { policy_of(caller, name, bucket) },
            conditions: conditions(call, owner.as_ref()),
        };
        if call.operation == "DeleteObjects" {
            // Each key is asked for by itself: the first here, the rest as further targets.
            if let Some(first) = deletions(params).first() {
                (target.action, target.resource_arn) = deletion_target(name, first);
            }
        }
        Ok(target)
    }

    /// What else must be allowed: the source of a copy, each key of DeleteObjects, the tags and ACL of a new object.
    pub(super) async fn find_further_targets(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, Failure> {
        let params = Params(&call.params);
        if deletions(params).len() > DELETE_OBJECTS_MAX {
            return Err(malformed_xml());
        }
        let mut further = Vec::new();
        if let ("CopyObject" | "UploadPartCopy", Some(source)) =
            (call.operation.as_str(), CopySource::of(params))
        {
            let action = if source.version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
            let bucket = self.bucket_if_any(&source.bucket).await?;
            let owner = bucket.as_ref().map(|bucket| bucket.owner.clone());
            further.push(Target {
                action: action.into(),
                resource_arn: format!("arn:aws:s3:::{}/{}", source.bucket, source.key),
                resources: Vec::new(),
                policy: policy_of(caller, &source.bucket, bucket),
                conditions: resource_account(owner.as_ref()),
            });
        }
        let more_actions: &[&str] = match call.operation.as_str() {
            "PutObject" | "CopyObject" | "CreateMultipartUpload" if params.has("Tagging") => {
                &["s3:PutObjectTagging"]
            }
            "GetObjectAttributes" if params.version_id().is_some() => &["s3:GetObjectVersion"],
            "GetObjectAttributes" => &["s3:GetObject"],
            "DeleteObjects" => &["s3:DeleteObject"],
            _ => &[],
        };
        if more_actions.is_empty() {
            return Ok(further);
        }
        let first = self.find_target(caller, call).await?;
        if call.operation == "DeleteObjects" {
            further.extend(deletions(params).iter().skip(1).map(|deletion| {
                let (action, resource_arn) = deletion_target(params.bucket(), deletion);
                Target { action, resource_arn, resources: Vec::new(), ..first.clone() }
            }));
        } else {
            further.extend(more_actions.iter().map(|action| Target {
                action: (*action).into(),
                resources: Vec::new(),
                ..first.clone()
            }));
        }
        Ok(further)
    }

    async fn bucket_if_any(&self, name: &str) -> Result<Option<Bucket>, Failure> {
        let name = name.to_owned();
        self.catalog.read(move |tx| Ok(BUCKETS.get(tx, bucket_key(&name).bytes())?)).await
    }
}

fn deletions(params: Params<'_>) -> &[Value] {
    params.part("Delete").map_or(&[], |delete| delete.list("Objects"))
}

fn deletion_target(bucket: &str, deletion: &Value) -> (String, String) {
    let deletion = Params(deletion);
    let action = if deletion.version_id().is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
    (action.to_owned(), format!("arn:aws:s3:::{bucket}/{}", deletion.key()))
}

fn resource_arn(entry: &Entry, params: Params<'_>) -> String {
    match entry.scope {
        Scope::Object => format!("arn:aws:s3:::{}/{}", params.bucket(), params.key()),
        _ => format!("arn:aws:s3:::{}", params.bucket()),
    }
}

/// As AWS shows them: objects first. An object ARN that ends behind its bucket's slash stands for all objects, and
/// is shown as `ARNPrefix`. A bucket that is being made is not shown.
fn shown_resources(entry: &Entry, params: Params<'_>, owner: Option<&AccountId>) -> Vec<Resource> {
    let bucket_arn = format!("arn:aws:s3:::{}", params.bucket());
    let bucket = Resource { kind: "AWS::S3::Bucket", arn: bucket_arn.clone(), account: owner.cloned() };
    let object =
        |key: &str| Resource { kind: "AWS::S3::Object", arn: format!("{bucket_arn}/{key}"), account: None };
    match entry.scope {
        Scope::Account => Vec::new(),
        Scope::Bucket if entry.operation.name == "CreateBucket" => Vec::new(),
        Scope::Bucket => vec![bucket],
        Scope::Objects => vec![object(""), bucket],
        Scope::Object => vec![object(params.key()), bucket],
    }
}

fn policy_of(caller: &Caller, name: &str, bucket: Option<Bucket>) -> Option<ResourcePolicy> {
    if builtin::is_builtin(name) {
        // Everybody with credentials may read it; the handler refuses the rest.
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::{name}","arn:aws:s3:::{name}/*"]}}]}}"#
        );
        return Some(ResourcePolicy {
            owner: caller.account.clone(),
            document: Some(document),
            must_allow: false,
        });
    }
    let bucket = bucket?;
    let restricted = bucket.public_access_block.is_some_and(|block| block.restrict_public_buckets);
    let foreign = caller.principal.account() != Some(&bucket.owner);
    let public = |text: &String| serde_json::from_str(text).is_ok_and(|document: Value| is_public(&document));
    // RestrictPublicBuckets: a public policy lets nobody in from outside the account.
    let document = bucket.policy.filter(|text| !(restricted && foreign && public(text)));
    Some(ResourcePolicy { owner: bucket.owner, document, must_allow: false })
}

fn resource_account(owner: Option<&AccountId>) -> Vec<(String, Vec<String>)> {
    owner
        .iter()
        .flat_map(|owner| {
            ["s3:ResourceAccount", "aws:ResourceAccount"].map(|key| (key.into(), vec![owner.to_string()]))
        })
        .collect()
}

fn conditions(call: &Call, owner: Option<&AccountId>) -> Vec<(String, Vec<String>)> {
    let params = Params(&call.params);
    let mut keys = resource_account(owner);
    for header in HEADER_KEYS {
        if let Some((_, value)) = call.request.headers.iter().find(|(name, _)| name == header) {
            keys.push((format!("s3:{header}"), vec![value.clone()]));
        }
    }
    if call.operation.starts_with("List") {
        for (member, key) in LISTING_KEYS {
            let number = || params.number(member).map(|number| number.to_string());
            if let Some(value) = params.text(member).map(str::to_owned).or_else(number) {
                keys.push((key.into(), vec![value]));
            }
        }
    }
    if let Some(id) = params.version_id() {
        keys.push(("s3:VersionId".into(), vec![id.to_owned()]));
    }
    let configuration = params.part("CreateBucketConfiguration");
    if let Some(location) = configuration.and_then(|part| part.text("LocationConstraint")) {
        keys.push(("s3:LocationConstraint".into(), vec![location.to_owned()]));
    }
    let tags = requested_tags(params);
    if !tags.is_empty() {
        keys.push(("s3:RequestObjectTagKeys".into(), tags.iter().map(|(key, _)| key.clone()).collect()));
        keys.extend(tags.into_iter().map(|(key, value)| (format!("s3:RequestObjectTag/{key}"), vec![value])));
    }
    keys
}

/// The tags that a request gives an object; unreadable ones are refused by the handler.
fn requested_tags(params: Params<'_>) -> Vec<(String, String)> {
    if params.text("Tagging").is_some() {
        return header_tags(params).unwrap_or_default();
    }
    let listed = params.part("Tagging").map_or(&[][..], |tagging| tagging.list("TagSet"));
    listed
        .iter()
        .map(|tag| (Params(tag).required("Key").to_owned(), Params(tag).required("Value").to_owned()))
        .collect()
}
