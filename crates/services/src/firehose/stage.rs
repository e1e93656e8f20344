//! The stage that delivers: reserve, put, commit.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_wire::AwsError;
use libdeflater::{CompressionLvl, Compressor};
use serde_json::json;

use super::gather::Gathered;
use super::object_key::object_key;
use super::state::{DELIVERY_STREAMS, DeliveryStream, PROGRESS, Progress, Reserved};
use super::{Firehose, of_store};
use crate::failure::Failure;
use crate::sinks::{LogLine, NewObject, SinkFailure};

/// How often it is looked for records.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest between two attempts, and for how long there are any.
const RETRY_MAX: Duration = Duration::from_secs(120);
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3600);

impl Firehose {
    /// Delivers what is due of every delivery stream. Says when it is to be called again.
    ///
    /// # Errors
    /// Where the catalog fails; what is due stays due.
    pub async fn run_once(&self) -> Result<Timestamp, AwsError> {
        let rows = self
            .deps
            .catalog
            .read(|tx| DELIVERY_STREAMS.scan_prefix(tx, &[]))
            .await
            .map_err(Failure::from)?;
        for (_, stream) in rows {
            let mut gathered = self.gathered().get(&stream.id).cloned().unwrap_or_default();
            if gathered.retry_at.is_some_and(|at| self.deps.clock.now() < at) {
                continue;
            }
            if let Err(failure) = self.deliver_due(&stream, &mut gathered).await {
                self.put_off(&stream, &mut gathered, &failure).await;
            }
            self.gathered().insert(stream.id.clone(), gathered);
        }
        Ok(self.deps.clock.now().plus(INTERVAL))
    }

    async fn put_off(&self, stream: &DeliveryStream, gathered: &mut Gathered, failure: &SinkFailure) {
        gathered.failures += 1;
        let wait = Duration::from_secs(1 << gathered.failures.min(7)).min(RETRY_MAX);
        gathered.retry_at = Some(self.deps.clock.now().plus(wait));
        self.metrics.failures.inc();
        let arn = stream.name.arn();
        tracing::warn!(%failure, stream = arn, failures = gathered.failures, "a delivery is put off");
        if let Err(error) = self.log(stream, failure).await {
            tracing::warn!(%error, stream = arn, "a delivery's error cannot be logged");
        }
    }

    /// Tells the destination's log stream, where it has one.
    async fn log(&self, stream: &DeliveryStream, failure: &SinkFailure) -> Result<(), SinkFailure> {
        let Some((group, log_stream)) = stream.destination.logging() else { return Ok(()) };
        let sender = self.as_role(stream, &stream.destination.role_arn).await?;
        let group = format!("arn:aws:logs:{}:{}:log-group:{group}", stream.name.region, stream.name.account);
        let message = json!({
            "deliveryStreamARN": stream.name.arn(),
            "destination": stream.destination.bucket_arn,
            "deliveryStreamVersionId": stream.version,
            "message": failure.message,
            "errorCode": format!("S3.{}", failure.code),
        });
        let line = LogLine { timestamp_ms: self.deps.clock.now().millis(), message: message.to_string() };
        self.deps.switchboard.logs()?.put(&sender, &group, log_stream, vec![line]).await
    }

    async fn deliver_due(&self, stream: &DeliveryStream, gathered: &mut Gathered) -> Result<(), SinkFailure> {
        loop {
            let row = stream.progress_row();
            let progress = self.deps.catalog.read(move |tx| PROGRESS.get(tx, row.bytes())).await;
            let mut progress = progress.map_err(Failure::from).map_err(told)?.unwrap_or_default();
            if let Some(reserved) = progress.reserved.clone() {
                self.deliver(stream, &progress, &reserved).await?;
                // What was looked through past the object, in the last run, is counted again.
                *gathered = Gathered::default();
                continue;
            }
            self.gather(stream, &progress, gathered).await?;
            let Some(oldest) = gathered.oldest else { return Ok(()) };
            let hints = stream.destination.buffering_hints;
            let is_full = gathered.size_bytes as u64 >= hints.size_mib << 20;
            if !is_full && self.deps.clock.now() < oldest.plus(Duration::from_secs(hints.interval_s)) {
                return Ok(());
            }
            let start = |shard: &u32| progress.cursors.get(shard).copied().unwrap_or_default();
            let ranges: BTreeMap<u32, (u64, u64)> = gathered
                .scanned
                .iter()
                .map(|(shard, end)| (*shard, (start(shard), *end)))
                .filter(|(_, (start, end))| start < end)
                .collect();
            let id = self.deps.entropy.event_id();
            let key = object_key(stream, oldest, &id).map_err(told)?;
            let (at, is_gzip) = (self.deps.clock.now(), stream.destination.is_gzip());
            progress.reserved = Some(Reserved { ranges, key, at, is_gzip });
            self.keep_progress(stream, &progress).await.map_err(told)?;
        }
    }

