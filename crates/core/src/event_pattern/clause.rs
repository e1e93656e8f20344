//! One way in which a pattern can hold: a set of keys, all of which must.
//!
//! As event-ruler does, the keys are weighed in the order of their names, and what was found for one fixes the elements
//! of the arrays that it was found in for those behind it: their values must be in the same elements, or in others'
//! arrays. A member is absent where no value of it is in the elements fixed so far.

use std::collections::HashMap;

use super::fields::{FieldId, Fields};
use super::scan::{Found, Leaf, NOWHERE};
use crate::pattern::{Key, Pattern};

/// The most ways to choose elements of arrays that are followed at once.
const CHOICES_MAX: usize = 4096;

/// A set of keys.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    keys: Vec<ClauseKey>,
}

#[derive(Clone, Debug)]
struct ClauseKey {
    field: FieldId,
    condition: u32,
    patterns: Vec<Pattern>,
    can_be_absent: bool,
}

/// The conditions of many clauses, a number each: what several ask is decided once.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions(HashMap<(FieldId, String), u32>);

/// What was decided on an event, by condition.
pub(super) struct Verdicts(Vec<Option<Verdict>>);

/// Whether a condition holds by itself.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Holds,
    /// It does, by a value within an array.
    HoldsInArrays,
    /// The values there are do not fit, but may be in elements that do not count.
    Open,
    Fails,
}

impl Conditions {
    fn number(&mut self, field: FieldId, patterns: &[Pattern]) -> u32 {
        let next = u32::try_from(self.0.len()).expect("as many conditions as fit into memory");
        *self.0.entry((field, format!("{patterns:?}"))).or_insert(next)
    }

    /// Nothing is decided yet.
    pub(super) fn undecided(&self) -> Verdicts {
        Verdicts(vec![None; self.0.len()])
    }
}

/// The elements fixed, by array.
type Choice = Vec<(u32, u32)>;

impl Clause {
    pub(super) fn new(keys: &[Key], fields: &mut Fields, conditions: &mut Conditions) -> Self {
        let mut keys: Vec<&Key> = keys.iter().collect();
        keys.sort_by(|one, other| one.name.cmp(&other.name));
        let keys = keys.into_iter().map(|key| {
            let field = fields.intern(&key.name);
            ClauseKey {
                field,
                condition: conditions.number(field, &key.patterns),
                patterns: key.patterns.clone(),
                can_be_absent: key.can_be_absent(),
            }
        });
        Self { keys: keys.collect() }
    }

    /// Whether what was found is as asked. `verdicts` are those on the same event's, of all clauses.
    pub(super) fn holds(&self, found: &Found<'_>, verdicts: &mut Verdicts) -> bool {
        if self.keys.iter().any(|key| matches!(verdicts.0[key.condition as usize], Some(Verdict::Fails))) {
            return false;
        }
        let (mut keys_in_arrays, mut is_absence_open) = (0, false);
        for key in &self.keys {
            let verdict = &mut verdicts.0[key.condition as usize];
            match verdict.get_or_insert_with(|| key.judge(found)) {
                Verdict::Holds => {}
                Verdict::HoldsInArrays => keys_in_arrays += 1,
                Verdict::Open => (keys_in_arrays, is_absence_open) = (keys_in_arrays + 1, true),
                Verdict::Fails => return false,
            }
        }
        if keys_in_arrays < 2 { !is_absence_open } else { self.holds_together(found) }
    }

    /// Whether one choice of elements has all that is asked.
    fn holds_together(&self, found: &Found<'_>) -> bool {
        let mut choices = vec![Choice::new()];
        for (index, key) in self.keys.iter().enumerate() {
            let leaves = found.of(key.field);
            let needed = self.arrays_of_keys_from(index + 1, found);
            let mut further = Vec::new();
            for choice in &choices {
                let mut is_there = false;
                for leaf in leaves {
                    let Some(joined) = join(choice, leaf.place, found) else { continue };
                    is_there = true;
                    if key.matches(leaf) && further.len() < CHOICES_MAX {
                        further
                            .push(joined.into_iter().filter(|(array, _)| needed.contains(array)).collect());
                    }
                }
                if key.can_be_absent && !is_there {
                    further
                        .push(choice.iter().copied().filter(|(array, _)| needed.contains(array)).collect());
                }
            }
            further.sort_unstable();
            further.dedup();
            choices = further;
            if choices.is_empty() {
                return false;
            }
        }
        true
    }

    /// The arrays around values of the keys behind one.
    fn arrays_of_keys_from(&self, index: usize, found: &Found<'_>) -> Vec<u32> {
        let mut arrays: Vec<u32> = self.keys[index..]
            .iter()
            .flat_map(|key| found.of(key.field))
            .flat_map(|leaf| elements(leaf.place, found))
            .map(|(array, _)| array)
            .collect();
        arrays.sort_unstable();
        arrays.dedup();
        arrays
    }
}

impl ClauseKey {
    fn judge(&self, found: &Found<'_>) -> Verdict {
        let leaves = found.of(self.field);
        let is_in_arrays = leaves.iter().any(|leaf| leaf.place != NOWHERE);
        if leaves.is_empty() {
            return if self.can_be_absent { Verdict::Holds } else { Verdict::Fails };
        }
        if leaves.iter().any(|leaf| self.matches(leaf)) {
            return if is_in_arrays { Verdict::HoldsInArrays } else { Verdict::Holds };
        }
        let is_surely_there = leaves.iter().any(|leaf| leaf.place == NOWHERE);
        if self.can_be_absent && !is_surely_there { Verdict::Open } else { Verdict::Fails }
    }

    fn matches(&self, leaf: &Leaf<'_>) -> bool {
        let value = leaf.scalar();
        self.patterns.iter().any(|pattern| pattern.matches(&value))
    }
}

/// The elements around a place, by array, from the innermost outwards.
fn elements<'f>(place: u32, found: &'f Found<'_>) -> impl Iterator<Item = (u32, u32)> + use<'f> {
    let places = found.places.as_slice();
    let at = move |place: u32| places.get(place as usize);
    std::iter::successors(at(place), move |inner| at(inner.above)).map(|place| (place.array, place.element))
}

/// The choice with the elements around a place; none where it has another element of one of their arrays.
fn join(choice: &Choice, place: u32, found: &Found<'_>) -> Option<Choice> {
    let mut joined = choice.clone();
    for (array, element) in elements(place, found) {
        match joined.binary_search_by_key(&array, |(array, _)| *array) {
            Ok(at) if joined[at].1 == element => {}
            Ok(_) => return None,
            Err(at) => joined.insert(at, (array, element)),
        }
    }
    Some(joined)
}
