//! Whether a document is as a pattern asks.
//!
//! Alternatives are spread out, so that each asks for a set of keys. A document is walked once for each: every value
//! gives the keys that it satisfies; an object satisfies what its members do together, an array what one of its elements
//! does. Sets of keys are bits, and of two sets one of which holds the other the greater alone is kept.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compile::{Member, Members};
use super::error::PatternError;
use super::leaf::{Pattern, Scalar};

/// The most keys of one alternative.
pub const KEYS_MAX: usize = 64;
/// The most alternatives.
const ALTERNATIVES_MAX: usize = 1000;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Rule {
    alternatives: Vec<Alternative>,
}

/// What must hold of one path.
#[derive(Clone, Debug)]
pub struct Key {
    /// The path, its names joined by dots.
    pub name: String,
    /// One of these must hold.
    pub patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, Default)]
struct Alternative {
    keys: Vec<Key>,
    paths: Path,
}

#[derive(Clone, Debug, Default)]
struct Path {
    key: Option<usize>,
    members: BTreeMap<String, Path>,
}

impl Rule {
    /// A rule of what is asked.
    ///
    /// # Errors
    /// Where `$or` makes too many alternatives, or one asks for too many keys.
    pub fn new(members: &Members) -> Result<Self, PatternError> {
        let alternatives =
            alternatives(members)?.into_iter().map(Alternative::new).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether the document is as asked.
    #[must_use]
    pub fn matches(&self, document: &Value) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(document))
    }

    /// Whether, for one alternative, `holds` of all its keys.
    pub fn matches_keys(&self, holds: impl Fn(&Key) -> bool) -> bool {
        self.alternatives.iter().any(|alternative| alternative.keys.iter().all(&holds))
    }
}

impl Key {
    /// Whether one of the patterns holds of one of the values; of none at all that they be absent.
    #[must_use]
    pub fn holds<'a>(&self, values: Option<impl IntoIterator<Item = Scalar<'a>>>) -> bool {
        match values {
            Some(values) => {
                values.into_iter().any(|value| self.patterns.iter().any(|pattern| pattern.matches(&value)))
            }
            None => self.can_be_absent(),
        }
    }

    /// Whether it holds where the path has no value.
    #[must_use]
    pub fn can_be_absent(&self) -> bool {
        self.patterns.contains(&Pattern::Absent)
    }
}

/// What is asked, as sets of keys of which one must hold.
///
/// # Errors
/// Where `$or` makes too many of them.
pub fn alternatives(members: &Members) -> Result<Vec<Vec<Key>>, PatternError> {
    let mut spread = vec![Vec::new()];
    spread_out(members, "", &mut spread)?;
    Ok(spread)
}

/// Adds what `members` ask to every set of keys in `spread`; `$or` multiplies the sets.
fn spread_out(members: &Members, above: &str, spread: &mut Vec<Vec<Key>>) -> Result<(), PatternError> {
    let path = |name: &str| if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
    for member in members {
        match member {
            Member::Values(name, patterns) => {
                let key = Key { name: path(name), patterns: patterns.clone() };
                for keys in spread.iter_mut() {
                    keys.retain(|earlier| earlier.name != key.name);
                    keys.push(key.clone());
                }
            }
            Member::Object(name, members) => spread_out(members, &path(name), spread)?,
            Member::Or(alternatives) => {
                let before = std::mem::take(spread);
                for members in alternatives {
                    let mut further = before.clone();
                    spread_out(members, above, &mut further)?;
                    spread.append(&mut further);
                    if spread.len() > ALTERNATIVES_MAX {
                        return Err(PatternError::new("Rule is too complex"));
                    }
                }
            }
        }
    }
    Ok(())
}

impl Alternative {
    fn new(keys: Vec<Key>) -> Result<Self, PatternError> {
        if keys.len() > KEYS_MAX {
            return Err(PatternError::new("Rule is too complex"));
        }
        let mut paths = Path::default();
        for (index, key) in keys.iter().enumerate() {
            let mut path = &mut paths;
            for name in key.name.split('.') {
                path = path.members.entry(name.to_owned()).or_default();
            }
            path.key = Some(index);
        }
        Ok(Self { keys, paths })
    }

    fn matches(&self, document: &Value) -> bool {
        let mut present = 0;
        let satisfied = self.satisfied(document, &self.paths, &mut present);
        let absent = self.keys.iter().enumerate().filter(|(_, key)| key.can_be_absent());
        let absent = absent.fold(0, |bits, (index, _)| bits | (1_u64 << index)) & !present;
        let all = self.keys.iter().enumerate().fold(0, |bits, (index, _)| bits | (1_u64 << index));
        satisfied.iter().any(|bits| bits | absent == all)
    }

    /// The greatest sets of keys that the value at `path` satisfies, and in `present` the keys that have a value.
    fn satisfied(&self, value: &Value, path: &Path, present: &mut u64) -> Vec<u64> {
        match value {
            Value::Object(members) => {
                let mut together = vec![0];
                for (name, member) in members {
                    if let Some(path) = path.descend(name) {
                        let further = self.satisfied(member, path, present);
                        together = each_with_each(&together, &further);
                    }
                }
                together
            }
            Value::Array(elements) => {
                let mut either = vec![0];
                for element in elements {
                    for bits in self.satisfied(element, path, present) {
                        keep_greatest(&mut either, bits);
                    }
                }
                either
            }
            Value::Null => self.satisfied_by(&Scalar::Null, path, present),
            Value::Bool(is) => self.satisfied_by(&Scalar::Boolean(*is), path, present),
            Value::String(text) => self.satisfied_by(&Scalar::Text(text), path, present),
            Value::Number(number) => {
                self.satisfied_by(&Scalar::Number(number.to_string().into()), path, present)
            }
        }
    }

    fn satisfied_by(&self, value: &Scalar<'_>, path: &Path, present: &mut u64) -> Vec<u64> {
        let Some(index) = path.key else { return vec![0] };
        *present |= 1 << index;
        let holds = self.keys[index].patterns.iter().any(|pattern| pattern.matches(value));
        vec![if holds { 1 << index } else { 0 }]
    }
}

impl Path {
    fn descend(&self, name: &str) -> Option<&Self> {
        name.split('.').try_fold(self, |path, name| path.members.get(name))
    }
}

fn each_with_each(some: &[u64], others: &[u64]) -> Vec<u64> {
    if let [only] = others {
        return some.iter().map(|bits| bits | only).fold(Vec::new(), |mut kept, bits| {
            keep_greatest(&mut kept, bits);
            kept
        });
    }
    let mut kept = Vec::new();
    for one in some {
        for other in others {
            keep_greatest(&mut kept, one | other);
        }
    }
    kept
}

fn keep_greatest(kept: &mut Vec<u64>, bits: u64) {
    if kept.iter().any(|greater| greater | bits == *greater) {
        return;
    }
    kept.retain(|lesser| lesser | bits != bits);
    kept.push(bits);
}
