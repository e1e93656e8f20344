//! What Firehose keeps in the catalog: delivery streams, and how far each has delivered.

use std::collections::BTreeMap;

use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::catalog::Key as Row;
use cairn_store::{StreamKey, Table};
use serde::{Deserialize, Serialize};

use super::destination::Destination;

/// Delivery streams by region, account and name.
pub(super) const DELIVERY_STREAMS: Table<DeliveryStream> = Table::new("firehose.delivery_stream", 1);
/// How far delivery streams have delivered, by their ids.
pub(super) const PROGRESS: Table<Progress> = Table::new("firehose.progress", 1);
/// What the names of delivery streams in the store begin with.
pub(super) const STORE_PREFIX: &str = "firehose-";

/// Which delivery stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
}

/// A delivery stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DeliveryStream {
    #[serde(flatten)]
    pub(super) name: Name,
    /// Tells it from others that had its name.
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) updated: Option<Timestamp>,
    pub(super) version: u64,
    /// None where records are put directly.
    pub(super) source: Option<Source>,
    pub(super) destination: Destination,
    /// Whether encryption was asked for; records are encrypted either way.
    pub(super) is_encrypted: bool,
    pub(super) kms_key: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// A stream of Kinesis that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) stream_arn: String,
    pub(super) role_arn: String,
}

/// How far a delivery stream has delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The next position of each shard; of shard 0 where records are put directly.
    pub(super) cursors: BTreeMap<u32, u64>,
    pub(super) reserved: Option<Reserved>,
}

/// An object that is to be put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reserved {
    /// Of each shard the first position, and one past the last.
    pub(super) ranges: BTreeMap<u32, (u64, u64)>,
    pub(super) key: String,
    pub(super) at: Timestamp,
    /// As the destination was then.
    pub(super) is_gzip: bool,
}

impl Name {
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:firehose:{}:{}:deliverystream/{}", self.region, self.account, self.name)
    }

    /// The delivery stream of an ARN.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", "aws", "firehose", region, account, resource] = parts[..] else { return None };
        let name = resource.strip_prefix("deliverystream/")?.to_owned();
        Some(Self { region: region.parse().ok()?, account: account.parse().ok()?, name })
    }

    pub(super) fn row(&self) -> Row {
        Row::new().text(self.region.as_str()).text(self.account.as_str()).text(&self.name)
    }
}

impl DeliveryStream {
    pub(super) fn store_key(&self) -> StreamKey {
        StreamKey::new(format!("{STORE_PREFIX}{}", self.id)).expect("ids are letters and digits")
    }

    pub(super) fn progress_row(&self) -> Row {
        Row::new().text(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<DeliveryStream>(
            r#"{"region":"eu-west-1","account":"111122223333","name":"d","id":"abc","created":1795281866042,"updated":1795281866043,"version":2,"source":{"stream_arn":"arn:aws:kinesis:eu-west-1:111122223333:stream/s","role_arn":"arn:aws:iam::111122223333:role/r"},"destination":{"RoleARN":"arn:aws:iam::111122223333:role/r","BucketARN":"arn:aws:s3:::b","Prefix":"p/","ErrorOutputPrefix":"e/","BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":300},"CompressionFormat":"GZIP","EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},"CloudWatchLoggingOptions":{"Enabled":false}},"is_encrypted":true,"kms_key":"alias/k","tags":{"k":"v"}}"#,
        );
        check::<Progress>(
            r#"{"cursors":{"0":7},"reserved":{"ranges":{"0":[7,9]},"key":"k","at":1795281866042,"is_gzip":true}}"#,
        );
    }
}
