//! Whether a record can be taken: what every later stage reads of it must be there and well-formed.
//!
//! Pure. Reads the record's facts and nothing else; the bytes are neither changed nor printed anew.

use std::borrow::Cow;

use cairn_core::record::{FactSpans, Facts, RECORD_SIZE_BYTES_MAX};
use cairn_core::{AccountId, Region, Timestamp};

use super::split::depth_of;

/// How deep objects and arrays of a record may be nested: below what JSON parsers take without setting.
pub const RECORD_DEPTH_MAX: usize = 100;
/// Bytes of a text of the sender that a message shows.
const SHOWN_BYTES_MAX: usize = 64;

/// What a record is known by: its account and its eventID. With the account, so that nobody can take the ids of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    account: u64,
    high: u64,
    low: u64,
}

impl EventKey {
    /// The key of an event of `account`; none where `id` is no UUID.
    #[must_use]
    pub fn new(account: &AccountId, id: &str) -> Option<Self> {
        let account = account.as_str().parse().ok()?;
        let bytes = id.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut number = 0_u128;
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return None;
                }
            } else {
                number = number << 4 | u128::from(char::from(*byte).to_digit(16)?);
            }
        }
        Some(Self { account, high: (number >> 64) as u64, low: number as u64 })
    }
}

/// Why a record is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The event's id, where it was read.
    pub event_id: Option<String>,
    /// A word for programs.
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Refusal {
    fn of(code: &'static str, message: impl Into<String>) -> Self {
        Self { event_id: None, code, message: message.into() }
    }

    /// A record of `size_bytes`, which are too many.
    #[must_use]
    pub fn too_large(size_bytes: usize) -> Self {
        let limit = RECORD_SIZE_BYTES_MAX;
        Self::of("RecordTooLarge", format!("The record has {size_bytes} bytes; the limit is {limit}."))
    }
}

/// Checks a record for `account`.
///
/// # Errors
/// Where it cannot be taken.
pub fn check(json: &[u8], account: &AccountId) -> Result<EventKey, Refusal> {
    if json.len() > RECORD_SIZE_BYTES_MAX {
        return Err(Refusal::too_large(json.len()));
    }
    // One record that is not UTF-8 spoils its whole log file.
    let text = std::str::from_utf8(json);
    let spans = text.map(FactSpans::of);
    let depth = match &spans {
        Ok(Ok(spans)) => spans.depth(),
        _ => depth_of(json),
    };
    if depth > RECORD_DEPTH_MAX {
        let message = format!("The record is nested {depth} deep; the limit is {RECORD_DEPTH_MAX}.");
        return Err(Refusal::of("RecordTooDeep", message));
    }
    let (Ok(text), Ok(spans)) = (text, spans) else {
        return Err(Refusal::of("InvalidRecord", "The record is not UTF-8."));
    };
    let spans = spans.map_err(|error| {
        Refusal::of("InvalidRecord", format!("The record is not the JSON object of an event: {error}."))
    })?;
    let facts = spans.facts(text);
    check_facts(&facts, account)
        .map_err(|refusal| Refusal { event_id: Some(shown(&facts.event_id).to_owned()), ..refusal })
}

fn check_facts(facts: &Facts<'_>, account: &AccountId) -> Result<EventKey, Refusal> {
    let Some(key) = EventKey::new(account, &facts.event_id) else {
        return Err(Refusal::of("InvalidEventID", "The member eventID must be a UUID."));
    };
    if Timestamp::parse_iso(&facts.event_time).is_none() {
        let message = "The member eventTime must be a time in UTC like 2026-11-20T17:24:26Z.";
        return Err(Refusal::of("InvalidEventTime", message));
    }
    if facts.aws_region.parse::<Region>().is_err() {
        let message = "The member awsRegion must be 1 to 64 lower-case letters, digits and hyphens.";
        return Err(Refusal::of("InvalidRegion", message));
    }
    for (member, value) in [("eventName", &facts.event_name), ("eventSource", &facts.event_source)] {
        if value.is_empty() {
            return Err(Refusal::of("MissingMember", format!("The member {member} is missing or empty.")));
        }
    }
    check_account(facts, account)?;
    Ok(key)
}

