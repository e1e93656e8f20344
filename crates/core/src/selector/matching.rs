//! Whether a trail takes an event.
//!
//! A selection takes an event where any of its selectors does. In a field selector the including operators (Equals,
//! StartsWith, EndsWith) are joined by "or", the excluding ones by "and", and the two groups by "and" (user guide:
//! "how CloudTrail evaluates multiple conditions for a field"). A value that an event lacks is included by nothing
//! and excluded by nothing.

use super::{
    AdvancedSelector, BasicSelector, DataResource, DataResourceType, EventSelection, Field, FieldSelector,
};
use super::{ReadWriteType, validate};
use crate::record::{Category, Facts, ResourceFacts};

impl EventSelection {
    /// Whether the trail takes the event.
    #[must_use]
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Basic(selectors) => selectors.iter().any(|selector| selector.matches(facts)),
            Self::Advanced(selectors) => selectors.iter().any(|selector| selector.matches(facts)),
        }
    }
}

impl BasicSelector {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let side = match self.read_write_type {
            ReadWriteType::All => true,
            ReadWriteType::ReadOnly => is_read_only(facts),
            ReadWriteType::WriteOnly => !is_read_only(facts),
        };
        side && match facts.category() {
            Category::Management => {
                self.include_management_events
                    && !self
                        .exclude_management_event_sources
                        .iter()
                        .any(|source| *source == facts.event_source)
            }
            Category::Data => resources(facts)
                .iter()
                .any(|resource| self.data_resources.iter().any(|selected| selected.matches(resource))),
            Category::NetworkActivity | Category::Insight | Category::Aggregated => false,
        }
    }
}

impl DataResource {
    fn matches(&self, resource: &ResourceFacts<'_>) -> bool {
        let Some(arn) = arn(resource) else { return false };
        resource.kind.as_deref() == Some(self.kind.name())
            && self.values.iter().any(|value| match self.kind {
                // A value is the beginning of an ARN: of all buckets, of a bucket, of a key prefix.
                DataResourceType::S3Object => arn.starts_with(value.as_str()),
                // "Lambda function ARNs are exact": `…:helloworld` does not take `…:helloworld2`. Only the value
                // that stands for all of them is a beginning.
                DataResourceType::LambdaFunction | DataResourceType::DynamoDbTable => {
                    arn == value || (validate::means_all(self.kind, value) && arn.starts_with(value.as_str()))
                }
            })
    }
}

impl AdvancedSelector {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let of_resources =
            |field: &&FieldSelector| matches!(field.field, Field::ResourcesType | Field::ResourcesArn);
        let event_fits = self
            .field_selectors
            .iter()
            .filter(|field| !of_resources(field))
            .all(|field| field.admits(value_of(field.field, facts)));
        let on_resources: Vec<_> = self.field_selectors.iter().filter(of_resources).collect();
        event_fits && (on_resources.is_empty() || any_resource_fits(&on_resources, facts))
    }
}

/// The conditions on type and ARN are about one and the same resource: that an event names a bucket does not take it
/// where objects are asked for.
fn any_resource_fits(selectors: &[&FieldSelector], facts: &Facts<'_>) -> bool {
    resources(facts).iter().any(|resource| {
        selectors.iter().all(|field| {
            field.admits(match field.field {
                Field::ResourcesType => resource.kind.as_deref(),
                _ => arn(resource),
            })
        })
    })
}

impl FieldSelector {
    fn admits(&self, value: Option<&str>) -> bool {
        let is = |operands: &[String], fits: fn(&str, &str) -> bool| {
            value.is_some_and(|value| operands.iter().any(|operand| fits(value, operand)))
        };
        let included = is(&self.equals, |value, operand| value == operand)
            || is(&self.starts_with, |value, operand| value.starts_with(operand))
            || is(&self.ends_with, |value, operand| value.ends_with(operand));
        let excluded = is(&self.not_equals, |value, operand| value == operand)
            || is(&self.not_starts_with, |value, operand| value.starts_with(operand))
            || is(&self.not_ends_with, |value, operand| value.ends_with(operand));
        let includes_all = self.equals.is_empty() && self.starts_with.is_empty() && self.ends_with.is_empty();
        (includes_all || included) && !excluded
    }
}

/// The event's value of a field that it has once.
fn value_of<'f>(field: Field, facts: &'f Facts<'_>) -> Option<&'f str> {
    match field {
        Field::EventCategory => Some(match facts.category() {
            Category::Management => "Management",
            Category::Data => "Data",
            Category::NetworkActivity => "NetworkActivity",
            Category::Insight => "Insight",
            Category::Aggregated => "Aggregated",
        }),
        Field::ReadOnly => Some(if is_read_only(facts) { "true" } else { "false" }),
        Field::EventSource => Some(&facts.event_source),
        Field::EventName => Some(&facts.event_name),
        Field::EventType => facts.event_type.as_deref(),
        Field::ErrorCode => facts.error_code.as_deref(),
        Field::VpcEndpointId => facts.vpc_endpoint_id.as_deref(),
        Field::UserIdentityArn => facts.user_identity.as_ref()?.arn.as_deref(),
        Field::SessionCredentialFromConsole => facts.session_credential_from_console.as_deref(),
        Field::ResourcesType | Field::ResourcesArn => None,
    }
}

/// An event that does not say so is no read: a trail of writes must not lose it.
fn is_read_only(facts: &Facts<'_>) -> bool {
    facts.read_only == Some(true)
}

fn resources<'f, 'a>(facts: &'f Facts<'a>) -> &'f [ResourceFacts<'a>] {
    facts.resources.as_deref().unwrap_or_default()
}

/// Listings name the objects they may have shown by `ARNPrefix` instead of `ARN`.
fn arn<'f>(resource: &'f ResourceFacts<'_>) -> Option<&'f str> {
    resource.arn.as_deref().or(resource.arn_prefix.as_deref())
}
