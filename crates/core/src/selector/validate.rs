//! From what a caller sent to a selection that is valid, or the message of `InvalidEventSelectorsException`.
//!
//! The texts marked "native" are those of the real service; the others are in its manner.

use serde::Deserialize;

use super::ReadWriteType;
use super::resource_types::is_data_resource_type;
use super::{
    AdvancedSelector, BasicSelector, DataResource, DataResourceType, EventSelection, Field, FieldSelector,
};

/// Basic selectors of one trail.
pub const BASIC_SELECTORS_MAX: usize = 5;
/// Data resources over all basic selectors of a trail, not counting those that stand for all resources of a type.
pub const DATA_RESOURCES_MAX: usize = 250;
/// Advanced selectors of one trail, and conditions over all of them.
pub const ADVANCED_VALUES_MAX: usize = 500;
/// Characters of an advanced selector's name.
pub const SELECTOR_NAME_CHARACTERS_MAX: usize = 1000;
/// Characters of one condition.
pub const VALUE_CHARACTERS_MAX: usize = 2048;
/// The sources whose management events a basic selector can leave out.
pub const EXCLUDABLE_SOURCES: [&str; 2] = ["kms.amazonaws.com", "rdsdata.amazonaws.com"];

/// Why selectors are refused: the text that the caller sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// An EventSelector as it was sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the members are AWS's")]
pub struct BasicSelectorRequest {
    pub read_write_type: Option<String>,
    pub include_management_events: Option<bool>,
    pub data_resources: Option<Vec<DataResourceRequest>>,
    pub exclude_management_event_sources: Option<Vec<String>>,
}

/// A DataResource as it was sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the members are AWS's")]
pub struct DataResourceRequest {
    #[serde(rename = "Type")]
    pub kind: Option<String>,
    pub values: Option<Vec<String>>,
}

/// An AdvancedEventSelector as it was sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the members are AWS's")]
pub struct AdvancedSelectorRequest {
    pub name: Option<String>,
    pub field_selectors: Option<Vec<FieldSelectorRequest>>,
}

/// An AdvancedFieldSelector as it was sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "the members are AWS's")]
pub struct FieldSelectorRequest {
    pub field: Option<String>,
    pub equals: Option<Vec<String>>,
    pub starts_with: Option<Vec<String>>,
    pub ends_with: Option<Vec<String>>,
    pub not_equals: Option<Vec<String>>,
    pub not_starts_with: Option<Vec<String>>,
    pub not_ends_with: Option<Vec<String>>,
}

impl EventSelection {
    /// The selection that PutEventSelectors was sent: exactly one of the two kinds.
    ///
    /// # Errors
    /// The message of `InvalidEventSelectorsException`.
    pub fn from_request(
        basic: Option<Vec<BasicSelectorRequest>>,
        advanced: Option<Vec<AdvancedSelectorRequest>>,
    ) -> Result<Self, SelectorError> {
        match (basic, advanced) {
            (Some(_), Some(_)) => refused(
                // native
                "You can select events by using either EventSelectors or AdvancedEventSelectors, but not both.",
            ),
            (basic, None) => valid_basic(basic.unwrap_or_default()).map(Self::Basic),
            (None, Some(advanced)) => valid_advanced(advanced).map(Self::Advanced),
        }
    }
}

fn refused<T>(message: impl Into<String>) -> Result<T, SelectorError> {
    Err(SelectorError(message.into()))
}

fn invalid_value<T>(value: Option<&str>, member: &str) -> Result<T, SelectorError> {
    // native for ReadWriteType and DataResources.Values
    refused(format!("Value {} for {member} is invalid.", value.unwrap_or("null")))
}

fn valid_basic(requests: Vec<BasicSelectorRequest>) -> Result<Vec<BasicSelector>, SelectorError> {
    if !(1..=BASIC_SELECTORS_MAX).contains(&requests.len()) {
        // native
        return refused("Specify a valid number of selectors (1 to 5) for your trail");
    }
    let selectors = requests.into_iter().map(valid_basic_selector).collect::<Result<Vec<_>, _>>()?;
    let counted: usize = selectors
        .iter()
        .flat_map(|selector| &selector.data_resources)
        .map(|resource| resource.values.iter().filter(|value| !means_all(resource.kind, value)).count())
        .sum();
    if counted > DATA_RESOURCES_MAX {
        return refused("Specify a valid number of data resources (1 to 250) for your trail");
    }
    Ok(selectors)
}

