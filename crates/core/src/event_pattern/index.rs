//! Many rules, and which of them an event is for, without trying each.
//!
//! Each clause waits at one of its keys, in the buckets of the values that this key takes: exact ones, prefixes, suffixes,
//! or any value at all. Of its keys it chooses the one whose buckets are emptiest, so that rules that share members wait
//! at those that tell them apart. An event opens the buckets of its own values; the clauses in them are tried.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::EventPattern;
use super::clause::{Clause, Conditions};
use super::fields::{FieldId, Fields};
use super::scan::{Leaf, scan};
use crate::pattern::{Decimal, Key, Pattern, Scalar, address_of};

/// An index is built anew when more clauses than this, and than it has, were taken out since: paths and conditions that
/// no rule names any more stay until then.
const REMOVED_MAX: usize = 1024;

type ClauseId = u32;
type Texts = HashMap<Box<[u8]>, Vec<ClauseId>>;

/// Rules by their patterns.
#[derive(Debug)]
pub struct RuleIndex<K> {
    pub(super) fields: Fields,
    conditions: Conditions,
    buckets: Vec<Buckets>,
    clauses: Vec<Option<Waiting<K>>>,
    free: Vec<ClauseId>,
    /// Clauses of which every key may be absent.
    always: Vec<ClauseId>,
    rules: HashMap<K, (EventPattern, Vec<ClauseId>)>,
    removed: usize,
}

#[derive(Debug)]
struct Waiting<K> {
    rule: K,
    clause: Clause,
    /// Where it waits; nowhere if always.
    at: Option<(FieldId, Vec<Access>)>,
}

