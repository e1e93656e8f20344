//! How objects are encrypted: under S3's own key (SSE-S3, the default) or under a data key of KMS (SSE-KMS).
//!
//! An object's row says how, never the data key itself: that of SSE-KMS is kept as KMS encrypted it, and whoever reads
//! the object asks KMS for it in their own name. Source: the S3 user guide's pages on server-side encryption.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::S3;
use super::cipher::DataKey;
use super::error::{Failure, fail, invalid_argument, not_implemented};
use super::params::Params;
use super::state::Bucket;
use super::version;
use crate::Caller;
use crate::kms::{Asker, DataKeys, EncryptionContext};

/// The key of KMS that is used where none is named.
const MANAGED_KEY: &str = "alias/aws/s3";

/// Where keys for objects come from.
#[derive(Clone)]
pub struct ObjectKeys {
    /// The key of SSE-S3.
    pub server_key: DataKey,
    /// KMS.
    pub data_keys: Arc<dyn DataKeys>,
}

/// How an object's blobs are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Encryption {
    /// Not at all: objects of earlier versions.
    #[default]
    Clear,
    /// Under S3's own key.
    Server,
    /// Under a data key of KMS.
    Kms(Box<KmsEncryption>),
}

/// SSE-KMS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KmsEncryption {
    pub(super) key_arn: String,
    /// The data key as KMS encrypted it.
    pub(super) data_key_base64: String,
    pub(super) context: EncryptionContext,
    pub(super) bucket_key: bool,
}

/// What a bucket's new objects get where their requests do not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DefaultKms {
    pub(super) key: Option<String>,
    pub(super) bucket_key: bool,
}

impl Encryption {
    pub(super) fn is_clear(&self) -> bool {
        *self == Self::Clear
    }

    /// Shows it as replies do. Objects of earlier versions show what they showed.
    pub(super) fn show(&self, reply: &mut Map<String, Value>) {
        match self {
            Self::Clear | Self::Server => {
                reply.insert("ServerSideEncryption".into(), "AES256".into());
            }
            Self::Kms(kms) => {
                reply.insert("ServerSideEncryption".into(), "aws:kms".into());
                reply.insert("SSEKMSKeyId".into(), kms.key_arn.as_str().into());
                if kms.bucket_key {
                    reply.insert("BucketKeyEnabled".into(), true.into());
                }
            }
        }
    }
}

/// What a request, or a bucket, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Server,
    Kms { key: Option<String>, context: EncryptionContext, bucket_key: bool },
}

impl Asked {
    /// What the request asks for; none where it leaves it to the bucket.
    pub(super) fn of(params: Params<'_>) -> Result<Option<Self>, Failure> {
        let key = params.text("SSEKMSKeyId").map(str::to_owned);
        let bucket_key = params.0.get("BucketKeyEnabled").and_then(Value::as_bool).unwrap_or(false);
        match params.text("ServerSideEncryption") {
            Some("aws:kms") => {
                let context = params.text("SSEKMSEncryptionContext").map(parse_context).transpose()?;
                Ok(Some(Self::Kms { key, context: context.unwrap_or_default(), bucket_key }))
            }
            _ if key.is_some() || params.has("SSEKMSEncryptionContext") => Err(invalid_argument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : \
                 aws:kms",
                "x-amz-server-side-encryption",
                params.text("ServerSideEncryption").unwrap_or("null"),
            )),
            Some("AES256") => Ok(Some(Self::Server)),
            Some(_) => Err(not_implemented("x-amz-server-side-encryption")),
            None => Ok(None),
        }
    }

    /// What the bucket asks for where a request does not say.
    pub(super) fn of_bucket(bucket: &Bucket) -> Self {
        bucket.default_kms.as_ref().map_or(Self::Server, |kms| Self::Kms {
            key: kms.key.clone(),
            context: BTreeMap::new(),
            bucket_key: kms.bucket_key,
        })
    }
}

/// The context comes as base64 of JSON of texts.
fn parse_context(header: &str) -> Result<EncryptionContext, Failure> {
    let invalid = || {
        invalid_argument(
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which \
             represents a string-string map",
            "x-amz-server-side-encryption-context",
            header,
        )
    };
    serde_json::from_slice(&STANDARD.decode(header).map_err(|_| invalid())?).map_err(|_| invalid())
}

