//! The JSON paths that EventBridge takes: dots, names, indices and `*`.

use serde_json::Value;

/// The most steps.
const STEPS_MAX: usize = 100;

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON path {0}")]
pub struct InputPathError(String);

/// Which part of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    All,
}

impl InputPath {
    /// The path that a text states: `$`, `$.detail.name`, `$.resources[0]`, `$.detail.items[*].id`, `$['detail']`.
    ///
    /// # Errors
    /// Where it states none.
    pub fn parse(text: &str) -> Result<Self, InputPathError> {
        let wrong = || InputPathError(text.to_owned());
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let step = if let Some(behind) = rest.strip_prefix('[') {
                let (inside, behind) = behind.split_once(']').ok_or_else(wrong)?;
                rest = behind;
                bracketed(inside)
            } else {
                let behind = rest.strip_prefix('.').ok_or_else(wrong)?;
                let length = behind.find(['.', '[']).unwrap_or(behind.len());
                let name = &behind[..length];
                rest = &behind[length..];
                match name {
                    "" => None,
                    "*" => Some(Step::All),
                    name => Some(Step::Name(name.to_owned())),
                }
            };
            steps.push(step.ok_or_else(wrong)?);
            if steps.len() > STEPS_MAX {
                return Err(wrong());
            }
        }
        Ok(Self { steps })
    }

    /// The part; none where the event has none. With `*` all parts, as an array.
    #[must_use]
    pub fn select(&self, event: &Value) -> Option<Value> {
        let mut selected = vec![event];
        for step in &self.steps {
            selected = selected.into_iter().flat_map(|value| step.of(value)).collect();
        }
        if self.steps.contains(&Step::All) {
            return Some(selected.into_iter().cloned().collect());
        }
        selected.first().map(|value| (*value).clone())
    }
}

fn bracketed(inside: &str) -> Option<Step> {
    let quoted = |quote: char| inside.strip_prefix(quote).and_then(|inside| inside.strip_suffix(quote));
    match quoted('\'').or_else(|| quoted('"')) {
        Some(name) => Some(Step::Name(name.to_owned())),
        None if inside == "*" => Some(Step::All),
        None => inside.parse().ok().map(Step::Index),
    }
}

impl Step {
    fn of<'e>(&self, value: &'e Value) -> Vec<&'e Value> {
        match (self, value) {
            (Self::Name(name), Value::Object(members)) => members.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(elements)) => elements.get(*index).into_iter().collect(),
            (Self::All, Value::Array(elements)) => elements.iter().collect(),
            (Self::All, Value::Object(members)) => members.values().collect(),
            _ => Vec::new(),
        }
    }
}
