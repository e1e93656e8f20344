//! Making, describing, listing, changing and deleting delivery streams, and their tags.

use std::collections::BTreeMap;

use cairn_core::Timestamp;
use serde_json::{Value, json};

use super::destination::Destination;
use super::state::{DELIVERY_STREAMS, DeliveryStream, Name, PROGRESS, Progress, Source};
use super::{Firehose, fail, invalid, of_store};
use crate::Caller;
use crate::failure::Failure;

/// The id of a delivery stream's one destination.
const DESTINATION_ID: &str = "destinationId-000000000001";
/// The most delivery streams of an account in a region, and tags of one.
const STREAMS_MAX: usize = 50;
const TAGS_MAX: usize = 50;
const PAGE_DEFAULT: u64 = 10;
const ID_LENGTH: usize = 20;
const ID_ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";

impl Firehose {
    pub(super) async fn create(&self, caller: &Caller, name: Name, params: &Value) -> Result<Value, Failure> {
        let destination = Destination::of(params, "Configuration", None)?;
        let source = source_of(params)?;
        let tags = tags_in(params);
        check_tags(&tags)?;
        let encryption = &params["DeliveryStreamEncryptionConfigurationInput"];
        if source.is_some() && encryption.is_object() {
            return Err(invalid("Server-side encryption is that of the stream that is read."));
        }
        let _changing = self.changing.lock().await;
        let own = self.own(caller).await?;
        if own.iter().any(|stream| stream.name == name) {
            let message = format!("Firehose {} under accountId {} already exists", name.name, name.account);
            return Err(fail("ResourceInUseException", message));
        }
        if own.len() >= STREAMS_MAX {
            return Err(fail(
                "LimitExceededException",
                format!("An account can have {STREAMS_MAX} delivery streams."),
            ));
        }
        let stream = DeliveryStream {
            id: self.deps.entropy.text(ID_ALPHABET, ID_LENGTH),
            created: caller.now,
            updated: None,
            version: 1,
            source,
            destination,
            is_encrypted: encryption.is_object(),
            kms_key: kms_key_of(encryption)?,
            tags,
            name,
        };
        // Reading begins with what comes from now on.
        let mut progress = Progress::default();
        if let Some(source) = &stream.source {
            let refused = |failure: crate::sinks::SinkFailure| invalid(failure.message);
            let sender = self.as_role(&stream, &source.role_arn).await.map_err(refused)?;
            let (_, shards) =
                self.deps.kinesis.source_shards(&sender, &source.stream_arn).map_err(refused)?;
            progress.cursors = shards.into_iter().map(|shard| (shard.number, shard.end)).collect();
        }
        self.deps.streams.create(&stream.store_key()).await.map_err(of_store)?;
        let kept = stream.clone();
        let write = move |tx: &mut dyn cairn_store::Tx| {
            PROGRESS.put(tx, kept.progress_row().bytes(), &progress)?;
            DELIVERY_STREAMS.put(tx, kept.name.row().bytes(), &kept)
        };
        self.deps.catalog.write(write).await?;
        Ok(json!({"DeliveryStreamARN": stream.name.arn()}))
    }

    pub(super) async fn delete(&self, name: &Name) -> Result<Value, Failure> {
        let _changing = self.changing.lock().await;
        let stream = self.find(name).await?;
        let (row, progress_row) = (name.row(), stream.progress_row());
        let write = move |tx: &mut dyn cairn_store::Tx| {
            PROGRESS.delete(tx, progress_row.bytes())?;
            DELIVERY_STREAMS.delete(tx, row.bytes())
        };
        self.deps.catalog.write(write).await?;
        self.gathered().remove(&stream.id);
        self.deps.streams.remove(&stream.store_key()).await.map_err(of_store)?;
        Ok(json!({}))
    }

    pub(super) async fn describe(&self, name: &Name) -> Result<Value, Failure> {
        Ok(json!({"DeliveryStreamDescription": shown(&self.find(name).await?)}))
    }

