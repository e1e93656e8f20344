//! Metric math: expressions over time series, `100 * errors / MAX([errors, requests])`.
//!
//! On the road: GetMetricData and alarms read metrics, and compute with them here. Parsing and computing are linear in the
//! text and in the points. Not built: SEARCH, the functions of anomalies, of insights and of other services' quotas, and
//! Metrics Insights' SELECT; they are named as what they are.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>

mod compute;
mod parse;

use std::collections::{BTreeMap, BTreeSet};

pub use parse::parse;

/// Points of a metric or of an expression, by the seconds of their time.
pub type Series = BTreeMap<i64, f64>;

/// Why an expression cannot be computed; the text says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MathError(pub String);

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(pub(crate) Node);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Number(f64),
    Text(String),
    /// Another query, by its id.
    Id(String),
    List(Vec<Node>),
    Negated(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Abs,
    Average,
    Ceil,
    DatapointCount,
    Diff,
    Fill,
    First,
    Floor,
    If,
    Last,
    Log,
    Log10,
    Maximum,
    MetricCount,
    Metrics,
    Minimum,
    Period,
    Rate,
    RemoveEmpty,
    RunningSum,
    StandardDeviation,
    Sum,
    TimeSeries,
}

impl Function {
    pub(crate) const ALL: [(&'static str, Self); 23] = [
        ("ABS", Self::Abs),
        ("AVG", Self::Average),
        ("CEIL", Self::Ceil),
        ("DATAPOINT_COUNT", Self::DatapointCount),
        ("DIFF", Self::Diff),
        ("FILL", Self::Fill),
        ("FIRST", Self::First),
        ("FLOOR", Self::Floor),
        ("IF", Self::If),
        ("LAST", Self::Last),
        ("LOG", Self::Log),
        ("LOG10", Self::Log10),
        ("MAX", Self::Maximum),
        ("METRICS", Self::Metrics),
        ("METRIC_COUNT", Self::MetricCount),
        ("MIN", Self::Minimum),
        ("PERIOD", Self::Period),
        ("RATE", Self::Rate),
        ("REMOVE_EMPTY", Self::RemoveEmpty),
        ("RUNNING_SUM", Self::RunningSum),
        ("STDDEV", Self::StandardDeviation),
        ("SUM", Self::Sum),
        ("TIME_SERIES", Self::TimeSeries),
    ];
}

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Computed {
    /// One number.
    Number(f64),
    /// One series.
    Series(Series),
    /// Several, each with the id of the query that it is of.
    List(Vec<(String, Series)>),
}

/// What expressions compute with.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What queries came to so far, by id.
    pub by_id: BTreeMap<String, Computed>,
    /// The ids of those that are metrics, in the request's order: what `METRICS()` stands for.
    pub metrics: Vec<String>,
    /// The first point's time, and the time before which the last is.
    pub from_s: i64,
    /// See `from_s`.
    pub until_s: i64,
    /// Between points.
    pub period_s: i64,
}

impl Expression {
    /// The ids of the queries that this one needs; `METRICS()` needs all metrics.
    #[must_use]
    pub fn needs(&self, metrics: &[String]) -> BTreeSet<String> {
        let (mut found, mut left) = (BTreeSet::new(), vec![&self.0]);
        while let Some(node) = left.pop() {
            match node {
                Node::Id(id) => drop(found.insert(id.clone())),
                Node::List(items) => left.extend(items),
                Node::Call(function, items) => {
                    if *function == Function::Metrics {
                        found.extend(metrics.iter().cloned());
                    }
                    left.extend(items);
                }
                Node::Negated(inner) => left.push(inner),
                Node::Binary(_, a, b) => left.extend([&**a, &**b]),
                Node::Number(_) | Node::Text(_) => {}
            }
        }
        found
    }

