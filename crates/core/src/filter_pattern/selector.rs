//! Selectors of members, `$.users[0].name`, and the automaton that many of them make together.

use std::collections::{BTreeSet, HashMap};

use super::FilterPatternError;
use super::cursor::{Cursor, is_name};

/// Wildcards in one selector.
pub(super) const WILDCARDS_MAX: usize = 1;
/// Names and indices in one selector.
const STEPS_MAX: usize = 100;

/// A step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Member(Vec<u8>),
    Element(usize),
    AnyMember,
    AnyElement,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    /// As it was written.
    pub(super) text: String,
    pub(super) steps: Vec<Step>,
}

impl Selector {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, FilterPatternError> {
        cursor.peek_token();
        let before = cursor.rest();
        if !cursor.take("$") {
            return Err(cursor.unexpected());
        }
        let mut steps = Vec::new();
        while let Some(step) = step(cursor, before)? {
            steps.push(step);
        }
        let text = before[..before.len() - cursor.rest().len()].to_owned();
        let selector = Self { text, steps };
        if selector.steps.is_empty() || selector.steps.len() > STEPS_MAX {
            return Err(FilterPatternError::Malformed("a selector has no steps, or too many"));
        }
        if selector.wildcards() > WILDCARDS_MAX {
            return Err(FilterPatternError::Malformed("a selector has more than one wildcard"));
        }
        Ok(selector)
    }

    pub(super) fn wildcards(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::AnyMember | Step::AnyElement)).count()
    }

    /// The innermost name.
    pub(super) fn last_name(&self) -> Option<&[u8]> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Member(name) => Some(name.as_slice()),
            _ => None,
        })
    }
}

fn step(cursor: &mut Cursor<'_>, before: &str) -> Result<Option<Step>, FilterPatternError> {
    let has_point = cursor.take(".");
    if cursor.take("[") {
        return bracketed(cursor).map(Some);
    }
    if !has_point {
        return Ok(None);
    }
    if cursor.take("*") {
        return Ok(Some(Step::AnyMember));
    }
    let name = cursor.take_while(is_name);
    if name.is_empty() {
        // AWS names the selector up to there.
        let next = cursor.rest().chars().next().map_or(0, char::len_utf8);
        let term = &before[..before.len() - cursor.rest().len() + next];
        return Err(FilterPatternError::Characters(term.to_owned()));
    }
    Ok(Some(Step::Member(name.as_bytes().to_vec())))
}

/// An index, an asterisk, or a name in quotes.
fn bracketed(cursor: &mut Cursor<'_>) -> Result<Step, FilterPatternError> {
    let step = match cursor.peek() {
        Some('*') => {
            cursor.take("*");
            Step::AnyElement
        }
        Some('"') => Step::Member(cursor.quoted()?.into_bytes()),
        Some('\'') => {
            cursor.take("'");
            let name = cursor.take_while(|c| c != '\'');
            if !cursor.take("'") {
                return Err(FilterPatternError::Malformed("a name is not closed"));
            }
            Step::Member(name.as_bytes().to_vec())
        }
        _ => {
            let digits = cursor.take_while(|c| c.is_ascii_digit());
            Step::Element(digits.parse().map_err(|_| cursor.unexpected())?)
        }
    };
    if cursor.take("]") { Ok(step) } else { Err(cursor.unexpected()) }
}

/// All selectors at once: where one is in a document says which of them lead on, and whereto.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The first one is the document itself.
    pub(super) places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Selectors that end here.
    pub(super) ends: Vec<usize>,
    /// Members that some selector names, and the place of each.
    pub(super) members: Vec<(Vec<u8>, usize)>,
    /// Which lengths their names have, a bit each, the last for all that are longer.
    pub(super) name_lengths: u64,
    /// The place of members that none names.
    pub(super) other_member: Option<usize>,
    /// Elements that some selector names, and the place of each.
    pub(super) elements: Vec<(usize, usize)>,
    /// The place of elements that none names.
    pub(super) other_element: Option<usize>,
}

/// Selectors, each with how many of its steps were taken.
type Taken = BTreeSet<(usize, usize)>;

impl Paths {
    pub(super) fn new<'s>(selectors: impl Iterator<Item = &'s Selector>) -> Self {
        let selectors: Vec<&[Step]> = selectors.map(|selector| selector.steps.as_slice()).collect();
        let start: Taken = (0..selectors.len()).map(|selector| (selector, 0)).collect();
        let mut known = Known { numbers: HashMap::new(), waiting: Vec::new() };
        known.number(start);
        let mut places = Vec::new();
        while let Some(taken) = known.waiting.get(places.len()).cloned() {
            places.push(place(&selectors, &taken, &mut known));
        }
        Self { places }
    }
}

struct Known {
    numbers: HashMap<Taken, usize>,
    waiting: Vec<Taken>,
}

impl Known {
    fn number(&mut self, taken: Taken) -> usize {
        *self.numbers.entry(taken).or_insert_with_key(|taken| {
            self.waiting.push(taken.clone());
            self.waiting.len() - 1
        })
    }
}

fn place(selectors: &[&[Step]], taken: &Taken, known: &mut Known) -> Place {
    let next = |(selector, steps): (usize, usize)| selectors[selector].get(steps);
    let mut after = |wanted: &dyn Fn(&Step) -> bool| -> Option<usize> {
        let on = taken.iter().filter(|at| next(**at).is_some_and(wanted));
        let on: Taken = on.map(|(selector, steps)| (*selector, steps + 1)).collect();
        (!on.is_empty()).then(|| known.number(on))
    };
    let mut place = Place {
        ends: taken.iter().filter(|at| next(**at).is_none()).map(|(selector, _)| *selector).collect(),
        other_member: after(&|step| *step == Step::AnyMember),
        other_element: after(&|step| *step == Step::AnyElement),
        ..Place::default()
    };
    for at in taken {
        match next(*at) {
            Some(step @ Step::Member(name)) if place.members.iter().all(|(known, _)| known != name) => {
                let on = after(&|other| other == step || *other == Step::AnyMember);
                place.name_lengths |= 1 << name.len().min(63);
                place.members.extend(on.map(|on| (name.clone(), on)));
            }
            Some(step @ Step::Element(index)) if place.elements.iter().all(|(known, _)| known != index) => {
                let on = after(&|other| other == step || *other == Step::AnyElement);
                place.elements.extend(on.map(|on| (*index, on)));
            }
            _ => {}
        }
    }
    place
}
