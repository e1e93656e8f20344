//! Buses with their rules, ready to match: read once, kept until something of them changes.
//!
//! Invariant: a view that was read before a change is not kept after it. Whoever changes a bus, a rule or an archive calls
//! [`Views::forget`] after the commit and before the reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_core::event_pattern::RuleIndex;
use cairn_store::queues::QueueKey;
use cairn_store::{Catalog, CatalogError};

use super::archives::{self, ArchiveView};
use super::names::BusArn;
use super::rules::parsed_pattern;
use super::state::{RULES, Rule, RuleState};
use super::{buses, owed};

/// Rules of all views together; beyond it all views are read anew.
const RULES_MAX: usize = 200_000;

/// A bus as an event sees it.
pub(super) struct BusView {
    pub(super) rules: Vec<RuleView>,
    pub(super) archives: Vec<ArchiveView>,
    /// The rules that are on and have a pattern, by their place.
    index: RuleIndex<usize>,
    /// Whether there is a rule that takes reads.
    takes_reads: bool,
}

/// A rule with the queues of its targets.
pub(super) struct RuleView {
    pub(super) rule: Rule,
    pub(super) queues: Vec<QueueKey>,
}

impl BusView {
    /// The rules that take an event.
    pub(super) fn matching(&self, event: &str, is_read: bool) -> Vec<&RuleView> {
        if is_read && !self.takes_reads {
            return Vec::new();
        }
        let takes = |view: &&RuleView| !is_read || view.rule.state == RuleState::EnabledWithReads;
        let mut found = self.index.matching(event);
        found.sort_unstable();
        found.into_iter().filter_map(|at| self.rules.get(at)).filter(takes).collect()
    }

    /// Whether nothing that comes could be of use to anybody.
    pub(super) fn is_idle(&self, is_read: bool) -> bool {
        if is_read { !self.takes_reads } else { self.rules.is_empty() && self.archives.is_empty() }
    }

    /// The rule of that name.
    pub(super) fn rule(&self, name: &str) -> Option<&RuleView> {
        self.rules.iter().find(|view| view.rule.name == name)
    }
}

/// The views that were read.
#[derive(Default)]
pub(super) struct Views(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// None of a bus that is not there: asked for again and again by events of CloudTrail.
    views: HashMap<BusArn, Option<Arc<BusView>>>,
    rules: usize,
    /// How often something changed.
    changes: u64,
}

impl Views {
    /// The view of a bus; none where there is no such bus.
    pub(super) async fn of(
        &self,
        catalog: &Catalog,
        arn: &BusArn,
    ) -> Result<Option<Arc<BusView>>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(view) = kept.views.get(arn) {
                return Ok(view.clone());
            }
            kept.changes
        };
        let view = read(catalog, arn).await?.map(Arc::new);
        let mut kept = self.lock();
        if kept.changes == changes {
            let rules = view.as_ref().map_or(1, |view| view.rules.len() + 1);
            if kept.rules + rules > RULES_MAX {
                kept.views.clear();
                kept.rules = 0;
            }
            kept.rules += rules;
            kept.views.insert(arn.clone(), view.clone());
        }
        Ok(view)
    }

    /// Forgets a bus's view.
    pub(super) fn forget(&self, arn: &BusArn) {
        let mut kept = self.lock();
        kept.changes += 1;
        if let Some(view) = kept.views.remove(arn) {
            kept.rules = kept.rules.saturating_sub(view.map_or(1, |view| view.rules.len() + 1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while the views are held")
    }
}

async fn read(catalog: &Catalog, arn: &BusArn) -> Result<Option<BusView>, CatalogError> {
    let named = arn.clone();
    let found = catalog
        .read(move |tx| {
            if buses::find(tx, &named)?.is_none() {
                return Ok(None);
            }
            let rules = RULES.scan_prefix(tx, named.row().bytes())?;
            Ok::<_, CatalogError>(Some((rules, archives::views_of(tx, &named)?)))
        })
        .await?;
    let Some((rows, archives)) = found else { return Ok(None) };
    let mut view = BusView { rules: Vec::new(), archives, index: RuleIndex::new(), takes_reads: false };
    for (_, rule) in rows {
        let queues =
            rule.targets.iter().map(|target| owed::queue_key(&rule.bus, &rule.name, &target.id)).collect();
        if let Some(pattern) = rule.pattern.as_deref().filter(|_| rule.state != RuleState::Disabled) {
            match parsed_pattern(pattern) {
                Ok(pattern) => {
                    view.index.insert(view.rules.len(), pattern);
                    view.takes_reads |= rule.state == RuleState::EnabledWithReads;
                }
                Err(_) => {
                    tracing::error!(
                        rule = rule.arn(),
                        "a kept event pattern cannot be read: nothing matches it"
                    );
                }
            }
        }
        view.rules.push(RuleView { rule, queues });
    }
    Ok(Some(view))
}
