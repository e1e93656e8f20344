//! Expressions computed.

use std::collections::BTreeMap;

use super::{Computed, Function, Known, MathError, Node, Operator, Series};

fn error(text: impl Into<String>) -> MathError {
    MathError(text.into())
}

fn name_of(function: Function) -> &'static str {
    Function::ALL.iter().find(|(_, own)| *own == function).map_or("", |(name, _)| name)
}

pub(super) fn of(node: &Node, known: &Known) -> Result<Computed, MathError> {
    match node {
        Node::Number(number) => Ok(Computed::Number(*number)),
        Node::Text(_) => Err(error("a text is not expected here")),
        Node::Id(id) => {
            known.by_id.get(id).cloned().ok_or_else(|| error(format!("the query '{id}' is not known")))
        }
        Node::List(items) => list(items, known),
        Node::Negated(inner) => Ok(each(of(inner, known)?, |value| -value)),
        Node::Binary(operator, a, b) => combine(*operator, of(a, known)?, of(b, known)?),
        Node::Call(function, items) => call(*function, items, known),
    }
}

fn list(items: &[Node], known: &Known) -> Result<Computed, MathError> {
    let mut found = Vec::new();
    for item in items {
        match of(item, known)? {
            Computed::Series(series) => {
                let id = if let Node::Id(id) = item { id.clone() } else { String::new() };
                found.push((id, series));
            }
            Computed::List(more) => found.extend(more),
            Computed::Number(number) => found.push((String::new(), everywhere(number, known))),
        }
    }
    Ok(Computed::List(found))
}

/// The same number at every point.
fn everywhere(number: f64, known: &Known) -> Series {
    times(known).map(|at| (at, number)).collect()
}

fn times(known: &Known) -> impl Iterator<Item = i64> {
    let (from, until, step) = (known.from_s, known.until_s, known.period_s.max(1));
    std::iter::successors(Some(from), move |at| at.checked_add(step)).take_while(move |at| *at < until)
}

/// A result that is no number is no point.
fn finite(series: impl Iterator<Item = (i64, f64)>) -> Series {
    series.filter(|(_, value)| value.is_finite()).collect()
}

fn each(value: Computed, change: impl Fn(f64) -> f64) -> Computed {
    let changed = |series: Series| finite(series.into_iter().map(|(at, value)| (at, change(value))));
    match value {
        Computed::Number(number) => Computed::Number(change(number)),
        Computed::Series(series) => Computed::Series(changed(series)),
        Computed::List(all) => {
            Computed::List(all.into_iter().map(|(id, series)| (id, changed(series))).collect())
        }
    }
}

fn each_series(
    function: Function,
    value: Computed,
    change: impl Fn(Series) -> Series,
) -> Result<Computed, MathError> {
    match value {
        Computed::Number(_) => Err(error(format!("{} takes a time series", name_of(function)))),
        Computed::Series(series) => Ok(Computed::Series(change(series))),
        Computed::List(all) => {
            Ok(Computed::List(all.into_iter().map(|(id, series)| (id, change(series))).collect()))
        }
    }
}

fn apply(operator: Operator, a: f64, b: f64) -> f64 {
    let truth = |is_true: bool| if is_true { 1.0 } else { 0.0 };
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Power => a.powf(b),
        Operator::Less => truth(a < b),
        Operator::LessOrEqual => truth(a <= b),
        Operator::Greater => truth(a > b),
        Operator::GreaterOrEqual => truth(a >= b),
        Operator::Equal => truth(a == b),
        Operator::NotEqual => truth(a != b),
        Operator::And => truth(a != 0.0 && b != 0.0),
        Operator::Or => truth(a != 0.0 || b != 0.0),
    }
}

