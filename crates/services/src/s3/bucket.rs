//! Buckets: create, delete, head, list, location.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::{AccountId, Region};
use cairn_store::Tx;
use cairn_store::catalog::{Key, prefix_end};
use cairn_wire::{Call, Reply};
use serde_json::{Value, json};

use super::acl::{CannedAcl, Ownership};
use super::attributes::{self, BUCKET_TAGS_MAX};
use super::error::{Failure, access_denied, fail, invalid_argument};
use super::lifecycle;
use super::multipart;
use super::object_lock::ObjectLock;
use super::params::Params;
use super::state::{BUCKETS, Bucket, PublicAccessBlock, VERSIONS, Versioning, bucket_key};
use super::{S3, builtin, name, version};
use crate::Caller;

/// Buckets of one account.
const BUCKETS_MAX: usize = 10_000;
/// Buckets on one page of ListBuckets.
const LIST_PAGE_MAX: i64 = 10_000;
/// The region where creating a bucket twice is no error and where no location is the location.
const FIRST_REGION: &str = "us-east-1";

impl S3 {
    pub(super) async fn create_bucket(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let name = params.bucket().to_owned();
        name::check_bucket(&name)?;
        check_new_bucket_settings(params)?;
        if builtin::is_builtin(&name) {
            return Err(already_exists(&name));
        }
        let configuration = params.part("CreateBucketConfiguration");
        let region = chosen_region(caller, configuration.and_then(|part| part.text("LocationConstraint")))?;
        let tags = configuration.map_or(&[][..], |part| part.list("Tags"));
        let locked = params.flag("ObjectLockEnabledForBucket");
        let bucket = Bucket {
            name: name.clone(),
            owner: caller.account.clone(),
            region,
            created_at: caller.now.floor(std::time::Duration::from_secs(1)),
            versioning: if locked { Versioning::Enabled } else { Versioning::Never },
            policy: None,
            tags: attributes::listed_tags(tags, BUCKET_TAGS_MAX)?,
            public_access_block: Some(PublicAccessBlock::ALL),
            without_ownership_controls: false,
            default_kms: None,
            object_ownership: wanted_ownership(params)?,
            acl: CannedAcl::requested(params)?.unwrap_or_default(),
            object_lock: locked.then(ObjectLock::default),
            notifications: Vec::new(),
        };
        check_acl(&bucket)?;
        let in_first_region = caller.region.as_str() == FIRST_REGION;
        let location =
            if in_first_region { format!("/{name}") } else { format!("http://{name}.s3.amazonaws.com/") };
        self.catalog
            .write(move |tx| {
                if let Some(existing) = BUCKETS.get(tx, bucket_key(&bucket.name).bytes())? {
                    return already_there(&existing, &bucket, in_first_region);
                }
                if owned_by(tx, &bucket.owner)?.len() >= BUCKETS_MAX {
                    return Err(fail(
                        400,
                        "TooManyBuckets",
                        "You have attempted to create more buckets than allowed",
                    ));
                }
                Ok(BUCKETS.put(tx, bucket_key(&bucket.name).bytes(), &bucket)?)
            })
            .await?;
        Ok(Reply::of(&json!({"Location": location, "BucketArn": format!("arn:aws:s3:::{name}")})))
    }

    pub(super) async fn delete_bucket(&self, call: &Call) -> Result<Reply, Failure> {
        let name = Params(&call.params).bucket().to_owned();
        let freed = self
            .catalog
            .write(move |tx| {
                version::bucket(tx, &name)?;
                let prefix = Key::new().text(&name);
                let end = prefix_end(prefix.bytes());
                if !VERSIONS.scan(tx, prefix.bytes(), end.as_deref(), 1)?.is_empty() {
                    return Err(fail(409, "BucketNotEmpty", "The bucket you tried to delete is not empty")
                        .with("BucketName", name.as_str()));
                }
                BUCKETS.delete(tx, bucket_key(&name).bytes())?;
                lifecycle::forget(tx, &name)?;
                multipart::remove_all(tx, &name)
            })
            .await?;
        self.remove_freed(freed).await;
        Ok(Reply::empty())
    }

    pub(super) async fn head_bucket(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let name = Params(&call.params).bucket();
        let region = self.bucket_region(caller, name).await?;
        Ok(Reply::of(&json!({
            "BucketArn": format!("arn:aws:s3:::{name}"),
            "BucketRegion": region,
            "AccessPointAlias": false,
        })))
    }

    pub(super) async fn bucket_location(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let region = self.bucket_region(caller, Params(&call.params).bucket()).await?;
        if region.as_str() == FIRST_REGION {
            return Ok(Reply::empty());
        }
        Ok(Reply::of(&json!({"LocationConstraint": region})))
    }

    async fn bucket_region(&self, caller: &Caller, name: &str) -> Result<Region, Failure> {
        if builtin::is_builtin(name) {
            return Ok(caller.region.clone());
        }
        Ok(self.bucket(name).await?.region)
    }

