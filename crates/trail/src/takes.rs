//! What a trail takes: which stretches of the log, and which events in them, by account, region, global services and
//! selectors.

use cairn_core::record::{Category, Facts};

use cairn_store::LogPosition;

use crate::{LoggingSpan, Trail};

/// The services that have no region: single-region trails take their events only with
/// `IncludeGlobalServiceEvents`. (User guide: "About global service events"; since November 2021 the events carry the
/// region they were created in, us-east-1, so trails elsewhere never see them unless they are multi-region.)
const GLOBAL_SERVICES: [&str; 8] = [
    "account.amazonaws.com",
    "cloudfront.amazonaws.com",
    "globalaccelerator.amazonaws.com",
    "iam.amazonaws.com",
    "organizations.amazonaws.com",
    "route53.amazonaws.com",
    "signin.amazonaws.com",
    "sts.amazonaws.com",
];

/// The next stretch of the log of the spans from `position` on, up to `log_end`; none where there is none.
pub(crate) fn next_range(
    spans: &[LoggingSpan],
    position: LogPosition,
    log_end: LogPosition,
) -> Option<(LogPosition, LogPosition)> {
    spans.iter().find_map(|span| {
        let from = position.max(span.from);
        let to = span.to.map_or(log_end, |to| to.min(log_end));
        (from < to).then_some((from, to))
    })
}

/// Whether `trail` takes the event.
#[must_use]
pub fn takes(trail: &Trail, facts: &Facts<'_>) -> bool {
    let is_of_account = facts.account().is_some_and(|account| account == trail.account());
    is_of_account && takes_region(trail, facts) && takes_kind(trail, facts)
}

fn takes_region(trail: &Trail, facts: &Facts<'_>) -> bool {
    if trail.multi_region {
        return true;
    }
    let is_global = GLOBAL_SERVICES.contains(&facts.event_source.as_ref());
    facts.aws_region == trail.home_region().as_str() && (trail.include_global_service_events || !is_global)
}

fn takes_kind(trail: &Trail, facts: &Facts<'_>) -> bool {
    match facts.category() {
        Category::Insight => !trail.insight_selectors.is_empty(),
        _ => trail.selection.matches(facts),
    }
}
