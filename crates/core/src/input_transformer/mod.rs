//! What a rule's target is sent instead of the event: a part of it, or a template with parts of it filled in.
//!
//! On the road: `events` parses a target's InputPath and InputTransformer where targets are put, and applies them before
//! it sends. Pure and total.
//!
//! Invariants: outside of quotes a variable is filled in as JSON, inside of them as it is, without escapes, as AWS does;
//! a template of an object or array that is no JSON afterwards is sent to nobody.
//! Source: the EventBridge user guide, "input transformation", and the messages that AWS was recorded to send.

mod path;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use path::{InputPath, InputPathError};

use crate::timestamp::Timestamp;

/// The most variables.
pub const VARIABLES_MAX: usize = 100;
/// The longest template, in characters.
pub const TEMPLATE_CHARS_MAX: usize = 8192;
/// What the names of AWS's own variables begin with.
const RESERVED: &str = "aws.";

/// Why there is no such transformer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputTransformerError {
    /// The template names a variable that is not defined. AWS says so behind "InputTemplate for target NAME".
    #[error("contains invalid placeholder {0}.")]
    Placeholder(String),
    /// A variable has one of AWS's names.
    #[error("variable {0} begins with AWS.")]
    Reserved(String),
    /// There are more than [`VARIABLES_MAX`].
    #[error("has more than {VARIABLES_MAX} variables")]
    TooMany,
    /// The template is longer than [`TEMPLATE_CHARS_MAX`].
    #[error("is longer than {TEMPLATE_CHARS_MAX} characters")]
    TooLong,
    /// A variable's path is none.
    #[error(transparent)]
    Path(#[from] InputPathError),
}

/// A template and its variables.
#[derive(Clone, Debug)]
pub struct InputTransformer {
    parts: Vec<Part>,
    paths: BTreeMap<String, InputPath>,
    /// Whether the template begins as an object or an array.
    is_container: bool,
    /// Whether it begins as a string.
    is_string: bool,
}

/// What AWS's own variables say.
#[derive(Clone, Copy, Debug)]
pub struct RuleContext<'a> {
    /// The rule's ARN.
    pub rule_arn: &'a str,
    /// The rule's name.
    pub rule_name: &'a str,
    /// When the bus took the event.
    pub ingestion_time: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Variable { name: String, is_quoted: bool },
}

impl InputTransformer {
    /// The transformer of a template and the paths of its variables.
    ///
    /// # Errors
    /// Where a variable is not defined, or one of AWS's limits is passed.
    pub fn parse<'a>(
        paths: impl IntoIterator<Item = (&'a str, &'a str)>,
        template: &str,
    ) -> Result<Self, InputTransformerError> {
        if template.chars().count() > TEMPLATE_CHARS_MAX {
            return Err(InputTransformerError::TooLong);
        }
        let mut variables = BTreeMap::new();
        for (name, path) in paths {
            if name.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED)) {
                return Err(InputTransformerError::Reserved(name.to_owned()));
            }
            variables.insert(name.to_owned(), InputPath::parse(path)?);
        }
        if variables.len() > VARIABLES_MAX {
            return Err(InputTransformerError::TooMany);
        }
        let parts = parts(template);
        for part in &parts {
            if let Part::Variable { name, .. } = part
                && !variables.contains_key(name)
                && !is_awss(name)
            {
                return Err(InputTransformerError::Placeholder(name.clone()));
            }
        }
        let begins_with = |starts: &[char]| template.trim_start().starts_with(starts);
        Ok(Self {
            parts,
            paths: variables,
            is_container: begins_with(&['{', '[']),
            is_string: begins_with(&['"']),
        })
    }

    /// What is sent for an event; nothing where what the template makes is neither a string nor JSON.
    #[must_use]
    pub fn apply(&self, event: &Value, context: &RuleContext<'_>) -> Option<String> {
        let mut made = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => made.push_str(text),
                Part::Variable { name, is_quoted } => {
                    let value = self.value(name, event, context);
                    made.push_str(&self.filled_in(value, *is_quoted));
                }
            }
        }
        let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(&made).is_ok();
        (self.is_string || is_json()).then_some(made)
    }

    fn value(&self, name: &str, event: &Value, context: &RuleContext<'_>) -> Option<Value> {
        match name {
            "aws.events.rule-arn" => Some(json!(context.rule_arn)),
            "aws.events.rule-name" => Some(json!(context.rule_name)),
            "aws.events.event.ingestion-time" => Some(json!(context.ingestion_time.iso())),
            "aws.events.event" => Some(without_detail(event, context)),
            "aws.events.event.json" => Some(event.clone()),
            name => self.paths.get(name).and_then(|path| path.select(event)),
        }
    }

    fn filled_in(&self, value: Option<Value>, is_quoted: bool) -> String {
        match value {
            None if is_quoted => String::new(),
            None => "\"\"".to_owned(),
            Some(Value::String(text)) if is_quoted => text,
            // In a string, AWS leaves the quotes out of what has members.
            Some(value @ (Value::Object(_) | Value::Array(_))) if is_quoted && !self.is_container => {
                value.to_string().replace('"', "")
            }
            Some(value) => value.to_string(),
        }
    }
}

fn is_awss(name: &str) -> bool {
    matches!(
        name,
        "aws.events.rule-arn"
            | "aws.events.rule-name"
            | "aws.events.event.ingestion-time"
            | "aws.events.event"
            | "aws.events.event.json"
    )
}

/// The event as `aws.events.event` gives it: its detail left out, and the time that the bus took it.
fn without_detail(event: &Value, context: &RuleContext<'_>) -> Value {
    let mut kept = Map::new();
    for (name, of) in [
        ("id", "id"),
        ("account", "account"),
        ("detailType", "detail-type"),
        ("time", "time"),
        ("source", "source"),
        ("region", "region"),
        ("resources", "resources"),
        ("version", "version"),
    ] {
        if let Some(value) = event.get(of) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    kept.insert("time".to_owned(), json!(context.ingestion_time.iso()));
    Value::Object(kept)
}

/// The template's texts and variables. A `<` that begins no variable is text.
fn parts(template: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let (mut text, mut is_quoted, mut rest) = (String::new(), false, template);
    while let Some(character) = rest.chars().next() {
        if let Some(name) = variable(rest) {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Variable { name: name.to_owned(), is_quoted });
            rest = &rest[name.len() + 2..];
            continue;
        }
        let mut length = character.len_utf8();
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' => length += rest[length..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// The name of the variable that the text begins with.
fn variable(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let is_name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}
