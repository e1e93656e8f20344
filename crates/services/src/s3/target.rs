//! What a call is about: the action, resource, policy and condition keys that decide whether it is allowed, and the
//! resources that its record shows.

use cairn_core::AccountId;
use cairn_wire::Call;
use serde_json::{Value, json};

use super::S3;
use super::acl::{self, ObjectAcl, Ownership};
use super::attributes::header_tags;
use super::copy::CopySource;
use super::error::Failure;
use super::operations::{self, Entry, Scope};
use super::params::Params;
use super::policy::is_public;
use super::state::{BUCKETS, Bucket, bucket_key};
use super::{builtin, unsupported, version};
use crate::authorise::authorise;
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
        let object_acl = match &bucket {
            Some(bucket) if entry.scope == Scope::Object => self.acl_of(bucket, params).await?,
            _ => None,
        };
        let action = match params.version_id() {
            Some(_) => entry.version_action,
            None => entry.action,
        };
        Ok(Target {
            action: action.into(),
            resource_arn: resource_arn(entry, params),
            resources: shown_resources(entry, params, owner.as_ref()),
            policy: match call.operation.as_str() {
                "CreateBucket" => None,
                operation => {
                    policy_of(caller, name, bucket, object_acl.filter(|_| is_about_the_object(operation)))
                }
            },
            conditions: conditions(call, owner.as_ref()),
        })
    }

    /// Refuses, in AWS's words, who may not list the bucket.
    pub(super) async fn check_listing_allowed(&self, caller: &Caller, bucket: &str) -> Result<(), Failure> {
        let found = self.bucket_if_any(bucket).await?;
        let owner = found.as_ref().map(|bucket| bucket.owner.clone());
        let target = Target {
            action: "s3:ListBucket".to_owned(),
            resource_arn: format!("arn:aws:s3:::{bucket}"),
            resources: Vec::new(),
            policy: policy_of(caller, bucket, found, None),
            conditions: resource_account(owner.as_ref()),
        };
        Ok(authorise(caller, &target)?)
    }

    /// Whether each object that DeleteObjects names may be deleted by the caller.
    pub(super) async fn check_deletions_allowed(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Result<(), Failure>>, Failure> {
        let params = Params(&call.params);
        let of_call = self.find_target(caller, call).await?;
        let check = |deletion: &Value| {
            let deletion = Params(deletion);
            let action = match deletion.version_id() {
                Some(_) => "s3:DeleteObjectVersion",
                None => "s3:DeleteObject",
            };
            let bypass = params.flag("BypassGovernanceRetention").then_some("s3:BypassGovernanceRetention");
            [action].into_iter().chain(bypass).try_for_each(|action| {
                let target = Target {
                    action: action.to_owned(),
                    resource_arn: format!("arn:aws:s3:::{}/{}", params.bucket(), deletion.key()),
                    ..of_call.clone()
                };
                Ok(authorise(caller, &target)?)
            })
        };
        let listed = params.part("Delete").map_or(&[][..], |delete| delete.list("Objects"));
        Ok(listed.iter().map(check).collect())
    }

    /// The ACL of the object that a call names, where the bucket has ACLs.
    async fn acl_of(&self, bucket: &Bucket, params: Params<'_>) -> Result<Option<ObjectAcl>, Failure> {
        if bucket.ownership() == Ownership::BucketOwnerEnforced {
            return Ok(None);
        }
        let (name, key) = (bucket.name.clone(), params.key().to_owned());
        let version_id = params.version_id().map(str::to_owned);
        self.catalog
            .read(move |tx| {
                let found = match &version_id {
                    None => version::latest(tx, &name, &key)?,
                    Some(id) => match version::by_id(tx, &name, &key, id) {
                        // No version id at all, which the handler will say.
                        Err(failure) if failure.0.status == 400 => None,
                        found => found?,
                    },
                };
                Ok(found.and_then(|version| version.object).and_then(|object| object.attributes.acl))
            })
            .await
    }

    /// What else must be allowed: the source of a copy, and what a request says besides its main matter.
    pub(super) async fn find_further_targets(
        &self,
        caller: &Caller,
        call: &Call,
    ) -> Result<Vec<Target>, Failure> {
        let params = Params(&call.params);
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
                policy: policy_of(caller, &source.bucket, bucket, None),
                conditions: resource_account(owner.as_ref()),
            });
        }
        let more_actions = more_actions(call);
        if !more_actions.is_empty() {
            let first = self.find_target(caller, call).await?;
            further.extend(more_actions.into_iter().map(|action| Target {
                action: action.into(),
                resources: Vec::new(),
                ..first.clone()
            }));
        }
        Ok(further)
    }

    pub(super) async fn bucket_if_any(&self, name: &str) -> Result<Option<Bucket>, Failure> {
        let name = name.to_owned();
        self.catalog.read(move |tx| Ok(BUCKETS.get(tx, bucket_key(&name).bytes())?)).await
    }
}

