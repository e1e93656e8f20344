//! A simulated machine whose disk fails by chance, at rates that a seed chooses.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cairn_testkit::Chance;
use cairn_testkit::disk::{DiskFaults, FAULTS, Machine};

/// Faults of a kind in a thousand operations; most kinds do not strike at all.
const RATES_PER_MILLE: [usize; 5] = [0, 0, 0, 5, 30];

/// Which faults strike, how often.
pub(crate) struct Faults {
    chance: Mutex<Chance>,
    per_mille: BTreeMap<&'static str, usize>,
    pub(crate) off: AtomicBool,
}

impl DiskFaults for Faults {
    fn strikes(&self, kind: &'static str) -> bool {
        !self.off.load(Ordering::SeqCst) && self.chance.lock().unwrap().strikes(self.per_mille[kind])
    }
}

/// A machine with the folder `/data`, and its faults.
pub(crate) fn machine(chance: &mut Chance) -> (Machine, Arc<Faults>) {
    let per_mille = FAULTS.into_iter().map(|kind| (kind, chance.pick(&RATES_PER_MILLE))).collect();
    let faults = Faults { chance: Mutex::new(Chance(chance.next())), per_mille, off: false.into() };
    let faults = Arc::new(faults);
    let machine = Machine::new(chance.next(), faults.clone());
    machine.make_directory(Path::new("/data"));
    (machine, faults)
}
