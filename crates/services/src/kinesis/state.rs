//! What Kinesis keeps in the catalog: streams with their shards and consumers. Records are the store's.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use cairn_store::{StreamKey, Table};
use serde::{Deserialize, Serialize};

use super::hash_key::HashKey;
use super::name::StreamName;
use super::sequence::Sequence;

/// Streams by region, account and name.
pub(super) const STREAMS: Table<Stream> = Table::new("kinesis.stream", 1);
/// What the names of shards in the store begin with, before the stream's id.
pub(super) const STORE_PREFIX: &str = "kinesis-";

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stream {
    #[serde(flatten)]
    pub(super) name: StreamName,
    /// Tells it from others that had its name.
    pub(super) id: String,
    pub(super) created: Timestamp,
    pub(super) mode: Mode,
    pub(super) retention_h: u32,
    /// The key of KMS that records are encrypted under; the server's where none is given.
    pub(super) kms_key: Option<String>,
    /// In the order of their numbers. Those that are closed go when their records are over the retention.
    pub(super) shards: Vec<Shard>,
    pub(super) next_shard: u32,
    pub(super) consumers: Vec<Consumer>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) policy: Option<String>,
}

/// How the stream's throughput is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    /// By its shards.
    Provisioned,
    /// Not at all.
    OnDemand,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shard {
    pub(super) number: u32,
    pub(super) first: HashKey,
    pub(super) last: HashKey,
    pub(super) created: Timestamp,
    /// The shard that it was split from, or the first of the two that it was merged of.
    pub(super) parent: Option<u32>,
    pub(super) adjacent_parent: Option<u32>,
    /// Since when it takes no record.
    pub(super) closed: Option<Closed>,
}

/// How a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) at: Timestamp,
    /// One past its last record.
    pub(super) end: u64,
}

/// A consumer with a throughput of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Consumer {
    pub(super) name: String,
    pub(super) created: Timestamp,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) policy: Option<String>,
}

impl Stream {
    pub(super) fn open_shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| shard.closed.is_none())
    }

    pub(super) fn shard(&self, number: u32) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.number == number)
    }

    /// The shard with this id.
    pub(super) fn shard_named(&self, shard_id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id() == shard_id)
    }

    /// The open shard that takes this hash key.
    pub(super) fn shard_for(&self, key: HashKey) -> Option<&Shard> {
        self.open_shards().find(|shard| shard.first <= key && key <= shard.last)
    }

    /// The name in the store of one of its shards.
    pub(super) fn store_key(&self, shard: u32) -> StreamKey {
        StreamKey::new(format!("{STORE_PREFIX}{}-{shard}", self.id)).expect("ids are letters, digits and -")
    }

    pub(super) fn consumer_arn(&self, consumer: &Consumer) -> String {
        format!("{}/consumer/{}:{}", self.name.arn(), consumer.name, consumer.created.seconds())
    }
}

impl Shard {
    /// `shardId-000000000000`.
    pub(super) fn id(&self) -> String {
        shard_id(self.number)
    }

    /// Whether there is, or may come, a record in it.
    pub(super) fn has_records(&self) -> bool {
        self.closed.is_none_or(|closed| closed.end > 0)
    }

    /// The sequence number of its record at `position`.
    pub(super) fn sequence(&self, position: u64, arrived: Timestamp) -> Sequence {
        Sequence::of_record(self.number, self.created, position, arrived)
    }
}

pub(super) fn shard_id(number: u32) -> String {
    format!("shardId-{number:012}")
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    /// Rows as the first release wrote them: these texts must stay readable for ever.
    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Stream>(
            r#"{"region":"eu-west-1","account":"111122223333","name":"s","id":"abcdefghij0123456789-abc","created":1795281866042,"mode":"Provisioned","retention_h":24,"kms_key":"alias/k","shards":[{"number":0,"first":"0","last":"340282366920938463463374607431768211455","created":1795281866042,"parent":null,"adjacent_parent":null,"closed":{"at":1795281866043,"end":7}},{"number":1,"first":"0","last":"340282366920938463463374607431768211455","created":1795281866043,"parent":0,"adjacent_parent":null,"closed":null}],"next_shard":2,"consumers":[{"name":"c","created":1795281866044,"tags":{"k":"v"},"policy":"{}"}],"tags":{"k":"v"},"policy":"{}"}"#,
        );
        check::<Mode>(r#""OnDemand""#);
    }
}