fn valid_basic_selector(request: BasicSelectorRequest) -> Result<BasicSelector, SelectorError> {
    let read_write_type = match request.read_write_type.as_deref() {
        None | Some("All") => ReadWriteType::All,
        Some("ReadOnly") => ReadWriteType::ReadOnly,
        Some("WriteOnly") => ReadWriteType::WriteOnly,
        Some(other) => return invalid_value(Some(other), "ReadWriteType"),
    };
    let data_resources = request.data_resources.unwrap_or_default();
    let exclude_management_event_sources = request.exclude_management_event_sources.unwrap_or_default();
    let unknown =
        exclude_management_event_sources.iter().find(|source| !EXCLUDABLE_SOURCES.contains(&source.as_str()));
    if let Some(source) = unknown {
        return invalid_value(Some(source), "ExcludeManagementEventSources");
    }
    Ok(BasicSelector {
        read_write_type,
        include_management_events: request.include_management_events.unwrap_or(true),
        data_resources: data_resources.into_iter().map(valid_data_resource).collect::<Result<_, _>>()?,
        exclude_management_event_sources,
    })
}

fn valid_data_resource(request: DataResourceRequest) -> Result<DataResource, SelectorError> {
    let kind = request.kind.as_deref();
    let Some(kind) = DataResourceType::ALL.into_iter().find(|known| Some(known.name()) == kind) else {
        return invalid_value(kind, "DataResources.Type");
    };
    let values = request.values.unwrap_or_default();
    match values.iter().find(|value| !is_data_resource_value(kind, value)) {
        Some(value) => invalid_value(Some(value), "DataResources.Values"),
        None => Ok(DataResource { kind, values }),
    }
}

impl DataResourceType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::S3Object, Self::LambdaFunction, Self::DynamoDbTable];

    /// The type's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S3Object => "AWS::S3::Object",
            Self::LambdaFunction => "AWS::Lambda::Function",
            Self::DynamoDbTable => "AWS::DynamoDB::Table",
        }
    }

    /// The service's part of the ARN.
    const fn service(self) -> &'static str {
        match self {
            Self::S3Object => "s3",
            Self::LambdaFunction => "lambda",
            Self::DynamoDbTable => "dynamodb",
        }
    }
}

/// What follows `arn:PARTITION:SERVICE` in a value; none where the value begins otherwise.
fn after_service(kind: DataResourceType, value: &str) -> Option<&str> {
    let (partition, rest) = value.strip_prefix("arn:")?.split_once(':')?;
    let of_aws = partition == "aws" || partition.starts_with("aws-");
    rest.strip_prefix(kind.service()).filter(|_| of_aws)
}

/// Whether a value stands for all resources of its type: `arn:aws:s3`, `arn:aws:s3:::`, `arn:aws:lambda`.
pub(super) fn means_all(kind: DataResourceType, value: &str) -> bool {
    match after_service(kind, value) {
        Some("") => true,
        Some(":::") => kind == DataResourceType::S3Object,
        _ => false,
    }
}

