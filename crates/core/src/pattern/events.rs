//! What EventBridge's patterns say beyond SNS's filter policies, read with AWS's errors.

use super::anything_but::AnythingBut;
use super::compile::{Dialect, ONE_KEY, TOO_MANY_ELEMENTS, end_expression, read_text};
use super::decimal::Decimal;
use super::error::PatternError;
use super::leaf::Pattern;
use super::tokens::{Token, Tokens};
use super::wildcard::Wildcard;

const IGNORE_CASE: &str = "equals-ignore-case";

/// The operand of `prefix` or `suffix`: a string, or one of which the case does not matter.
pub(super) fn read_affix(tokens: &mut Tokens<'_>, operator: &str) -> Result<Pattern, PatternError> {
    let is_prefix = operator == "prefix";
    match tokens.next()? {
        Token::Text if is_prefix => Ok(Pattern::Prefix(tokens.text()?)),
        Token::Text => Ok(Pattern::Suffix(tokens.text()?)),
        Token::StartObject if tokens.dialect() == Dialect::EventPattern => {
            if tokens.next()? != Token::Name || tokens.name() != IGNORE_CASE {
                return Err(tokens.error(format!("Unsupported {operator} pattern: {}", tokens.name())));
            }
            let text = read_text(tokens, IGNORE_CASE)?.to_lowercase();
            end_expression(tokens, ONE_KEY)?;
            Ok(if is_prefix { Pattern::PrefixIgnoreCase(text) } else { Pattern::SuffixIgnoreCase(text) })
        }
        _ => Err(tokens.error(format!("{operator} match pattern must be a string"))),
    }
}

/// The operand of `wildcard`.
pub(super) fn read_wildcard(tokens: &mut Tokens<'_>) -> Result<Wildcard, PatternError> {
    wildcard_of(&read_text(tokens, "wildcard")?, tokens)
}

fn wildcard_of(text: &str, tokens: &Tokens<'_>) -> Result<Wildcard, PatternError> {
    Wildcard::parse(text).map_err(|error| tokens.error(error.message()))
}

/// A number that can be compared.
pub(super) fn read_decimal(tokens: &mut Tokens<'_>) -> Result<Decimal, PatternError> {
    let text = tokens.text()?;
    Decimal::of_text(&text).ok_or_else(|| tokens.error(format!("Cannot compare number : {text}")))
}

/// `{ "operator": … }` inside `anything-but`, behind its brace.
pub(super) fn read_anything_but(tokens: &mut Tokens<'_>) -> Result<Pattern, PatternError> {
    if tokens.next()? != Token::Name {
        return Err(tokens.error("Anything-But expression name not found"));
    }
    let operator = tokens.name().to_owned();
    let otherwise = match operator.as_str() {
        "prefix" | "suffix" => "prefix/suffix match pattern must be a string",
        IGNORE_CASE => {
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."
        }
        "wildcard" => "wildcard match pattern must be a string",
        _ => return Err(tokens.error(format!("Unsupported anything-but pattern: {operator}"))),
    };
    let is_affix = matches!(operator.as_str(), "prefix" | "suffix");
    let texts = read_texts(tokens, otherwise, is_affix)?;
    end_expression(tokens, TOO_MANY_ELEMENTS)?;
    end_expression(tokens, TOO_MANY_ELEMENTS)?;
    Ok(Pattern::AnythingBut(match operator.as_str() {
        "prefix" => AnythingBut::Prefixes(texts),
        "suffix" => AnythingBut::Suffixes(texts),
        IGNORE_CASE => AnythingBut::IgnoreCase(texts.iter().map(|text| text.to_lowercase()).collect()),
        _ => AnythingBut::Wildcards(
            texts.iter().map(|text| wildcard_of(text, tokens)).collect::<Result<_, _>>()?,
        ),
    }))
}

/// A string or an array of them.
fn read_texts(tokens: &mut Tokens<'_>, otherwise: &str, is_affix: bool) -> Result<Vec<String>, PatternError> {
    let read = |tokens: &mut Tokens<'_>| {
        let text = tokens.text()?;
        if is_affix && text.is_empty() {
            return Err(tokens.error("Null prefix/suffix not allowed"));
        }
        Ok(text)
    };
    match tokens.next()? {
        Token::Text => Ok(vec![read(tokens)?]),
        Token::StartArray => {
            let mut texts = Vec::new();
            loop {
                match tokens.next()? {
                    Token::EndArray if texts.is_empty() => {
                        return Err(tokens.error("Empty arrays are not allowed"));
                    }
                    Token::EndArray => return Ok(texts),
                    Token::Text => texts.push(read(tokens)?),
                    _ => return Err(tokens.error(otherwise)),
                }
            }
        }
        _ => Err(tokens.error(otherwise)),
    }
}