    /// Puts a reserved object and moves the cursors. A day after it was reserved, its records are given up.
    async fn deliver(
        &self,
        stream: &DeliveryStream,
        progress: &Progress,
        reserved: &Reserved,
    ) -> Result<(), SinkFailure> {
        match self.put_object(stream, reserved).await {
            Ok(records) => {
                self.metrics.delivered_objects.inc();
                self.metrics.delivered_records.inc_by(records);
            }
            Err(failure) if self.deps.clock.now().since(reserved.at) > GIVE_UP_AFTER => {
                let records: u64 = reserved.ranges.values().map(|(start, end)| end - start).sum();
                self.metrics.dropped.inc_by(records);
                tracing::error!(%failure, stream = stream.name.arn(), records, "records are given up");
            }
            Err(failure) => return Err(failure),
        }
        let mut cursors = progress.cursors.clone();
        cursors.extend(reserved.ranges.iter().map(|(shard, (_, end))| (*shard, *end)));
        let own = cursors.get(&0).copied().filter(|_| stream.source.is_none());
        self.keep_progress(stream, &Progress { cursors, reserved: None }).await.map_err(told)?;
        if let Some(delivered) = own {
            self.deps.streams.trim(&stream.store_key(), delivered).await.map_err(of_store).map_err(told)?;
        }
        Ok(())
    }

    async fn put_object(&self, stream: &DeliveryStream, reserved: &Reserved) -> Result<u64, SinkFailure> {
        let (mut body, mut records) = (Vec::new(), 0);
        for (shard, (start, end)) in &reserved.ranges {
            let mut from = *start;
            while from < *end {
                let page = self.read(stream, *shard, from).await?;
                let Some(last) = page.last() else { break };
                from = last.position + 1;
                for record in page.into_iter().filter(|record| record.position < *end) {
                    body.extend_from_slice(&record.data);
                    records += 1;
                }
            }
        }
        let body = if reserved.is_gzip { compressed(&body).map_err(told)? } else { body };
        let object = NewObject {
            bucket: stream.destination.bucket().map_err(told)?.to_owned(),
            key: reserved.key.clone(),
            body: Bytes::from(body),
            content_type: None,
            content_encoding: None,
            kms_key_id: stream.destination.kms_key(),
        };
        let sender = self.as_role(stream, &stream.destination.role_arn).await?;
        self.deps.switchboard.objects()?.put(&sender, object).await?;
        Ok(records)
    }

    pub(super) async fn keep_progress(
        &self,
        stream: &DeliveryStream,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let (stream, progress) = (stream.clone(), progress.clone());
        let write = move |tx: &mut dyn cairn_store::Tx| {
            // One that is deleted meanwhile leaves nothing behind.
            let is_there = DELIVERY_STREAMS.get(tx, stream.name.row().bytes())?;
            if is_there.is_some_and(|there| there.id == stream.id) {
                PROGRESS.put(tx, stream.progress_row().bytes(), &progress)?;
            }
            Ok::<_, Failure>(())
        };
        self.deps.catalog.write(write).await
    }
}

/// One gzip member, the same bytes every time.
fn compressed(body: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut bytes = vec![0; compressor.gzip_compress_bound(body.len())];
    let size_bytes = compressor.gzip_compress(body, &mut bytes).map_err(AwsError::internal)?;
    bytes.truncate(size_bytes);
    Ok(bytes)
}

fn told(failure: Failure) -> SinkFailure {
    AwsError::from(failure).into()
}