/// A new object's encryption, with the key that its bytes are encrypted under.
#[derive(Clone)]
pub(super) struct NewKey {
    pub(super) encryption: Encryption,
    pub(super) key: DataKey,
}

impl S3 {
    /// The key for a new object or upload.
    pub(super) async fn new_key(
        &self,
        caller: &Caller,
        bucket: &str,
        key: &str,
        asked: Option<Asked>,
    ) -> Result<NewKey, Failure> {
        let name = bucket.to_owned();
        let bucket = self.catalog.read(move |tx| version::bucket(tx, &name)).await?;
        let asked = asked.unwrap_or_else(|| Asked::of_bucket(&bucket));
        self.key_of(asker(caller, &bucket, Vec::new()), &bucket, key, asked).await
    }

    /// The key for a new object, asked for in the name of `asker`.
    pub(super) async fn key_of(
        &self,
        asker: Asker,
        bucket: &Bucket,
        key: &str,
        asked: Asked,
    ) -> Result<NewKey, Failure> {
        let Asked::Kms { key: kms_key, mut context, bucket_key } = asked else {
            return Ok(NewKey { encryption: Encryption::Server, key: self.keys.server_key });
        };
        let object = format!("arn:aws:s3:::{}/{key}", bucket.name);
        let whole = format!("arn:aws:s3:::{}", bucket.name);
        context.insert("aws:s3:arn".to_owned(), if bucket_key { whole } else { object });
        let named = kms_key.as_deref().unwrap_or(MANAGED_KEY);
        let made = self.keys.data_keys.generate(&asker, named, &context).await.map_err(of_kms)?;
        let encryption = Encryption::Kms(Box::new(KmsEncryption {
            key_arn: made.key_arn,
            data_key_base64: STANDARD.encode(made.blob),
            context,
            bucket_key,
        }));
        Ok(NewKey { encryption, key: made.plaintext })
    }

    /// The key that an object's or upload's bytes are encrypted under; none where they are not.
    pub(super) async fn key_for(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        encryption: &Encryption,
    ) -> Result<Option<DataKey>, Failure> {
        self.key_as(&asker(caller, bucket, Vec::new()), encryption).await
    }

    /// The same, asked for in the name of `asker`.
    pub(super) async fn key_as(
        &self,
        asker: &Asker,
        encryption: &Encryption,
    ) -> Result<Option<DataKey>, Failure> {
        match encryption {
            Encryption::Clear => Ok(None),
            Encryption::Server => Ok(Some(self.keys.server_key)),
            Encryption::Kms(kms) => {
                let blob = STANDARD.decode(&kms.data_key_base64).map_err(AwsError::internal)?;
                let key = self.keys.data_keys.decrypt(asker, &blob, &kms.context).await.map_err(of_kms)?;
                Ok(Some(key))
            }
        }
    }
}

/// Keys are looked for in the bucket's region.
pub(super) fn asker(caller: &Caller, bucket: &Bucket, conditions: Vec<(String, Vec<String>)>) -> Asker {
    let caller = Caller { region: bucket.region.clone(), ..caller.clone() };
    Asker { caller, service: "s3", conditions }
}

/// KMS's errors as S3 tells them.
fn of_kms(error: AwsError) -> Failure {
    match error.code.as_ref() {
        _ if error.status >= 500 => error.into(),
        "AccessDeniedException" => fail(403, "AccessDenied", error.message),
        code => AwsError::with_status(400, format!("KMS.{code}"), error.message).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(params: Value, expected: &str) {
        let found = match Asked::of(Params(&params)) {
            Ok(asked) => format!("{asked:?}"),
            Err(failure) => AwsError::from(failure).code.into_owned(),
        };
        assert_eq!(found, expected, "{params}");
    }

    #[test]
    fn a_request_asks_for_its_encryption_or_leaves_it_to_the_bucket() {
        check(json!({}), "None");
        check(json!({"ServerSideEncryption": "AES256"}), "Some(Server)");
        let context = STANDARD.encode(r#"{"a":"b"}"#);
        check(
            json!({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k", "SSEKMSEncryptionContext": context, "BucketKeyEnabled": true}),
            r#"Some(Kms { key: Some("k"), context: {"a": "b"}, bucket_key: true })"#,
        );
        check(json!({"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "?"}), "InvalidArgument");
        check(json!({"SSEKMSKeyId": "k"}), "InvalidArgument");
        check(json!({"ServerSideEncryption": "aws:kms:dsse"}), "NotImplemented");
    }
}
