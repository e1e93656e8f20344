//! GetMetricData.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::metric_math::{Computed, Series};
use serde::Deserialize;
use serde_json::{Value, json};

use super::CloudWatch;
use super::error::{Failure, fail, validation};
use super::queries::{self, Answer, MetricDataQuery, Query, Stretch};
use super::statistics::{seconds_of, span_start_s};
use crate::Caller;

/// Points of a reply.
const POINTS_ON_PAGE: usize = 100_800;
/// Points that all queries of a request come to.
const POINTS_MAX: i64 = 1_000_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetMetricData {
    metric_data_queries: Vec<MetricDataQuery>,
    start_time: f64,
    end_time: f64,
    next_token: Option<String>,
    #[serde(default)]
    scan_by: Option<String>,
    max_datapoints: Option<usize>,
}

/// One series of a reply.
struct Shown<'a> {
    query: &'a Query,
    label: String,
    series: Series,
}

impl GetMetricData {
    /// How many points earlier pages had.
    fn shown_before(&self) -> Result<usize, Failure> {
        let Some(token) = self.next_token.as_deref().filter(|token| !token.is_empty()) else { return Ok(0) };
        let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let count = text.and_then(|text| text.parse().ok());
        count.ok_or_else(|| fail("InvalidNextToken", "The parameter NextToken is invalid."))
    }
}

impl CloudWatch {
    pub(super) async fn get_metric_data(
        &self,
        caller: &Caller,
        input: GetMetricData,
    ) -> Result<Value, Failure> {
        let queries = queries::checked(&input.metric_data_queries, &caller.account, &caller.region)?;
        let (start_s, until_s) = (seconds_of(input.start_time), seconds_of(input.end_time));
        if start_s >= until_s {
            return Err(validation("The parameter StartTime must be less than the parameter EndTime."));
        }
        let points: i64 =
            queries::periods_s(&queries)?.iter().map(|period_s| (until_s - start_s) / period_s + 1).sum();
        if points > POINTS_MAX {
            return Err(validation(format!(
                "The request asks for up to {points} datapoints, which exceeds the limit of {POINTS_MAX}. You may reduce the \
                 datapoints requested by increasing Period, or decreasing the time range."
            )));
        }
        let (now, asked) = (caller.now, queries.clone());
        let answers = self
            .catalog
            .read(move |tx| {
                queries::answer(tx, &asked, |period_s| Stretch {
                    from_s: span_start_s(start_s, period_s, now),
                    until_s,
                })
            })
            .await?;
        let shown = shown_of(&queries, answers)?;
        page(&input, &shown)
    }
}

fn shown_of(queries: &[Query], answers: Vec<Answer>) -> Result<Vec<Shown<'_>>, Failure> {
    let mut shown = Vec::new();
    for (query, answer) in queries.iter().zip(answers).filter(|(query, _)| query.is_returned) {
        match answer.computed {
            Computed::Number(_) => {
                return Err(validation(format!(
                    "Error in expression '{}': the expression must come to a time series",
                    query.id
                )));
            }
            Computed::Series(series) => shown.push(Shown { query, label: query.label.clone(), series }),
            Computed::List(all) => shown.extend(all.into_iter().map(|(id, series)| Shown {
                query,
                label: format!("{} {id}", query.label),
                series,
            })),
        }
    }
    Ok(shown)
}

/// Points are counted over all series, in their order: a page ends where it is full, also amidst a series.
fn page(input: &GetMetricData, shown: &[Shown<'_>]) -> Result<Value, Failure> {
    let (mut skipped, mut room) =
        (input.shown_before()?, input.max_datapoints.unwrap_or(POINTS_ON_PAGE).clamp(1, POINTS_ON_PAGE));
    let (before, whole) = (skipped, room);
    let (mut results, mut is_cut) = (Vec::new(), false);
    for Shown { query, label, series } in shown {
        if before > 0 && skipped > 0 && series.len() <= skipped {
            skipped -= series.len();
            continue;
        }
        if room == 0 && !series.is_empty() {
            is_cut = true;
            break;
        }
        let mut points: Vec<(i64, f64)> = series.iter().map(|(at, value)| (*at, *value)).collect();
        if input.scan_by.as_deref() != Some("TimestampAscending") {
            points.reverse();
        }
        let taken: Vec<(i64, f64)> = points[skipped..].iter().copied().take(room).collect();
        let is_partial = skipped + taken.len() < points.len();
        skipped = 0;
        room -= taken.len();
        results.push(json!({
            "Id": query.id,
            "Label": label,
            "Timestamps": taken.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            "Values": taken.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            "StatusCode": if is_partial { "PartialData" } else { "Complete" },
        }));
        if is_partial {
            is_cut = true;
            break;
        }
    }
    let mut reply = json!({ "MetricDataResults": results, "Messages": [] });
    if is_cut {
        reply["NextToken"] = URL_SAFE_NO_PAD.encode((before + whole - room).to_string()).into();
    }
    Ok(reply)
}
