//! Random runs of the history beside the model.

use std::sync::Arc;
use std::time::Duration;

use cairn_core::Clock;
use cairn_store::history::{History, SegmentHistory};
use cairn_store::{Catalog, LogPosition};
use cairn_testkit::{TestClock, memory_catalog};
use proptest::prelude::*;

use super::model::{Draft, LookupDraft, Model, Step, steps};
use super::{open, small, start};

struct Run {
    directory: tempfile::TempDir,
    catalog: Catalog,
    clock: Arc<TestClock>,
    history: SegmentHistory,
    model: Model,
}

impl Run {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let catalog = memory_catalog();
        let clock = Arc::new(TestClock::new(start()));
        let history = open(directory.path(), &catalog, &clock, small()).await;
        Self { directory, catalog, clock, history, model: Model::default() }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Ingest(drafts) => self.ingest(drafts).await,
            Step::Again(back) => {
                let from = LogPosition(self.model.end.saturating_sub(*back));
                self.history.ingest(self.model.since(from), LogPosition(self.model.end)).await.unwrap();
            }
            Step::Flush => self.history.flush().await.unwrap(),
            Step::Maintain => self.history.maintain(self.clock.now()).await.unwrap(),
            Step::Reopen => self.reopen().await,
            Step::Hours(hours) => self.clock.advance(Duration::from_secs(u64::from(*hours) * 3600)),
            Step::Lookup(draft, arriving) => self.lookup(draft, arriving).await,
        }
    }

    async fn ingest(&mut self, drafts: &[Draft]) {
        let (events, up_to) = self.model.append(drafts);
        self.history.ingest(events, up_to).await.unwrap();
    }

    async fn reopen(&mut self) {
        self.history = open(self.directory.path(), &self.catalog, &self.clock, small()).await;
        let durable = self.history.durable_position().await.unwrap();
        assert!(durable.0 <= self.model.end, "no position is durable that was never taken");
        self.history.ingest(self.model.since(durable), LogPosition(self.model.end)).await.unwrap();
    }

    async fn lookup(&mut self, draft: &LookupDraft, arriving: &[Draft]) {
        let mut query = draft.query();
        let kept_from = self.clock.now().minus(small().retention);
        let expected = self.model.answer(&query, kept_from);
        let mut found = Vec::new();
        loop {
            let page = self.history.lookup(query.clone()).await.unwrap();
            let page_is_full = page.events.len() == query.limit;
            found.extend(page.events);
            assert_eq!(
                page.next.is_some(),
                found.len() < expected.len(),
                "there is a next page where there is more"
            );
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
            assert!(page_is_full, "only the last page is short");
            self.ingest(arriving).await;
            self.history.maintain(self.clock.now()).await.unwrap();
        }
        assert_eq!(found, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn lookups_answer_as_a_plain_list_would_through_writes_merges_and_restarts(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.step(step).await;
            }
        });
    }
}
