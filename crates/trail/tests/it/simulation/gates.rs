//! The gates that make a run follow from its seed: every operation of a store stops at a gate before
//! and after its effect, and goes on only where the schedule lets it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cairn_testkit::Chance;
use cairn_testkit::disk::DiskFaults;
use tokio::sync::oneshot;

struct Waiting {
    process: u64,
    label: String,
    go: oneshot::Sender<()>,
}

/// All who wait.
#[derive(Default)]
pub struct Gates {
    waiting: Mutex<Vec<Waiting>>,
}

impl Gates {
    pub fn are_empty(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }

    /// Whether anybody waits but the process that is `stalled`.
    pub fn hold_somebody_but(&self, stalled: u64) -> bool {
        self.waiting.lock().unwrap().iter().any(|waiting| waiting.process != stalled)
    }

    /// Lets one of those who wait go on, and says who it was; a process that is `stalled`
    /// only where nobody else does.
    pub fn release(&self, rng: &mut Chance, stalled: u64) -> String {
        let mut waiting = self.waiting.lock().unwrap();
        let awake: Vec<usize> = (0..waiting.len()).filter(|at| waiting[*at].process != stalled).collect();
        let at = if awake.is_empty() { rng.below(waiting.len()) } else { rng.pick(&awake) };
        let released = waiting.remove(at);
        // One whose call was given up waits no more.
        let _ = released.go.send(());
        format!("process {} {}", released.process, released.label)
    }
}

/// One process's way through the gates.
#[derive(Clone)]
pub struct Door {
    pub gates: Arc<Gates>,
    pub process: u64,
    pub dead: Arc<AtomicBool>,
}

impl Door {
    pub fn new(gates: &Arc<Gates>, process: u64) -> Self {
        Self { gates: Arc::clone(gates), process, dead: Arc::default() }
    }

    pub async fn pass(&self, label: &str) {
        if self.dead.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        let (go, gone) = oneshot::channel();
        let waiting = Waiting { process: self.process, label: label.to_owned(), go };
        self.gates.waiting.lock().unwrap().push(waiting);
        if gone.await.is_err() {
            pending::<()>().await;
        }
    }

    /// The process stops where it stands, for good.
    pub fn crash(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.gates.waiting.lock().unwrap().retain(|waiting| waiting.process != self.process);
    }
}

/// What goes wrong, how often, and how often it did.
pub struct Faults {
    pub rng: Mutex<Chance>,
    pub per_mille: BTreeMap<&'static str, usize>,
    pub off: AtomicBool,
    pub counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    /// Whether a fault of this kind strikes now.
    pub fn strike(&self, kind: &'static str) -> bool {
        let rate = self.per_mille.get(kind).copied().unwrap_or(0);
        let struck = !self.off.load(Ordering::SeqCst) && self.rng.lock().unwrap().strikes(rate);
        if struck {
            self.count(kind);
        }
        struck
    }

    pub fn count(&self, kind: &'static str) {
        *self.counts.lock().unwrap().entry(kind).or_default() += 1;
    }
}

impl DiskFaults for Faults {
    fn strikes(&self, kind: &'static str) -> bool {
        self.strike(kind)
    }
}
