//! Logs Insights: queries over the lines of groups, in a useful part of its language ([`parse`]).
//!
//! On the road: StartQuery reads the query and answers; a task of its own looks at the lines, latest first, and keeps what
//! comes of it in memory for GetQueryResults. Queries do not outlive the server. What a query looks at and keeps is
//! limited; one that comes to a limit says so by ending early, as its statistics show.

mod parse;
mod run;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{AccountId, Region, Timestamp};
use cairn_store::Catalog;
use cairn_store::lines::{Found, GroupId, Lines, Query as LinesQuery};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use self::parse::Command;
use self::run::{Groups, Row, Value as Cell, finish, step, streaming, time_text};
use super::Logs;
use super::arn::GroupName;
use super::encryption::Opener;
use super::error::{Failure, fail, group_not_found, invalid, limit_exceeded, not_found, of_lines};
use super::read::{digits, of_digits};
use super::views::Views;
use crate::Caller;

/// Log groups of a query.
const GROUPS_MAX: usize = 50;
/// Queries that run at a time, and that are remembered.
const RUNNING_MAX: usize = 30;
const REMEMBERED_MAX: usize = 1000;
/// Lines that a query gives where it does not say, and the most.
const LIMIT_DEFAULT: usize = 10_000;
/// What a query keeps of lines before it sorts them, in bytes of text, and what it looks at.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
const LOOKED_AT_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Lines and about the most text that are read at a time.
const STEP_LINES: usize = 5000;
const STEP_BYTES: usize = 2 * 1024 * 1024;

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(super) struct Malformed {
    at: usize,
    problem: String,
}

