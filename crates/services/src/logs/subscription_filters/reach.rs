//! How a subscription filter's destination is reached: by which sink, in whose name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;

use super::envelope::function_event;
use super::{Envelope, SentLine, SubscriptionFilter};
use crate::logs::Logs;
use crate::logs::destinations::DestinationName;
use crate::logs::error::{Failure, invalid};
use crate::sinks::{AsRole, Sender, SinkFailure, Source, StreamRecord, as_service};

/// The session of a filter's role.
const SESSION_NAME: &str = "CloudWatchLogs";
const CONTROL_MESSAGE: &str = "CWL CONTROL MESSAGE: Checking health of destination";

/// What a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::logs) enum Vendor {
    Lambda,
    Kinesis,
    Firehose,
    /// A stream of another account, or of this one, behind a policy.
    Destination,
}

/// What is sent at a time.
#[derive(Clone, Debug)]
pub(in crate::logs) struct Parcel {
    /// Chooses a stream's shard.
    pub(in crate::logs) partition_key: String,
    /// Compressed with gzip.
    pub(in crate::logs) data: Vec<u8>,
}

/// Where parcels go, and in whose name.
struct Reached {
    vendor: Vendor,
    arn: String,
    /// In the order in which they are tried: policies name the service with its region, or without.
    senders: Vec<Sender>,
}

impl Logs {
    /// Sends a parcel: durable at the destination on return.
    pub(in crate::logs) async fn send_parcel(
        &self,
        filter: &SubscriptionFilter,
        parcel: Parcel,
    ) -> Result<(), SinkFailure> {
        let reached = self.reach(filter).await?;
        let mut refused = None;
        for sender in &reached.senders {
            match self.send_as(sender, &reached, &parcel).await {
                Err(failure) if failure.code.starts_with("AccessDenied") => refused = Some(failure),
                sent => return sent,
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn send_as(&self, sender: &Sender, reached: &Reached, parcel: &Parcel) -> Result<(), SinkFailure> {
        let data = parcel.data.clone();
        match reached.vendor {
            Vendor::Lambda => {
                let event = function_event(&STANDARD.encode(data));
                self.switchboard.functions()?.invoke(sender, &reached.arn, event.into()).await
            }
            Vendor::Firehose => {
                self.switchboard.firehoses()?.put(sender, &reached.arn, vec![data.into()]).await
            }
            Vendor::Kinesis | Vendor::Destination => {
                let partition_key = parcel.partition_key.clone();
                let record = StreamRecord { partition_key, data: data.into() };
                self.switchboard.streams()?.put(sender, &reached.arn, vec![record]).await
            }
        }
    }

    async fn reach(&self, filter: &SubscriptionFilter) -> Result<Reached, SinkFailure> {
        let vendor = filter.vendor().map_err(refused)?;
        let arn = filter.destination_arn.clone();
        if vendor == Vendor::Destination {
            let name =
                DestinationName::of_arn(&arn).ok_or_else(|| refused(invalid("Invalid destinationArn.")))?;
            let destination = self.destination(&name).await.map_err(refused)?;
            let sender = self.destination_sender(&destination).await?;
            let is_firehose = destination.target_arn.split(':').nth(2) == Some("firehose");
            let vendor = if is_firehose { Vendor::Firehose } else { Vendor::Kinesis };
            return Ok(Reached { vendor, arn: destination.target_arn, senders: vec![sender] });
        }
        let group = &filter.group;
        let services = [format!("logs.{}.amazonaws.com", group.region), "logs.amazonaws.com".to_owned()];
        let Some(role_arn) = &filter.role_arn else {
            let senders =
                services.iter().map(|service| as_service(service, &group.starred_arn(), &group.account));
            return Ok(Reached { vendor, arn, senders: senders.collect() });
        };
        let mut refused = None;
        for service in services {
            let role = AsRole {
                role_arn: role_arn.clone(),
                session_name: SESSION_NAME.to_owned(),
                source: Source { service, arn: group.starred_arn(), account: group.account.clone() },
                region: group.region.clone(),
            };
            match self.switchboard.roles()?.assume(&role).await {
                Ok(caller) => return Ok(Reached { vendor, arn, senders: vec![Sender::Role(caller.into())] }),
                Err(failure) => refused = Some(failure),
            }
        }
        Err(refused.unwrap_or_else(|| self::refused(invalid("The role cannot be assumed."))))
    }

    /// Whether a new filter's destination can be reached: a stream is sent a control message.
    pub(super) async fn test_destination(
        &self,
        filter: &SubscriptionFilter,
        vendor: Vendor,
    ) -> Result<(), Failure> {
        let tested = match vendor {
            Vendor::Lambda => self.check_function(filter).await,
            _ => self.send_parcel(filter, control_message(vendor, self.clock.now())?).await,
        };
        tested.map_err(|failure| {
            tracing::debug!(destination = filter.destination_arn, %failure, "a destination cannot be reached");
            invalid(could_not_deliver(vendor))
        })
    }

    async fn check_function(&self, filter: &SubscriptionFilter) -> Result<(), SinkFailure> {
        let reached = self.reach(filter).await?;
        let mut checked = Ok(());
        for sender in &reached.senders {
            checked = self.switchboard.functions()?.check(sender, &reached.arn).await;
            if checked.is_ok() {
                break;
            }
        }
        checked
    }
}

/// What AWS says where a destination takes nothing.
fn could_not_deliver(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Lambda => {
            "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to execute your \
             function."
        }
        Vendor::Kinesis => {
            "Could not deliver test message to specified Kinesis stream. Check if the given kinesis stream is in ACTIVE \
             state."
        }
        Vendor::Firehose => {
            "Could not deliver test message to specified Firehose stream. Check if the given Firehose stream is in ACTIVE \
             state."
        }
        Vendor::Destination => {
            "Could not deliver test message to specified destination. Check if the destination is valid."
        }
    }
}

fn control_message(vendor: Vendor, now: Timestamp) -> Result<Parcel, Failure> {
    let checked = if vendor == Vendor::Firehose { "Firehose." } else { "Kinesis stream." };
    let line = SentLine {
        id: String::new(),
        timestamp: now.millis(),
        message: format!("{CONTROL_MESSAGE} {checked}"),
        extracted_fields: None,
    };
    let envelope = Envelope {
        message_type: "CONTROL_MESSAGE",
        owner: "CloudwatchLogs",
        log_group: "",
        log_stream: "",
        subscription_filters: Vec::new(),
        lines: &[line],
    };
    let data = envelope.pack(false)?.parcels.pop().map(|(data, _)| data).unwrap_or_default();
    Ok(Parcel { partition_key: "CONTROL_MESSAGE".to_owned(), data })
}

fn refused(failure: Failure) -> SinkFailure {
    cairn_wire::AwsError::from(failure).into()
}