    /// Computes it.
    ///
    /// # Errors
    /// Where a function is given what it does not take, or an id that is not known.
    pub fn compute(&self, known: &Known) -> Result<Computed, MathError> {
        compute::of(&self.0, known)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// m1 is 1, 2, 3 and m2 is 10, nothing, 30 at 0, 60, 120; e is empty.
    fn known() -> Known {
        let series = |points: &[(i64, f64)]| Computed::Series(points.iter().copied().collect());
        Known {
            by_id: [
                ("m1".to_owned(), series(&[(0, 1.0), (60, 2.0), (120, 3.0)])),
                ("m2".to_owned(), series(&[(0, 10.0), (120, 30.0)])),
                ("e".to_owned(), series(&[])),
            ]
            .into(),
            metrics: vec!["m1".into(), "m2".into()],
            from_s: 0,
            until_s: 180,
            period_s: 60,
        }
    }

    fn check(text: &str) -> String {
        let shown = |series: &Series| {
            let points: Vec<String> = series.iter().map(|(at, value)| format!("{at}={value}")).collect();
            points.join(" ")
        };
        match parse(text).and_then(|expression| expression.compute(&known())) {
            Ok(Computed::Number(number)) => number.to_string(),
            Ok(Computed::Series(series)) => shown(&series),
            Ok(Computed::List(list)) => {
                let shown: Vec<String> =
                    list.iter().map(|(id, series)| format!("{id}: {}", shown(series))).collect();
                format!("[{}]", shown.join("; "))
            }
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn expressions_compute_point_by_point() {
        for (text, expected) in [
            ("1 + 2 * 3 ^ 2 - -4", "23"),
            ("(1+2)*3/2", "4.5"),
            ("m1 + m2", "0=11 120=33"),
            ("m1 * 2", "0=2 60=4 120=6"),
            ("100 / m2", "0=10 120=3.3333333333333335"),
            ("m1 / (m1 - 2)", "0=-1 120=3"),
            ("SUM(METRICS())", "0=11 60=2 120=33"),
            ("SUM([m1, m2])", "0=11 60=2 120=33"),
            ("AVG(m1)", "2"),
            ("MAX(METRICS())", "0=10 60=2 120=30"),
            ("MIN(m2)", "10"),
            ("STDDEV(m1)", "0.816496580927726"),
            ("m1 - AVG(m1)", "0=-1 60=0 120=1"),
            ("METRICS() * 2", "[m1: 0=2 60=4 120=6; m2: 0=20 120=60]"),
            ("METRICS(\"2\")", "[m2: 0=10 120=30]"),
            ("FILL(m2, 0)", "0=10 60=0 120=30"),
            ("FILL(m2, REPEAT)", "0=10 60=10 120=30"),
            ("FILL(m2, LINEAR)", "0=10 60=20 120=30"),
            ("FILL(e, 7)", "0=7 60=7 120=7"),
            ("RATE(m1)", "60=0.016666666666666666 120=0.016666666666666666"),
            ("DIFF(m2)", "120=20"),
            ("RUNNING_SUM(m1)", "0=1 60=3 120=6"),
            ("IF(m1 > 1, m1, 0)", "0=0 60=2 120=3"),
            ("IF(m1 > 1 && m1 < 3, 5)", "60=5"),
            ("m1 >= 2 OR m1 == 1", "0=1 60=1 120=1"),
            ("IF(2 > 1, m2, m1)", "0=10 120=30"),
            ("PERIOD(m1) * 2", "120"),
            ("TIME_SERIES(4)", "0=4 60=4 120=4"),
            ("DATAPOINT_COUNT(m2)", "2"),
            ("METRIC_COUNT(METRICS())", "2"),
            ("REMOVE_EMPTY([m1, e])", "[m1: 0=1 60=2 120=3]"),
            ("FIRST(METRICS())", "0=1 60=2 120=3"),
            ("ABS(-m1)", "0=1 60=2 120=3"),
            ("CEIL(m1 / 2)", "0=1 60=1 120=2"),
            ("floor(m1 / 2)", "0=0 60=1 120=1"),
            ("LOG10(m2 * 10)", "0=2 120=2.4771212547196626"),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_computed_says_why() {
        for (text, expected) in [
            ("", "error: the expression ends where a value is expected"),
            ("m1 +", "error: the expression ends where a value is expected"),
            ("m1 m2", "error: unexpected 'm2' at character 4"),
            ("m9", "error: the query 'm9' is not known"),
            ("SUM(m1", "error: the expression ends where ')' is expected"),
            ("SUM()", "error: SUM takes 1 argument"),
            ("IF(m1)", "error: IF takes 2 or 3 arguments"),
            ("NOPE(m1)", "error: the function NOPE is not supported"),
            ("SEARCH('{AWS/EC2}', 'Sum', 300)", "error: the function SEARCH is not supported"),
            ("ANOMALY_DETECTION_BAND(m1, 2)", "error: the function ANOMALY_DETECTION_BAND is not supported"),
            ("SELECT AVG(x) FROM y", "error: Metrics Insights queries are not supported"),
            ("RATE(3)", "error: RATE takes a time series"),
            ("[m1,m2] + [m1,m2]", "error: two lists of time series cannot be combined"),
            ("'a' + 1", "error: a text is not expected here"),
            ("m1 $ 2", "error: unexpected '$' at character 4"),
            ("'a", "error: the text that begins at character 1 does not end"),
        ] {
            assert_eq!(check(text), expected, "{text}");
        }
        let deep = format!("{}m1{}", "(".repeat(500), ")".repeat(500));
        assert_eq!(check(&deep), "error: the expression is nested too deeply");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[-+*/^()\\[\\]m12 ,.<>=&|A-Z'\"é]{0,60}") {
            let _ = check(&text);
        }
    }
}