    /// The caller's delivery streams here, in the order of their names.
    async fn own(&self, caller: &Caller) -> Result<Vec<DeliveryStream>, Failure> {
        let (account, region) = (caller.account.clone(), caller.region.clone());
        let name = Name { region, account, name: String::new() };
        let rows = self.deps.catalog.read(|tx| DELIVERY_STREAMS.scan_prefix(tx, &[])).await?;
        let is_own = |stream: &DeliveryStream| {
            stream.name.account == name.account && stream.name.region == name.region
        };
        Ok(rows.into_iter().map(|(_, stream)| stream).filter(is_own).collect())
    }

    pub(super) async fn list(&self, caller: &Caller, params: &Value) -> Result<Value, Failure> {
        let after = params["ExclusiveStartDeliveryStreamName"].as_str();
        let limit = usize::try_from(params["Limit"].as_u64().unwrap_or(PAGE_DEFAULT)).unwrap_or(usize::MAX);
        let kind = params["DeliveryStreamType"].as_str();
        let own = self.own(caller).await?;
        let mut left = own.iter().filter(|stream| {
            after.is_none_or(|after| stream.name.name.as_str() > after)
                && kind.is_none_or(|kind| kind == kind_of(stream))
        });
        let names: Vec<&str> = left.by_ref().take(limit).map(|stream| stream.name.name.as_str()).collect();
        Ok(json!({"DeliveryStreamNames": names, "HasMoreDeliveryStreams": left.next().is_some()}))
    }

    pub(super) async fn update_destination(
        &self,
        caller: &Caller,
        name: &Name,
        params: &Value,
    ) -> Result<Value, Failure> {
        self.change(name, |stream| {
            if params["DestinationId"].as_str() != Some(DESTINATION_ID) {
                return Err(invalid("There is no such destination."));
            }
            if params["CurrentDeliveryStreamVersionId"].as_str() != Some(&stream.version.to_string()) {
                let message = format!("The current version of the delivery stream is {}.", stream.version);
                return Err(fail("ConcurrentModificationException", message));
            }
            stream.destination = Destination::of(params, "Update", Some(&stream.destination))?;
            (stream.version, stream.updated) = (stream.version + 1, Some(caller.now));
            Ok(())
        })
        .await
    }

    pub(super) async fn set_encryption(
        &self,
        name: &Name,
        params: &Value,
        is_on: bool,
    ) -> Result<Value, Failure> {
        let asked = &params["DeliveryStreamEncryptionConfigurationInput"];
        let kms_key = kms_key_of(asked)?.filter(|_| is_on);
        self.change(name, |stream| {
            if stream.source.is_some() {
                return Err(invalid("Server-side encryption is that of the stream that is read."));
            }
            (stream.is_encrypted, stream.kms_key) = (is_on, kms_key);
            Ok(())
        })
        .await
    }

    pub(super) async fn tag(&self, name: &Name, params: &Value) -> Result<Value, Failure> {
        self.change(name, |stream| {
            stream.tags.extend(tags_in(params));
            check_tags(&stream.tags)
        })
        .await
    }

    pub(super) async fn untag(&self, name: &Name, params: &Value) -> Result<Value, Failure> {
        let keys: Vec<&str> =
            params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.change(name, |stream| {
            stream.tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(())
        })
        .await
    }

    pub(super) async fn tags(&self, name: &Name, params: &Value) -> Result<Value, Failure> {
        let stream = self.find(name).await?;
        let after = params["ExclusiveStartTagKey"].as_str();
        let limit = usize::try_from(params["Limit"].as_u64().unwrap_or(TAGS_MAX as u64)).unwrap_or(TAGS_MAX);
        let mut left = stream.tags.iter().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let tag = |(key, value): (&String, &String)| json!({"Key": key, "Value": value});
        let page: Vec<Value> = left.by_ref().take(limit).map(tag).collect();
        Ok(json!({"Tags": page, "HasMoreTags": left.next().is_some()}))
    }

