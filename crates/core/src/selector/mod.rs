//! Event selectors: which events a trail takes.
//!
//! On the road: the control plane turns what a caller sent ([`BasicSelectorRequest`], [`AdvancedSelectorRequest`])
//! into an [`EventSelection`] once, with AWS's messages where it is refused ([`validate`]); delivery asks
//! [`EventSelection::matches`] about every event ([`matching`]). An `EventSelection` that exists is valid.
//!
//! Source: the API reference's EventSelector, DataResource, AdvancedEventSelector and AdvancedFieldSelector, and the
//! user guide's pages on logging management and data events.

pub mod matching;
mod resource_types;
#[cfg(test)]
mod tests;
pub mod validate;

use serde::{Deserialize, Serialize};

pub use validate::{
    AdvancedSelectorRequest, BasicSelectorRequest, DataResourceRequest, FieldSelectorRequest, SelectorError,
};

/// The selectors of a trail, of one kind or the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventSelection {
    /// Basic selectors, 1 to 5.
    Basic(Vec<BasicSelector>),
    /// Advanced selectors.
    Advanced(Vec<AdvancedSelector>),
}

/// A basic event selector, with AWS's member names in the order of AWS's replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BasicSelector {
    /// Reads, writes or both.
    pub read_write_type: ReadWriteType,
    /// Whether management events are taken.
    pub include_management_events: bool,
    /// The resources whose data events are taken.
    pub data_resources: Vec<DataResource>,
    /// Sources whose management events are not taken.
    pub exclude_management_event_sources: Vec<String>,
}

/// Which side of `readOnly` a basic selector takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are AWS's values of ReadWriteType")]
pub enum ReadWriteType {
    ReadOnly,
    WriteOnly,
    #[default]
    All,
}

/// Resources of one type whose data events a basic selector takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DataResource {
    /// `AWS::S3::Object`, `AWS::Lambda::Function` or `AWS::DynamoDB::Table`.
    #[serde(rename = "Type")]
    pub kind: DataResourceType,
    /// ARNs, or the beginnings of ARNs.
    pub values: Vec<String>,
}

/// The types of resources that basic selectors know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are AWS's resource types")]
pub enum DataResourceType {
    #[serde(rename = "AWS::S3::Object")]
    S3Object,
    #[serde(rename = "AWS::Lambda::Function")]
    LambdaFunction,
    #[serde(rename = "AWS::DynamoDB::Table")]
    DynamoDbTable,
}

/// An advanced event selector, with AWS's member names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdvancedSelector {
    /// What the user calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What an event must fulfil, all of them.
    pub field_selectors: Vec<FieldSelector>,
}

/// What one field of an event must be, in the order of AWS's replies; an empty list is no condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the members are the operators of AdvancedFieldSelector")]
pub struct FieldSelector {
    /// The field.
    pub field: Field,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_equals: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_starts_with: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ends_with: Vec<String>,
}

/// The fields that advanced selectors know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are those of the fields of an event")]
pub enum Field {
    EventCategory,
    ReadOnly,
    EventSource,
    EventName,
    EventType,
    #[serde(rename = "resources.type")]
    ResourcesType,
    #[serde(rename = "resources.ARN")]
    ResourcesArn,
    ErrorCode,
    VpcEndpointId,
    #[serde(rename = "userIdentity.arn")]
    UserIdentityArn,
    SessionCredentialFromConsole,
}

impl Field {
    /// Every field.
    pub const ALL: [Self; 11] = [
        Self::EventCategory,
        Self::ReadOnly,
        Self::EventSource,
        Self::EventName,
        Self::EventType,
        Self::ResourcesType,
        Self::ResourcesArn,
        Self::ErrorCode,
        Self::VpcEndpointId,
        Self::UserIdentityArn,
        Self::SessionCredentialFromConsole,
    ];

    /// The field's name in selectors.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventCategory => "eventCategory",
            Self::ReadOnly => "readOnly",
            Self::EventSource => "eventSource",
            Self::EventName => "eventName",
            Self::EventType => "eventType",
            Self::ResourcesType => "resources.type",
            Self::ResourcesArn => "resources.ARN",
            Self::ErrorCode => "errorCode",
            Self::VpcEndpointId => "vpcEndpointId",
            Self::UserIdentityArn => "userIdentity.arn",
            Self::SessionCredentialFromConsole => "sessionCredentialFromConsole",
        }
    }
}

impl Default for BasicSelector {
    /// All management events and no data events.
    fn default() -> Self {
        Self {
            read_write_type: ReadWriteType::All,
            include_management_events: true,
            data_resources: Vec::new(),
            exclude_management_event_sources: Vec::new(),
        }
    }
}

impl Default for EventSelection {
    /// What a new trail takes: all management events and no data events.
    fn default() -> Self {
        Self::Basic(vec![BasicSelector::default()])
    }
}

impl EventSelection {
    /// Whether the selection is another than that of a new trail: `HasCustomEventSelectors`.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        *self != Self::default()
    }

    /// The selection as GetEventSelectors shows it: the field selectors of each advanced selector sorted by field
    /// name. (PutEventSelectors answers them in the order they were sent.)
    #[must_use]
    pub fn sorted(&self) -> Self {
        match self {
            Self::Basic(selectors) => Self::Basic(selectors.clone()),
            Self::Advanced(selectors) => {
                let mut selectors = selectors.clone();
                for selector in &mut selectors {
                    selector.field_selectors.sort_by_key(|field| field.field.name());
                }
                Self::Advanced(selectors)
            }
        }
    }

    /// Whether the selection takes any management events that write, any management events, any data events: what
    /// the insight types need of a trail.
    #[must_use]
    pub fn takes(&self) -> Taken {
        let mut taken = Taken::default();
        match self {
            Self::Basic(selectors) => {
                for selector in selectors {
                    let management = selector.include_management_events;
                    taken.management |= management;
                    taken.management_writes |=
                        management && selector.read_write_type != ReadWriteType::ReadOnly;
                    taken.data |= !selector.data_resources.is_empty();
                }
            }
            Self::Advanced(selectors) => {
                for selector in selectors {
                    let has = |field: Field, value: &str| {
                        selector.field_selectors.iter().any(|f| f.field == field && f.equals == [value])
                    };
                    let management = has(Field::EventCategory, "Management");
                    taken.management |= management;
                    taken.management_writes |= management && !has(Field::ReadOnly, "true");
                    taken.data |= has(Field::EventCategory, "Data");
                }
            }
        }
        taken
    }
}

/// The kinds of events of which a selection takes at least some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Management events.
    pub management: bool,
    /// Management events that write.
    pub management_writes: bool,
    /// Data events.
    pub data: bool,
}
