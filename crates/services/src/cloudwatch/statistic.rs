//! What is asked of a metric's data: `Sum`, `p99`, `tm95`, `TM(10%:90%)`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>

use std::fmt;
use std::str::FromStr;

use super::bucket::Bucket;

/// A statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// The value that so many percent of all do not exceed.
    Percentile(f64),
    /// Something of the values between two bounds.
    Trimmed(Trimming, Bounds),
    /// The percentage of the values between two bounds.
    Rank(Bounds),
}

/// What is made of trimmed values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trimming {
    Mean,
    Count,
    Sum,
    /// The mean where what lies outside counts as the bound that it exceeds.
    WinsorizedMean,
}

/// Which values count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bounds {
    /// From and to so many percent of all.
    Percents(f64, f64),
    /// Above one value and up to another.
    Values(f64, f64),
}

/// The text is no statistic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoStatistic;

impl Statistic {
    /// What it is of a bucket's data; none where values are needed that a statistic set hid.
    pub(super) fn of(self, bucket: &Bucket) -> Option<f64> {
        match self {
            Self::SampleCount => Some(bucket.count),
            Self::Average => Some(bucket.sum / bucket.count),
            Self::Sum => Some(bucket.sum),
            Self::Minimum => Some(bucket.minimum),
            Self::Maximum => Some(bucket.maximum),
            Self::Percentile(percent) => percentile(bucket, percent),
            Self::Trimmed(trimming, bounds) => trimmed(bucket, trimming, bounds),
            Self::Rank(bounds) => {
                let (count, _) = within(bucket, bounds)?;
                Some(count / bucket.count * 100.0)
            }
        }
    }

    /// Whether it is one of the five that need no values.
    pub(super) fn is_simple(self) -> bool {
        matches!(self, Self::SampleCount | Self::Average | Self::Sum | Self::Minimum | Self::Maximum)
    }

    /// How much a percentile's bucket needs for its percentile to say something: fewer samples are too few.
    pub(super) fn samples_needed(self) -> f64 {
        match self {
            Self::Percentile(percent) if percent >= 50.0 => 10.0 / (1.0 - percent / 100.0).max(f64::EPSILON),
            Self::Percentile(percent) => 10.0 / (percent / 100.0).max(f64::EPSILON),
            _ => 0.0,
        }
    }
}

fn percentile(bucket: &Bucket, percent: f64) -> Option<f64> {
    let values = bucket.values.as_deref()?;
    let wanted = bucket.count * percent / 100.0;
    let mut seen = 0.0;
    for (value, count) in values {
        seen += count;
        // Counts are sums of floats: what is missing by rounding is not missing.
        if seen >= wanted * (1.0 - 1e-12) {
            return Some(value.clamp(bucket.minimum, bucket.maximum));
        }
    }
    Some(bucket.maximum)
}

/// How many values lie within the bounds, and their sum.
fn within(bucket: &Bucket, bounds: Bounds) -> Option<(f64, f64)> {
    let values = bucket.values.as_deref()?;
    let (mut seen, mut count_within, mut sum_within) = (0.0, 0.0, 0.0);
    for (value, count) in values {
        let counted = match bounds {
            Bounds::Values(above, to) => {
                if *value > above && *value <= to {
                    *count
                } else {
                    0.0
                }
            }
            Bounds::Percents(from, to) => {
                let (low, high) = (bucket.count * from / 100.0, bucket.count * to / 100.0);
                ((seen + count).min(high) - seen.max(low)).max(0.0)
            }
        };
        seen += count;
        count_within += counted;
        sum_within += counted * value;
    }
    Some((count_within, sum_within))
}

fn trimmed(bucket: &Bucket, trimming: Trimming, bounds: Bounds) -> Option<f64> {
    let (count, sum) = within(bucket, bounds)?;
    match trimming {
        Trimming::Count => Some(count),
        Trimming::Sum => Some(sum),
        Trimming::Mean => (count > 0.0).then(|| sum / count),
        Trimming::WinsorizedMean => {
            let values = bucket.values.as_deref()?;
            let (low, high) = match bounds {
                Bounds::Values(low, high) => (low, high),
                Bounds::Percents(from, to) => (percentile(bucket, from)?, percentile(bucket, to)?),
            };
            let held: f64 = values.iter().map(|(value, count)| value.clamp(low, high.max(low)) * count).sum();
            Some(held / bucket.count)
        }
    }
}

impl FromStr for Statistic {
    type Err = NoStatistic;

    fn from_str(text: &str) -> Result<Self, NoStatistic> {
        let simple = match text {
            "SampleCount" => Self::SampleCount,
            "Average" => Self::Average,
            "Sum" => Self::Sum,
            "Minimum" => Self::Minimum,
            "Maximum" => Self::Maximum,
            "IQM" => Self::Trimmed(Trimming::Mean, Bounds::Percents(25.0, 75.0)),
            _ => return parse_extended(text).ok_or(NoStatistic),
        };
        Ok(simple)
    }
}

