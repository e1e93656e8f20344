//! A subscription's filter policy: which of a topic's messages it wants, by their attributes or by their body.
//!
//! On the road: SNS parses one where a subscription is made or changed, and asks it for every message that is published.
//! Invariants: pure and total; every limit of AWS's is checked when the policy is parsed, so that a parsed policy matches
//! in time linear in the message. Source: the SNS developer guide, "Filter policy constraints", and AWS's answers.

use serde_json::Value;

use crate::pattern::{Dialect, Member, Members, PatternError, Rule, Scalar, compile};

#[cfg(test)]
mod tests;

/// The most keys: of a policy on bodies the outermost alone count.
pub const KEYS_MAX: usize = 5;
/// The most combinations of values: the product of the numbers of values, each times the depth of its key.
pub const COMBINATIONS_MAX: u64 = 150;
/// The largest policy, in bytes.
pub const POLICY_SIZE_BYTES_MAX: usize = 256 * 1024;

/// What a policy looks at: the attribute FilterPolicyScope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterPolicyScope {
    /// The message's attributes.
    #[default]
    MessageAttributes,
    /// The message's body, a JSON object.
    MessageBody,
}

impl FilterPolicyScope {
    /// The scope of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "MessageAttributes" => Some(Self::MessageAttributes),
            "MessageBody" => Some(Self::MessageBody),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageAttributes => "MessageAttributes",
            Self::MessageBody => "MessageBody",
        }
    }
}

/// Why a text is no filter policy. The display is AWS's text behind "Invalid parameter: ", and behind
/// "Attributes Reason: " where the policy comes with a Subscribe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterPolicyError {
    /// It is no JSON.
    #[error("FilterPolicy: failed to parse JSON.")]
    Json,
    /// It is larger than [`POLICY_SIZE_BYTES_MAX`].
    #[error("FilterPolicy: Filter policy can not be larger than {POLICY_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no pattern.
    #[error("FilterPolicy: {0}")]
    Pattern(#[from] PatternError),
    /// It has more than [`KEYS_MAX`] keys.
    #[error("FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys")]
    TooManyKeys,
    /// Its values combine in more than [`COMBINATIONS_MAX`] ways.
    #[error("FilterPolicy: Filter policy is too complex")]
    TooComplex,
    /// It is on attributes, and one of its keys holds an object.
    #[error("Filter policy scope MessageAttributes does not support nested filter policy")]
    Nested,
}

/// An attribute of a message, as policies look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageAttribute<'a> {
    /// Its name.
    pub name: &'a str,
    /// `String`, `String.Array`, `Number`, `Binary`, perhaps with a label.
    pub data_type: &'a str,
    /// Its value; none where that is bytes.
    pub text: Option<&'a str>,
}

/// A filter policy, ready to match.
#[derive(Clone, Debug)]
pub struct FilterPolicy {
    scope: FilterPolicyScope,
    /// None where everything is wanted.
    rule: Option<Rule>,
}