/// What a value must be for a clause to be tried.
#[derive(Clone, Debug, PartialEq)]
enum Access {
    Text(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    IgnoreCase(Box<[u8]>),
    Address(IpAddr),
    Number(u64),
    Word(Word),
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Null,
    True,
    False,
}

/// The clauses that wait at one path.
#[derive(Debug, Default)]
struct Buckets {
    texts: Texts,
    prefixes: Affixes,
    suffixes: Affixes,
    ignore_case: Texts,
    addresses: HashMap<IpAddr, Vec<ClauseId>>,
    numbers: HashMap<u64, Vec<ClauseId>>,
    words: HashMap<Word, Vec<ClauseId>>,
    any: Vec<ClauseId>,
}

/// Clauses to be tried, each once.
struct Candidates {
    seen: Vec<bool>,
    ids: Vec<ClauseId>,
}

impl Candidates {
    fn add<'a>(&mut self, ids: impl IntoIterator<Item = &'a ClauseId>) {
        for id in ids {
            if !std::mem::replace(&mut self.seen[*id as usize], true) {
                self.ids.push(*id);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Affixes {
    texts: Texts,
    /// How many of each length there are.
    lengths: BTreeMap<usize, usize>,
}

impl<K> Default for RuleIndex<K> {
    fn default() -> Self {
        Self {
            fields: Fields::default(),
            conditions: Conditions::default(),
            buckets: Vec::new(),
            clauses: Vec::new(),
            free: Vec::new(),
            always: Vec::new(),
            rules: HashMap::new(),
            removed: 0,
        }
    }
}

impl<K: Clone + Eq + Hash> RuleIndex<K> {
    /// An index without rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rules it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Adds a rule, instead of the one of that name.
    pub fn insert(&mut self, rule: K, pattern: EventPattern) {
        self.remove(&rule);
        let clauses = pattern.0.alternatives.iter().map(|keys| self.add(&rule, keys)).collect();
        self.rules.insert(rule, (pattern, clauses));
    }

    /// Takes a rule out. Whether there was one.
    pub fn remove(&mut self, rule: &K) -> bool {
        let Some((_, clauses)) = self.rules.remove(rule) else { return false };
        for id in clauses {
            let Some(waiting) = self.clauses[id as usize].take() else { continue };
            match waiting.at {
                Some((field, accesses)) => {
                    let buckets = &mut self.buckets[field as usize];
                    accesses.iter().for_each(|access| buckets.leave(access, id));
                }
                None => self.always.retain(|other| *other != id),
            }
            self.free.push(id);
            self.removed += 1;
        }
        if self.removed > REMOVED_MAX.max(self.clauses.len() - self.free.len()) {
            let rules = std::mem::take(&mut self.rules);
            *self = Self::default();
            rules.into_iter().for_each(|(rule, (pattern, _))| self.insert(rule, pattern));
        }
        true
    }

    /// The rules that an event, JSON, is for, in no order. A text that is no JSON object is for none.
    #[must_use]
    pub fn matching(&self, event: &str) -> Vec<K> {
        let Some(found) = scan(event, &self.fields) else { return Vec::new() };
        let mut candidates = Candidates { seen: vec![false; self.clauses.len()], ids: Vec::new() };
        candidates.add(&self.always);
        for leaf in found.all() {
            self.buckets[leaf.field as usize].open(leaf, &mut candidates);
        }
        let mut verdicts = self.conditions.undecided();
        let mut matching: Vec<&K> = Vec::new();
        for waiting in candidates.ids.iter().filter_map(|id| self.clauses[*id as usize].as_ref()) {
            if waiting.clause.holds(&found, &mut verdicts) {
                matching.push(&waiting.rule);
            }
        }
        let mut rules = HashSet::with_capacity(matching.len());
        matching.into_iter().filter(|rule| rules.insert(*rule)).cloned().collect()
    }

    fn add(&mut self, rule: &K, keys: &[Key]) -> ClauseId {
        let clause = Clause::new(keys, &mut self.fields, &mut self.conditions);
        self.buckets.resize_with(self.fields.count(), Buckets::default);
        let at = self.best(keys);
        let id = self.free.pop().unwrap_or_else(|| {
            self.clauses.push(None);
            u32::try_from(self.clauses.len() - 1).expect("as many clauses as fit into memory")
        });
        match &at {
            Some((field, accesses)) => {
                let buckets = &mut self.buckets[*field as usize];
                accesses.iter().for_each(|access| buckets.enter(access, id));
            }
            None => self.always.push(id),
        }
        self.clauses[id as usize] = Some(Waiting { rule: rule.clone(), clause, at });
        id
    }

    /// The key with the emptiest buckets: one with values before one with any, and the deeper one of equals.
    fn best(&mut self, keys: &[Key]) -> Option<(FieldId, Vec<Access>)> {
        let mut best = None;
        for key in keys {
            let Some(accesses) = accesses(key) else { continue };
            let field = self.fields.intern(&key.name);
            let buckets = &self.buckets[field as usize];
            let is_any = accesses.contains(&Access::Any);
            let crowd = accesses.iter().map(|access| buckets.crowd(access)).max().unwrap_or(0);
            let depth = key.name.matches('.').count();
            let cost = (is_any, crowd, std::cmp::Reverse(depth), accesses.len());
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, (field, accesses)));
            }
        }
        best.map(|(_, at)| at)
    }
}

/// The buckets of a key's values; none where it may be absent.
fn accesses(key: &Key) -> Option<Vec<Access>> {
    let bytes = |text: &str| text.as_bytes().into();
    let mut accesses = Vec::new();
    for pattern in &key.patterns {
        let access = match pattern {
            Pattern::Absent => return None,
            Pattern::Text(text) => Access::Text(bytes(text)),
            Pattern::Address(address) => Access::Address(*address),
            Pattern::Decimal(_, Some(number)) => Access::Number(number.bits()),
            Pattern::Null => Access::Word(Word::Null),
            Pattern::Boolean(is) => Access::Word(if *is { Word::True } else { Word::False }),
            Pattern::EqualsIgnoreCase(text) => Access::IgnoreCase(bytes(&text.to_lowercase())),
            Pattern::Prefix(text) if !text.is_empty() => Access::Prefix(bytes(text)),
            Pattern::Suffix(text) if !text.is_empty() => Access::Suffix(bytes(text)),
            Pattern::Wildcard(wildcard) => match (wildcard.only(), wildcard.first(), wildcard.last()) {
                (Some(only), _, _) => Access::Text(bytes(only)),
                (None, "", "") => Access::Any,
                (None, "", last) => Access::Suffix(bytes(last)),
                (None, first, _) => Access::Prefix(bytes(first)),
            },
            _ => Access::Any,
        };
        if !accesses.contains(&access) {
            accesses.push(access);
        }
    }
    if accesses.contains(&Access::Any) {
        accesses = vec![Access::Any];
    }
    Some(accesses)
}

impl Buckets {
    fn enter(&mut self, access: &Access, id: ClauseId) {
        match access {
            Access::Text(text) => self.texts.entry(text.clone()).or_default(),
            Access::IgnoreCase(text) => self.ignore_case.entry(text.clone()).or_default(),
            Access::Prefix(text) => self.prefixes.entry(text),
            Access::Suffix(text) => self.suffixes.entry(text),
            Access::Address(address) => self.addresses.entry(*address).or_default(),
            Access::Number(bits) => self.numbers.entry(*bits).or_default(),
            Access::Word(word) => self.words.entry(*word).or_default(),
            Access::Any => &mut self.any,
        }
        .push(id);
    }

