//! Form fields as a tree: `Tags.member.1.Key=a` is the value `a` below `Tags`, `member`, `1`, `Key`.

use std::collections::HashMap;

use super::{Decoded, Malformed};

/// The deepest nesting of field names; no model needs half of it.
const FIELD_DEPTH_MAX: usize = 64;

/// A name's value and the names below it.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) value: Option<String>,
    children: HashMap<String, Field>,
}

impl Field {
    /// The tree of all fields. Of fields of the same name the last counts.
    pub(crate) fn tree(pairs: impl IntoIterator<Item = (String, String)>) -> Decoded<Self> {
        let mut root = Self::default();
        for (name, value) in pairs {
            let mut field = &mut root;
            for (depth, part) in name.split('.').enumerate() {
                if depth >= FIELD_DEPTH_MAX {
                    return Err(Malformed::body(format!(
                        "a field name has more than {FIELD_DEPTH_MAX} parts"
                    )));
                }
                field = field.children.entry(part.to_owned()).or_default();
            }
            field.value = Some(value);
        }
        Ok(root)
    }

    /// What is below `name`, which may itself have dots.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        name.split('.').try_fold(self, |field, part| field.children.get(part))
    }

    /// The values of the fields below that are numbers, in the order of the numbers.
    pub(crate) fn numbered(&self) -> Vec<&Self> {
        let mut numbered: Vec<(u64, &Self)> = self
            .children
            .iter()
            .filter_map(|(name, field)| Some((name.parse::<u64>().ok()?, field)))
            .collect();
        numbered.sort_by_key(|(number, _)| *number);
        numbered.into_iter().map(|(_, field)| field).collect()
    }

    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }
}
