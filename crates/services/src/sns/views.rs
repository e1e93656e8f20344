//! Topics with their subscribers, ready to fan out to: read once, kept until something of them changes.
//!
//! Invariant: a view that was read before a change is not kept after it. Whoever changes a topic or a subscription calls
//! [`Views::forget`] after the commit and before the reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cairn_core::filter_policy::FilterPolicy;
use cairn_store::{Catalog, CatalogError};

use super::arn::TopicArn;
use super::state::{SUBSCRIPTIONS, Subscription, TOPICS, Topic};
use super::subscription_attributes::filter_of;

/// Subscribers of all views together; beyond it all views are read anew.
const SUBSCRIBERS_MAX: usize = 200_000;

/// A topic as a publish sees it.
#[derive(Debug)]
pub(super) struct TopicView {
    pub(super) topic: Topic,
    /// Those who have confirmed.
    pub(super) subscribers: Vec<Subscriber>,
}

/// A subscription with its filter policy.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) subscription: Subscription,
    pub(super) filter: Option<FilterPolicy>,
}

/// The views that were read.
#[derive(Default)]
pub(super) struct Views(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    views: HashMap<TopicArn, Arc<TopicView>>,
    subscribers: usize,
    /// How often something changed.
    changes: u64,
}

impl Views {
    /// The view of a topic; none where there is no such topic.
    pub(super) async fn of(
        &self,
        catalog: &Catalog,
        arn: &TopicArn,
    ) -> Result<Option<Arc<TopicView>>, CatalogError> {
        let changes = {
            let kept = self.lock();
            if let Some(view) = kept.views.get(arn) {
                return Ok(Some(Arc::clone(view)));
            }
            kept.changes
        };
        let Some(view) = read(catalog, arn).await?.map(Arc::new) else { return Ok(None) };
        let mut kept = self.lock();
        if kept.changes == changes {
            if kept.subscribers + view.subscribers.len() > SUBSCRIBERS_MAX {
                kept.views.clear();
                kept.subscribers = 0;
            }
            kept.subscribers += view.subscribers.len();
            if let Some(other) = kept.views.insert(arn.clone(), Arc::clone(&view)) {
                kept.subscribers -= other.subscribers.len();
            }
        }
        Ok(Some(view))
    }

    /// A topic without its subscribers, which are not read for it.
    pub(super) async fn topic(
        &self,
        catalog: &Catalog,
        arn: &TopicArn,
    ) -> Result<Option<Topic>, CatalogError> {
        if let Some(view) = self.lock().views.get(arn) {
            return Ok(Some(view.topic.clone()));
        }
        let row = arn.row();
        catalog.read(move |tx| TOPICS.get(tx, row.bytes())).await
    }

    /// Forgets a topic's view.
    pub(super) fn forget(&self, arn: &TopicArn) {
        let mut kept = self.lock();
        kept.changes += 1;
        if let Some(view) = kept.views.remove(arn) {
            kept.subscribers -= view.subscribers.len();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nothing panics while the views are held")
    }
}

async fn read(catalog: &Catalog, arn: &TopicArn) -> Result<Option<TopicView>, CatalogError> {
    let named = arn.clone();
    let found = catalog
        .read(move |tx| {
            let Some(topic) = TOPICS.get(tx, named.row().bytes())? else { return Ok(None) };
            Ok::<_, CatalogError>(Some((topic, SUBSCRIPTIONS.scan_prefix(tx, named.row().bytes())?)))
        })
        .await?;
    let Some((topic, rows)) = found else { return Ok(None) };
    let confirmed = rows.into_iter().map(|(_, subscription)| subscription).filter(Subscription::is_confirmed);
    let subscribers = confirmed.filter_map(|subscription| match filter_of(&subscription) {
        Ok(filter) => Some(Subscriber { subscription, filter }),
        Err(problem) => {
            let arn = subscription.arn.to_string();
            tracing::error!(
                subscription = arn,
                problem,
                "a kept filter policy cannot be read: nothing matches it"
            );
            None
        }
    });
    Ok(Some(TopicView { topic, subscribers: subscribers.collect() }))
}
