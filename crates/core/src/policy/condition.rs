//! Conditions: operators, their quantifiers, and when they hold.
//!
//! Source: the IAM user guide's pages on condition operators and on multivalued context keys. A missing key fails a
//! positive operator and satisfies a negated one, `…IfExists` and `ForAllValues`; it fails `ForAnyValue`.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::document::PolicyError;
use super::json::Node;
use super::pattern::Pattern;
use super::{Request, Version, date};

/// How the values of a key are compared, before negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
    Numeric(&'static [Ordering]),
    Date(&'static [Ordering]),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// A condition operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    comparison: Comparison,
    negated: bool,
}

/// How an operator takes a key of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// None is written: one of the values must match, or none where the operator is negated.
    None,
    /// `ForAnyValue:`.
    ForAnyValue,
    /// `ForAllValues:`.
    ForAllValues,
}

/// One key of a Condition element with its operator and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    quantifier: Quantifier,
    operator: Operator,
    if_exists: bool,
    key: String,
    values: Vec<String>,
}

const EQUAL: &[Ordering] = &[Ordering::Equal];
const LESS: &[Ordering] = &[Ordering::Less];
const GREATER: &[Ordering] = &[Ordering::Greater];
const AT_MOST: &[Ordering] = &[Ordering::Less, Ordering::Equal];
const AT_LEAST: &[Ordering] = &[Ordering::Greater, Ordering::Equal];

const OPERATORS: &[(&str, Comparison, bool)] = &[
    ("StringEquals", Comparison::StringEquals, false),
    ("StringNotEquals", Comparison::StringEquals, true),
    ("StringEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Comparison::StringEqualsIgnoreCase, true),
    ("StringLike", Comparison::StringLike, false),
    ("StringNotLike", Comparison::StringLike, true),
    ("NumericEquals", Comparison::Numeric(EQUAL), false),
    ("NumericNotEquals", Comparison::Numeric(EQUAL), true),
    ("NumericLessThan", Comparison::Numeric(LESS), false),
    ("NumericLessThanEquals", Comparison::Numeric(AT_MOST), false),
    ("NumericGreaterThan", Comparison::Numeric(GREATER), false),
    ("NumericGreaterThanEquals", Comparison::Numeric(AT_LEAST), false),
    ("DateEquals", Comparison::Date(EQUAL), false),
    ("DateNotEquals", Comparison::Date(EQUAL), true),
    ("DateLessThan", Comparison::Date(LESS), false),
    ("DateLessThanEquals", Comparison::Date(AT_MOST), false),
    ("DateGreaterThan", Comparison::Date(GREATER), false),
    ("DateGreaterThanEquals", Comparison::Date(AT_LEAST), false),
    ("Bool", Comparison::Bool, false),
    ("BinaryEquals", Comparison::Binary, false),
    ("IpAddress", Comparison::Ip, false),
    ("NotIpAddress", Comparison::Ip, true),
    ("ArnEquals", Comparison::Arn, false),
    ("ArnNotEquals", Comparison::Arn, true),
    ("ArnLike", Comparison::Arn, false),
    ("ArnNotLike", Comparison::Arn, true),
    ("Null", Comparison::Null, false),
];

/// The conditions of a Condition element's members.
pub(super) fn parse(operators: Vec<(String, Node)>) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, node) in operators {
        let (quantifier, operator, if_exists) =
            parse_operator(&name).ok_or_else(|| problem(&name, "is unknown"))?;
        let Node::Object(keys) = node else { return Err(problem(&name, "must be an object of keys")) };
        for (key, node) in keys {
            let values = values(node).ok_or_else(|| problem(&format!("{name} {key}"), "is not a value"))?;
            if key.is_empty() {
                return Err(problem(&name, "has an empty key"));
            }
            if let Some(value) = values.iter().find(|value| !operator.takes(value)) {
                return Err(problem(&format!("{name} {key}"), &format!("does not take {value:?}")));
            }
            conditions.push(Condition { quantifier, operator, if_exists, key, values });
        }
    }
    Ok(conditions)
}

fn parse_operator(name: &str) -> Option<(Quantifier, Operator, bool)> {
    let (quantifier, name) = match name.split_once(':') {
        None => (Quantifier::None, name),
        Some(("ForAnyValue", name)) => (Quantifier::ForAnyValue, name),
        Some(("ForAllValues", name)) => (Quantifier::ForAllValues, name),
        Some(_) => return None,
    };
    let (name, if_exists) = match name.strip_suffix("IfExists") {
        Some("Null") => return None,
        Some(name) => (name, true),
        None => (name, false),
    };
    let (_, comparison, negated) = OPERATORS.iter().find(|(known, _, _)| *known == name)?;
    Some((quantifier, Operator { comparison: *comparison, negated: *negated }, if_exists))
}

