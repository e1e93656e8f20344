//! Chance from a seed, and the gates that make a run follow from it: every operation of a store stops at a gate before
//! and after its effect, and goes on only where the schedule lets it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

/// Chance that follows from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

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

    /// Lets one of those who wait go on, and says who it was; a process that is `stalled`
    /// only where nobody else does.
    pub fn release(&self, rng: &mut Rng, stalled: u64) -> String {
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
    dead: Arc<AtomicBool>,
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
    pub rng: Mutex<Rng>,
    pub per_mille: BTreeMap<&'static str, usize>,
    pub off: AtomicBool,
    pub counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    /// Whether a fault of this kind strikes now.
    pub fn strike(&self, kind: &'static str) -> bool {
        let rate = self.per_mille.get(kind).copied().unwrap_or(0);
        let struck = !self.off.load(Ordering::SeqCst) && self.rng.lock().unwrap().chance(rate);
        if struck {
            self.count(kind);
        }
        struck
    }

    pub fn count(&self, kind: &'static str) {
        *self.counts.lock().unwrap().entry(kind).or_default() += 1;
    }
}