    fn leave(&mut self, access: &Access, id: ClauseId) {
        match access {
            Access::Text(text) => leave(&mut self.texts, text, id),
            Access::IgnoreCase(text) => leave(&mut self.ignore_case, text, id),
            Access::Prefix(text) => self.prefixes.leave(text, id),
            Access::Suffix(text) => self.suffixes.leave(text, id),
            Access::Address(address) => leave(&mut self.addresses, address, id),
            Access::Number(bits) => leave(&mut self.numbers, bits, id),
            Access::Word(word) => leave(&mut self.words, word, id),
            Access::Any => self.any.retain(|other| *other != id),
        }
    }

    /// How many wait there already.
    fn crowd(&self, access: &Access) -> usize {
        match access {
            Access::Text(text) => self.texts.get(text),
            Access::IgnoreCase(text) => self.ignore_case.get(text),
            Access::Prefix(text) => self.prefixes.texts.get(text),
            Access::Suffix(text) => self.suffixes.texts.get(text),
            Access::Address(address) => self.addresses.get(address),
            Access::Number(bits) => self.numbers.get(bits),
            Access::Word(word) => self.words.get(word),
            Access::Any => Some(&self.any),
        }
        .map_or(0, Vec::len)
    }

    /// Adds the clauses that a value is for.
    fn open(&self, leaf: &Leaf<'_>, candidates: &mut Candidates) {
        let mut add = |ids: Option<&Vec<ClauseId>>| candidates.add(ids.into_iter().flatten());
        add(Some(&self.any));
        let word = match leaf.scalar() {
            Scalar::Null => Word::Null,
            Scalar::Boolean(true) => Word::True,
            Scalar::Boolean(false) => Word::False,
            Scalar::Number(number) => {
                if !self.numbers.is_empty() {
                    add(Decimal::of_text(&number).and_then(|number| self.numbers.get(&number.bits())));
                }
                return;
            }
            Scalar::Text(text) => {
                let bytes = text.as_bytes();
                add(self.texts.get(bytes));
                for length in self.prefixes.lengths_to(bytes.len()) {
                    add(self.prefixes.texts.get(&bytes[..length]));
                }
                for length in self.suffixes.lengths_to(bytes.len()) {
                    add(self.suffixes.texts.get(&bytes[bytes.len() - length..]));
                }
                if !self.ignore_case.is_empty() {
                    add(self.ignore_case.get(text.to_lowercase().as_bytes()));
                }
                if !self.addresses.is_empty() {
                    add(address_of(text).and_then(|address| self.addresses.get(&address)));
                }
                return;
            }
        };
        add(self.words.get(&word));
    }
}

impl Affixes {
    fn entry(&mut self, text: &[u8]) -> &mut Vec<ClauseId> {
        let ids = self.texts.entry(text.into()).or_default();
        if ids.is_empty() {
            *self.lengths.entry(text.len()).or_default() += 1;
        }
        ids
    }

    fn leave(&mut self, text: &[u8], id: ClauseId) {
        leave(&mut self.texts, text, id);
        if self.texts.contains_key(text) {
            return;
        }
        if let Some(count) = self.lengths.get_mut(&text.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&text.len());
            }
        }
    }

    fn lengths_to(&self, length_max: usize) -> impl Iterator<Item = usize> {
        self.lengths.range(..=length_max).map(|(length, _)| *length)
    }
}

fn leave<Q: Hash + Eq + ?Sized, T: Hash + Eq + std::borrow::Borrow<Q>>(
    buckets: &mut HashMap<T, Vec<ClauseId>>,
    key: &Q,
    id: ClauseId,
) {
    if let Some(ids) = buckets.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            buckets.remove(key);
        }
    }
}
