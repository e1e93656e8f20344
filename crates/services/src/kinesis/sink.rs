//! Kinesis as other services reach it: records in the name of a service or a role, recorded nowhere.

use async_trait::async_trait;
use cairn_wire::AwsError;

use super::error::{Failure, invalid, no_stream};
use super::name::StreamName;
use super::put::{NewRecord, check_size};
use super::state::Stream;
use super::{Kinesis, Live, Shared};
use crate::Caller;
use crate::kms::Asker;
use crate::sinks::{Sender, SentTo, SinkFailure, StreamRecord, StreamSink};

/// How many records are put at a time.
const BATCH_RECORDS_MAX: usize = 500;

impl Shared {
    /// The stream, where `sender` may do `action` on it.
    pub(super) fn open_to(&self, sender: &Sender, action: &str, stream_arn: &str) -> Result<Live, Failure> {
        let name = StreamName::of_arn(stream_arn);
        let name = name.ok_or_else(|| invalid(format!("Invalid StreamARN: {stream_arn}")))?;
        let found = self.find(&name);
        let policy = found.as_ref().and_then(|live| live.stream.policy.as_deref());
        let arn = name.arn();
        let (owner, region) = (&name.account, &name.region);
        sender.check(&SentTo { action, arn: &arn, owner, region, policy }, self.clock.now(), &[])?;
        found.clone().ok_or_else(|| no_stream(&name))
    }

    /// In whose name KMS is asked for a sender.
    pub(super) fn asker_for(&self, sender: &Sender, stream: &Stream) -> Asker {
        let (place, now) = ((stream.name.account.clone(), stream.name.region.clone()), self.clock.now());
        match sender {
            Sender::Role(role) => super::asker(&Caller { now, ..Caller::clone(role) }, stream),
            Sender::Service(source) => {
                let caller = Caller::of_service(&source.service, place, now, self.entropy.event_id());
                Asker::for_source("kinesis", caller, source)
            }
        }
    }
}

#[async_trait]
impl StreamSink for Kinesis {
    async fn check(&self, sender: &Sender, stream_arn: &str) -> Result<(), SinkFailure> {
        self.open_to(sender, "kinesis:PutRecords", stream_arn).map(drop).map_err(told)
    }

    async fn put(
        &self,
        sender: &Sender,
        stream_arn: &str,
        records: Vec<StreamRecord>,
    ) -> Result<(), SinkFailure> {
        let live = self.open_to(sender, "kinesis:PutRecords", stream_arn).map_err(told)?;
        let asker = self.asker_for(sender, &live.stream);
        let new =
            |StreamRecord { partition_key, data }| NewRecord { partition_key, explicit_hash_key: None, data };
        let records: Vec<NewRecord> = records.into_iter().map(new).collect();
        records.iter().try_for_each(check_size).map_err(told)?;
        for batch in records.chunks(BATCH_RECORDS_MAX) {
            let outcomes = self.put_all(&live, &asker, batch.to_vec()).await.map_err(told)?;
            outcomes.into_iter().try_for_each(|outcome| outcome.map(drop)).map_err(told)?;
        }
        Ok(())
    }
}

/// A failure as others are told of it: that a stream takes no more now goes by itself.
fn told(failure: Failure) -> SinkFailure {
    let failure = SinkFailure::from(AwsError::from(failure));
    let is_too_fast = failure.code == "ProvisionedThroughputExceededException";
    SinkFailure { is_transient: failure.is_transient || is_too_fast, ..failure }
}
