//! Replays: events of an archive, put on their bus once more, and the stage that does so.
//!
//! On the road: a replay is a row with a cursor. The stage owes a page of events and moves the cursor behind it; what is
//! owed again after a crash is the same message. Replayed events have the member `replay-name`, and are not archived.

use cairn_core::Timestamp;
use cairn_store::Table;
use cairn_store::lines::{GroupId, LineId, Query};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::time::Duration;

use super::Events;
use super::archives::{self, of_lines};
use super::error::{Failure, exists, fail, not_found, over_limit, validation};
use super::event::{Arrival, Head, replayed};
use super::names::{BusArn, Place};
use super::page::{PageInput, page};
use crate::Caller;

/// The replays, by place and name.
const REPLAYS: Table<Replay> = Table::new("events.replay", 1);
/// Replays of an account in a region that are under way.
const RUNNING_MAX: usize = 10;
/// For how long a replay that has ended is shown: AWS's.
const SHOWN: Duration = Duration::from_secs(90 * 24 * 3600);
/// Events of a page, and about their bytes.
const PAGE_EVENTS: usize = 500;
const PAGE_SIZE_BYTES: usize = 4 << 20;
/// The longest between two runs.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How far a replay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ReplayState {
    Starting,
    Running,
    Cancelling,
    Completed,
    Cancelled,
    Failed,
}

impl ReplayState {
    fn is_open(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Cancelling)
    }
}

