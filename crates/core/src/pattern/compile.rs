//! From a pattern's text to what it asks, member by member, with AWS's errors.

use std::net::IpAddr;

use super::anything_but::AnythingBut;
use super::decimal::Decimal;
use super::error::PatternError;
use super::events;
use super::leaf::{Pattern, address_of};
use super::numeric::{End, Millionths, NumericRange};
use super::tokens::{MALFORMED, Token, Tokens};

/// Which service's patterns: EventBridge's know more operators, and other numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SNS's filter policies.
    FilterPolicy,
    /// EventBridge's event patterns.
    EventPattern,
}

/// The deepest nesting of members.
const DEPTH_MAX: usize = 100;
/// The member that holds alternatives.
const OR: &str = "$or";
/// Names of operators, which no member of an alternative may have.
const RESERVED: [&str; 9] = [
    "exactly",
    "prefix",
    "suffix",
    "equals-ignore-case",
    "numeric",
    "anything-but",
    "exists",
    "cidr",
    "wildcard",
];
pub(super) const ONE_KEY: &str = "Only one key allowed in match expression";
pub(super) const TOO_MANY_ELEMENTS: &str = "Too many elements in numeric expression";

/// What is asked of an object.
pub type Members = Vec<Member>;

/// What is asked of an object's member.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// That one of the patterns holds of its value.
    Values(String, Vec<Pattern>),
    /// That it is an object of which this holds.
    Object(String, Members),
    /// That the object itself is as one of these say.
    Or(Vec<Members>),
}

/// What a text asks of a document.
///
/// # Errors
/// Where it is no pattern.
pub fn compile(text: &str, dialect: Dialect) -> Result<Members, PatternError> {
    let mut tokens = Tokens::new(text, dialect);
    if tokens.next()? != Token::StartObject {
        return Err(tokens.error("Filter is not an object"));
    }
    let members = read_members(&mut tokens, false, 1)?;
    // The tokens are read as far as a pattern needs them: not that numbers are numbers, nor what stands behind the end.
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(members),
        Err(_) => Err(PatternError::new(MALFORMED)),
    }
}

fn read_members(tokens: &mut Tokens<'_>, is_in_or: bool, depth: usize) -> Result<Members, PatternError> {
    if depth > DEPTH_MAX {
        return Err(tokens.error(format!("the pattern is nested deeper than {DEPTH_MAX}")));
    }
    let mut members = Vec::new();
    while tokens.next()? != Token::EndObject {
        let name = tokens.name().to_owned();
        if name == OR {
            members.push(Member::Or(read_or(tokens, depth)?));
            continue;
        }
        if is_in_or && RESERVED.contains(&name.as_str()) {
            let message = format!("{name} is Ruler reserved fieldName which cannot be used inside {OR}.");
            return Err(tokens.error(message));
        }
        members.push(match tokens.next()? {
            Token::StartObject => Member::Object(name, read_members(tokens, is_in_or, depth + 1)?),
            Token::StartArray => Member::Values(name, read_values(tokens)?),
            _ => return Err(tokens.error(format!("\"{name}\" must be an object or an array"))),
        });
    }
    if members.is_empty() {
        return Err(tokens.error("Empty objects are not allowed"));
    }
    Ok(members)
}

fn read_or(tokens: &mut Tokens<'_>, depth: usize) -> Result<Vec<Members>, PatternError> {
    if tokens.next()? != Token::StartArray {
        return Err(tokens.error(format!("It must be an Array followed with {OR}.")));
    }
    let mut alternatives = Vec::new();
    loop {
        match tokens.next()? {
            Token::EndArray => break,
            Token::StartObject => alternatives.push(read_members(tokens, true, depth + 1)?),
            _ => {
                let message = format!("Only JSON object is allowed in array of {OR} relationship.");
                return Err(tokens.error(message));
            }
        }
    }
    if alternatives.len() < 2 {
        return Err(tokens.error(format!("There must have at least 2 Objects in {OR} relationship.")));
    }
    Ok(alternatives)
}

fn read_values(tokens: &mut Tokens<'_>) -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    loop {
        patterns.push(match tokens.next()? {
            Token::EndArray => break,
            Token::StartObject => read_expression(tokens)?,
            Token::Text => text_or_address(tokens.text()?),
            Token::Number => read_exact_number(tokens)?,
            Token::True => Pattern::Boolean(true),
            Token::False => Pattern::Boolean(false),
            Token::Null => Pattern::Null,
            _ => return Err(tokens.error("Match value must be String, number, true, false, or null")),
        });
    }
    if patterns.is_empty() {
        return Err(tokens.error("Empty arrays are not allowed"));
    }
    Ok(patterns)
}

fn text_or_address(text: String) -> Pattern {
    address_of(&text).map_or(Pattern::Text(text), Pattern::Address)
}