    async fn change(
        &self,
        name: &Name,
        change: impl FnOnce(&mut DeliveryStream) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        let _changing = self.changing.lock().await;
        let mut stream = self.find(name).await?;
        change(&mut stream)?;
        self.keep(&stream).await?;
        Ok(json!({}))
    }
}

fn source_of(params: &Value) -> Result<Option<Source>, Failure> {
    let given = &params["KinesisStreamSourceConfiguration"];
    match params["DeliveryStreamType"].as_str().unwrap_or("DirectPut") {
        "DirectPut" => Ok(None),
        "KinesisStreamAsSource" => {
            let text = |member: &str| given[member].as_str().map(str::to_owned);
            let source = text("KinesisStreamARN").zip(text("RoleARN"));
            let source = source.map(|(stream_arn, role_arn)| Source { stream_arn, role_arn });
            source.map(Some).ok_or_else(|| invalid("KinesisStreamSourceConfiguration must be given."))
        }
        other => Err(invalid(format!("DeliveryStreamType {other} is not supported."))),
    }
}

/// The key of KMS that an encryption's input names.
fn kms_key_of(input: &Value) -> Result<Option<String>, Failure> {
    match (input["KeyType"].as_str(), input["KeyARN"].as_str()) {
        (Some("CUSTOMER_MANAGED_CMK"), None) => {
            Err(invalid("KeyARN must be given with CUSTOMER_MANAGED_CMK."))
        }
        (Some("CUSTOMER_MANAGED_CMK"), Some(key)) => Ok(Some(key.to_owned())),
        _ => Ok(None),
    }
}

fn tags_in(params: &Value) -> BTreeMap<String, String> {
    let given = params["Tags"].as_array().into_iter().flatten();
    let tag =
        |tag: &Value| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str().unwrap_or("").to_owned()));
    given.filter_map(tag).collect()
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Failure> {
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("A delivery stream can have {TAGS_MAX} tags.")));
    }
    Ok(())
}

fn kind_of(stream: &DeliveryStream) -> &'static str {
    if stream.source.is_some() { "KinesisStreamAsSource" } else { "DirectPut" }
}

fn time(time: Timestamp) -> Value {
    time.seconds().into()
}

fn shown(stream: &DeliveryStream) -> Value {
    let destination = json!(stream.destination);
    let mut simple = destination.clone();
    let mut extended = destination;
    for member in ["FileExtension"] {
        if let Some(simple) = simple.as_object_mut() {
            simple.remove(member);
        }
    }
    extended["S3BackupMode"] = "Disabled".into();
    let mut shown = json!({
        "DeliveryStreamName": stream.name.name,
        "DeliveryStreamARN": stream.name.arn(),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
        "DeliveryStreamType": kind_of(stream),
        "VersionId": stream.version.to_string(),
        "CreateTimestamp": time(stream.created),
        "Destinations": [{
            "DestinationId": DESTINATION_ID,
            "S3DestinationDescription": simple,
            "ExtendedS3DestinationDescription": extended,
        }],
        "HasMoreDestinations": false,
    });
    if stream.is_encrypted {
        shown["DeliveryStreamEncryptionConfiguration"] = match &stream.kms_key {
            Some(key) => json!({"Status": "ENABLED", "KeyType": "CUSTOMER_MANAGED_CMK", "KeyARN": key}),
            None => json!({"Status": "ENABLED", "KeyType": "AWS_OWNED_CMK"}),
        };
    }
    if let Some(updated) = stream.updated {
        shown["LastUpdateTimestamp"] = time(updated);
    }
    if let Some(source) = &stream.source {
        shown["Source"] = json!({"KinesisStreamSourceDescription": {
            "KinesisStreamARN": source.stream_arn,
            "RoleARN": source.role_arn,
            "DeliveryStartTimestamp": time(stream.created),
        }});
    }
    shown
}