/// A replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Replay {
    name: String,
    /// A UUID: one that is made anew under the same name sends messages of its own.
    id: String,
    archive_arn: String,
    archive_group: GroupId,
    bus: BusArn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter_arns: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Of the events: from here on, and before there.
    from: Timestamp,
    to: Timestamp,
    state: ReplayState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The last event that is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor: Option<LineId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_replayed: Option<Timestamp>,
    started: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl Replay {
    fn arn(&self) -> String {
        self.bus.place().arn(&format!("replay/{}", self.name))
    }

    fn row(&self) -> cairn_store::catalog::Key {
        self.bus.place().row().text(&self.name)
    }

    fn end(&mut self, state: ReplayState, now: Timestamp) {
        self.state = state;
        self.ended = Some(now);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StartReplay {
    replay_name: String,
    description: Option<String>,
    event_source_arn: String,
    event_start_time: f64,
    event_end_time: f64,
    destination: Destination,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destination {
    arn: String,
    filter_arns: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReplayName {
    replay_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListReplays {
    state: Option<String>,
    event_source_arn: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

fn no_replay(name: &str) -> Failure {
    not_found(format!("Replay {name} does not exist."))
}

fn unfit(member: &str, reason: &str) -> Failure {
    validation(format!("Parameter {member} is not valid. Reason: {reason}"))
}

impl Events {
    pub(super) async fn start_replay(&self, caller: &Caller, input: StartReplay) -> Result<Value, Failure> {
        let at = |seconds: f64| Timestamp::from_millis((seconds * 1000.0) as i64);
        let (from, to) = (at(input.event_start_time), at(input.event_end_time));
        if from >= to {
            return Err(unfit("EventEndTime", "EventStartTime must be before EventEndTime."));
        }
        let bus: BusArn = input
            .destination
            .arn
            .parse()
            .map_err(|_| unfit("Destination.Arn", "Must contain an event bus ARN."))?;
        let (id, now, place) = (self.new_id(), caller.now, Place::of(caller));
        let replay = self
            .catalog
            .write(move |tx| {
                let archive = archives::of_arn(tx, &input.event_source_arn)?
                    .filter(|archive| archive.bus.place() == place)
                    .ok_or_else(|| {
                        let name = input.event_source_arn.rsplit('/').next().unwrap_or_default();
                        unfit("EventSourceArn", &format!("Archive {name} does not exist."))
                    })?;
                if archive.bus != bus {
                    return Err(unfit("Destination.Arn", "Cross event bus replay is not permitted."));
                }
                let replay = Replay {
                    name: input.replay_name.clone(),
                    id: id.clone(),
                    archive_arn: archive.arn(),
                    archive_group: archive.group(),
                    bus: bus.clone(),
                    filter_arns: input.destination.filter_arns.clone().filter(|arns| !arns.is_empty()),
                    description: input.description.clone(),
                    from,
                    to,
                    state: ReplayState::Starting,
                    reason: None,
                    cursor: None,
                    last_replayed: None,
                    started: now,
                    ended: None,
                };
                let row = replay.row();
                if REPLAYS.get(tx, row.bytes())?.is_some() {
                    return Err(exists(format!("Replay {} already exists.", replay.name)));
                }
                let all = REPLAYS.scan_prefix(tx, place.row().bytes())?;
                if all.iter().filter(|(_, replay)| replay.state.is_open()).count() >= RUNNING_MAX {
                    return Err(over_limit());
                }
                REPLAYS.put(tx, row.bytes(), &replay)?;
                Ok(replay)
            })
            .await?;
        self.put_work();
        Ok(json!({
            "ReplayArn": replay.arn(), "State": replay.state, "ReplayStartTime": replay.started.seconds(),
        }))
    }

    pub(super) async fn cancel_replay(&self, caller: &Caller, input: ReplayName) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.replay_name);
        let replay = self
            .catalog
            .write(move |tx| {
                let mut replay =
                    REPLAYS.get(tx, row.bytes())?.ok_or_else(|| no_replay(&input.replay_name))?;
                if !matches!(replay.state, ReplayState::Starting | ReplayState::Running) {
                    let text =
                        format!("Replay {} is not in a valid state for this operation.", input.replay_name);
                    return Err(fail("IllegalStatusException", text));
                }
                replay.state = ReplayState::Cancelling;
                REPLAYS.put(tx, row.bytes(), &replay)?;
                Ok(replay)
            })
            .await?;
        self.put_work();
        Ok(json!({"ReplayArn": replay.arn(), "State": replay.state}))
    }

    pub(super) async fn describe_replay(&self, caller: &Caller, input: ReplayName) -> Result<Value, Failure> {
        let row = Place::of(caller).row().text(&input.replay_name);
        let found = self.catalog.read(move |tx| REPLAYS.get(tx, row.bytes())).await?;
        let replay = found.ok_or_else(|| no_replay(&input.replay_name))?;
        let mut reply = shown(&replay);
        reply.insert("ReplayArn".into(), replay.arn().into());
        reply.extend(replay.description.clone().map(|text| ("Description".to_owned(), text.into())));
        let mut destination = json!({"Arn": replay.bus.to_string()});
        if let Some(arns) = &replay.filter_arns {
            destination["FilterArns"] = json!(arns);
        }
        reply.insert("Destination".into(), destination);
        Ok(Value::Object(reply))
    }

    pub(super) async fn list_replays(&self, caller: &Caller, input: ListReplays) -> Result<Value, Failure> {
        let place = Place::of(caller);
        let all = self.catalog.read(move |tx| REPLAYS.scan_prefix(tx, place.row().bytes())).await?;
        let is_wanted = |replay: &Replay| {
            let state = json!(replay.state);
            input.state.as_deref().is_none_or(|wanted| state.as_str() == Some(wanted))
                && input.event_source_arn.as_ref().is_none_or(|arn| *arn == replay.archive_arn)
        };
        let items = all
            .into_iter()
            .map(|(_, replay)| replay)
            .filter(is_wanted)
            .map(|replay| (replay.name.clone(), Value::Object(shown(&replay))));
        page("Replays", items, &input.page)
    }

    /// Goes on with all replays, a page each; says when there is more to do.
    ///
    /// # Errors
    /// Where the catalog, the archives or the queues fail.
    pub async fn run_replays(&self) -> Result<Timestamp, AwsError> {
        let now = self.clock.now();
        let all = self.catalog.read(|tx| REPLAYS.scan_prefix(tx, &[])).await.map_err(AwsError::internal)?;
        let mut has_more = false;
        for (_, replay) in all {
            if replay.state.is_open() {
                has_more |= self.go_on_with(replay, now).await?;
            } else if replay.ended.is_some_and(|ended| ended.plus(SHOWN) < now) {
                let row = replay.row();
                let forgotten = self.catalog.write(move |tx| REPLAYS.delete(tx, row.bytes()));
                forgotten.await.map_err(AwsError::internal)?;
            }
        }
        Ok(if has_more { now } else { now.plus(PAUSE_MAX) })
    }

    /// Owes a page of a replay's events; says whether there may be more.
    async fn go_on_with(&self, replay: Replay, now: Timestamp) -> Result<bool, AwsError> {
        let mut next = replay.clone();
        if replay.state == ReplayState::Cancelling {
            next.end(ReplayState::Cancelled, now);
        } else {
            let page = self.lines.read(Query {
                group: replay.archive_group,
                streams: None,
                times_ms: replay.from.millis()..replay.to.millis(),
                after: replay.cursor,
                backwards: false,
                wanted: None,
                lines_max: PAGE_EVENTS,
                found_bytes_max: PAGE_SIZE_BYTES,
                scanned_bytes_max: PAGE_SIZE_BYTES as u64,
            });
            let page = page.await.map_err(of_lines)?;
            let arrivals = page.lines.iter().filter_map(|line| {
                let text = std::str::from_utf8(&line.message).ok()?;
                let id = Head::of(text)?.id;
                let place = line.id;
                let arrival = Arrival::new(replay.bus.clone(), id, replayed(text, &replay.name));
                Some(Arrival {
                    replayed_to: Some(replay.filter_arns.clone().unwrap_or_default()),
                    deduplication: Some(format!("{} {}.{}", replay.id, place.position.0, place.index)),
                    ..arrival
                })
            });
            self.accept(arrivals.collect()).await?;
            next.state = ReplayState::Running;
            next.last_replayed = page.lines.last().map(|line| Timestamp::from_millis(line.id.timestamp_ms));
            next.last_replayed = next.last_replayed.or(replay.last_replayed);
            next.cursor = page.looked_up_to.or(replay.cursor);
            if page.is_complete {
                next.end(ReplayState::Completed, now);
            }
        }
        let is_open = next.state.is_open();
        let written = self.catalog.write(move |tx| {
            let row = next.row();
            // It may have been cancelled meanwhile.
            let is_same = REPLAYS.get(tx, row.bytes())?.is_some_and(|known| known == replay);
            if is_same {
                REPLAYS.put(tx, row.bytes(), &next)?;
            }
            Ok::<_, cairn_store::CatalogError>(is_same)
        });
        let is_same = written.await.map_err(AwsError::internal)?;
        Ok(is_open || !is_same)
    }
}

fn shown(replay: &Replay) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("ReplayName".into(), replay.name.as_str().into());
    shown.insert("EventSourceArn".into(), replay.archive_arn.as_str().into());
    shown.insert("State".into(), json!(replay.state));
    shown.extend(replay.reason.as_ref().map(|text| ("StateReason".to_owned(), text.as_str().into())));
    let times = [
        ("EventStartTime", Some(replay.from)),
        ("EventEndTime", Some(replay.to)),
        ("EventLastReplayedTime", replay.last_replayed),
        ("ReplayStartTime", Some(replay.started)),
        ("ReplayEndTime", replay.ended),
    ];
    shown
        .extend(times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time?.seconds().into()))));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Replay>(
            r#"{"name":"r","id":"i","archive_arn":"arn:aws:events:us-east-1:111122223333:archive/a","archive_group":9223372036854775811,"bus":"arn:aws:events:us-east-1:111122223333:event-bus/default","filter_arns":["x"],"description":"d","from":1,"to":2,"state":"RUNNING","reason":"n","cursor":{"timestamp_ms":1,"position":2,"index":3},"last_replayed":1,"started":1795281866042,"ended":1795281866043}"#,
        );
    }
}