fn check_account(facts: &Facts<'_>, account: &AccountId) -> Result<(), Refusal> {
    let caller = || facts.user_identity.as_ref().and_then(|identity| identity.account_id.as_ref());
    let found: Option<&Cow<'_, str>> = facts.recipient_account_id.as_ref().or_else(caller);
    match found {
        Some(found) if found.as_ref() == account.as_str() => Ok(()),
        Some(found) => Err(Refusal::of(
            "WrongAccount",
            format!(
                "The record belongs to account {}. Send it with a key of that account, or set \
                 recipientAccountId to {account}.",
                shown(found)
            ),
        )),
        None => Err(Refusal::of(
            "MissingAccount",
            format!("The record names no account. Add the member recipientAccountId: \"{account}\"."),
        )),
    }
}

/// The beginning of a text of the sender.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"eventTime":"2023-07-10T12:00:23Z","eventID":"68c99c97-c191-4329-b210-82ca8631066d","awsRegion":"apiso-northsouth-3r","eventSource":"a.example","eventName":"Do","recipientAccountId":"123456789012","requestParameters":{"a":"\ud800","b":"\u0000"}}"#;

    fn checked(json: &str) -> Result<EventKey, Refusal> {
        check(json.as_bytes(), &"123456789012".parse().unwrap())
    }

    fn refused(from: &str, to: &str, code: &str) {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(checked(&GOOD.replace(from, to)).unwrap_err().code, code, "{from} as {to}");
    }

    #[test]
    fn lone_surrogates_and_nul_are_carried_where_nothing_reads_them() {
        assert!(checked(GOOD).is_ok());
        refused("Do", "\\ud800", "InvalidRecord");
        refused("Do", "D\u{0}o", "InvalidRecord");
    }

    #[test]
    fn what_is_no_text_is_refused_also_where_nothing_reads_it() {
        let bytes: Vec<u8> =
            GOOD.replace("\\u0000", "~").bytes().map(|b| if b == b'~' { 0xfb } else { b }).collect();
        let refusal = check(&bytes, &"123456789012".parse().unwrap()).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), ("InvalidRecord", "The record is not UTF-8."));
    }

    #[test]
    fn what_no_stage_could_place_is_refused_by_name() {
        refused("68c99c97-", "68c99c97+", "InvalidEventID");
        refused("2023-07-10T12:00:23Z", "2023-02-29T12:00:23Z", "InvalidEventTime");
        refused("apiso-northsouth-3r", "us east", "InvalidRegion");
        refused("\"Do\"", "\"\"", "MissingMember");
        refused(r#""eventSource":"a.example","#, "", "MissingMember");
        refused("123456789012", "210987654321", "WrongAccount");
        refused(r#""recipientAccountId":"123456789012","#, "", "MissingAccount");
        refused("{\"a\"", "7,\"eventID\":1,\"x\":{\"a\"", "InvalidRecord");
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        refused("\"\\u0000\"", &deep, "RecordTooDeep");
        assert_eq!(checked("[]").unwrap_err().code, "InvalidRecord");
        assert_eq!(checked("{}").unwrap_err().code, "InvalidRecord");
    }

    #[test]
    fn an_id_is_the_same_in_capitals_and_another_in_another_account() {
        let key = |account: &str, id: &str| EventKey::new(&account.parse().unwrap(), id);
        let (lower, upper) = ("68c99c97-c191-4329-b210-82ca8631066d", "68C99C97-C191-4329-B210-82CA8631066D");
        assert!(key("123456789012", lower).is_some());
        assert_eq!(key("123456789012", lower), key("123456789012", upper));
        assert_ne!(key("123456789012", lower), key("210987654321", lower));
        assert_eq!(key("123456789012", "68c99c97-c191-4329-b210-82ca8631066"), None);
        assert_eq!(key("123456789012", "68c99c97-c191-4329-b210-82ca8631066é"), None);
    }
}
