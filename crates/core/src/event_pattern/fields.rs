//! The paths that patterns name, as a tree that a scan of an event walks down.

use std::collections::HashMap;

/// A path's number.
pub(super) type FieldId = u32;
/// A node's number in the tree.
pub(super) type NodeId = u32;

/// The tree. Names that dots join are as names nested.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    nodes: Vec<Node>,
    count: u32,
}

#[derive(Clone, Debug, Default)]
struct Node {
    field: Option<FieldId>,
    members: HashMap<Box<str>, NodeId>,
}

impl Default for Fields {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], count: 0 }
    }
}

impl Fields {
    /// The tree's root.
    pub(super) const ROOT: NodeId = 0;

    /// The number of a path, a new one if need be.
    pub(super) fn intern(&mut self, path: &str) -> FieldId {
        let mut node = Self::ROOT as usize;
        for name in path.split('.') {
            let next = u32::try_from(self.nodes.len()).expect("as many nodes as fit into memory");
            let member = *self.nodes[node].members.entry(name.into()).or_insert(next);
            if member == next {
                self.nodes.push(Node::default());
            }
            node = member as usize;
        }
        let count = &mut self.count;
        *self.nodes[node].field.get_or_insert_with(|| {
            *count += 1;
            *count - 1
        })
    }

    /// How many paths there are.
    pub(super) const fn count(&self) -> usize {
        self.count as usize
    }

    /// The path that ends at the node.
    pub(super) fn field(&self, node: NodeId) -> Option<FieldId> {
        self.nodes[node as usize].field
    }

    /// Where the tree goes on for a member of that name.
    pub(super) fn member(&self, node: NodeId, name: &str) -> Option<NodeId> {
        let members = &self.nodes[node as usize].members;
        match members.get(name) {
            Some(member) => Some(*member),
            None if members.is_empty() => None,
            None => {
                let (first, rest) = name.split_once('.')?;
                self.member(*members.get(first)?, rest)
            }
        }
    }
}
