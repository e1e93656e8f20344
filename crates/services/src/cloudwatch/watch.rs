//! Which alarms look at which metrics and alarms, and which of them have something to look at: in memory, made of the
//! catalog's alarms at the start.
//!
//! Whoever adds data touches the alarms from within the transaction that adds them. The stage takes what was touched
//! within a transaction too: those run one after the other, so what it takes was committed before it looks.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use cairn_core::Timestamp;
use tokio::sync::watch;

use super::store::OwnedMetric;

/// An alarm's row in the catalog.
pub(super) type AlarmKey = Vec<u8>;

/// What an alarm looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Inputs {
    pub(super) metrics: Vec<OwnedMetric>,
    pub(super) alarms: Vec<AlarmKey>,
    /// How often it is looked at by the clock; none of those that only others' changes change.
    pub(super) every_s: Option<i64>,
}

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
    of_alarms: HashMap<AlarmKey, BTreeSet<AlarmKey>>,
    inputs: HashMap<AlarmKey, Inputs>,
    touched: BTreeSet<AlarmKey>,
    /// Up to which whole step of the clock alarms were looked at, by the step's length.
    looked_until: HashMap<i64, i64>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { state: Mutex::default(), arrivals: watch::Sender::new(0) }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("no panic while the alarms' inputs are held"))
    }

    /// The alarm looks at these from now on, and at nothing else; it is looked at next.
    pub(super) fn set(&self, alarm: &AlarmKey, inputs: Inputs) {
        self.with(|state| {
            state.forget(alarm);
            for metric in &inputs.metrics {
                state.of_metrics.entry(metric.clone()).or_default().insert(alarm.clone());
            }
            for child in &inputs.alarms {
                state.of_alarms.entry(child.clone()).or_default().insert(alarm.clone());
            }
            state.inputs.insert(alarm.clone(), inputs);
            state.touched.insert(alarm.clone());
        });
    }

    /// The alarm is no more; those that look at it have to look.
    pub(super) fn forget(&self, alarm: &AlarmKey) {
        self.with(|state| {
            state.forget(alarm);
            state.touched.remove(alarm);
        });
        self.touch_parents(alarm);
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

    /// The alarm has changed its state.
    pub(super) fn touch_parents(&self, alarm: &AlarmKey) {
        self.with(|state| {
            if let Some(parents) = state.of_alarms.get(alarm) {
                state.touched.extend(parents.iter().cloned());
            }
        });
    }

    /// The alarm has to be looked at once more.
    pub(super) fn touch_again(&self, alarm: &AlarmKey) {
        self.with(|state| state.touched.insert(alarm.clone()));
    }

    /// Whether anything was touched.
    pub(super) fn is_touched(&self) -> bool {
        self.with(|state| !state.touched.is_empty())
    }

    /// Takes what was touched.
    pub(super) fn take_touched(&self) -> BTreeSet<AlarmKey> {
        self.with(|state| std::mem::take(&mut state.touched))
    }

    /// Takes the alarms whose time has come at `now`: once in each whole step of the clock. Says when the next step is.
    pub(super) fn take_due(&self, now: Timestamp) -> (Vec<AlarmKey>, Timestamp) {
        self.with(|state| {
            let steps: BTreeSet<i64> = state.inputs.values().filter_map(|inputs| inputs.every_s).collect();
            let (mut due_steps, mut next_s) = (BTreeSet::new(), now.seconds() + 60);
            for step_s in steps {
                let reached_s = now.seconds() - now.seconds().rem_euclid(step_s);
                if state.looked_until.insert(step_s, reached_s) != Some(reached_s) {
                    due_steps.insert(step_s);
                }
                next_s = next_s.min(reached_s + step_s);
            }
            let is_due = |inputs: &Inputs| inputs.every_s.is_some_and(|step_s| due_steps.contains(&step_s));
            let due =
                state.inputs.iter().filter(|(_, inputs)| is_due(inputs)).map(|(alarm, _)| alarm.clone());
            (due.collect(), Timestamp::from_seconds(next_s))
        })
    }

    /// How many alarms there are.
    pub(super) fn alarms(&self) -> usize {
        self.with(|state| state.inputs.len())
    }

    /// Wakes the stage, where there is something for it.
    pub(super) fn wake(&self) {
        if self.is_touched() {
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

/// Takes `alarm` out of who looks at `input`.
fn unlink<K: std::hash::Hash + Eq>(links: &mut HashMap<K, BTreeSet<AlarmKey>>, input: &K, alarm: &AlarmKey) {
    if let Some(alarms) = links.get_mut(input) {
        alarms.remove(alarm);
        if alarms.is_empty() {
            links.remove(input);
        }
    }
}

impl State {
    fn forget(&mut self, alarm: &AlarmKey) {
        let inputs = self.inputs.remove(alarm).unwrap_or_default();
        for metric in &inputs.metrics {
            unlink(&mut self.of_metrics, metric, alarm);
        }
        for child in &inputs.alarms {
            unlink(&mut self.of_alarms, child, alarm);
        }
    }
}
