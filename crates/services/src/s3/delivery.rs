//! CloudTrail's own deliveries: objects put in the name of `cloudtrail.amazonaws.com`, under the bucket's policy. They
//! come from the trail's stages, not through the front door, and are never recorded.

use async_trait::async_trait;
use cairn_trail::bucket::{Bucket as Destination, BucketPut, OnBehalfOf, PutFailure};
use cairn_wire::{AwsError, Body};

use super::S3;
use super::checksum::{Algorithm, Claim};
use super::condition::WriteConditions;
use super::encryption::{self, Asked, Encryption, NewKey};
use super::error::{Failure, access_denied};
use super::name;
use super::notify::{Cause, Kind, Origin};
use super::put::simple_object;
use super::state::{Attributes, Bucket};
use super::version;
use crate::Caller;
use crate::kms::{Asker, EncryptionContext};
use crate::sinks::{SentTo, Source, is_allowed_with};

/// In whose name deliveries are made.
const PRINCIPAL: &str = "cloudtrail.amazonaws.com";
/// The ACL that deliveries ask for.
const ACL: &str = "bucket-owner-full-control";

impl S3 {
    async fn check_delivery(
        &self,
        bucket: &str,
        action: &str,
        resource: String,
        encryption: &str,
        who: &OnBehalfOf,
    ) -> Result<(), Failure> {
        let bucket = self.bucket(bucket).await?;
        let source = Source {
            service: PRINCIPAL.to_owned(),
            arn: who.trail.to_string(),
            account: who.account.clone(),
        };
        let to = SentTo {
            action,
            arn: &resource,
            owner: &bucket.owner,
            region: &bucket.region,
            policy: bucket.policy.as_deref(),
        };
        let mut further = vec![("s3:ResourceAccount", bucket.owner.as_str())];
        if action == "s3:PutObject" {
            further.extend([("s3:x-amz-acl", ACL), ("s3:x-amz-server-side-encryption", encryption)]);
        }
        if is_allowed_with(&source, &to, self.clock.now(), &further) { Ok(()) } else { Err(access_denied()) }
    }

    /// The key for a log file: of KMS where the trail names one, asked for as CloudTrail does, with the trail's ARN in
    /// the encryption context; otherwise S3's own.
    async fn delivery_key(&self, put: &BucketPut, who: &OnBehalfOf) -> Result<NewKey, Failure> {
        let bucket = self.bucket(&put.bucket).await?;
        let asked = match &put.kms_key_id {
            None => Asked::Server,
            Some(key) => Asked::Kms {
                key: Some(key.clone()),
                context: EncryptionContext::from([("aws:cloudtrail:arn".to_owned(), who.trail.to_string())]),
                bucket_key: false,
            },
        };
        self.key_of(self.delivery_asker(&bucket, who), &bucket, &put.key, asked).await
    }

    fn delivery_asker(&self, bucket: &Bucket, who: &OnBehalfOf) -> Asker {
        let one = |name: &str, value: String| (name.to_owned(), vec![value]);
        let place = (who.account.clone(), bucket.region.clone());
        let caller = Caller::of_service(PRINCIPAL, place, self.clock.now(), self.entropy.event_id());
        let source =
            [one("aws:SourceArn", who.trail.to_string()), one("aws:SourceAccount", who.account.to_string())];
        encryption::asker(&caller, bucket, source.into())
    }

    async fn deliver(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), Failure> {
        name::check_key(&put.key)?;
        let resource = format!("arn:aws:s3:::{}/{}", put.bucket, put.key);
        let encryption = if put.kms_key_id.is_some() { "aws:kms" } else { "AES256" };
        self.check_delivery(&put.bucket, "s3:PutObject", resource, encryption, who).await?;
        let key = self.delivery_key(&put, who).await?;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let attributes = Attributes {
            headers: vec![header("ContentEncoding", "gzip"), header("ContentType", "application/json")],
            metadata: put.metadata,
            ..Attributes::default()
        };
        let claim = Claim { algorithm: None, value: None };
        let stored =
            self.store(Body::from_bytes(put.body), &claim, Algorithm::DEFAULT, Some(&key.key)).await?;
        let object = simple_object(&stored, attributes, key.encryption);
        let conditions = WriteConditions::default();
        let origin = Origin::of_service(PRINCIPAL, self.entropy.event_id());
        let cause = Cause { kind: Kind::Put, at: self.clock.now(), origin };
        self.place_object(&put.bucket, &put.key, object, conditions, cause).await?;
        Ok(())
    }
}

#[async_trait]
impl Destination for S3 {
    async fn check_acl(&self, bucket: &str, who: &OnBehalfOf) -> Result<(), PutFailure> {
        let resource = format!("arn:aws:s3:::{bucket}");
        self.check_delivery(bucket, "s3:GetBucketAcl", resource, "AES256", who).await.map_err(put_failure)
    }

    async fn check_key(&self, bucket: &str, key: &str, who: &OnBehalfOf) -> Result<String, PutFailure> {
        let put = BucketPut {
            bucket: bucket.to_owned(),
            key: format!("AWSLogs/{}/CloudTrail/", who.account),
            body: bytes::Bytes::new(),
            metadata: Vec::new(),
            kms_key_id: Some(key.to_owned()),
        };
        match self.delivery_key(&put, who).await.map_err(put_failure)?.encryption {
            Encryption::Kms(kms) => Ok(kms.key_arn),
            Encryption::Clear | Encryption::Server => Ok(key.to_owned()),
        }
    }

    async fn holds(&self, bucket: &str, key: &str) -> Result<bool, PutFailure> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let found = self.catalog.read(move |tx| Ok::<_, Failure>(version::latest(tx, &bucket, &key)?));
        Ok(found.await.map_err(put_failure)?.is_some())
    }

    async fn put(&self, put: BucketPut, who: &OnBehalfOf) -> Result<(), PutFailure> {
        self.deliver(put, who).await.map_err(put_failure)
    }
}

fn put_failure(failure: Failure) -> PutFailure {
    let error = AwsError::from(failure);
    if error.status >= 500 {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, source, "a delivery failed inside the store");
    }
    PutFailure { code: error.code.clone().into_owned(), message: error.message }
}
