//! The keys of objects: the prefix, with its expressions, and the delivery stream's own name.
//!
//! Source: the developer guide's page on custom prefixes for S3 objects.

use cairn_core::{EventId, Timestamp};

use super::invalid;
use super::state::DeliveryStream;
use crate::failure::Failure;

/// The key of an object whose oldest record arrived then.
pub(super) fn object_key(
    stream: &DeliveryStream,
    oldest: Timestamp,
    id: &EventId,
) -> Result<String, Failure> {
    let prefix = stream.destination.prefix.as_deref().unwrap_or_default();
    let path = if prefix.contains("!{timestamp:") {
        expanded(prefix, oldest, id)?
    } else {
        format!("{}{}", expanded(prefix, oldest, id)?, formatted("yyyy/MM/dd/HH/", oldest))
    };
    let time = formatted("yyyy-MM-dd-HH-mm-ss", oldest);
    let (name, version, extension) = (&stream.name.name, stream.version, stream.destination.extension());
    Ok(format!("{path}{name}-{version}-{time}-{id}{extension}"))
}

/// Refuses expressions that there are not.
pub(super) fn check_prefix(prefix: &str) -> Result<(), Failure> {
    expanded(prefix, Timestamp::EPOCH, &EventId::from_random([0; 16])).map(drop)
}

fn expanded(prefix: &str, time: Timestamp, id: &EventId) -> Result<String, Failure> {
    let mut text = String::new();
    let mut rest = prefix;
    while let Some((before, after)) = rest.split_once("!{") {
        let (expression, after) =
            after.split_once('}').ok_or_else(|| invalid("The prefix has an open expression."))?;
        text.push_str(before);
        match expression.split_once(':') {
            Some(("timestamp", pattern)) => text.push_str(&formatted(pattern, time)),
            Some(("firehose", "random-string")) => {
                text.extend(id.to_string().chars().filter(char::is_ascii_alphanumeric).take(11));
            }
            _ => {
                return Err(invalid(format!(
                    "The prefix has an expression that is not supported: {expression}"
                )));
            }
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// A time by a pattern of Java's: letters of years to seconds, and texts between quotes.
fn formatted(pattern: &str, time: Timestamp) -> String {
    let iso = time.iso();
    let field = |letter: char| match letter {
        'y' | 'Y' | 'u' => iso.get(0..4),
        'M' => iso.get(5..7),
        'd' => iso.get(8..10),
        'H' => iso.get(11..13),
        'm' => iso.get(14..16),
        's' => iso.get(17..19),
        _ => None,
    };
    let mut text = String::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter == '\'' {
            text.extend(letters.by_ref().take_while(|letter| *letter != '\''));
            continue;
        }
        let mut width = 1;
        while letters.next_if_eq(&letter).is_some() {
            width += 1;
        }
        match field(letter) {
            Some(field) if letter == 'y' && width == 2 => text.push_str(&field[2..]),
            Some(field) if width == 1 => text.push_str(field.trim_start_matches('0')),
            Some(field) => text.push_str(field),
            None => text.extend(std::iter::repeat_n(letter, width)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_filled_in_with_the_time() {
        let time = Timestamp::from_seconds(1_795_281_866);
        let id = EventId::from_random([7; 16]);
        let of = |prefix: &str| expanded(prefix, time, &id).unwrap();
        assert_eq!(formatted("yyyy/MM/dd/HH/", time), "2026/11/21/17/");
        assert_eq!(of("a/year=!{timestamp:yyyy}/day=!{timestamp:dd}/"), "a/year=2026/day=21/");
        assert_eq!(of("!{timestamp:'year='yyyy'-'MM}/x"), "year=2026-11/x");
        assert_eq!(of("!{firehose:random-string}/").len(), 12);
        for wrong in ["!{", "!{timestamp}", "!{partitionKeyFromQuery:k}/"] {
            assert!(expanded(wrong, time, &id).is_err(), "{wrong}");
        }
    }
}
