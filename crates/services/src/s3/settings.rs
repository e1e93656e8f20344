//! A bucket's sub-resources: tagging, versioning, ACL, encryption, public access block, ownership; and those that
//! are not built, which read as unset with AWS's codes and cannot be set.

use cairn_wire::{Call, Reply};
use serde_json::{Value, json};

use super::S3;
use super::acl::{self, CannedAcl, Ownership};
use super::attributes::{self, BUCKET_TAGS_MAX, tag_set};
use super::encryption::DefaultKms;
use super::error::{Failure, fail, invalid_request, malformed_xml, not_implemented};
use super::object_lock::{self, invalid_state};
use super::params::Params;
use super::state::{BUCKETS, Bucket, PublicAccessBlock, Versioning, bucket_key};
use super::{bucket, unsupported, version};

impl S3 {
    /// Changes a bucket's row.
    pub(super) async fn change_bucket(
        &self,
        name: &str,
        change: impl Fn(&mut Bucket) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let name = name.to_owned();
        self.catalog
            .write(move |tx| {
                let mut bucket = version::bucket(tx, &name)?;
                change(&mut bucket)?;
                Ok::<_, Failure>(BUCKETS.put(tx, bucket_key(&name).bytes(), &bucket)?)
            })
            .await?;
        Ok(Reply::empty())
    }