fn parse_extended(text: &str) -> Option<Statistic> {
    if let Some(rest) = text.strip_prefix('p') {
        return percent(rest).map(Statistic::Percentile);
    }
    if let Some(inner) = text.strip_prefix("PR(") {
        return parse_bounds(inner.strip_suffix(')')?)
            .filter(|b| matches!(b, Bounds::Values(..)))
            .map(Statistic::Rank);
    }
    let (name, rest) = text.split_at_checked(2)?;
    let trimming = match name {
        "tm" | "TM" => Trimming::Mean,
        "tc" | "TC" => Trimming::Count,
        "ts" | "TS" => Trimming::Sum,
        "wm" | "WM" => Trimming::WinsorizedMean,
        _ => return None,
    };
    if name.starts_with(char::is_lowercase) {
        return percent(rest).map(|to| Statistic::Trimmed(trimming, Bounds::Percents(0.0, to)));
    }
    let bounds = parse_bounds(rest.strip_prefix('(')?.strip_suffix(')')?)?;
    Some(Statistic::Trimmed(trimming, bounds))
}

/// `10%:90%`, `:90%`, `100:2000`.
fn parse_bounds(text: &str) -> Option<Bounds> {
    let (from, to) = text.split_once(':')?;
    if from.is_empty() && to.is_empty() {
        return None;
    }
    if from.ends_with('%') || to.ends_with('%') {
        let bound = |text: &str, unset: f64| match text {
            "" => Some(unset),
            text => percent(text.strip_suffix('%')?),
        };
        let (from, to) = (bound(from, 0.0)?, bound(to, 100.0)?);
        return (from < to).then_some(Bounds::Percents(from, to));
    }
    let bound = |text: &str, unset: f64| match text {
        "" => Some(unset),
        text => text.parse::<f64>().ok().filter(|bound| bound.is_finite()),
    };
    let (from, to) = (bound(from, f64::NEG_INFINITY)?, bound(to, f64::INFINITY)?);
    (from < to).then_some(Bounds::Values(from, to))
}

/// Up to 100, with up to ten digits behind the point.
fn percent(text: &str) -> Option<f64> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.split_once('.').is_none_or(|(_, digits)| digits.len() <= 10);
    text.parse::<f64>().ok().filter(|percent| is_number && (0.0..=100.0).contains(percent))
}

impl fmt::Display for NoStatistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a statistic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<f64> {
        let pairs: Vec<(f64, f64)> = (1..=10).map(|value| (f64::from(value), 1.0)).collect();
        let bucket = Bucket::of_values(&pairs).unwrap();
        text.parse::<Statistic>().unwrap_or_else(|_| panic!("{text} is a statistic")).of(&bucket)
    }

    #[test]
    fn statistics_are_of_the_values() {
        let expected = [
            ("SampleCount", 10.0),
            ("Average", 5.5),
            ("Sum", 55.0),
            ("Minimum", 1.0),
            ("Maximum", 10.0),
            ("p0", 1.0),
            ("p10", 1.0),
            ("p50", 5.0),
            ("p90.0", 9.0),
            ("p99.9", 10.0),
            ("p100", 10.0),
            ("tm90", 5.0),
            ("tc90", 9.0),
            ("ts50", 15.0),
            ("wm80", 5.2),
            ("TM(10%:90%)", 5.5),
            ("TC(10%:)", 9.0),
            ("TS(:20%)", 3.0),
            ("TM(2:4)", 3.5),
            ("PR(:3)", 30.0),
            ("PR(8:)", 20.0),
            ("IQM", 5.5),
        ];
        for (text, value) in expected {
            assert!((of(text).unwrap() - value).abs() < 1e-9, "{text}: {:?}", of(text));
        }
    }

    #[test]
    fn what_is_no_statistic_is_refused() {
        for text in [
            "",
            "p",
            "p101",
            "p-1",
            "sum",
            "P90",
            "tm",
            "TM(90%:10%)",
            "TM(:)",
            "PR(1%:2%)",
            "px",
            "é",
            "ténor",
        ] {
            assert_eq!(text.parse::<Statistic>(), Err(NoStatistic), "{text}");
        }
    }

    #[test]
    fn statistic_sets_hide_percentiles_unless_all_values_are_one() {
        let hidden = Bucket::of_statistics(2.0, 5.0, 1.0, 4.0);
        assert_eq!(Statistic::Percentile(50.0).of(&hidden), None);
        let same = Bucket::of_statistics(3.0, 6.0, 2.0, 2.0);
        assert_eq!(Statistic::Percentile(50.0).of(&same), Some(2.0));
    }
}