impl Malformed {
    fn at(at: usize, problem: impl Into<String>) -> Self {
        Self { at, problem: problem.into() }
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        let Malformed { at, problem } = malformed;
        fail("MalformedQueryException", format!("{problem} at character {at} of the query string"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Running,
    Complete,
    Failed,
    Cancelled,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// A query, as it is remembered.
struct Remembered {
    place: (Region, AccountId),
    /// The groups that it is about, and its text with them and its times.
    groups: Vec<String>,
    text: String,
    created: Timestamp,
    status: Status,
    /// Set where nobody wants to know any more.
    is_stopped: Arc<AtomicBool>,
    results: Vec<Value>,
    statistics: Statistics,
}

#[derive(Clone, Copy, Debug, Default)]
struct Statistics {
    matched: u64,
    scanned: u64,
    bytes: u64,
}

/// The queries of this server.
#[derive(Default)]
pub(super) struct Queries(Mutex<BTreeMap<String, Remembered>>);

impl Queries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.0.lock().expect("nothing panics while the queries are held")
    }

    fn remember(&self, id: &str, query: Remembered) -> Result<(), Failure> {
        let mut known = self.lock();
        if known.values().filter(|query| query.status == Status::Running).count() >= RUNNING_MAX {
            return Err(limit_exceeded());
        }
        if known.len() >= REMEMBERED_MAX {
            let ended = known.iter().filter(|(_, query)| query.status != Status::Running);
            let oldest = ended.min_by_key(|(_, query)| query.created).map(|(id, _)| id.clone());
            oldest.and_then(|id| known.remove(&id));
        }
        known.insert(id.to_owned(), query);
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartQuery {
    query_language: Option<String>,
    log_group_name: Option<String>,
    log_group_names: Option<Vec<String>>,
    log_group_identifiers: Option<Vec<String>>,
    start_time: i64,
    end_time: i64,
    query_string: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedQuery {
    query_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeQueries {
    log_group_name: Option<String>,
    status: Option<String>,
    max_results: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetRecord {
    log_record_pointer: String,
}

/// A query on its way over the lines.
struct Search {
    lines: Arc<dyn Lines>,
    catalog: Catalog,
    views: Arc<Views>,
    groups: Vec<(GroupId, GroupName, Opener)>,
    commands: Vec<Command>,
    /// From, included, and to, included, in milliseconds since 1970.
    times_ms: std::ops::Range<i64>,
    limit: usize,
    is_stopped: Arc<AtomicBool>,
    statistics: Statistics,
}

impl Logs {
    pub(super) async fn start_query(&self, caller: &Caller, input: StartQuery) -> Result<Value, Failure> {
        if input.query_language.as_deref().is_some_and(|language| language != "CWLI") {
            return Err(invalid("Only the query language CWLI is supported."));
        }
        if input.start_time > input.end_time {
            return Err(invalid("The start time of a query must not be after its end time."));
        }
        let named =
            [input.log_group_name.map(|name| vec![name]), input.log_group_names, input.log_group_identifiers];
        let mut named = named.into_iter().flatten();
        let (Some(identifiers), None) = (named.next(), named.next()) else {
            return Err(invalid(
                "Exactly one of logGroupName, logGroupNames and logGroupIdentifiers is required.",
            ));
        };
        if identifiers.len() > GROUPS_MAX {
            return Err(invalid(format!("A query can have no more than {GROUPS_MAX} log groups.")));
        }
        let commands = parse::parse(&input.query_string)?;
        let mut groups = Vec::new();
        for identifier in &identifiers {
            let name = GroupName::of_identifier(caller, identifier).ok_or_else(group_not_found)?;
            let missing = || {
                let GroupName { account, name, .. } = &name;
                not_found(format!("Log group '{name}' does not exist for account ID '{account}'"))
            };
            let found = self.views.group(&self.catalog, &name).await?.ok_or_else(missing)?;
            groups.push((found.id, name, self.opener(&found).await?));
        }
        let names: Vec<String> = groups.iter().map(|(_, name, _)| name.name.clone()).collect();
        let sources: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let (start, end, text) = (input.start_time, input.end_time, &input.query_string);
        let id = self.entropy.event_id().to_string();
        let is_stopped = Arc::new(AtomicBool::new(false));
        let query = Remembered {
            place: (caller.region.clone(), caller.account.clone()),
            groups: names,
            text: format!("SOURCE {} START={start}000 END={end}999 | {text}", sources.join(", ")),
            created: caller.now,
            status: Status::Running,
            is_stopped: Arc::clone(&is_stopped),
            results: Vec::new(),
            statistics: Statistics::default(),
        };
        self.queries.remember(&id, query)?;
        let search = Search {
            lines: Arc::clone(&self.lines),
            catalog: self.catalog.clone(),
            views: Arc::clone(&self.views),
            groups,
            commands,
            times_ms: start.saturating_mul(1000)..end.saturating_mul(1000).saturating_add(1000),
            limit: input.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_DEFAULT),
            is_stopped,
            statistics: Statistics::default(),
        };
        let (queries, own) = (Arc::clone(&self.queries), id.clone());
        tokio::spawn(async move { search.run(&queries, &own).await });
        Ok(json!({ "queryId": id }))
    }

    pub(super) fn query_results(&self, caller: &Caller, input: &NamedQuery) -> Result<Value, Failure> {
        let known = self.queries.lock();
        let query = known.get(&input.query_id).filter(|query| query.is_of(caller));
        let query = query.ok_or_else(|| query_not_found(&input.query_id))?;
        let Statistics { matched, scanned, bytes } = query.statistics;
        Ok(json!({
            "queryLanguage": "CWLI",
            "results": query.results,
            "statistics": {
                "recordsMatched": matched,
                "recordsScanned": scanned,
                "bytesScanned": bytes,
                "estimatedRecordsSkipped": 0,
                "estimatedBytesSkipped": 0,
                "logGroupsScanned": query.groups.len(),
            },
            "status": query.status.name(),
        }))
    }

    pub(super) fn stop_query(&self, caller: &Caller, input: &NamedQuery) -> Result<Value, Failure> {
        let mut known = self.queries.lock();
        let query = known.get_mut(&input.query_id).filter(|query| query.is_of(caller));
        let query = query.ok_or_else(|| query_not_found(&input.query_id))?;
        if query.status != Status::Running {
            return Err(invalid("The specified query is not running."));
        }
        query.status = Status::Cancelled;
        query.is_stopped.store(true, Ordering::Relaxed);
        Ok(json!({ "success": true }))
    }

    pub(super) fn describe_queries(&self, caller: &Caller, input: &DescribeQueries) -> Value {
        let known = self.queries.lock();
        let mut wanted: Vec<(&String, &Remembered)> = known
            .iter()
            .filter(|(_, query)| query.is_of(caller))
            .filter(|(_, query)| input.log_group_name.as_ref().is_none_or(|name| query.groups.contains(name)))
            .filter(|(_, query)| input.status.as_ref().is_none_or(|status| query.status.name() == status))
            .collect();
        wanted.sort_by_key(|(_, query)| std::cmp::Reverse(query.created));
        wanted.truncate(input.max_results.unwrap_or(REMEMBERED_MAX));
        let shown = wanted.into_iter().map(|(id, query)| {
            let mut shown = json!({
                "queryLanguage": "CWLI",
                "queryId": id,
                "queryString": query.text,
                "status": query.status.name(),
                "createTime": query.created.millis(),
            });
            if let [group] = &query.groups[..] {
                shown["logGroupName"] = group.as_str().into();
            }
            shown
        });
        json!({ "queries": shown.collect::<Vec<_>>() })
    }

    /// A whole line by the pointer that a query gave.
    pub(super) async fn log_record(&self, caller: &Caller, input: GetRecord) -> Result<Value, Failure> {
        let wrong = || invalid("The specified log record pointer is invalid.");
        let text =
            STANDARD.decode(&input.log_record_pointer).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(wrong)?;
        let (group, place) = text.split_once('/').ok_or_else(wrong)?;
        let id = GroupId(group.parse().map_err(|_| wrong())?);
        let place = of_digits(place).ok_or_else(wrong)?;
        let group = self.group_of(id).await?.filter(|group| group.name.account == caller.account);
        let group = group.ok_or_else(group_not_found)?;
        let query = LinesQuery {
            group: group.id,
            streams: None,
            times_ms: place.timestamp_ms..place.timestamp_ms.saturating_add(1),
            after: None,
            backwards: false,
            wanted: None,
            lines_max: usize::MAX,
            found_bytes_max: usize::MAX,
            scanned_bytes_max: u64::MAX,
        };
        let page = self.lines.read(query).await.map_err(of_lines)?;
        let found = page.lines.iter().find(|line| line.id == place);
        let found = found.ok_or_else(|| not_found("The specified log record does not exist."))?;
        let opener = self.opener(&group).await?;
        let row = row_of(&self.views, &self.catalog, &group.name, &opener, found).await?;
        let mut record = serde_json::Map::new();
        for (name, value) in &row.fields {
            record.extend(value.shown().map(|text| (name.clone(), Value::from(text))));
        }
        for (name, value) in row.json.iter().flat_map(Value::as_object).flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            record.insert(name.clone(), text.into());
        }
        Ok(json!({ "logRecord": record }))
    }
}

impl Remembered {
    fn is_of(&self, caller: &Caller) -> bool {
        self.place.0 == caller.region && self.place.1 == caller.account
    }
}

impl Search {
    async fn run(mut self, queries: &Queries, id: &str) {
        let outcome = self.rows().await;
        let mut known = queries.lock();
        let Some(query) = known.get_mut(id) else { return };
        query.statistics = self.statistics;
        if query.status != Status::Running {
            return;
        }
        match outcome {
            Ok(rows) => {
                query.results = self.shown(rows);
                query.status = Status::Complete;
            }
            Err(failure) => {
                let error = AwsError::from(failure);
                tracing::warn!(query = id, %error, "a query failed");
                query.status = Status::Failed;
            }
        }
    }

    /// What comes of the lines.
    async fn rows(&mut self) -> Result<Vec<Row>, Failure> {
        let commands = std::mem::take(&mut self.commands);
        let split = streaming(&commands);
        let (first, rest) = commands.split_at(split);
        // Without a command that needs all lines, the latest ones are enough.
        let enough = match rest.first() {
            None => Some(self.limit),
            Some(Command::Limit(limit)) => Some(*limit),
            _ => None,
        };
        let mut gathered = Gathered { rows: Vec::new(), kept_bytes: 0, groups: Groups::default() };
        let groups = std::mem::take(&mut self.groups);
        for (id, name, opener) in &groups {
            self.group_rows((*id, name, opener), (first, rest), enough, &mut gathered).await?;
        }
        let Gathered { mut rows, groups: stats, .. } = gathered;
        rows.sort_by_key(|row| std::cmp::Reverse(row.timestamp_ms));
        let mut rows = match rest {
            [Command::Stats { made, by }, others @ ..] => finish(others, stats.rows(made, by)),
            others => finish(others, rows),
        };
        rows.truncate(self.limit);
        self.commands = commands;
        Ok(rows)
    }

    /// Looks at the lines of one group, the latest first.
    async fn group_rows(
        &mut self,
        (id, name, opener): (GroupId, &GroupName, &Opener),
        (first, rest): (&[Command], &[Command]),
        enough: Option<usize>,
        gathered: &mut Gathered,
    ) -> Result<(), Failure> {
        let (mut after, mut taken) = (None, 0);
        loop {
            let query = LinesQuery {
                group: id,
                streams: None,
                times_ms: self.times_ms.clone(),
                after,
                backwards: true,
                wanted: None,
                lines_max: STEP_LINES,
                found_bytes_max: STEP_BYTES,
                scanned_bytes_max: STEP_BYTES as u64,
            };
            let page = self.lines.read(query).await.map_err(of_lines)?;
            for found in &page.lines {
                self.statistics.scanned += 1;
                self.statistics.bytes += found.message.len() as u64;
                let row = row_of(&self.views, &self.catalog, name, opener, found).await?;
                let Some(row) = step(first, row) else { continue };
                self.statistics.matched += 1;
                taken += 1;
                if let [Command::Stats { made, by }, ..] = rest {
                    gathered.groups.add(made, by, &row);
                } else {
                    gathered.kept_bytes += found.message.len();
                    gathered.rows.push(row);
                }
                let is_full = gathered.kept_bytes > KEPT_BYTES_MAX;
                if is_full || enough.is_some_and(|enough| taken >= enough) {
                    return Ok(());
                }
            }
            let is_over = page.is_complete || self.statistics.bytes > LOOKED_AT_BYTES_MAX;
            if is_over || self.is_stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            after = page.looked_up_to.or(after);
            tokio::task::yield_now().await;
        }
    }

    /// Rows as results: the fields that the query asks for.
    fn shown(&self, rows: Vec<Row>) -> Vec<Value> {
        let names = shown_names(&self.commands);
        let shown = rows.into_iter().map(|row| {
            let cell = |name: &String| {
                let value = row.value_of(name).shown()?;
                Some(json!({ "field": name, "value": value }))
            };
            let mut cells: Vec<Value> = names.iter().filter_map(cell).collect();
            if let Some(pointer) = row.fields.get("@ptr").and_then(Cell::shown) {
                cells.push(json!({ "field": "@ptr", "value": pointer }));
            }
            Value::from(cells)
        });
        shown.collect()
    }
}

/// What a search has so far.
struct Gathered {
    rows: Vec<Row>,
    kept_bytes: usize,
    groups: Groups,
}

/// The fields that a query's results have.
fn shown_names(commands: &[Command]) -> Vec<String> {
    let (mut names, mut is_stats) = (Vec::new(), false);
    for command in commands {
        match command {
            Command::Display(displayed) => return displayed.clone(),
            Command::Fields(named) => names.extend(named.iter().map(|(name, _)| name.clone())),
            Command::Parse { names: parsed, .. } if !is_stats => names.extend(parsed.iter().cloned()),
            Command::Stats { made, by } => {
                is_stats = true;
                names = by.iter().map(|(name, _)| name.clone()).collect();
                names.extend(made.iter().map(|(name, _)| name.clone()));
            }
            _ => {}
        }
    }
    if names.is_empty() {
        names = vec!["@timestamp".to_owned(), "@message".to_owned()];
    }
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// A line as queries see it.
async fn row_of(
    views: &Views,
    catalog: &Catalog,
    group: &GroupName,
    opener: &Opener,
    found: &Found,
) -> Result<Row, Failure> {
    let message = String::from_utf8_lossy(&opener.open(&found.message)?).into_owned();
    let stream = views.stream_name(catalog, found.stream).await?;
    let json = message.starts_with('{').then(|| serde_json::from_str(&message).ok()).flatten();
    // The group as such is its number: what follows a name may be made anew.
    let id = views.group(catalog, group).await?.map_or(0, |group| group.id.0);
    let fields = [
        ("@ptr", STANDARD.encode(format!("{id}/{}", digits(found.id)))),
        ("@timestamp", time_text(found.id.timestamp_ms)),
        ("@ingestionTime", time_text(found.ingested_at.millis())),
        ("@logStream", stream.map(|name| name.to_string()).unwrap_or_default()),
        ("@log", format!("{}:{}", group.account, group.name)),
        ("@message", message),
    ];
    let fields = fields.into_iter().map(|(name, text)| (name.to_owned(), Cell::Text(text)));
    Ok(Row { fields: fields.collect(), json, timestamp_ms: found.id.timestamp_ms })
}

fn query_not_found(id: &str) -> Failure {
    not_found(format!("The specified query {id} does not exist."))
}

#[cfg(test)]
mod tests;