/// The actions that a call needs on its resource besides its own.
fn more_actions(call: &Call) -> Vec<&'static str> {
    let params = Params(&call.params);
    let table: &[(&str, &str)] = match call.operation.as_str() {
        "PutObject" | "CopyObject" | "CreateMultipartUpload" => &[
            ("Tagging", "s3:PutObjectTagging"),
            ("ObjectLockMode", "s3:PutObjectRetention"),
            ("ObjectLockLegalHoldStatus", "s3:PutObjectLegalHold"),
        ],
        "DeleteObject" | "PutObjectRetention" => {
            &[("BypassGovernanceRetention", "s3:BypassGovernanceRetention")]
        }
        "CreateBucket" => &[
            ("ACL", "s3:PutBucketAcl"),
            ("ObjectOwnership", "s3:PutBucketOwnershipControls"),
            ("ObjectLockEnabledForBucket", "s3:PutBucketObjectLockConfiguration"),
            ("ObjectLockEnabledForBucket", "s3:PutBucketVersioning"),
        ],
        "GetObjectAttributes" if params.version_id().is_some() => &[("Key", "s3:GetObjectVersion")],
        "GetObjectAttributes" => &[("Key", "s3:GetObject")],
        _ => &[],
    };
    let given = |member: &str| match params.0.get(member) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(_) => true,
    };
    let mut actions: Vec<&str> =
        table.iter().filter(|(member, _)| given(member)).map(|(_, action)| *action).collect();
    let writes_object =
        matches!(call.operation.as_str(), "PutObject" | "CopyObject" | "CreateMultipartUpload");
    let shared = |acl: &str| !matches!(acl, "private" | "bucket-owner-full-control");
    if writes_object && params.text("ACL").is_some_and(shared) {
        actions.push("s3:PutObjectAcl");
    }
    actions
}

/// Whether an operation acts on an object that is there, so that its owner and ACL count; who puts or deletes one acts
/// on the bucket.
fn is_about_the_object(operation: &str) -> bool {
    !matches!(
        operation,
        "PutObject"
            | "CopyObject"
            | "DeleteObject"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "UploadPartCopy"
            | "CompleteMultipartUpload"
            | "AbortMultipartUpload"
            | "ListParts"
    )
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

/// The policy that a bucket's or object's owner made of policies and ACLs.
pub(super) fn policy_of(
    caller: &Caller,
    name: &str,
    bucket: Option<Bucket>,
    object_acl: Option<ObjectAcl>,
) -> Option<ResourcePolicy> {
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
    let document = bucket.policy.clone().filter(|text| !(restricted && foreign && public(text)));
    let mut granted = acl::bucket_statements(&bucket);
    granted.extend(object_acl.iter().flat_map(|acl| acl::object_statements(&bucket, acl)));
    // The bucket's owner can deny access to an object of another account's, but not grant it.
    let (owner, keeps_allows) = match object_acl.and_then(|acl| acl.owner) {
        Some(owner) => (owner, false),
        None => (bucket.owner, true),
    };
    let document =
        if granted.is_empty() && keeps_allows { document } else { merged(document, granted, keeps_allows) };
    Some(ResourcePolicy { owner, document, must_allow: false })
}

/// A policy with further statements, and without its own Allows where they do not count; none without any statement.
/// One that cannot be read stays as it is: it lets nobody in.
fn merged(document: Option<String>, granted: Vec<Value>, keeps_allows: bool) -> Option<String> {
    let mut merged = match document {
        None => json!({"Version": "2012-10-17"}),
        Some(text) => match serde_json::from_str::<Value>(&text) {
            Ok(document) if document.is_object() => document,
            _ => return Some(text),
        },
    };
    let mut statements = match merged["Statement"].take() {
        Value::Array(statements) => statements,
        Value::Null => Vec::new(),
        single => vec![single],
    };
    statements.retain(|statement| keeps_allows || statement["Effect"] == "Deny");
    statements.extend(granted);
    merged["Statement"] = statements.into();
    (merged["Statement"] != json!([])).then(|| merged.to_string())
}

pub(super) fn resource_account(owner: Option<&AccountId>) -> Vec<(String, Vec<String>)> {
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