fn read_exact_number(tokens: &mut Tokens<'_>) -> Result<Pattern, PatternError> {
    let text = tokens.text()?;
    Ok(match tokens.dialect() {
        Dialect::FilterPolicy => Pattern::Number(text),
        Dialect::EventPattern => {
            let number = Decimal::of_text(&text);
            Pattern::Decimal(text, number)
        }
    })
}

/// `{ "operator": operand }`, behind its brace.
fn read_expression(tokens: &mut Tokens<'_>) -> Result<Pattern, PatternError> {
    if tokens.next()? != Token::Name {
        return Err(tokens.error("Match expression name not found"));
    }
    let operator = tokens.name().to_owned();
    let pattern = match operator.as_str() {
        "exactly" => Pattern::Text(read_text(tokens, "exact")?),
        "prefix" | "suffix" => events::read_affix(tokens, &operator)?,
        "wildcard" if tokens.dialect() == Dialect::EventPattern => {
            Pattern::Wildcard(events::read_wildcard(tokens)?)
        }
        "equals-ignore-case" => Pattern::EqualsIgnoreCase(read_text(tokens, "equals-ignore-case")?),
        // AWS calls it a prefix, too.
        "cidr" => read_cidr(&read_text(tokens, "prefix")?)?,
        "exists" => match tokens.next()? {
            Token::True => Pattern::Exists,
            Token::False => Pattern::Absent,
            _ => return Err(tokens.error("exists match pattern must be either true or false.")),
        },
        "numeric" => {
            if tokens.next()? != Token::StartArray {
                return Err(tokens.error("Value of numeric must be an array."));
            }
            let pattern = match tokens.dialect() {
                Dialect::FilterPolicy => Pattern::Numeric(read_numeric(tokens, read_millionths)?),
                Dialect::EventPattern => Pattern::DecimalRange(read_numeric(tokens, events::read_decimal)?),
            };
            return end_expression(tokens, TOO_MANY_ELEMENTS).map(|()| pattern);
        }
        "anything-but" => return read_anything_but(tokens),
        _ => return Err(tokens.error(format!("Unrecognized match type {operator}"))),
    };
    end_expression(tokens, ONE_KEY)?;
    Ok(pattern)
}

pub(super) fn end_expression(tokens: &mut Tokens<'_>, otherwise: &str) -> Result<(), PatternError> {
    if tokens.next()? == Token::EndObject { Ok(()) } else { Err(tokens.error(otherwise)) }
}

pub(super) fn read_text(tokens: &mut Tokens<'_>, what: &str) -> Result<String, PatternError> {
    if tokens.next()? == Token::Text {
        tokens.text()
    } else {
        Err(tokens.error(format!("{what} match pattern must be a string")))
    }
}

fn read_anything_but(tokens: &mut Tokens<'_>) -> Result<Pattern, PatternError> {
    let but = match tokens.next()? {
        Token::StartObject if tokens.dialect() == Dialect::EventPattern => {
            return events::read_anything_but(tokens);
        }
        Token::StartObject => {
            if tokens.next()? != Token::Name {
                return Err(tokens.error("Anything-But expression name not found"));
            }
            if tokens.name() != "prefix" {
                return Err(tokens.error(format!("Unsupported anything-but pattern: {}", tokens.name())));
            }
            let prefix = read_text(tokens, "prefix")?;
            if prefix.is_empty() {
                return Err(tokens.error("Null prefix not allowed"));
            }
            end_expression(tokens, ONE_KEY)?;
            end_expression(tokens, ONE_KEY)?;
            return Ok(Pattern::AnythingBut(AnythingBut::Prefixes(vec![prefix])));
        }
        Token::StartArray => read_anything_but_list(tokens)?,
        Token::Text => AnythingBut::Texts(vec![tokens.text()?]),
        Token::Number if tokens.dialect() == Dialect::EventPattern => {
            AnythingBut::Decimals(vec![events::read_decimal(tokens)?])
        }
        Token::Number => AnythingBut::Numbers(vec![tokens.text()?]),
        _ => {
            let message = "Value of anything-but must be an array or single string/number value.";
            return Err(tokens.error(message));
        }
    };
    end_expression(tokens, TOO_MANY_ELEMENTS)?;
    Ok(Pattern::AnythingBut(but))
}

fn read_anything_but_list(tokens: &mut Tokens<'_>) -> Result<AnythingBut, PatternError> {
    let (mut texts, mut numbers, mut decimals) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        match tokens.next()? {
            Token::EndArray => break,
            Token::Text => texts.push(tokens.text()?),
            Token::Number if tokens.dialect() == Dialect::EventPattern => {
                decimals.push(events::read_decimal(tokens)?);
            }
            Token::Number => {
                let number = tokens.text()?;
                Millionths::checked(&number).map_err(|error| tokens.error(error.to_string()))?;
                numbers.push(number);
            }
            _ => {
                let message = "Inside anything but list, start|null|boolean is not supported.";
                return Err(tokens.error(message));
            }
        }
    }
    match (texts.is_empty(), numbers.is_empty(), decimals.is_empty()) {
        (false, true, true) => Ok(AnythingBut::Texts(texts)),
        (true, false, _) => Ok(AnythingBut::Numbers(numbers)),
        (true, _, false) => Ok(AnythingBut::Decimals(decimals)),
        _ => Err(tokens.error(
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        )),
    }
}

