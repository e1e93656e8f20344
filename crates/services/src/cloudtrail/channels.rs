//! CreateChannel, GetChannel, UpdateChannel, DeleteChannel, ListChannels: where PutAuditEvents sends to.
//!
//! What AWS's channels feed are event data stores. Here there is one destination, the account's event history and
//! trails, and it has the form of one: `arn:aws:cloudtrail:REGION:ACCOUNT:eventdatastore/event-history`. No other event
//! data store exists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::{AccountId, EventId, Region};
use cairn_store::catalog::{Catalog, Key, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::CloudTrail;
use super::failure::{self, Failure};
use crate::service::Caller;

/// Channels of an account in a region.
const CHANNELS_PER_REGION_MAX: usize = 25;
/// Channels on a page of ListChannels where the caller does not say.
const CHANNELS_PER_PAGE: usize = 1000;
/// Characters of a channel's name.
const NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=128;
/// The one source of events: not a partner of AWS.
const SOURCE: &str = "Custom";

/// All channels, keyed by account, region and id.
const CHANNELS: Table<Channel> = Table::new("cloudtrail.channel", 1);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Channel {
    id: EventId,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    r#type: String,
    location: String,
}

/// CreateChannel's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateChannelRequest {
    name: String,
    source: String,
    destinations: Vec<Destination>,
    tags: Option<Vec<Value>>,
}

/// GetChannel's and DeleteChannel's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChannelRequest {
    channel: String,
}

/// UpdateChannel's input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateChannelRequest {
    channel: String,
    name: Option<String>,
    destinations: Option<Vec<Destination>>,
}

/// ListChannels' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListChannelsRequest {
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// The ARN of a channel, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelArn {
    pub(crate) region: Region,
    pub(crate) account: AccountId,
    id: EventId,
}

impl ChannelArn {
    /// None where `text` is no ARN of a channel.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:aws:cloudtrail:")?.splitn(3, ':');
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let id = resource.strip_prefix("channel/")?.parse().ok()?;
        Some(Self { region: region.parse().ok()?, account: account.parse().ok()?, id })
    }

    fn key(&self) -> Key {
        prefix(&self.account, &self.region).text(self.id.as_str())
    }
}

impl std::fmt::Display for ChannelArn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "arn:aws:cloudtrail:{}:{}:channel/{}", self.region, self.account, self.id)
    }
}

/// Whether there is a channel.
pub(crate) async fn exists(catalog: &Catalog, arn: &ChannelArn) -> Result<bool, AwsError> {
    let key = arn.key();
    let found = catalog.read(move |tx| Ok::<_, Failure>(CHANNELS.get(tx, key.bytes())?)).await?;
    Ok(found.is_some())
}

fn prefix(account: &AccountId, region: &Region) -> Key {
    Key::new().text(account.as_str()).text(region.as_str())
}

impl CloudTrail {
    pub(super) async fn create_channel(
        &self,
        caller: &Caller,
        request: CreateChannelRequest,
    ) -> Result<Value, Failure> {
        check_name(&request.name)?;
        if request.source != SOURCE {
            let message = format!("The source {} is not valid. Valid sources: {SOURCE}.", request.source);
            return Err(AwsError::invalid("InvalidSourceException", message).into());
        }
        check_destinations(&request.destinations, caller)?;
        if request.tags.is_some_and(|tags| !tags.is_empty()) {
            let message = "Tags of channels are not supported.";
            return Err(AwsError::invalid("UnsupportedOperationException", message).into());
        }
        let arn = ChannelArn {
            region: caller.region.clone(),
            account: caller.account.clone(),
            id: caller.request_id.clone(),
        };
        let channel = Channel { id: arn.id.clone(), name: request.name };
        let (new, kept) = (arn.clone(), channel.clone());
        self.deps
            .catalog
            .write(move |tx| {
                let others = channels(tx, &new.account, &new.region)?;
                check_free(&others, &kept.name, None)?;
                if others.len() >= CHANNELS_PER_REGION_MAX {
                    let message = format!("The limit of {CHANNELS_PER_REGION_MAX} channels is reached.");
                    return Err(AwsError::invalid("ChannelMaxLimitExceededException", message).into());
                }
                Ok::<_, Failure>(CHANNELS.put(tx, new.key().bytes(), &kept)?)
            })
            .await?;
        Ok(shown(&arn, &channel))
    }

    pub(super) async fn channel(&self, caller: &Caller, request: ChannelRequest) -> Result<Value, Failure> {
        let arn = named(&request.channel, caller)?;
        let wanted = arn.clone();
        let found = self.deps.catalog.read(move |tx| existing(tx, &wanted)).await?;
        Ok(shown(&arn, &found))
    }

    pub(super) async fn update_channel(
        &self,
        caller: &Caller,
        request: UpdateChannelRequest,
    ) -> Result<Value, Failure> {
        let arn = named(&request.channel, caller)?;
        request.name.as_deref().map_or(Ok(()), check_name)?;
        request.destinations.map_or(Ok(()), |destinations| check_destinations(&destinations, caller))?;
        let (wanted, name) = (arn.clone(), request.name);
        let changed = self
            .deps
            .catalog
            .write(move |tx| {
                let mut channel = existing(tx, &wanted)?;
                if let Some(name) = &name {
                    let others = channels(tx, &wanted.account, &wanted.region)?;
                    check_free(&others, name, Some(wanted.key().bytes()))?;
                    channel.name.clone_from(name);
                }
                CHANNELS.put(tx, wanted.key().bytes(), &channel)?;
                Ok::<_, Failure>(channel)
            })
            .await?;
        Ok(shown(&arn, &changed))
    }

