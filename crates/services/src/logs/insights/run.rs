//! A query's way over lines: one after the other up to the first command that needs them all, then over what is left.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use cairn_core::Timestamp;
use serde_json::Value as Json;

use super::parse::{Aggregate, Command, Expression, Pattern};

/// The values of groups that `stats` keeps, and of each for percentiles and distinct values.
const GROUPS_MAX: usize = 10_000;
const VALUES_MAX: usize = 100_000;

/// A line on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What the line itself has: `@message`, `@timestamp`, and what commands made.
    pub(super) fields: BTreeMap<String, Value>,
    /// Its message as JSON, where it is an object.
    pub(super) json: Option<Json>,
    pub(super) timestamp_ms: i64,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Missing,
    Text(String),
    Number(f64),
}

impl Value {
    pub(super) fn shown(&self) -> Option<String> {
        match self {
            Self::Missing => None,
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(format!("{number}")),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(*number),
        }
    }

    fn text(&self) -> String {
        self.shown().unwrap_or_default()
    }

    fn is_true(&self) -> bool {
        matches!(self, Self::Number(number) if *number != 0.0)
    }

    fn of_bool(is_true: bool) -> Self {
        Self::Number(if is_true { 1.0 } else { 0.0 })
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => one.total_cmp(&two),
            _ => self.shown().cmp(&other.shown()),
        }
    }
}

/// Times as queries show them.
pub(super) fn time_text(timestamp_ms: i64) -> String {
    let iso = Timestamp::from_millis(timestamp_ms).iso_millis();
    iso.replacen('T', " ", 1).trim_end_matches('Z').to_owned()
}

impl Row {
    /// The value of a field.
    pub(super) fn value_of(&self, name: &str) -> Value {
        if let Some(value) = self.fields.get(name) {
            return value.clone();
        }
        let Some(mut json) = self.json.as_ref() else { return Value::Missing };
        if let Some(whole) = json.get(name) {
            return of_json(whole);
        }
        for part in name.split('.') {
            let inner = match json {
                Json::Array(items) => part.parse::<usize>().ok().and_then(|at| items.get(at)),
                other => other.get(part),
            };
            let Some(inner) = inner else { return Value::Missing };
            json = inner;
        }
        of_json(json)
    }

    fn value(&self, expression: &Expression) -> Value {
        match expression {
            Expression::Field(name) => self.value_of(name),
            Expression::Text(text) => Value::Text(text.clone()),
            Expression::Number(number) => Value::Number(*number),
            Expression::Compare(left, sign, right) => {
                Value::of_bool(compares(&self.value(left), sign, &self.value(right)))
            }
            Expression::Like(of, pattern) => {
                let value = self.value(of);
                let is_like = match pattern {
                    _ if value == Value::Missing => false,
                    Pattern::Part(part) => value.text().contains(part.as_str()),
                    Pattern::Regex(pattern) => pattern.matches(value.text().as_bytes()),
                };
                Value::of_bool(is_like)
            }
            Expression::In(of, values) => {
                let value = self.value(of);
                Value::of_bool(values.iter().any(|other| compares(&value, "=", &self.value(other))))
            }
            Expression::All(all) => Value::of_bool(all.iter().all(|one| self.value(one).is_true())),
            Expression::Any(any) => Value::of_bool(any.iter().any(|one| self.value(one).is_true())),
            Expression::Not(one) => Value::of_bool(!self.value(one).is_true()),
            Expression::Bin(period_ms) => {
                Value::Text(time_text(self.timestamp_ms - self.timestamp_ms.rem_euclid(*period_ms)))
            }
            Expression::Call(name, of) => call(name, &of.first().map_or(Value::Missing, |of| self.value(of))),
        }
    }
}