impl FilterPolicy {
    /// The policy that a text states. An empty object wants everything.
    ///
    /// # Errors
    /// Where it states none, or one beyond AWS's limits.
    pub fn parse(text: &str, scope: FilterPolicyScope) -> Result<Self, FilterPolicyError> {
        if text.len() > POLICY_SIZE_BYTES_MAX {
            return Err(FilterPolicyError::TooLarge);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| FilterPolicyError::Json)?;
        if value.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(Self { scope, rule: None });
        }
        // AWS's errors quote the policy without the space in it.
        let members = compile(&value.to_string(), Dialect::FilterPolicy)?;
        if scope == FilterPolicyScope::MessageAttributes && is_nested(&members) {
            return Err(FilterPolicyError::Nested);
        }
        let mut keys = Vec::new();
        outermost_keys(&members, &mut keys);
        if keys.len() > KEYS_MAX {
            return Err(FilterPolicyError::TooManyKeys);
        }
        if combinations(&members, 1) > COMBINATIONS_MAX {
            return Err(FilterPolicyError::TooComplex);
        }
        Ok(Self { scope, rule: Some(Rule::new(&members)?) })
    }

    /// What it looks at.
    #[must_use]
    pub const fn scope(&self) -> FilterPolicyScope {
        self.scope
    }

    /// Whether the subscription wants the message.
    #[must_use]
    pub fn matches(&self, attributes: &[MessageAttribute<'_>], body: &str) -> bool {
        match self.scope {
            FilterPolicyScope::MessageAttributes => self.matches_attributes(attributes),
            FilterPolicyScope::MessageBody => self.matches_body(body),
        }
    }

    /// Whether attributes are as asked. Those of bytes are as if they were not there.
    #[must_use]
    pub fn matches_attributes(&self, attributes: &[MessageAttribute<'_>]) -> bool {
        let Some(rule) = &self.rule else { return true };
        rule.matches_keys(|key| {
            let mut named = attributes.iter().filter(|attribute| attribute.name == key.name);
            match named.find_map(Values::of) {
                Some(values) => key.holds(Some(values.scalars())),
                None => key.holds(None::<[Scalar<'_>; 0]>),
            }
        })
    }

    /// Whether a body is as asked: none is that is no JSON object.
    #[must_use]
    pub fn matches_body(&self, body: &str) -> bool {
        let Some(rule) = &self.rule else { return true };
        let document: Option<Value> = serde_json::from_str(body).ok();
        document.is_some_and(|document| document.is_object() && rule.matches(&document))
    }
}

/// The values of one attribute.
enum Values<'a> {
    Text(&'a str),
    Number(&'a str),
    Array(Vec<Value>),
}

impl<'a> Values<'a> {
    fn of(attribute: &MessageAttribute<'a>) -> Option<Self> {
        let text = attribute.text?;
        let mut parts = attribute.data_type.split('.');
        match (parts.next(), parts.next()) {
            (Some("Number"), _) => Some(Self::Number(text.trim())),
            // What is no array has no values, though it is there.
            (Some("String"), Some("Array")) => {
                let elements: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
                let is_scalar = |value: &Value| !value.is_array() && !value.is_object();
                Some(Self::Array(elements.into_iter().filter(is_scalar).collect()))
            }
            (Some("String"), _) => Some(Self::Text(text)),
            _ => None,
        }
    }

    fn scalars(&self) -> Vec<Scalar<'_>> {
        match self {
            Self::Text(text) => vec![Scalar::Text(text)],
            Self::Number(number) => vec![Scalar::Number((*number).into())],
            Self::Array(elements) => elements.iter().filter_map(scalar).collect(),
        }
    }
}

fn scalar(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::Null => Some(Scalar::Null),
        Value::Bool(is) => Some(Scalar::Boolean(*is)),
        Value::String(text) => Some(Scalar::Text(text)),
        Value::Number(number) => Some(Scalar::Number(number.to_string().into())),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_nested(members: &Members) -> bool {
    members.iter().any(|member| match member {
        Member::Object(..) => true,
        Member::Or(alternatives) => alternatives.iter().any(is_nested),
        Member::Values(..) => false,
    })
}

fn outermost_keys<'a>(members: &'a Members, keys: &mut Vec<&'a str>) {
    for member in members {
        match member {
            Member::Values(name, _) | Member::Object(name, _) => {
                if !keys.contains(&name.as_str()) {
                    keys.push(name);
                }
            }
            Member::Or(alternatives) => alternatives.iter().for_each(|members| outermost_keys(members, keys)),
        }
    }
}

fn combinations(members: &Members, depth: u64) -> u64 {
    members.iter().fold(1, |product: u64, member| {
        product.saturating_mul(match member {
            Member::Values(_, patterns) => (patterns.len() as u64).saturating_mul(depth),
            Member::Object(_, members) => combinations(members, depth + 1),
            Member::Or(alternatives) => alternatives
                .iter()
                .fold(0, |sum: u64, members| sum.saturating_add(combinations(members, depth))),
        })
    })
}
