//! Space-delimited fields: `[ip, user, ..., status=4*, bytes>1000]`. What stands in brackets or double quotes is one field.

use super::FilterPatternError;
use super::comparison::{Comparison, Operand};
use super::cursor::{Cursor, is_name};
use super::expression::Expression;

/// What a field is called, and what is asked of it.
#[derive(Clone, Debug, Default)]
struct Field {
    name: Option<String>,
    asked: Option<(Expression, Vec<Comparison>)>,
}

impl Field {
    fn is(&self, value: &[u8]) -> bool {
        self.asked.as_ref().is_none_or(|(expression, comparisons)| {
            expression.decide(&|number| Some(comparisons[number].holds(value))) == Some(true)
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct FieldsPattern {
    /// From the beginning of the line.
    first: Vec<Field>,
    /// From its end, where there is an ellipsis; otherwise the line has no more fields than the first ones.
    last: Option<Vec<Field>>,
}

impl FieldsPattern {
    pub(super) fn parse(text: &str) -> Result<Self, FilterPatternError> {
        let mut cursor = Cursor::new(text);
        let mut pattern = Self { first: Vec::new(), last: None };
        if cursor.peek_token().is_none() {
            // Nothing is asked.
            pattern.last = Some(Vec::new());
            return Ok(pattern);
        }
        loop {
            if cursor.take_token("...") || cursor.take_token("…") {
                if pattern.last.replace(Vec::new()).is_some() {
                    return Err(FilterPatternError::Malformed("there is more than one ellipsis"));
                }
            } else {
                let field = field(&mut cursor)?;
                pattern.last.as_mut().unwrap_or(&mut pattern.first).push(field);
            }
            if cursor.peek_token().is_none() {
                return Ok(pattern);
            }
            if !cursor.take(",") {
                return Err(cursor.unexpected());
            }
        }
    }

    pub(super) fn matches(&self, line: &[u8]) -> bool {
        let values = split(line);
        let last = self.last.as_deref().unwrap_or_default();
        let asked = self.first.len() + last.len();
        let is_long_enough = if self.last.is_some() { values.len() >= asked } else { values.len() == asked };
        is_long_enough
            && self.first.iter().zip(&values).all(|(field, value)| field.is(value))
            && last.iter().rev().zip(values.iter().rev()).all(|(field, value)| field.is(value))
    }

    pub(super) fn extract(&self, line: &[u8]) -> Vec<(String, String)> {
        let values = split(line);
        let count = values.len();
        let named = |(at, value): (usize, &[u8])| {
            let name = self.field_at(at, count).and_then(|field| field.name.clone());
            let name = name.unwrap_or_else(|| (at + 1).to_string());
            (format!("${name}"), String::from_utf8_lossy(value).into_owned())
        };
        values.into_iter().enumerate().map(named).collect()
    }

    pub(super) fn select(&self, name: &str, line: &[u8]) -> Option<String> {
        let wanted = format!("${name}");
        self.extract(line).into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// Whether lines have a field of that name, or, where it has none, of that number.
    pub(super) fn has(&self, name: &str) -> bool {
        let mut fields = self.first.iter().chain(self.last.iter().flatten());
        if fields.any(|field| field.name.as_deref() == Some(name)) {
            return true;
        }
        let Ok(number) = name.parse::<usize>() else { return false };
        number > 0
            && (self.last.is_some() || self.first.get(number - 1).is_some_and(|field| field.name.is_none()))
    }

    pub(super) fn has_regex(&self) -> bool {
        let fields = self.first.iter().chain(self.last.iter().flatten());
        let mut asked = fields.filter_map(|field| field.asked.as_ref()).flat_map(|(_, asked)| asked);
        asked.any(|comparison| matches!(comparison.operand, Operand::Regex(_)))
    }

    /// What is said of a line's field, of so many.
    fn field_at(&self, at: usize, count: usize) -> Option<&Field> {
        self.first.get(at).or_else(|| {
            let last = self.last.as_ref()?;
            last.get((at + last.len()).checked_sub(count)?)
        })
    }
}

/// A name, perhaps with conditions, all on the same name; nothing at all is a field without a name.
fn field(cursor: &mut Cursor<'_>) -> Result<Field, FilterPatternError> {
    if matches!(cursor.peek_token(), None | Some(',')) {
        return Ok(Field::default());
    }
    let mut names: Vec<String> = Vec::new();
    let mut comparisons = Vec::new();
    let mut is_alone = false;
    let mut condition = |cursor: &mut Cursor<'_>| {
        cursor.peek_token();
        let name = cursor.take_while(is_name);
        if name.is_empty() {
            return Err(cursor.unexpected());
        }
        names.push(name.to_owned());
        match cursor.comparison()? {
            Some(comparison) => comparisons.push(comparison),
            None => is_alone = true,
        }
        Ok(names.len() - 1)
    };
    let expression = Expression::parse(cursor, &mut condition)?;
    if names.windows(2).any(|pair| pair[0] != pair[1]) || (is_alone && names.len() > 1) {
        return Err(FilterPatternError::Malformed("a field has conditions on others"));
    }
    let asked = (!is_alone).then_some((expression, comparisons));
    Ok(Field { name: names.into_iter().next(), asked })
}

/// The fields of a line.
fn split(line: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    let mut rest = line.trim_ascii_start();
    // What is not closed anywhere is looked for once.
    let (mut has_quotes, mut has_brackets) = (true, true);
    while let Some(first) = rest.first() {
        let closing = match first {
            b'"' if has_quotes => {
                let end = memchr::memchr(b'"', &rest[1..]);
                has_quotes = end.is_some();
                end
            }
            b'[' if has_brackets => {
                let end = memchr::memchr(b']', &rest[1..]);
                has_brackets = end.is_some();
                end
            }
            _ => None,
        };
        let after = if let Some(length) = closing {
            fields.push(&rest[1..=length]);
            length + 2
        } else {
            let length = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            fields.push(&rest[..length]);
            length
        };
        rest = rest[after..].trim_ascii_start();
    }
    fields
}