fn combine(operator: Operator, a: Computed, b: Computed) -> Result<Computed, MathError> {
    let both = |a: &Series, b: &Series| {
        finite(a.iter().filter_map(|(at, own)| Some((*at, apply(operator, *own, *b.get(at)?)))))
    };
    Ok(match (a, b) {
        (Computed::Number(a), Computed::Number(b)) => Computed::Number(apply(operator, a, b)),
        (a, Computed::Number(b)) => each(a, |value| apply(operator, value, b)),
        (Computed::Number(a), b) => each(b, |value| apply(operator, a, value)),
        (Computed::Series(a), Computed::Series(b)) => Computed::Series(both(&a, &b)),
        (Computed::List(all), Computed::Series(b)) => {
            Computed::List(all.into_iter().map(|(id, a)| (id, both(&a, &b))).collect())
        }
        (Computed::Series(a), Computed::List(all)) => {
            Computed::List(all.into_iter().map(|(id, b)| (id, both(&a, &b))).collect())
        }
        (Computed::List(_), Computed::List(_)) => {
            return Err(error("two lists of time series cannot be combined"));
        }
    })
}

/// One number of all points of a series, or of a list one of each time.
fn aggregate(value: Computed, of: impl Fn(&[f64]) -> f64) -> Computed {
    match value {
        Computed::Number(number) => Computed::Number(of(&[number])),
        Computed::Series(series) => Computed::Number(of(&series.into_values().collect::<Vec<_>>())),
        Computed::List(all) => {
            let mut by_time: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (at, value) in all.into_iter().flat_map(|(_, series)| series) {
                by_time.entry(at).or_default().push(value);
            }
            Computed::Series(finite(by_time.into_iter().map(|(at, values)| (at, of(&values)))))
        }
    }
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

fn call(function: Function, items: &[Node], known: &Known) -> Result<Computed, MathError> {
    let first = || match items.first() {
        Some(item) => of(item, known),
        None => Err(error(format!("{} takes an argument", name_of(function)))),
    };
    Ok(match function {
        Function::Abs => each(first()?, f64::abs),
        Function::Ceil => each(first()?, f64::ceil),
        Function::Floor => each(first()?, f64::floor),
        Function::Log => each(first()?, f64::ln),
        Function::Log10 => each(first()?, f64::log10),
        Function::Average => aggregate(first()?, |values| values.iter().sum::<f64>() / values.len() as f64),
        Function::Sum => aggregate(first()?, |values| values.iter().sum()),
        Function::Minimum => {
            aggregate(first()?, |values| values.iter().copied().fold(f64::INFINITY, f64::min))
        }
        Function::Maximum => {
            aggregate(first()?, |values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        }
        Function::StandardDeviation => aggregate(first()?, deviation),
        Function::DatapointCount => aggregate(first()?, |values| values.len() as f64),
        Function::Period => match first()? {
            Computed::Number(_) => return Err(error("PERIOD takes a time series")),
            _ => Computed::Number(known.period_s as f64),
        },
        Function::TimeSeries => match first()? {
            Computed::Number(number) => Computed::Series(everywhere(number, known)),
            _ => return Err(error("TIME_SERIES takes a number")),
        },
        Function::Rate => {
            each_series(function, first()?, |series| steps(&series, |change, seconds| change / seconds))?
        }
        Function::Diff => each_series(function, first()?, |series| steps(&series, |change, _| change))?,
        Function::RunningSum => each_series(function, first()?, running_sum)?,
        Function::Metrics => metrics(items, known)?,
        Function::MetricCount => Computed::Number(as_list(function, first()?)?.len() as f64),
        Function::RemoveEmpty => {
            let all = as_list(function, first()?)?;
            Computed::List(all.into_iter().filter(|(_, series)| !series.is_empty()).collect())
        }
        Function::First => {
            Computed::Series(as_list(function, first()?)?.into_iter().next().unwrap_or_default().1)
        }
        Function::Last => Computed::Series(as_list(function, first()?)?.pop().unwrap_or_default().1),
        Function::Fill => fill(first()?, items.get(1), known)?,
        Function::If => choose(items, known)?,
    })
}

fn as_list(function: Function, value: Computed) -> Result<Vec<(String, Series)>, MathError> {
    match value {
        Computed::List(all) => Ok(all),
        Computed::Series(series) => Ok(vec![(String::new(), series)]),
        Computed::Number(_) => Err(error(format!("{} takes time series", name_of(function)))),
    }
}

fn steps(series: &Series, of: impl Fn(f64, f64) -> f64) -> Series {
    let pairs = series.iter().zip(series.iter().skip(1));
    finite(pairs.map(|((before_at, before), (at, value))| (*at, of(value - before, (at - before_at) as f64))))
}

fn running_sum(series: Series) -> Series {
    let mut sum = 0.0;
    series
        .into_iter()
        .map(|(at, value)| {
            sum += value;
            (at, sum)
        })
        .collect()
}

fn metrics(items: &[Node], known: &Known) -> Result<Computed, MathError> {
    let wanted = match items.first() {
        None => "",
        Some(Node::Text(text)) => text,
        Some(_) => return Err(error("METRICS takes a text in quotes")),
    };
    let of = |id: &String| match known.by_id.get(id) {
        Some(Computed::Series(series)) => Some((id.clone(), series.clone())),
        _ => None,
    };
    Ok(Computed::List(known.metrics.iter().filter(|id| id.contains(wanted)).filter_map(of).collect()))
}

/// What a missing point becomes.
enum Filler {
    Series(Series),
    Number(f64),
    Repeat,
    Linear,
}

fn fill(value: Computed, filler: Option<&Node>, known: &Known) -> Result<Computed, MathError> {
    let filler = match filler {
        Some(Node::Text(name)) if name == "REPEAT" => Filler::Repeat,
        Some(Node::Text(name)) if name == "LINEAR" => Filler::Linear,
        Some(node) => match of(node, known)? {
            Computed::Number(number) => Filler::Number(number),
            Computed::Series(series) => Filler::Series(series),
            Computed::List(_) => return Err(error("FILL takes a number, REPEAT, LINEAR or one time series")),
        },
        None => return Err(error("FILL takes 2 arguments")),
    };
    each_series(Function::Fill, value, |series| filled(series, &filler, known))
}

fn filled(series: Series, filler: &Filler, known: &Known) -> Series {
    let mut all = series.clone();
    for at in times(known).filter(|at| !series.contains_key(at)) {
        let value = match filler {
            Filler::Number(number) => Some(*number),
            Filler::Series(others) => others.get(&at).copied(),
            Filler::Repeat => series.range(..at).next_back().map(|(_, value)| *value),
            Filler::Linear => series.range(..at).next_back().zip(series.range(at..).next()).map(
                |((before_at, before), (after_at, after))| {
                    let part = (at - before_at) as f64 / (after_at - before_at) as f64;
                    before + (after - before) * part
                },
            ),
        };
        all.extend(value.map(|value| (at, value)));
    }
    all
}

fn choose(items: &[Node], known: &Known) -> Result<Computed, MathError> {
    let [condition, yes, no @ ..] = items else { return Err(error("IF takes 2 or 3 arguments")) };
    let (condition, yes) = (of(condition, known)?, of(yes, known)?);
    let no = no.first().map(|node| of(node, known)).transpose()?;
    match condition {
        Computed::Number(number) if number != 0.0 => Ok(yes),
        Computed::Number(_) => Ok(no.unwrap_or(Computed::Series(Series::new()))),
        Computed::Series(series) => {
            let mut found = Series::new();
            for (at, holds) in series {
                let value = if holds != 0.0 {
                    point(&yes, at)?
                } else {
                    no.as_ref().map_or(Ok(None), |no| point(no, at))?
                };
                found.extend(value.map(|value| (at, value)));
            }
            Ok(Computed::Series(found))
        }
        Computed::List(_) => Err(error("IF takes one time series or a number as its condition")),
    }
}

fn point(value: &Computed, at: i64) -> Result<Option<f64>, MathError> {
    match value {
        Computed::Number(number) => Ok(Some(*number)),
        Computed::Series(series) => Ok(series.get(&at).copied()),
        Computed::List(_) => Err(error("IF takes one time series or a number in each place")),
    }
}
