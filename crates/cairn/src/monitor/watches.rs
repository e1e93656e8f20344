//! What is watched for: a metric filter and an alarm each. `terraform/monitor` reads the same file.
//!
//! Sources: the controls CloudWatch.1 to 14 of Security Hub, which are the CIS benchmark's; besides them what people want
//! to hear of every day.

use serde::Deserialize;

const WATCHES: &str = include_str!("../../../../terraform/monitor/watches.json");

/// One thing to watch for.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    /// The metric's name; of the filter and the alarm what follows the prefix.
    pub(super) name: String,
    /// What the alarm says.
    pub(super) title: String,
    /// The control of Security Hub that asks for it.
    pub(super) control: Option<String>,
    /// How many events within a period raise the alarm.
    pub(super) threshold: u32,
    /// The filter pattern.
    pub(super) pattern: String,
}

/// All of them.
pub(super) fn watches() -> Result<Vec<Watch>, serde_json::Error> {
    serde_json::from_str(WATCHES)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The most characters of a filter pattern.
    const PATTERN_CHARS_MAX: usize = 1024;

    #[test]
    fn every_control_is_watched_with_its_own_pattern() {
        let watches = watches().unwrap();
        let names: BTreeSet<&str> = watches.iter().map(|watch| watch.name.as_str()).collect();
        assert_eq!(names.len(), watches.len(), "names are unique");
        for number in 1..=14 {
            let control = format!("CloudWatch.{number}");
            assert_eq!(watches.iter().filter(|watch| watch.control.as_ref() == Some(&control)).count(), 1);
        }
        for watch in &watches {
            assert!(watch.pattern.len() <= PATTERN_CHARS_MAX && watch.threshold > 0, "{}", watch.name);
        }
        let Some(folder) = cairn_testkit::fixtures("filter_patterns") else { return };
        let text = std::fs::read_to_string(folder.join("securityhub_cloudwatch_1_14.json")).unwrap();
        let controls: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        for (watch, control) in watches.iter().zip(&controls) {
            assert_eq!(watch.pattern, control["pattern"].as_str().unwrap(), "{}", watch.name);
        }
    }
}
