//! The filters of groups as the stage uses them: compiled once, kept until one of them changes.
//!
//! Invariant: what was read before a change is not kept after it. Whoever changes a filter calls [`FilterViews::forget`]
//! after the commit and before the reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_core::filter_pattern::FilterPattern;
use cairn_store::{Catalog, CatalogError, Tx};

use super::arn::GroupName;
use super::error::{Failure, invalid};
use super::metric_filters::{Dimensions, METRIC_FILTERS, MetricFilter, MetricValue};
use super::subscription_filters::{SUBSCRIPTION_FILTERS, SubscriptionFilter};

/// Groups whose filters are kept; beyond it all are read anew.
const GROUPS_MAX: usize = 20_000;
/// Filters of a group, of either kind, that may have regular expressions.
pub(super) const REGEX_FILTERS_MAX: usize = 5;

/// All filters of a group.
#[derive(Debug, Default)]
pub(super) struct GroupFilters {
    pub(super) metric: Vec<CompiledMetricFilter>,
    pub(super) subscription: Vec<CompiledSubscription>,
}

impl GroupFilters {
    pub(super) fn is_empty(&self) -> bool {
        self.metric.is_empty() && self.subscription.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct CompiledMetricFilter {
    pub(super) filter: MetricFilter,
    pub(super) pattern: FilterPattern,
    pub(super) value: MetricValue,
    pub(super) dimensions: Dimensions,
}

#[derive(Debug)]
pub(super) struct CompiledSubscription {
    pub(super) filter: SubscriptionFilter,
    pub(super) pattern: FilterPattern,
}

/// What was read.
#[derive(Default)]
pub(super) struct FilterViews(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    groups: HashMap<GroupName, Arc<GroupFilters>>,
    /// How often something changed.
    changes: u64,
}

impl FilterViews {
    pub(super) async fn of(
        &self,
        catalog: &Catalog,
        group: &GroupName,
    ) -> Result<Arc<GroupFilters>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(filters) = kept.groups.get(group) {
                return Ok(Arc::clone(filters));
            }
            kept.changes
        };
        let row = group.row();
        let read = catalog.read(move |tx| {
            let metric = METRIC_FILTERS.scan_prefix(tx, row.bytes())?;
            let subscription = SUBSCRIPTION_FILTERS.scan_prefix(tx, row.bytes())?;
            Ok::<_, CatalogError>((metric, subscription))
        });
        let (metric, subscription) = read.await?;
        let filters = Arc::new(GroupFilters {
            metric: metric.into_iter().filter_map(|(_, filter)| compiled_metric(filter)).collect(),
            subscription: subscription.into_iter().filter_map(|(_, filter)| compiled(filter)).collect(),
        });
        let mut kept = self.lock();
        if kept.changes == changes {
            if kept.groups.len() >= GROUPS_MAX {
                kept.groups.clear();
            }
            kept.groups.insert(group.clone(), Arc::clone(&filters));
        }
        Ok(filters)
    }

    /// Forgets a group's filters as they were.
    pub(super) fn forget(&self, group: &GroupName) {
        let mut kept = self.lock();
        kept.changes += 1;
        kept.groups.remove(group);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while the filters are held")
    }
}

/// The pattern of a filter that is put.
pub(super) fn parsed(text: &str) -> Result<FilterPattern, Failure> {
    FilterPattern::parse(text).map_err(|error| invalid(error.to_string()))
}

/// What was accepted once may be refused by a later version: then it is left out, and said so.
fn compiled_metric(filter: MetricFilter) -> Option<CompiledMetricFilter> {
    let pattern = pattern_of(&filter.group, &filter.name, &filter.pattern)?;
    match filter.transformation.compile(&pattern) {
        Ok((value, dimensions)) => Some(CompiledMetricFilter { filter, pattern, value, dimensions }),
        Err(what) => {
            tracing::error!(group = %filter.group, filter = filter.name, what, "a metric filter cannot be used");
            None
        }
    }
}

fn compiled(filter: SubscriptionFilter) -> Option<CompiledSubscription> {
    let pattern = pattern_of(&filter.group, &filter.name, &filter.pattern)?;
    Some(CompiledSubscription { filter, pattern })
}

fn pattern_of(group: &GroupName, filter: &str, text: &str) -> Option<FilterPattern> {
    let parsed = FilterPattern::parse(text);
    parsed.inspect_err(|error| tracing::error!(%group, filter, %error, "a filter cannot be used")).ok()
}

/// How many filters of a group, but the one of that name, have regular expressions.
pub(super) fn regex_filters(tx: &mut dyn Tx, group: &GroupName, but: &str) -> Result<usize, CatalogError> {
    let row = group.row();
    let metric = METRIC_FILTERS.scan_prefix(tx, row.bytes())?;
    let metric = metric.into_iter().map(|(_, filter)| (filter.name, filter.pattern));
    let subscription = SUBSCRIPTION_FILTERS.scan_prefix(tx, row.bytes())?;
    let subscription = subscription.into_iter().map(|(_, filter)| (filter.name, filter.pattern));
    let has_regex = |(name, text): &(String, String)| {
        name != but && FilterPattern::parse(text).is_ok_and(|pattern| pattern.has_regex())
    };
    Ok(metric.chain(subscription).filter(has_regex).count())
}
