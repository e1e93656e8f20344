//! The default buses as other services reach them.

use async_trait::async_trait;
use cairn_wire::AwsError;
use serde_json::value::RawValue;

use super::Events;
use super::event::{Arrival, Envelope, VERSION};
use super::names::{BusArn, Place};
use crate::sinks::{BusEvent, BusSink, SinkFailure};

/// The event on its bus; none where its detail is no JSON.
fn arrival(event: &BusEvent) -> Option<Arrival> {
    let detail: &RawValue = serde_json::from_str(&event.detail).ok()?;
    let envelope = Envelope {
        version: VERSION,
        id: &event.id,
        detail_type: &event.detail_type,
        source: &event.source,
        account: event.account.as_str(),
        time: event.time.iso(),
        region: event.region.as_str(),
        resources: &event.resources,
        detail,
    };
    let bus = BusArn::default_of(&Place { region: event.region.clone(), account: event.account.clone() });
    Some(Arrival {
        deduplication: Some(event.id.clone()),
        ..Arrival::new(bus, event.id.clone(), envelope.text())
    })
}

#[async_trait]
impl BusSink for Events {
    async fn put(&self, events: Vec<BusEvent>) -> Result<(), SinkFailure> {
        let mut arrivals = Vec::with_capacity(events.len());
        for event in &events {
            match arrival(event) {
                Some(arrival) => arrivals.push(arrival),
                None => tracing::error!(id = event.id, source = event.source, "an event's detail is no JSON"),
            }
        }
        self.accept(arrivals).await.map_err(|failure| AwsError::from(failure).into())
    }
}
