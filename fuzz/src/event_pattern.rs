//! Event patterns: any text is refused with a reason, or makes a pattern that decides on any event, and an index of one
//! rule decides alike.
//!
//! The input is a pattern, a line feed, and an event, which is a schedule, a path and a template as well.

use cairn_core::Timestamp;
use cairn_core::event_pattern::{EventPattern, RuleIndex};
use cairn_core::input_transformer::{InputTransformer, RuleContext};
use cairn_core::schedule::Schedule;

/// One pattern and one event; one schedule; one template.
///
/// # Panics
/// Where a refusal has no reason, the index decides otherwise than the pattern, or a next time is not later.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, text));
    match EventPattern::parse(first) {
        Ok(pattern) => {
            let mut index = RuleIndex::new();
            index.insert(1, pattern.clone());
            assert_eq!(pattern.matches(second), index.matching(second) == [1]);
            assert!(index.remove(&1) && index.matching(second).is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(schedule) = Schedule::parse(first) {
        let after = Timestamp::from_seconds(1_000_000_000);
        assert!(schedule.next_after(after, after).is_none_or(|next| next > after));
    }
    if let Ok(transformer) = InputTransformer::parse([("a", first)], second) {
        let event = serde_json::from_str(first).unwrap_or_default();
        let context =
            RuleContext { rule_arn: "arn", rule_name: "r", ingestion_time: Timestamp::from_seconds(0) };
        assert_eq!(transformer.apply(&event, &context), transformer.apply(&event, &context));
    }
}