type Read<N> = fn(&mut Tokens<'_>) -> Result<N, PatternError>;

/// `[ ">", 0, "<=", 5 ]`, behind its bracket.
fn read_numeric<N: Copy + PartialOrd>(
    tokens: &mut Tokens<'_>,
    read: Read<N>,
) -> Result<NumericRange<N>, PatternError> {
    if tokens.next()? != Token::Text {
        let message = format!("Invalid member in numeric match: {}", tokens.text()?);
        return Err(tokens.error(message));
    }
    let operator = tokens.text()?;
    let token = tokens.next()?;
    let called = match operator.as_str() {
        "=" => "equals",
        ">" | ">=" | "<" | "<=" => operator.as_str(),
        _ => return Err(tokens.error(format!("Unrecognized numeric range operator: {operator}"))),
    };
    let number = read_number(tokens, token, called, read)?;
    let end = Some(End { number, is_open: matches!(operator.as_str(), ">" | "<") });
    let range = match operator.as_str() {
        "=" => NumericRange { bottom: end, top: end },
        "<" | "<=" => NumericRange { bottom: None, top: end },
        _ => NumericRange { bottom: end, top: None },
    };
    match tokens.next()? {
        Token::EndArray => Ok(range),
        _ if range.top.is_some() => Err(tokens.error(TOO_MANY_ELEMENTS)),
        token => read_top(tokens, token, range, read),
    }
}

/// The second half of a range with both ends.
fn read_top<N: Copy + PartialOrd>(
    tokens: &mut Tokens<'_>,
    token: Token,
    mut range: NumericRange<N>,
    read: Read<N>,
) -> Result<NumericRange<N>, PatternError> {
    if token != Token::Text {
        let message = format!("Bad value in numeric range: {}", tokens.text()?);
        return Err(tokens.error(message));
    }
    let operator = tokens.text()?;
    if !matches!(operator.as_str(), "<" | "<=") {
        return Err(tokens.error(format!("Bad numeric range operator: {operator}")));
    }
    let token = tokens.next()?;
    let number = read_number(tokens, token, &operator, read)?;
    if tokens.next()? != Token::EndArray {
        return Err(tokens.error("Too many terms in numeric range expression"));
    }
    if range.bottom.is_some_and(|bottom| bottom.number >= number) {
        return Err(tokens.error("Bottom must be less than top"));
    }
    range.top = Some(End { number, is_open: operator == "<" });
    Ok(range)
}

fn read_number<N>(
    tokens: &mut Tokens<'_>,
    token: Token,
    operator: &str,
    read: Read<N>,
) -> Result<N, PatternError> {
    if token == Token::Number {
        read(tokens)
    } else {
        Err(tokens.error(format!("Value of {operator} must be numeric")))
    }
}

fn read_millionths(tokens: &mut Tokens<'_>) -> Result<Millionths, PatternError> {
    let text = tokens.text()?;
    Millionths::checked(&text).map_err(|error| tokens.error(error.to_string()))
}

/// The addresses from the one named up to the last of its network, as AWS takes it.
fn read_cidr(text: &str) -> Result<Pattern, PatternError> {
    let mut parts = text.split('/');
    let (Some(address), Some(mask), None) =
        (parts.next(), parts.next().filter(|mask| !mask.is_empty()), parts.next())
    else {
        return Err(PatternError::new("Malformed CIDR, one '/' required"));
    };
    let Ok(mask) = mask.parse::<i32>() else {
        return Err(PatternError::new("Malformed CIDR, mask bits must be an integer"));
    };
    let Ok(mask) = u32::try_from(mask) else {
        return Err(PatternError::new("Malformed CIDR, mask bits must not be negative"));
    };
    let Ok(bottom) = address.parse::<IpAddr>() else {
        return Err(PatternError::new(format!("Nonstandard IP address: {address}")));
    };
    let top = match bottom {
        IpAddr::V4(_) if mask > 31 => return Err(PatternError::new("IPv4 mask bits must be < 32")),
        IpAddr::V6(_) if mask > 127 => return Err(PatternError::new("IPv6 mask bits must be < 128")),
        IpAddr::V4(address) => IpAddr::from((address.to_bits() | (u32::MAX >> mask)).to_be_bytes()),
        IpAddr::V6(address) => IpAddr::from((address.to_bits() | (u128::MAX >> mask)).to_be_bytes()),
    };
    Ok(Pattern::Cidr(bottom, top))
}
