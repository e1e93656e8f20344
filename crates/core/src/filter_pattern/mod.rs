//! Filter patterns: what CloudWatch Logs is asked to find in log lines.
//!
//! On the road: FilterLogEvents, live tail, metric filters and subscription filters ask whether a line is wanted.
//! Three forms: terms anywhere in the line, conditions on space-delimited fields in brackets, conditions on members of
//! JSON in braces.
//!
//! Invariants: pure and total; every text is a pattern or gives AWS's error; matching takes time linear in the line,
//! builds nothing of it, and never goes back. A line of JSON is read until the pattern is decided, so what is malformed
//! behind that place is not seen.
//! Source: the CloudWatch Logs user guide's pages on filter pattern syntax, and the answers that AWS gave.

mod comparison;
mod cursor;
mod expression;
mod fields;
mod json;
mod literals;
mod regex;
mod selector;
mod terms;
#[cfg(test)]
mod tests;

use self::fields::FieldsPattern;
use self::json::JsonPattern;
use self::selector::Selector;
use self::terms::TermsPattern;

/// The longest pattern, in characters.
pub const PATTERN_CHARS_MAX: usize = 1024;

/// Why a text is no filter pattern, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterPatternError {
    /// A character that must be in double quotes.
    #[error("Invalid character(s) in term '{0}'")]
    Characters(String),
    /// Anything else; AWS does not say what.
    #[error("Invalid filter pattern")]
    Malformed(&'static str),
}

/// What lines are asked for.
#[derive(Clone, Debug)]
pub struct FilterPattern(Form);

#[derive(Clone, Debug)]
enum Form {
    Everything,
    Terms(TermsPattern),
    Fields(FieldsPattern),
    Json(Box<JsonPattern>),
}

impl FilterPattern {
    /// Reads a pattern. An empty one takes every line.
    ///
    /// # Errors
    /// [`FilterPatternError`].
    pub fn parse(text: &str) -> Result<Self, FilterPatternError> {
        if text.chars().count() > PATTERN_CHARS_MAX {
            return Err(FilterPatternError::Malformed("the pattern is too long"));
        }
        let text = text.trim();
        let form = if text.is_empty() {
            Form::Everything
        } else if let Some(inner) = text.strip_prefix('{') {
            Form::Json(Box::new(JsonPattern::parse(closed(inner, '}')?)?))
        } else if let Some(inner) = text.strip_prefix('[') {
            Form::Fields(FieldsPattern::parse(closed(inner, ']')?)?)
        } else {
            Form::Terms(TermsPattern::parse(text)?)
        };
        Ok(Self(form))
    }

    /// Whether a line is wanted.
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> bool {
        match &self.0 {
            Form::Everything => true,
            Form::Terms(terms) => terms.matches(line),
            Form::Fields(fields) => fields.matches(line),
            Form::Json(json) => json.matches(line),
        }
    }

    /// The same without the search for necessary literals that comes first: for measurements and comparisons.
    #[must_use]
    pub fn matches_by_scan(&self, line: &[u8]) -> bool {
        match &self.0 {
            Form::Json(json) => json.matches_by_scan(line),
            _ => self.matches(line),
        }
    }

    /// What the pattern names, and what that is in the line: `$.errorCode` of JSON; `$status`, or `$3` where it has no
    /// name, of fields. Terms name nothing.
    #[must_use]
    pub fn extract(&self, line: &[u8]) -> Vec<(String, String)> {
        match &self.0 {
            Form::Everything | Form::Terms(_) => Vec::new(),
            Form::Fields(fields) => fields.extract(line),
            Form::Json(json) => json.extract(line),
        }
    }

    /// Whether lines that match have what the selector names: JSON has members, fields have names.
    #[must_use]
    pub fn can_select(&self, selector: &ValueSelector) -> bool {
        match (&self.0, &selector.0) {
            (Form::Json(_), Named::Member(_)) => true,
            (Form::Fields(fields), Named::Field(name)) => fields.has(name),
            _ => false,
        }
    }

    /// Whether lines have anything that a selector could name.
    #[must_use]
    pub fn is_structured(&self) -> bool {
        matches!(self.0, Form::Json(_) | Form::Fields(_))
    }

    /// Whether it is about space-delimited fields.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        matches!(self.0, Form::Fields(_))
    }

    /// Whether regular expressions occur in it: a log group may have few such patterns.
    #[must_use]
    pub fn has_regex(&self) -> bool {
        match &self.0 {
            Form::Everything => false,
            Form::Terms(terms) => terms.has_regex(),
            Form::Fields(fields) => fields.has_regex(),
            Form::Json(json) => json.has_regex(),
        }
    }

    /// What the selector names in a line; none where it is not there, or has members itself.
    #[must_use]
    pub fn select(&self, selector: &ValueSelector, line: &[u8]) -> Option<String> {
        match (&self.0, &selector.0) {
            (Form::Json(_), Named::Member(member)) => json::select(member, line),
            (Form::Fields(fields), Named::Field(name)) => fields.select(name, line),
            _ => None,
        }
    }
}

/// Names a value of a line: `$.latency`, `$size`, `$3`.
#[derive(Clone, Debug)]
pub struct ValueSelector(Named);

#[derive(Clone, Debug)]
enum Named {
    Member(Selector),
    Field(String),
}

impl ValueSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// [`FilterPatternError`].
    pub fn parse(text: &str) -> Result<Self, FilterPatternError> {
        if text.starts_with("$.") || text.starts_with("$[") {
            let mut cursor = cursor::Cursor::new(text);
            let selector = Selector::parse(&mut cursor)?;
            return match cursor.peek() {
                None => Ok(Self(Named::Member(selector))),
                Some(other) => Err(FilterPatternError::Characters(other.to_string())),
            };
        }
        match text.strip_prefix('$') {
            Some(name) if !name.is_empty() && name.chars().all(cursor::is_name) => {
                Ok(Self(Named::Field(name.to_owned())))
            }
            _ => Err(FilterPatternError::Malformed("a selector begins with a dollar sign")),
        }
    }
}

fn closed(inner: &str, by: char) -> Result<&str, FilterPatternError> {
    inner.strip_suffix(by).ok_or(FilterPatternError::Malformed("the pattern is not closed"))
}
