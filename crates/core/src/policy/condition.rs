//! Conditions: operators, their quantifiers, and when they hold.
//!
//! Source: the IAM user guide's pages on condition operators and on multivalued context keys. A missing key fails a
//! positive operator and satisfies a negated one, `…IfExists` and `ForAllValues`; it fails `ForAnyValue`. Values are
//! read when the document is parsed. Policy variables stand in values of the string and ARN operators alone.

use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::date;
use super::document::PolicyError;
use super::json::Node;
use super::pattern::{ArnPattern, Pattern, Syntax};
use super::request::Request;

/// What an operator compares, before negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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

/// How an operator takes a key of several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    /// None is written: one of the values must match, or none where the operator is negated.
    None,
    /// `ForAnyValue:`.
    ForAnyValue,
    /// `ForAllValues:`.
    ForAllValues,
}

/// The values of a policy, read as the operator's type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Strings(Vec<Pattern>),
    StringsIgnoringCase(Vec<Pattern>),
    Arns(Vec<ArnPattern>),
    Numbers(&'static [Ordering], Vec<Number>),
    Dates(&'static [Ordering], Vec<i64>),
    Booleans(Vec<bool>),
    Binaries(Vec<Vec<u8>>),
    Networks(Vec<Network>),
    /// Whether the key is absent.
    Absence(Vec<bool>),
}

/// A finite number, which always equals itself.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(f64);

impl Eq for Number {}

/// One key of a Condition element with its operator and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    quantifier: Quantifier,
    negated: bool,
    if_exists: bool,
    key: Box<str>,
    wanted: Wanted,
}

const EQUAL: &[Ordering] = &[Ordering::Equal];
const LESS: &[Ordering] = &[Ordering::Less];
const GREATER: &[Ordering] = &[Ordering::Greater];
const AT_MOST: &[Ordering] = &[Ordering::Less, Ordering::Equal];
const AT_LEAST: &[Ordering] = &[Ordering::Greater, Ordering::Equal];

const OPERATORS: &[(&str, Kind, bool)] = &[
    ("StringEquals", Kind::StringEquals, false),
    ("StringNotEquals", Kind::StringEquals, true),
    ("StringEqualsIgnoreCase", Kind::StringEqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Kind::StringEqualsIgnoreCase, true),
    ("StringLike", Kind::StringLike, false),
    ("StringNotLike", Kind::StringLike, true),
    ("NumericEquals", Kind::Numeric(EQUAL), false),
    ("NumericNotEquals", Kind::Numeric(EQUAL), true),
    ("NumericLessThan", Kind::Numeric(LESS), false),
    ("NumericLessThanEquals", Kind::Numeric(AT_MOST), false),
    ("NumericGreaterThan", Kind::Numeric(GREATER), false),
    ("NumericGreaterThanEquals", Kind::Numeric(AT_LEAST), false),
    ("DateEquals", Kind::Date(EQUAL), false),
    ("DateNotEquals", Kind::Date(EQUAL), true),
    ("DateLessThan", Kind::Date(LESS), false),
    ("DateLessThanEquals", Kind::Date(AT_MOST), false),
    ("DateGreaterThan", Kind::Date(GREATER), false),
    ("DateGreaterThanEquals", Kind::Date(AT_LEAST), false),
    ("Bool", Kind::Bool, false),
    ("BinaryEquals", Kind::Binary, false),
    ("IpAddress", Kind::Ip, false),
    ("NotIpAddress", Kind::Ip, true),
    ("ArnEquals", Kind::Arn, false),
    ("ArnNotEquals", Kind::Arn, true),
    ("ArnLike", Kind::Arn, false),
    ("ArnNotLike", Kind::Arn, true),
    ("Null", Kind::Null, false),
];

/// The conditions of a Condition element's members.
pub(super) fn parse(operators: Vec<(String, Node)>, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, node) in operators {
        let operator = parse_operator(&name).ok_or_else(|| problem(&name, "is unknown"))?;
        let Node::Object(keys) = node else { return Err(problem(&name, "must be an object of keys")) };
        for (key, node) in keys {
            let element = || format!("{name} {key}");
            let values = values(node).ok_or_else(|| problem(&element(), "is not a value"))?;
            if key.is_empty() {
                return Err(problem(&name, "has an empty key"));
            }
            let wanted = read(operator.kind, &values, variables)
                .map_err(|value| problem(&element(), &format!("does not take {value:?}")))?;
            let Operator { quantifier, negated, if_exists, .. } = operator;
            conditions.push(Condition { quantifier, negated, if_exists, key: key.into(), wanted });
        }
    }
    Ok(conditions)
}