fn values(node: Node) -> Option<Vec<String>> {
    match node {
        Node::Text(text) | Node::Scalar(text) => Some(vec![text]),
        Node::List(list) => list
            .into_iter()
            .map(|item| match item {
                Node::Text(text) | Node::Scalar(text) => Some(text),
                _ => None,
            })
            .collect(),
        Node::Null | Node::Object(_) => None,
    }
}

fn problem(element: &str, problem: &str) -> PolicyError {
    PolicyError::Condition { element: element.to_owned(), problem: problem.to_owned() }
}

impl Operator {
    /// Whether a policy may give this value to the operator.
    fn takes(self, value: &str) -> bool {
        match self.comparison {
            Comparison::StringEquals
            | Comparison::StringEqualsIgnoreCase
            | Comparison::StringLike
            | Comparison::Arn => true,
            Comparison::Numeric(_) => number(value).is_some(),
            Comparison::Date(_) => date::parse(value).is_some(),
            Comparison::Bool | Comparison::Null => boolean(value).is_some(),
            Comparison::Binary => STANDARD.decode(value).is_ok(),
            Comparison::Ip => Network::parse(value).is_some(),
        }
    }
}

impl Condition {
    /// The condition key as the document writes it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values as the document writes them.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether the condition holds for a request.
    pub(super) fn holds(&self, version: Version, request: &Request) -> bool {
        let found = request.values(&self.key);
        if self.operator.comparison == Comparison::Null {
            return self.values.iter().any(|value| boolean(value) == Some(found.is_none()));
        }
        let Some(found) = found else {
            return match self.quantifier {
                _ if self.if_exists => true,
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => false,
                Quantifier::None => self.operator.negated,
            };
        };
        let matches =
            |value: &String| self.values.iter().any(|wanted| self.equal(wanted, value, version, request));
        match self.quantifier {
            Quantifier::None => found.iter().any(matches) != self.operator.negated,
            Quantifier::ForAnyValue => found.iter().any(|value| matches(value) != self.operator.negated),
            Quantifier::ForAllValues => found.iter().all(|value| matches(value) != self.operator.negated),
        }
    }

    /// Whether a value of the request compares, before negation, with a value of the policy. What cannot be read as
    /// the operator's type compares with nothing.
    fn equal(&self, wanted: &str, value: &str, version: Version, request: &Request) -> bool {
        let pattern = |wildcards| Pattern::expand(wanted, version, request, wildcards);
        match self.operator.comparison {
            Comparison::StringEquals => pattern(false).is_some_and(|pattern| pattern.matches(value)),
            Comparison::StringEqualsIgnoreCase => {
                pattern(false).is_some_and(|pattern| pattern.matches_ignoring_case(value))
            }
            Comparison::StringLike => pattern(true).is_some_and(|pattern| pattern.matches(value)),
            Comparison::Arn => pattern(true).is_some_and(|pattern| pattern.matches_arn(value)),
            Comparison::Numeric(orders) => match (number(value), number(wanted)) {
                (Some(value), Some(wanted)) => {
                    value.partial_cmp(&wanted).is_some_and(|order| orders.contains(&order))
                }
                _ => false,
            },
            Comparison::Date(orders) => match (date::parse(value), date::parse(wanted)) {
                (Some(value), Some(wanted)) => orders.contains(&value.cmp(&wanted)),
                _ => false,
            },
            Comparison::Bool => boolean(wanted).is_some() && boolean(wanted) == boolean(value),
            Comparison::Binary => STANDARD
                .decode(wanted)
                .is_ok_and(|bytes| STANDARD.decode(value).is_ok_and(|found| found == bytes)),
            Comparison::Ip => match (Network::parse(wanted), value.parse::<IpAddr>()) {
                (Some(network), Ok(address)) => network.contains(address),
                _ => false,
            },
            Comparison::Null => false,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    plain.then(|| text.parse::<f64>().ok())?.filter(|number| number.is_finite())
}

/// A range of addresses. IPv6 addresses that carry IPv4 ones count as those.
struct Network {
    base: IpAddr,
    prefix_bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) => (base, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().ok()?;
        let bits_max = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|bits| *bits <= bits_max)?
            }
            Some(_) => return None,
        };
        Some(Self { base, prefix_bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let same_bits = |a: u128, b: u128, width: u32| {
            let ignored = width - self.prefix_bits;
            a.checked_shr(ignored) == b.checked_shr(ignored)
        };
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                same_bits(u128::from(base.to_bits()), u128::from(address.to_bits()), 32)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => same_bits(base.to_bits(), address.to_bits(), 128),
            (IpAddr::V6(base), IpAddr::V4(address)) => {
                same_bits(base.to_bits(), address.to_ipv6_mapped().to_bits(), 128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }
}