    pub(super) async fn delete_channel(
        &self,
        caller: &Caller,
        request: ChannelRequest,
    ) -> Result<Value, Failure> {
        let arn = named(&request.channel, caller)?;
        self.deps
            .catalog
            .write(move |tx| {
                existing(tx, &arn)?;
                CHANNELS.delete(tx, arn.key().bytes())?;
                Ok::<_, Failure>(())
            })
            .await?;
        Ok(json!({}))
    }

    pub(super) async fn list_channels(
        &self,
        caller: &Caller,
        request: ListChannelsRequest,
    ) -> Result<Value, Failure> {
        let last = match &request.next_token {
            None => None,
            Some(token) => {
                let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| failure::invalid_next_token())?;
                Some(bytes)
            }
        };
        let (account, region) = (caller.account.clone(), caller.region.clone());
        let found = self.deps.catalog.read(move |tx| channels(tx, &account, &region)).await?;
        let mut rest =
            found.into_iter().filter(|(key, _)| last.as_ref().is_none_or(|last| key > last)).peekable();
        let size = request.max_results.unwrap_or(CHANNELS_PER_PAGE).clamp(1, CHANNELS_PER_PAGE);
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let listed: Vec<_> = page
            .iter()
            .map(|(_, channel)| {
                let (region, account, id) = (&caller.region, &caller.account, &channel.id);
                let arn = format!("arn:aws:cloudtrail:{region}:{account}:channel/{id}");
                json!({"ChannelArn": arn, "Name": channel.name})
            })
            .collect();
        let mut answer = json!({"Channels": listed});
        if let (Some((key, _)), Some(_)) = (page.last(), rest.peek()) {
            answer["NextToken"] = json!(URL_SAFE_NO_PAD.encode(key));
        }
        Ok(answer)
    }
}

/// The channels of an account in a region, with their keys.
fn channels(
    tx: &mut dyn Tx,
    account: &AccountId,
    region: &Region,
) -> Result<Vec<(Vec<u8>, Channel)>, Failure> {
    Ok(CHANNELS.scan_prefix(tx, prefix(account, region).bytes())?)
}

fn existing(tx: &mut dyn Tx, arn: &ChannelArn) -> Result<Channel, Failure> {
    CHANNELS.get(tx, arn.key().bytes())?.ok_or_else(|| not_found(&arn.to_string()).into())
}

fn check_free(others: &[(Vec<u8>, Channel)], name: &str, own_key: Option<&[u8]>) -> Result<(), AwsError> {
    let taken = others.iter().any(|(key, other)| other.name == name && own_key != Some(key.as_slice()));
    if taken {
        let message = format!("A channel with the name {name} already exists.");
        return Err(AwsError::invalid("ChannelAlreadyExistsException", message));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), AwsError> {
    let sound = NAME_LENGTH.contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if sound {
        return Ok(());
    }
    Err(failure::invalid_parameter(
        "The name of a channel has 3 to 128 letters, digits, periods, underscores and hyphens.",
    ))
}

fn check_destinations(destinations: &[Destination], caller: &Caller) -> Result<(), AwsError> {
    let own = own_store(&caller.region, &caller.account);
    match destinations {
        [only] if only.r#type == "EVENT_DATA_STORE" && only.location == own => Ok(()),
        _ => Err(AwsError::invalid(
            "EventDataStoreNotFoundException",
            format!("The event data store was not found. The one destination here is {own}."),
        )),
    }
}

/// The destination that stands for the account's event history and trails.
fn own_store(region: &Region, account: &AccountId) -> String {
    format!("arn:aws:cloudtrail:{region}:{account}:eventdatastore/event-history")
}

fn named(text: &str, caller: &Caller) -> Result<ChannelArn, AwsError> {
    // The operations take the id alone, too.
    let full = format!("arn:aws:cloudtrail:{}:{}:channel/{text}", caller.region, caller.account);
    let arn = ChannelArn::parse(text).or_else(|| ChannelArn::parse(&full)).ok_or_else(|| {
        let message = format!("The specified ARN is not valid: {text}");
        AwsError::invalid("ChannelARNInvalidException", message)
    })?;
    let is_own = arn.account == caller.account && arn.region == caller.region;
    if is_own { Ok(arn) } else { Err(not_found(text)) }
}

fn not_found(channel: &str) -> AwsError {
    AwsError::invalid("ChannelNotFoundException", format!("The channel was not found: {channel}"))
}

fn shown(arn: &ChannelArn, channel: &Channel) -> Value {
    json!({
        "ChannelArn": arn.to_string(),
        "Name": channel.name,
        "Source": SOURCE,
        "Destinations": [{"Type": "EVENT_DATA_STORE", "Location": own_store(&arn.region, &arn.account)}],
    })
}