fn call(name: &str, value: &Value) -> Value {
    let text = || value.text();
    match name {
        "ispresent" => Value::of_bool(*value != Value::Missing),
        "isempty" => Value::of_bool(text().is_empty()),
        "isblank" => Value::of_bool(text().trim().is_empty()),
        "strlen" => Value::Number(text().chars().count() as f64),
        "tolower" => Value::Text(text().to_lowercase()),
        "toupper" => Value::Text(text().to_uppercase()),
        _ => Value::Text(text().trim().to_owned()),
    }
}

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Missing,
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => number.as_f64().map_or(Value::Missing, Value::Number),
        Json::Bool(is_true) => Value::Number(if *is_true { 1.0 } else { 0.0 }),
        other => Value::Text(other.to_string()),
    }
}

/// A missing value is unequal to all, and neither below nor above any.
fn compares(left: &Value, sign: &str, right: &Value) -> bool {
    if *left == Value::Missing || *right == Value::Missing {
        return sign == "!=" && left != right;
    }
    let order = left.order(right);
    match sign {
        "=" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// How many of the commands look at one line alone.
pub(super) fn streaming(commands: &[Command]) -> usize {
    let is_streaming = |command: &&Command| {
        matches!(
            command,
            Command::Fields(_) | Command::Display(_) | Command::Filter(_) | Command::Parse { .. }
        )
    };
    commands.iter().take_while(is_streaming).count()
}

/// What a line becomes by commands that look at one alone; none where it is filtered out.
pub(super) fn step(commands: &[Command], mut row: Row) -> Option<Row> {
    for command in commands {
        match command {
            Command::Fields(named) => {
                for (name, expression) in named {
                    let value = row.value(expression);
                    row.fields.insert(name.clone(), value);
                }
            }
            Command::Filter(expression) if !row.value(expression).is_true() => return None,
            Command::Parse { field, pieces, names } => {
                let text = row.value(field).text();
                for (name, value) in names.iter().zip(globbed(&text, pieces)) {
                    row.fields.insert(name.clone(), Value::Text(value));
                }
            }
            _ => {}
        }
    }
    Some(row)
}

/// What the stars of a glob stand for in a text that has all of its pieces.
fn globbed(text: &str, pieces: &[String]) -> Vec<String> {
    let [first, others @ ..] = pieces else { return Vec::new() };
    let Some(at) = text.find(first.as_str()) else { return Vec::new() };
    let mut rest = &text[at + first.len()..];
    let mut found = Vec::new();
    for (place, piece) in others.iter().enumerate() {
        let is_last = place + 1 == others.len();
        let end = if is_last && piece.is_empty() { Some(rest.len()) } else { rest.find(piece.as_str()) };
        let Some(end) = end else { return Vec::new() };
        found.push(rest[..end].to_owned());
        rest = &rest[end + piece.len()..];
    }
    found
}

/// What rows become by the commands behind the streaming ones.
pub(super) fn finish(commands: &[Command], mut rows: Vec<Row>) -> Vec<Row> {
    for command in commands {
        rows = match command {
            Command::Sort(by) => {
                rows.sort_by(|one, two| {
                    let orders = by.iter().map(|(expression, descends)| {
                        let order = one.value(expression).order(&two.value(expression));
                        if *descends { order.reverse() } else { order }
                    });
                    orders.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
                });
                rows
            }
            Command::Limit(limit) => {
                rows.truncate(*limit);
                rows
            }
            Command::Dedup(names) => {
                let mut seen = HashSet::new();
                rows.retain(|row| {
                    seen.insert(names.iter().map(|name| row.value_of(name).shown()).collect::<Vec<_>>())
                });
                rows
            }
            Command::Stats { made, by } => {
                let mut groups = Groups::default();
                rows.iter().for_each(|row| groups.add(made, by, row));
                groups.rows(made, by)
            }
            one => rows.into_iter().filter_map(|row| step(std::slice::from_ref(one), row)).collect(),
        };
    }
    rows
}

/// What `stats` has gathered.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<Vec<Option<String>>, Vec<Gathered>>);

#[derive(Clone, Default)]
struct Gathered {
    count: f64,
    sum: f64,
    least: Option<Value>,
    most: Option<Value>,
    earliest: Option<(i64, Value)>,
    latest: Option<(i64, Value)>,
    distinct: HashSet<String>,
    values: Vec<f64>,
}

impl Groups {
    /// Adds a row to its group. Past the most groups there are, further ones are left out.
    pub(super) fn add(&mut self, made: &[(String, Aggregate)], by: &[(String, Expression)], row: &Row) {
        let key: Vec<Option<String>> =
            by.iter().map(|(_, expression)| row.value(expression).shown()).collect();
        if self.0.len() >= GROUPS_MAX && !self.0.contains_key(&key) {
            return;
        }
        let group = self.0.entry(key).or_insert_with(|| vec![Gathered::default(); made.len()]);
        for ((_, aggregate), gathered) in made.iter().zip(group) {
            match aggregate {
                Aggregate::CountAll => gathered.count += 1.0,
                Aggregate::Of(_, of) | Aggregate::Percentile(of, _) => {
                    gathered.add(aggregate, row.value(of), row.timestamp_ms);
                }
            }
        }
    }

    /// A row for each group.
    pub(super) fn rows(self, made: &[(String, Aggregate)], by: &[(String, Expression)]) -> Vec<Row> {
        let rows = self.0.into_iter().map(|(key, group)| {
            let mut row = Row::default();
            for ((name, _), value) in by.iter().zip(key) {
                row.fields.insert(name.clone(), value.map_or(Value::Missing, Value::Text));
            }
            for ((name, aggregate), gathered) in made.iter().zip(group) {
                row.fields.insert(name.clone(), gathered.value(aggregate));
            }
            row
        });
        rows.collect()
    }
}

impl Gathered {
    fn add(&mut self, aggregate: &Aggregate, value: Value, timestamp_ms: i64) {
        if value == Value::Missing {
            return;
        }
        self.count += 1.0;
        self.sum += value.number().unwrap_or(0.0);
        match aggregate {
            Aggregate::Of("count_distinct", _) if self.distinct.len() < VALUES_MAX => {
                self.distinct.insert(value.text());
            }
            Aggregate::Percentile(..) if self.values.len() < VALUES_MAX => self.values.extend(value.number()),
            Aggregate::Of("min", _) if self.least.as_ref().is_none_or(|least| value.order(least).is_lt()) => {
                self.least = Some(value);
            }
            Aggregate::Of("max", _) if self.most.as_ref().is_none_or(|most| value.order(most).is_gt()) => {
                self.most = Some(value);
            }
            Aggregate::Of("earliest", _)
                if self.earliest.as_ref().is_none_or(|(at, _)| timestamp_ms < *at) =>
            {
                self.earliest = Some((timestamp_ms, value));
            }
            Aggregate::Of("latest", _) if self.latest.as_ref().is_none_or(|(at, _)| timestamp_ms >= *at) => {
                self.latest = Some((timestamp_ms, value));
            }
            _ => {}
        }
    }

    fn value(self, aggregate: &Aggregate) -> Value {
        match aggregate {
            Aggregate::CountAll | Aggregate::Of("count", _) => Value::Number(self.count),
            Aggregate::Of("count_distinct", _) => Value::Number(self.distinct.len() as f64),
            Aggregate::Of("sum", _) => Value::Number(self.sum),
            Aggregate::Of("avg", _) if self.count > 0.0 => Value::Number(self.sum / self.count),
            Aggregate::Of("min", _) => self.least.unwrap_or(Value::Missing),
            Aggregate::Of("max", _) => self.most.unwrap_or(Value::Missing),
            Aggregate::Of("earliest", _) => self.earliest.map_or(Value::Missing, |(_, value)| value),
            Aggregate::Of("latest", _) => self.latest.map_or(Value::Missing, |(_, value)| value),
            Aggregate::Of(..) => Value::Missing,
            Aggregate::Percentile(_, percent) => percentile(self.values, *percent),
        }
    }
}

/// The value that so many percent are not above: the nearest rank.
fn percentile(mut values: Vec<f64>, percent: f64) -> Value {
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).map_or(Value::Missing, |value| Value::Number(*value))
}
