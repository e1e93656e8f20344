//! Which alarms look at which metrics, and which of them have something to look at: in memory, made of the catalog's
//! alarms at the start.
//!
//! Whoever adds data touches the alarms from within the transaction that adds them. The stage takes what was touched
//! within a transaction too: those run one after the other, so what it takes was committed before it looks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::store::OwnedMetric;

/// An alarm's row in the catalog.
pub(super) type AlarmKey = Vec<u8>;

/// Clones share it.
#[derive(Clone)]
pub(super) struct Watch(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    arrivals: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    of_metrics: HashMap<OwnedMetric, BTreeSet<AlarmKey>>,
    metrics_of: HashMap<AlarmKey, Vec<OwnedMetric>>,
    touched: BTreeSet<AlarmKey>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), arrivals: watch::Sender::new(0) }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("no panic while the alarms' metrics are held"))
    }

    /// The alarm looks at these metrics from now on, and at no others; it is looked at next.
    pub(super) fn set(&self, alarm: &AlarmKey, metrics: Vec<OwnedMetric>) {
        self.with(|state| {
            state.forget(alarm);
            for metric in &metrics {
                state.of_metrics.entry(metric.clone()).or_default().insert(alarm.clone());
            }
            state.metrics_of.insert(alarm.clone(), metrics);
            state.touched.insert(alarm.clone());
        });
    }

    /// The alarm is no more.
    pub(super) fn forget(&self, alarm: &AlarmKey) {
        self.with(|state| {
            state.forget(alarm);
            state.touched.remove(alarm);
        });
    }

    /// There are new data of these metrics.
    pub(super) fn touch<'a>(&self, metrics: impl Iterator<Item = &'a OwnedMetric>) {
        self.with(|state| {
            for metric in metrics {
                if let Some(alarms) = state.of_metrics.get(metric) {
                    state.touched.extend(alarms.iter().cloned());
                }
            }
        });
    }

    /// Takes what was touched.
    pub(super) fn take_touched(&self) -> BTreeSet<AlarmKey> {
        self.with(|state| std::mem::take(&mut state.touched))
    }

    /// How many alarms there are.
    pub(super) fn alarms(&self) -> usize {
        self.with(|state| state.metrics_of.len())
    }

    /// Wakes the stage, where there is something for it.
    pub(super) fn wake(&self) {
        if self.with(|state| !state.touched.is_empty()) {
            self.0.arrivals.send_modify(|arrivals| *arrivals += 1);
        }
    }

    /// How often it was woken.
    pub(super) fn arrivals(&self) -> u64 {
        *self.0.arrivals.borrow()
    }

    /// Waits until it was woken more often than `seen`.
    pub(super) async fn wait_past(&self, seen: u64) {
        let mut arrivals = self.0.arrivals.subscribe();
        if arrivals.wait_for(|arrivals| *arrivals > seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl State {
    fn forget(&mut self, alarm: &AlarmKey) {
        for metric in self.metrics_of.remove(alarm).unwrap_or_default() {
            if let Some(alarms) = self.of_metrics.get_mut(&metric) {
                alarms.remove(alarm);
                if alarms.is_empty() {
                    self.of_metrics.remove(&metric);
                }
            }
        }
    }
}
