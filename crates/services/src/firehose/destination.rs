//! Where a delivery stream delivers: a bucket, as the API's extended S3 destination has it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::invalid;
use crate::failure::Failure;

/// The destinations that there are not.
const OTHERS: [&str; 8] = [
    "RedshiftDestination",
    "ElasticsearchDestination",
    "AmazonopensearchserviceDestination",
    "AmazonOpenSearchServerlessDestination",
    "SplunkDestination",
    "HttpEndpointDestination",
    "SnowflakeDestination",
    "IcebergDestination",
];
const SIZE_MIB_MAX: u64 = 128;
const INTERVAL_S_MAX: u64 = 900;

/// A bucket and how objects come into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Destination {
    #[serde(rename = "RoleARN")]
    pub(super) role_arn: String,
    #[serde(rename = "BucketARN")]
    pub(super) bucket_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_output_prefix: Option<String>,
    #[serde(default)]
    pub(super) buffering_hints: BufferingHints,
    #[serde(default = "uncompressed")]
    pub(super) compression_format: String,
    #[serde(default = "not_encrypted")]
    pub(super) encryption_configuration: Value,
    #[serde(default = "not_logged")]
    pub(super) cloud_watch_logging_options: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_extension: Option<String>,
}

/// How much is gathered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct BufferingHints {
    #[serde(rename = "SizeInMBs")]
    pub(super) size_mib: u64,
    #[serde(rename = "IntervalInSeconds")]
    pub(super) interval_s: u64,
}

impl Default for BufferingHints {
    fn default() -> Self {
        Self { size_mib: 5, interval_s: 300 }
    }
}

fn uncompressed() -> String {
    "UNCOMPRESSED".to_owned()
}

fn not_encrypted() -> Value {
    json!({"NoEncryptionConfig": "NoEncryption"})
}

fn not_logged() -> Value {
    json!({"Enabled": false})
}

impl Destination {
    /// The destination of CreateDeliveryStream, or of UpdateDestination over what was before.
    pub(super) fn of(params: &Value, suffix: &str, before: Option<&Self>) -> Result<Self, Failure> {
        if let Some(other) = OTHERS.iter().find(|other| !params[format!("{other}{suffix}")].is_null()) {
            return Err(invalid(format!("{other} is not supported; S3 is the one destination.")));
        }
        let given = [format!("ExtendedS3Destination{suffix}"), format!("S3Destination{suffix}")];
        let given = given.iter().find_map(|member| params.get(member).filter(|value| value.is_object()));
        let given = given.ok_or_else(|| invalid("A destination in S3 must be given."))?;
        check_unsupported(given)?;
        let mut merged = match before {
            Some(before) => serde_json::to_value(before).map_err(cairn_wire::AwsError::internal)?,
            None => json!({}),
        };
        if let (Some(merged), Some(given)) = (merged.as_object_mut(), given.as_object()) {
            merged.extend(given.clone());
        }
        let made: Self = serde_json::from_value(merged).map_err(|error| invalid(error.to_string()))?;
        made.check()?;
        Ok(made)
    }

    fn check(&self) -> Result<(), Failure> {
        if !matches!(self.compression_format.as_str(), "UNCOMPRESSED" | "GZIP") {
            return Err(invalid(format!("CompressionFormat {} is not supported.", self.compression_format)));
        }
        let BufferingHints { size_mib, interval_s } = self.buffering_hints;
        if !(1..=SIZE_MIB_MAX).contains(&size_mib) || interval_s > INTERVAL_S_MAX {
            return Err(invalid("BufferingHints must be 1 to 128 MBs and 0 to 900 seconds."));
        }
        self.bucket()?;
        super::object_key::check_prefix(self.prefix.as_deref().unwrap_or_default())
    }

    pub(super) fn bucket(&self) -> Result<&str, Failure> {
        self.bucket_arn
            .strip_prefix("arn:aws:s3:::")
            .ok_or_else(|| invalid("BucketARN is not one of a bucket."))
    }

    pub(super) fn kms_key(&self) -> Option<String> {
        let key = self.encryption_configuration.pointer("/KMSEncryptionConfig/AWSKMSKeyARN")?;
        key.as_str().map(str::to_owned)
    }

    pub(super) fn is_gzip(&self) -> bool {
        self.compression_format == "GZIP"
    }

    /// What object keys end in.
    pub(super) fn extension(&self) -> &str {
        self.file_extension.as_deref().unwrap_or(if self.is_gzip() { ".gz" } else { "" })
    }

    /// The log group and stream that errors go to.
    pub(super) fn logging(&self) -> Option<(&str, &str)> {
        let options = &self.cloud_watch_logging_options;
        options["Enabled"].as_bool().filter(|enabled| *enabled)?;
        Some((options["LogGroupName"].as_str()?, options["LogStreamName"].as_str()?))
    }
}

fn check_unsupported(given: &Value) -> Result<(), Failure> {
    for member in
        ["ProcessingConfiguration", "DynamicPartitioningConfiguration", "DataFormatConversionConfiguration"]
    {
        if given[member]["Enabled"].as_bool().unwrap_or(false) {
            return Err(invalid(format!("{member} is not supported.")));
        }
    }
    if given["S3BackupMode"].as_str() == Some("Enabled") {
        return Err(invalid("S3BackupMode is not supported."));
    }
    if given["CustomTimeZone"].as_str().is_some_and(|zone| zone != "UTC") {
        return Err(invalid("CustomTimeZone other than UTC is not supported."));
    }
    Ok(())
}