    /// Operations that read a sub-resource.
    pub(super) async fn read_setting(&self, call: &Call) -> Result<Reply, Failure> {
        let bucket = self.bucket(Params(&call.params).bucket()).await?;
        let reply = match call.operation.as_str() {
            "GetBucketTagging" if bucket.tags.is_empty() => return Err(unset("NoSuchTagSet", &bucket)),
            "GetBucketTagging" => json!({"TagSet": tag_set(&bucket.tags)}),
            "GetBucketVersioning" => match bucket.versioning {
                Versioning::Never => json!({}),
                Versioning::Enabled => json!({"Status": "Enabled"}),
                Versioning::Suspended => json!({"Status": "Suspended"}),
            },
            "GetBucketAcl" => acl::shown_of_bucket(&bucket),
            "GetBucketEncryption" => shown_encryption(&bucket),
            "GetPublicAccessBlock" => match bucket.public_access_block {
                Some(block) => json!({"PublicAccessBlockConfiguration": block}),
                None => return Err(unset("NoSuchPublicAccessBlockConfiguration", &bucket)),
            },
            "GetBucketOwnershipControls" if bucket.without_ownership_controls => {
                return Err(unset("OwnershipControlsNotFoundError", &bucket));
            }
            "GetBucketOwnershipControls" => {
                json!({"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.object_ownership.name()}]}})
            }
            "GetBucketRequestPayment" => json!({"Payer": "BucketOwner"}),
            "GetBucketCors" => return Err(unset("NoSuchCORSConfiguration", &bucket)),
            "GetBucketWebsite" => return Err(unset("NoSuchWebsiteConfiguration", &bucket)),
            "GetBucketReplication" => return Err(unset("ReplicationConfigurationNotFoundError", &bucket)),
            "GetObjectLockConfiguration" => match &bucket.object_lock {
                Some(lock) => object_lock::shown_configuration(lock),
                None => return Err(unset("ObjectLockConfigurationNotFoundError", &bucket)),
            },
            // Off is empty.
            "GetBucketLogging" | "GetBucketAccelerateConfiguration" => json!({}),
            other => return Err(unsupported(other)),
        };
        Ok(Reply::of(&reply))
    }

    /// Operations that set a sub-resource or take it away.
    pub(super) async fn write_setting(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let name = params.bucket();
        match call.operation.as_str() {
            "PutBucketTagging" => {
                let listed = params.part("Tagging").map_or(&[][..], |tagging| tagging.list("TagSet"));
                let tags = attributes::listed_tags(listed, BUCKET_TAGS_MAX)?;
                self.change_bucket(name, move |bucket| {
                    bucket.tags.clone_from(&tags);
                    Ok(())
                })
                .await
            }
            "DeleteBucketTagging" => {
                self.change_bucket(name, |bucket| {
                    bucket.tags.clear();
                    Ok(())
                })
                .await
            }
            "PutBucketVersioning" => {
                let versioning = wanted_versioning(params)?;
                self.change_bucket(name, move |bucket| set_versioning(bucket, versioning)).await
            }
            "PutPublicAccessBlock" => {
                let block = params.0.get("PublicAccessBlockConfiguration").unwrap_or(&Value::Null);
                let block: PublicAccessBlock =
                    serde_json::from_value(block.clone()).map_err(|_| malformed_xml())?;
                self.set_public_access_block(name, Some(block)).await
            }
            "DeletePublicAccessBlock" => self.set_public_access_block(name, None).await,
            "PutBucketAcl" => {
                let wanted = acl_change(params)?;
                self.change_bucket(name, move |bucket| {
                    acl::check(bucket, wanted)?;
                    bucket.acl = wanted;
                    Ok(())
                })
                .await
            }
            "PutBucketEncryption" => {
                let wanted = wanted_encryption(params)?;
                self.change_bucket(name, move |bucket| {
                    bucket.default_kms.clone_from(&wanted);
                    Ok(())
                })
                .await
            }
            "PutBucketOwnershipControls" => {
                let wanted = wanted_ownership(params)?;
                self.set_ownership_controls(name, Some(wanted)).await
            }
            "DeleteBucketOwnershipControls" => self.set_ownership_controls(name, None).await,
            "DeleteBucketEncryption" => {
                self.change_bucket(name, |bucket| {
                    bucket.default_kms = None;
                    Ok(())
                })
                .await
            }
            // What cannot be set need not be taken away: nothing to do.
            "DeleteBucketCors" | "DeleteBucketWebsite" | "DeleteBucketReplication" => {
                self.bucket(name).await.map(|_| Reply::empty())
            }
            other => Err(unsupported(other)),
        }
    }

    async fn set_ownership_controls(&self, name: &str, wanted: Option<Ownership>) -> Result<Reply, Failure> {
        self.change_bucket(name, move |bucket| {
            if wanted == Some(Ownership::BucketOwnerEnforced) && !bucket.acl.is_owners_alone() {
                return Err(bucket::acl_with_enforced_ownership());
            }
            bucket.without_ownership_controls = wanted.is_none();
            bucket.object_ownership = wanted.unwrap_or_default();
            Ok(())
        })
        .await
    }

    async fn set_public_access_block(
        &self,
        name: &str,
        block: Option<PublicAccessBlock>,
    ) -> Result<Reply, Failure> {
        self.change_bucket(name, move |bucket| {
            bucket.public_access_block = block;
            Ok(())
        })
        .await
    }
}

/// The error for a sub-resource that is not set.
pub(super) fn unset(code: &'static str, bucket: &Bucket) -> Failure {
    let message = match code {
        "NoSuchTagSet" => "The TagSet does not exist",
        "NoSuchPublicAccessBlockConfiguration" => "The public access block configuration was not found",
        "NoSuchCORSConfiguration" => "The CORS configuration does not exist",
        "NoSuchWebsiteConfiguration" => "The specified bucket does not have a website configuration",
        "NoSuchLifecycleConfiguration" => "The lifecycle configuration does not exist",
        "OwnershipControlsNotFoundError" => "The bucket ownership controls were not found",
        "ReplicationConfigurationNotFoundError" => "The replication configuration was not found",
        _ => "Object Lock configuration does not exist for this bucket",
    };
    fail(404, code, message).with("BucketName", bucket.name.as_str())
}

/// The ACL that PutBucketAcl or PutObjectAcl names; lists of grants are not built.
pub(super) fn acl_change(params: Params<'_>) -> Result<CannedAcl, Failure> {
    if params.has("AccessControlPolicy") {
        return Err(not_implemented("AccessControlPolicy"));
    }
    CannedAcl::requested(params)?.ok_or_else(|| {
        fail(400, "MissingSecurityHeader", "Your request was missing a required header")
            .with("MissingHeaderName", "x-amz-acl")
    })
}

fn set_versioning(bucket: &mut Bucket, versioning: Versioning) -> Result<(), Failure> {
    if bucket.object_lock.is_some() && versioning != Versioning::Enabled {
        return Err(invalid_state(
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
        ));
    }
    bucket.versioning = versioning;
    Ok(())
}

fn wanted_versioning(params: Params<'_>) -> Result<Versioning, Failure> {
    let configuration = params.part("VersioningConfiguration").ok_or_else(malformed_xml)?;
    if configuration.text("MFADelete") == Some("Enabled") {
        return Err(not_implemented("x-amz-mfa"));
    }
    match configuration.text("Status") {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        None => Err(fail(
            400,
            "IllegalVersioningConfigurationException",
            "The Versioning element must be specified",
        )),
        Some(_) => Err(malformed_xml()),
    }
}

fn shown_encryption(bucket: &Bucket) -> Value {
    let (default, bucket_key) = match &bucket.default_kms {
        None => (json!({"SSEAlgorithm": "AES256"}), false),
        Some(kms) => {
            let mut default = json!({"SSEAlgorithm": "aws:kms"});
            if let Some(key) = &kms.key {
                default["KMSMasterKeyID"] = key.as_str().into();
            }
            (default, kms.bucket_key)
        }
    };
    json!({"ServerSideEncryptionConfiguration": {"Rules": [{
        "ApplyServerSideEncryptionByDefault": default,
        "BucketKeyEnabled": bucket_key,
    }]}})
}

fn wanted_encryption(params: Params<'_>) -> Result<Option<DefaultKms>, Failure> {
    let rules = params.part("ServerSideEncryptionConfiguration").map_or(&[][..], |part| part.list("Rules"));
    let [rule] = rules else { return Err(malformed_xml()) };
    let default = Params(rule).part("ApplyServerSideEncryptionByDefault").ok_or_else(malformed_xml)?;
    let bucket_key = rule.get("BucketKeyEnabled").and_then(Value::as_bool).unwrap_or(false);
    match default.text("SSEAlgorithm") {
        Some("aws:kms") => {
            let key = default.text("KMSMasterKeyID").map(str::to_owned);
            return Ok(Some(DefaultKms { key, bucket_key }));
        }
        Some("AES256") => {}
        _ => return Err(not_implemented("x-amz-server-side-encryption")),
    }
    if default.has("KMSMasterKeyID") {
        return Err(invalid_request(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        ));
    }
    Ok(None)
}

fn wanted_ownership(params: Params<'_>) -> Result<Ownership, Failure> {
    let rules = params.part("OwnershipControls").map_or(&[][..], |part| part.list("Rules"));
    let [rule] = rules else { return Err(malformed_xml()) };
    Params(rule).text("ObjectOwnership").and_then(Ownership::named).ok_or_else(malformed_xml)
}
