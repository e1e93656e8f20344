//! PutRecord and PutRecordBatch, and records that other services put.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_wire::AwsError;
use serde_json::{Value, json};

use super::gather::DATA_KEY_REUSE;
use super::state::{DeliveryStream, Name};
use super::{Firehose, fail, invalid, of_store};
use crate::failure::Failure;
use crate::sinks::{FirehoseSink, Sender, SentTo, SinkFailure};

/// The largest record, and the largest call.
const RECORD_SIZE_BYTES_MAX: usize = 1000 << 10;
const CALL_SIZE_BYTES_MAX: usize = 4 << 20;

impl Firehose {
    pub(super) async fn put_record(&self, name: &Name, params: &Value) -> Result<Value, Failure> {
        let stream = self.direct(name).await?;
        let first = self.put_all(&stream, vec![data_of(&params["Record"])?]).await?;
        Ok(json!({"RecordId": record_id(&stream, first), "Encrypted": stream.is_encrypted}))
    }

    pub(super) async fn put_record_batch(&self, name: &Name, params: &Value) -> Result<Value, Failure> {
        let stream = self.direct(name).await?;
        let records = params["Records"].as_array().into_iter().flatten();
        let records = records.map(data_of).collect::<Result<Vec<_>, _>>()?;
        if records.iter().map(Bytes::len).sum::<usize>() > CALL_SIZE_BYTES_MAX {
            return Err(invalid("Records size exceeds 4 MB limit"));
        }
        let count = records.len() as u64;
        let first = self.put_all(&stream, records).await?;
        let responses: Vec<Value> = (first..first + count)
            .map(|position| json!({"RecordId": record_id(&stream, position)}))
            .collect();
        Ok(json!({
            "FailedPutCount": 0,
            "Encrypted": stream.is_encrypted,
            "RequestResponses": responses,
        }))
    }

    /// A delivery stream that records are put into directly.
    async fn direct(&self, name: &Name) -> Result<DeliveryStream, Failure> {
        let stream = self.find(name).await?;
        if stream.source.is_some() {
            return Err(invalid(
                "This operation is not permitted on KinesisStreamAsSource delivery stream type.",
            ));
        }
        Ok(stream)
    }

    /// Makes records durable; says where the first is.
    async fn put_all(&self, stream: &DeliveryStream, records: Vec<Bytes>) -> Result<u64, Failure> {
        if let Some(large) = records.iter().find(|record| record.len() > RECORD_SIZE_BYTES_MAX) {
            let size_bytes = large.len();
            return Err(invalid(format!(
                "A record of {size_bytes} bytes is over {RECORD_SIZE_BYTES_MAX} bytes."
            )));
        }
        let asker = self.asker(stream);
        let kms_key = stream.kms_key.as_deref();
        let sealing = self.cipher.sealing_key(&asker, &stream.name.arn(), kms_key, DATA_KEY_REUSE).await;
        let sealing = sealing.map_err(of_kms)?;
        let key = stream.store_key();
        let seal = |record: &Bytes| sealing.seal(key.as_str().as_bytes(), record.to_vec());
        let sealed = records.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        let first = self.deps.streams.append(&key, sealed, self.deps.clock.now()).await.map_err(of_store)?;
        self.metrics.put.inc_by(records.len() as u64);
        Ok(first)
    }

    async fn open_to(&self, sender: &Sender, stream_arn: &str) -> Result<DeliveryStream, Failure> {
        let name = Name::of_arn(stream_arn).ok_or_else(|| invalid("That is not a delivery stream's ARN."))?;
        let arn = name.arn();
        let (action, owner, region) = ("firehose:PutRecordBatch", &name.account, &name.region);
        // Delivery streams have no policies: only a role can be let in.
        sender.check(
            &SentTo { action, arn: &arn, owner, region, policy: None },
            self.deps.clock.now(),
            &[],
        )?;
        self.direct(&name).await
    }
}

#[async_trait]
impl FirehoseSink for Firehose {
    async fn check(&self, sender: &Sender, stream_arn: &str) -> Result<(), SinkFailure> {
        self.open_to(sender, stream_arn).await.map(drop).map_err(told)
    }

    async fn put(&self, sender: &Sender, stream_arn: &str, records: Vec<Bytes>) -> Result<(), SinkFailure> {
        let stream = self.open_to(sender, stream_arn).await.map_err(told)?;
        self.put_all(&stream, records).await.map(drop).map_err(told)
    }
}

fn told(failure: Failure) -> SinkFailure {
    AwsError::from(failure).into()
}

fn data_of(record: &Value) -> Result<Bytes, Failure> {
    let data = STANDARD.decode(record["Data"].as_str().unwrap_or_default());
    Ok(data.map_err(|_| invalid("The data is not base64."))?.into())
}

fn record_id(stream: &DeliveryStream, position: u64) -> String {
    STANDARD.encode(format!("{}:{position:020}", stream.id))
}

/// KMS's errors as Firehose tells them.
fn of_kms(error: AwsError) -> Failure {
    if error.status >= 500 {
        return error.into();
    }
    fail("InvalidKMSResourceException", format!("{}: {}", error.code, error.message))
}