/// Whether a value is one that basic selectors take. A bucket needs its closing slash, and there are no wildcards:
/// both are common mistakes that the real service refuses.
fn is_data_resource_value(kind: DataResourceType, value: &str) -> bool {
    let Some(rest) = after_service(kind, value) else { return false };
    if means_all(kind, value) {
        return true;
    }
    if kind == DataResourceType::S3Object {
        let bucket = rest.strip_prefix(":::").and_then(|rest| rest.split_once('/')).map(|(bucket, _)| bucket);
        return bucket.is_some_and(|bucket| {
            (3..=255).contains(&bucket.len())
                && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        });
    }
    let mut parts = rest.splitn(4, ':').skip(1);
    let (region, account, resource) = (parts.next(), parts.next(), parts.next());
    let name = resource.and_then(|resource| match kind {
        DataResourceType::DynamoDbTable => resource.strip_prefix("table/"),
        _ => resource.strip_prefix("function:"),
    });
    rest.starts_with(':')
        && region.is_some_and(|region| !region.is_empty() && region != "*")
        && account.is_some_and(|account| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
        && name.is_some_and(|name| !name.is_empty() && !name.contains('*'))
}

fn valid_advanced(requests: Vec<AdvancedSelectorRequest>) -> Result<Vec<AdvancedSelector>, SelectorError> {
    if !(1..=ADVANCED_VALUES_MAX).contains(&requests.len()) {
        // native
        return refused("Specify between 1 and 500 selectors for your trail.");
    }
    let selectors = requests.into_iter().map(valid_advanced_selector).collect::<Result<Vec<_>, _>>()?;
    let values: usize = selectors.iter().flat_map(|s| &s.field_selectors).map(|f| f.operands().count()).sum();
    if values > ADVANCED_VALUES_MAX {
        return refused(
            "Specify up to 500 values for all conditions in all advanced event selectors for your trail.",
        );
    }
    Ok(selectors)
}

fn valid_advanced_selector(request: AdvancedSelectorRequest) -> Result<AdvancedSelector, SelectorError> {
    let name_length = request.name.as_deref().map_or(0, |name| name.chars().count());
    if name_length > SELECTOR_NAME_CHARACTERS_MAX {
        return refused("The name of an advanced event selector can have up to 1000 characters.");
    }
    let field_selectors = request
        .field_selectors
        .unwrap_or_default()
        .into_iter()
        .map(valid_field)
        .collect::<Result<Vec<_>, _>>()?;
    let selector = AdvancedSelector { name: request.name, field_selectors };
    let (required, allowed) = match selector.equal_to(Field::EventCategory) {
        // native
        None => return refused("The following fields are required: [eventCategory]."),
        Some("Management") => (None, MANAGEMENT_FIELDS),
        Some("Data") => (Some(Field::ResourcesType), DATA_FIELDS),
        Some("NetworkActivity") => (Some(Field::EventSource), NETWORK_FIELDS),
        Some(_) => return invalid_field_value(Field::EventCategory),
    };
    let has = |field: Field| selector.field_selectors.iter().any(|f| f.field == field);
    if let Some(missing) = required.filter(|field| !has(*field)) {
        return refused(format!("The following fields are required: [{}].", missing.name()));
    }
    if let Some(unusable) = selector.field_selectors.iter().find(|f| !allowed.contains(&f.field)) {
        return refused(format!("The following fields are not supported: [{}].", unusable.field.name()));
    }
    if has(Field::ResourcesType)
        && !selector.equal_to(Field::ResourcesType).is_some_and(is_data_resource_type)
    {
        return invalid_field_value(Field::ResourcesType);
    }
    Ok(selector)
}

const MANAGEMENT_FIELDS: &[Field] = &[
    Field::EventCategory,
    Field::ReadOnly,
    Field::EventSource,
    Field::EventName,
    Field::EventType,
    Field::UserIdentityArn,
    Field::SessionCredentialFromConsole,
];
const DATA_FIELDS: &[Field] = &[
    Field::EventCategory,
    Field::ReadOnly,
    Field::EventSource,
    Field::EventName,
    Field::EventType,
    Field::ResourcesType,
    Field::ResourcesArn,
    Field::UserIdentityArn,
    Field::SessionCredentialFromConsole,
];
const NETWORK_FIELDS: &[Field] = &[
    Field::EventCategory,
    Field::EventSource,
    Field::EventName,
    Field::EventType,
    Field::ErrorCode,
    Field::VpcEndpointId,
    Field::UserIdentityArn,
];

impl AdvancedSelector {
    /// The one value that a field must equal; none where there is no such condition or more than one.
    fn equal_to(&self, field: Field) -> Option<&str> {
        let mut of_field = self.field_selectors.iter().filter(|f| f.field == field);
        match (of_field.next()?.equals.as_slice(), of_field.next()) {
            ([value], None) => Some(value),
            _ => None,
        }
    }
}

impl FieldSelector {
    fn operands(&self) -> impl Iterator<Item = &String> {
        let lists = [
            &self.equals,
            &self.starts_with,
            &self.ends_with,
            &self.not_equals,
            &self.not_starts_with,
            &self.not_ends_with,
        ];
        lists.into_iter().flatten()
    }
}

fn invalid_field_value<T>(field: Field) -> Result<T, SelectorError> {
    // native for resources.type
    refused(format!("The {} field value is not valid.", field.name()))
}

fn valid_field(request: FieldSelectorRequest) -> Result<FieldSelector, SelectorError> {
    let name = request.field.as_deref();
    let Some(field) = Field::ALL.into_iter().find(|known| Some(known.name()) == name) else {
        return invalid_value(name, "Field");
    };
    let selector = FieldSelector {
        field,
        equals: request.equals.unwrap_or_default(),
        starts_with: request.starts_with.unwrap_or_default(),
        ends_with: request.ends_with.unwrap_or_default(),
        not_equals: request.not_equals.unwrap_or_default(),
        not_starts_with: request.not_starts_with.unwrap_or_default(),
        not_ends_with: request.not_ends_with.unwrap_or_default(),
    };
    let name = field.name();
    if selector.operands().next().is_none() {
        return refused(format!("Specify at least one operator for the {name} field."));
    }
    if selector.operands().any(|value| !(1..=VALUE_CHARACTERS_MAX).contains(&value.chars().count())) {
        return invalid_field_value(field);
    }
    let only_equals = matches!(field, Field::EventCategory | Field::ReadOnly | Field::ResourcesType);
    if only_equals && selector.operands().count() != selector.equals.len() {
        return refused(format!("The {name} field can only use the Equals operator."));
    }
    let values_fit = match field {
        Field::EventCategory | Field::ResourcesType => selector.equals.len() == 1,
        Field::ReadOnly => {
            selector.equals.len() == 1 && matches!(selector.equals[0].as_str(), "true" | "false")
        }
        Field::ErrorCode => selector.operands().all(|value| value == "VpceAccessDenied"),
        _ => true,
    };
    if values_fit { Ok(selector) } else { invalid_field_value(field) }
}
