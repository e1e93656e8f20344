//! Event selectors: which events a trail takes. (Validation and matching: to be written.)

use serde::{Deserialize, Serialize};

/// The selectors of a trail, of one kind or the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventSelection {
    /// Basic selectors, 1 to 5.
    Basic(Vec<BasicSelector>),
    /// Advanced selectors.
    Advanced(Vec<AdvancedSelector>),
}

/// A basic event selector, with AWS's member names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BasicSelector {}

/// An advanced event selector, with AWS's member names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdvancedSelector {}