    pub(super) async fn list_buckets(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let limit = params.number("MaxBuckets");
        if limit.is_some_and(|limit| !(1..=LIST_PAGE_MAX).contains(&limit)) {
            return Err(invalid_argument(
                "Argument max-buckets must be an integer between 1 and 10000.",
                "max-buckets",
                &limit.unwrap_or_default().to_string(),
            ));
        }
        let account = caller.account.clone();
        let mut buckets = self.catalog.read(move |tx| Ok::<_, Failure>(owned_by(tx, &account)?)).await?;
        let prefix = params.text("Prefix").unwrap_or_default();
        let after = params.text("ContinuationToken").map(decode_token).transpose()?.unwrap_or_default();
        buckets.retain(|bucket| {
            bucket.name.starts_with(prefix)
                && bucket.name > after
                && params.text("BucketRegion").is_none_or(|region| bucket.region.as_str() == region)
        });
        let page = usize::try_from(limit.unwrap_or(LIST_PAGE_MAX)).unwrap_or_default();
        let next = buckets.get(page).and_then(|_| buckets.get(page - 1)).map(|last| last.name.clone());
        let shown: Vec<Value> = buckets
            .iter()
            .take(page)
            .map(|bucket| {
                json!({
                    "Name": bucket.name,
                    "CreationDate": bucket.created_at.seconds(),
                    "BucketRegion": bucket.region,
                    "BucketArn": format!("arn:aws:s3:::{}", bucket.name),
                })
            })
            .collect();
        let mut reply = json!({"Buckets": shown, "Owner": {"ID": canonical_id(&caller.account)}});
        if let Some(prefix) = params.text("Prefix") {
            reply["Prefix"] = prefix.into();
        }
        if let Some(last) = next {
            reply["ContinuationToken"] = URL_SAFE_NO_PAD.encode(last).into();
        }
        Ok(Reply::of(&reply))
    }

    /// The bucket's row.
    pub(super) async fn bucket(&self, name: &str) -> Result<Bucket, Failure> {
        let name = name.to_owned();
        self.catalog.read(move |tx| version::bucket(tx, &name)).await
    }

    /// Refuses a call that names another owner than the bucket has.
    pub(super) async fn check_expected_owner(
        &self,
        bucket: &str,
        expected: Option<&str>,
    ) -> Result<(), Failure> {
        match expected {
            Some(expected) if self.bucket(bucket).await?.owner.as_str() != expected => Err(access_denied()),
            _ => Ok(()),
        }
    }
}

fn already_there(existing: &Bucket, new: &Bucket, in_first_region: bool) -> Result<(), Failure> {
    if existing.owner != new.owner {
        return Err(already_exists(&new.name));
    }
    if in_first_region && existing.region.as_str() == FIRST_REGION {
        return Ok(());
    }
    Err(fail(
        409,
        "BucketAlreadyOwnedByYou",
        "Your previous request to create the named bucket succeeded and you already own it.",
    )
    .with("BucketName", new.name.as_str()))
}

fn already_exists(name: &str) -> Failure {
    fail(
        409,
        "BucketAlreadyExists",
        "The requested bucket name is not available. The bucket namespace is shared by all users of the system. \
         Please select a different name and try again.",
    )
    .with("BucketName", name)
}

fn check_new_bucket_settings(params: Params<'_>) -> Result<(), Failure> {
    if params.has("BucketNamespace") && params.text("BucketNamespace") != Some("global") {
        return Err(super::error::not_implemented("x-amz-bucket-namespace"));
    }
    Ok(())
}

fn wanted_ownership(params: Params<'_>) -> Result<Ownership, Failure> {
    let Some(name) = params.text("ObjectOwnership") else { return Ok(Ownership::default()) };
    Ownership::named(name).ok_or_else(|| {
        invalid_argument("Invalid x-amz-object-ownership header", "x-amz-object-ownership", name)
    })
}

/// Refuses the ACL of a new bucket that its other settings exclude.
fn check_acl(bucket: &Bucket) -> Result<(), Failure> {
    if bucket.ownership() == Ownership::BucketOwnerEnforced && !bucket.acl.is_owners_alone() {
        return Err(acl_with_enforced_ownership());
    }
    if bucket.acl.is_public() {
        return Err(fail(
            400,
            "InvalidBucketAclWithBlockPublicAccessError",
            "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
        ));
    }
    Ok(())
}

pub(super) fn acl_with_enforced_ownership() -> Failure {
    fail(
        400,
        "InvalidBucketAclWithObjectOwnership",
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

/// The region of a new bucket: buckets made through a region's endpoint lie there; us-east-1 places them anywhere.
fn chosen_region(caller: &Caller, constraint: Option<&str>) -> Result<Region, Failure> {
    let illegal = |which: &str| {
        fail(
            400,
            "IllegalLocationConstraintException",
            format!(
                "The {which} location constraint is incompatible for the region specific endpoint this request was \
                 sent to."
            ),
        )
    };
    let constraint = constraint.filter(|constraint| !constraint.is_empty());
    let constraint = constraint.map(|text| if text == "EU" { "eu-west-1" } else { text });
    let invalid = |text: &str| {
        fail(400, "InvalidLocationConstraint", "The specified location-constraint is not valid")
            .with("LocationConstraint", text)
    };
    match constraint {
        None if caller.region.as_str() == FIRST_REGION => Ok(caller.region.clone()),
        None => Err(illegal("unspecified")),
        Some(FIRST_REGION) if caller.region.as_str() == FIRST_REGION => Err(invalid(FIRST_REGION)),
        Some(text) if caller.region.as_str() == FIRST_REGION || caller.region.as_str() == text => {
            text.parse().map_err(|_| invalid(text))
        }
        Some(text) => Err(illegal(text)),
    }
}

fn owned_by(tx: &mut dyn Tx, owner: &AccountId) -> Result<Vec<Bucket>, cairn_store::CatalogError> {
    let all = BUCKETS.scan_prefix(tx, &[])?;
    Ok(all.into_iter().map(|(_, bucket)| bucket).filter(|bucket| bucket.owner == *owner).collect())
}

fn decode_token(token: &str) -> Result<String, Failure> {
    URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        invalid_argument("The continuation token provided is incorrect", "continuation-token", token)
    })
}

/// The canonical user id of an account: 64 hexadecimal digits that stand for it, the same for ever.
pub(super) fn canonical_id(account: &AccountId) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, account.as_str().as_bytes()))
}
