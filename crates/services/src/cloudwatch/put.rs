//! PutMetricData, and data that other services add within transactions of their own.

use cairn_core::{AccountId, Region};
use cairn_store::{CatalogError, Tx};
use serde_json::{Value, json};

use super::CloudWatch;
use super::bucket::{Bucket, unit_of};
use super::datum::PutMetricData;
use super::error::{Failure, fail};
use super::store::{self, AddError, MetricName, OwnedMetric, Sample, StorageResolution};
use crate::Caller;
use crate::sinks::{MetricDatum, MetricSink};

impl CloudWatch {
    pub(super) async fn put_metric_data(
        &self,
        caller: &Caller,
        input: PutMetricData,
    ) -> Result<Value, Failure> {
        let samples = input.samples(&caller.account, &caller.region, caller.now)?;
        let (count, watch, now) = (samples.len(), self.watch.clone(), caller.now);
        self.catalog
            .write(move |tx| {
                store::add(tx, &samples, now).map_err(|error| match error {
                    AddError::TooManyMetrics => {
                        fail("LimitExceeded", "The limit of metrics of this account is reached.")
                    }
                    AddError::Catalog(error) => error.into(),
                })?;
                watch.touch(samples.iter().map(|sample| &sample.metric));
                Ok::<_, Failure>(())
            })
            .await?;
        self.counters.data.inc_by(count as u64);
        self.watch.wake();
        Ok(json!({}))
    }
}

impl MetricSink for CloudWatch {
    fn put_in(
        &self,
        tx: &mut dyn Tx,
        account: &AccountId,
        region: &Region,
        data: &[MetricDatum],
    ) -> Result<(), CatalogError> {
        let samples: Vec<Sample> =
            data.iter().filter_map(|datum| sample_of(account, region, datum)).collect();
        match store::add(tx, &samples, self.clock.now()) {
            Ok(()) => {}
            Err(AddError::Catalog(error)) => return Err(error),
            Err(error @ AddError::TooManyMetrics) => {
                // Whoever counts events must not stop for want of metrics.
                self.counters.refused.inc_by(samples.len() as u64);
                tracing::warn!(%account, %region, %error, "metric data are left out");
            }
        }
        self.watch.touch(samples.iter().map(|sample| &sample.metric));
        Ok(())
    }

    fn wake(&self) {
        self.watch.wake();
    }
}

/// A service's datum; none where there is no finite value in it.
fn sample_of(account: &AccountId, region: &Region, datum: &MetricDatum) -> Option<Sample> {
    let pairs: Vec<(f64, f64)> = datum
        .values
        .iter()
        .copied()
        .filter(|(value, count)| value.is_finite() && count.is_finite())
        .collect();
    Some(Sample {
        metric: OwnedMetric {
            account: account.clone(),
            region: region.clone(),
            metric: MetricName {
                namespace: datum.namespace.clone(),
                name: datum.name.clone(),
                dimensions: datum.dimensions.iter().cloned().collect(),
            },
        },
        at: datum.timestamp,
        resolution: StorageResolution::Minute,
        unit: unit_of(&datum.unit).unwrap_or_default(),
        bucket: Bucket::of_values(&pairs)?,
    })
}
