//! Filter patterns: any text is refused with a reason, or makes a pattern that decides on any line, always alike.
//!
//! The input is a pattern, a line feed, and a line.

use cairn_core::filter_pattern::{FilterPattern, ValueSelector};

/// One pattern and one line.
///
/// # Panics
/// Where a refusal has no reason, or the search for necessary literals hides a line that matches.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let line = data.get(end + 1..).unwrap_or_default();
    let pattern = match FilterPattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(pattern.matches(line), pattern.matches_by_scan(line), "{text}");
    for (name, _) in pattern.extract(line) {
        let selector = ValueSelector::parse(&name).expect("what is extracted can be named");
        // What comes of it may differ: alone it may be looked for further, and so where the line is malformed.
        let _ = pattern.select(&selector, line);
    }
}