#[derive(Clone, Copy, Debug)]
struct Operator {
    quantifier: Quantifier,
    kind: Kind,
    negated: bool,
    if_exists: bool,
}

fn parse_operator(name: &str) -> Option<Operator> {
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
    let (_, kind, negated) = OPERATORS.iter().find(|(known, _, _)| *known == name)?;
    Some(Operator { quantifier, kind: *kind, negated: *negated, if_exists })
}

/// The values as the operator's type, or the first that cannot be one.
fn read(kind: Kind, values: &[String], variables: bool) -> Result<Wanted, &str> {
    let patterns = |wildcards| -> Vec<Pattern> {
        let syntax = Syntax { wildcards, variables };
        values.iter().map(|value| Pattern::compile(value, syntax)).collect()
    };
    Ok(match kind {
        Kind::StringEquals => Wanted::Strings(patterns(false)),
        Kind::StringLike => Wanted::Strings(patterns(true)),
        Kind::StringEqualsIgnoreCase => Wanted::StringsIgnoringCase(patterns(false)),
        Kind::Arn => Wanted::Arns(values.iter().map(|value| ArnPattern::compile(value, variables)).collect()),
        Kind::Numeric(orders) => Wanted::Numbers(orders, each(values, |value| number(value).map(Number))?),
        Kind::Date(orders) => Wanted::Dates(orders, each(values, date::parse)?),
        Kind::Bool => Wanted::Booleans(each(values, boolean)?),
        Kind::Null => Wanted::Absence(each(values, boolean)?),
        Kind::Binary => Wanted::Binaries(each(values, |value| STANDARD.decode(value).ok())?),
        Kind::Ip => Wanted::Networks(each(values, Network::parse)?),
    })
}

fn each<T>(values: &[String], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, &str> {
    values.iter().map(|value| read(value).ok_or(value.as_str())).collect()
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

impl Condition {
    /// The condition key as the document writes it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the condition holds for a request.
    pub(super) fn holds(&self, request: &Request) -> bool {
        let found = request.values(&self.key);
        if let Wanted::Absence(wanted) = &self.wanted {
            return wanted.contains(&found.is_none());
        }
        let Some(found) = found else {
            return match self.quantifier {
                _ if self.if_exists => true,
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => false,
                Quantifier::None => self.negated,
            };
        };
        let mut found = found.iter();
        match self.quantifier {
            Quantifier::None => found.any(|value| self.wants(value, request)) != self.negated,
            Quantifier::ForAnyValue => found.any(|value| self.wants(value, request) != self.negated),
            Quantifier::ForAllValues => found.all(|value| self.wants(value, request) != self.negated),
        }
    }

    /// Whether a value of the request compares, before negation, with one of the policy. What cannot be read as the
    /// operator's type compares with nothing.
    fn wants(&self, value: &str, request: &Request) -> bool {
        match &self.wanted {
            Wanted::Strings(wanted) => wanted.iter().any(|pattern| pattern.matches(value, request)),
            Wanted::StringsIgnoringCase(wanted) => {
                wanted.iter().any(|pattern| pattern.matches_ignoring_case(value, request))
            }
            Wanted::Arns(wanted) => wanted.iter().any(|pattern| pattern.matches_arn(value, request)),
            Wanted::Numbers(orders, wanted) => number(value).is_some_and(|value| {
                wanted.iter().any(|Number(wanted)| {
                    value.partial_cmp(wanted).is_some_and(|order| orders.contains(&order))
                })
            }),
            Wanted::Dates(orders, wanted) => date::parse(value)
                .is_some_and(|value| wanted.iter().any(|wanted| orders.contains(&value.cmp(wanted)))),
            Wanted::Booleans(wanted) => boolean(value).is_some_and(|value| wanted.contains(&value)),
            Wanted::Binaries(wanted) => STANDARD.decode(value).is_ok_and(|value| wanted.contains(&value)),
            Wanted::Networks(wanted) => value
                .parse::<IpAddr>()
                .is_ok_and(|address| wanted.iter().any(|network| network.contains(address))),
            Wanted::Absence(_) => false,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
