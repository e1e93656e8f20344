//! A bucket's lifecycle rules as they are kept and shown: members have AWS's names, and what was sent comes back.

use cairn_core::Timestamp;
use cairn_store::Table;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::storage_class::StorageClass;

/// The configurations of buckets, by [`super::super::state::bucket_key`].
pub(super) const CONFIGURATIONS: Table<Configuration> = Table::new("s3.lifecycle", 1);

/// The smallest object that moves to another class, where the rule says nothing of sizes.
pub(super) const TRANSITION_SIZE_BYTES_MIN: u64 = 128 * 1024;

/// A bucket's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Configuration {
    /// Different whenever the configuration is put.
    pub(super) revision: String,
    pub(super) minimum_size: MinimumSize,
    pub(super) rules: Vec<Rule>,
}

/// Which small objects stay in their class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum MinimumSize {
    #[default]
    #[serde(rename = "all_storage_classes_128K")]
    AllStorageClasses,
    /// GLACIER and DEEP_ARCHIVE take objects of any size.
    #[serde(rename = "varies_by_storage_class")]
    VariesByStorageClass,
}

/// Whether a rule is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    Enabled,
    Disabled,
}

/// A rule. Has either a filter or, in the older form, a prefix of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rule {
    #[serde(rename = "ID", default)]
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) filter: Option<Filter>,
    pub(super) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expiration: Option<Expiration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) transitions: Vec<Transition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) noncurrent_version_transitions: Vec<NoncurrentTransition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noncurrent_version_expiration: Option<NoncurrentExpiration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) abort_incomplete_multipart_upload: Option<Abort>,
}

/// Which objects a rule is for: all, or those of one predicate, or of several in `And`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object_size_greater_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object_size_less_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) and: Option<And>,
}

/// Several predicates that all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct And {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object_size_greater_than: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) object_size_less_than: Option<i64>,
}

/// A tag that an object must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// When the current version expires, or that delete markers without versions go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Expiration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expired_object_delete_marker: Option<bool>,
}

/// When the current version moves to another class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Transition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<Date>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) days: Option<i64>,
    pub(super) storage_class: StorageClass,
}

/// When older versions move to another class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NoncurrentTransition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noncurrent_days: Option<i64>,
    pub(super) storage_class: StorageClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) newer_noncurrent_versions: Option<i64>,
}

/// When older versions go for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NoncurrentExpiration {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noncurrent_days: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) newer_noncurrent_versions: Option<i64>,
}

/// When uploads that nobody completes are given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Abort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) days_after_initiation: Option<i64>,
}

/// A date, kept and shown as whole seconds, as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date(pub(super) Timestamp);

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.seconds())
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        if let Some(seconds) = number.as_i64() {
            return Ok(Self(Timestamp::from_seconds(seconds)));
        }
        let seconds = number.as_f64().ok_or_else(|| D::Error::custom("no date"))?;
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds to the year 9999 fit")]
        let millis = (seconds * 1000.0).round() as i64;
        Ok(Self(Timestamp::from_millis(millis)))
    }
}

/// What a rule's filter asks of an object, whichever form it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub(super) prefix: &'a str,
    pub(super) tags: &'a [Tag],
    pub(super) larger_than: Option<i64>,
    pub(super) smaller_than: Option<i64>,
}

impl Rule {
    pub(super) fn is_enabled(&self) -> bool {
        self.status == Status::Enabled
    }

    /// What its filter asks for.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        let filter = self.filter.as_ref();
        if let Some(and) = filter.and_then(|filter| filter.and.as_ref()) {
            return Wanted {
                prefix: and.prefix.as_deref().unwrap_or_default(),
                tags: &and.tags,
                larger_than: and.object_size_greater_than,
                smaller_than: and.object_size_less_than,
            };
        }
        let prefix = filter.and_then(|filter| filter.prefix.as_deref()).or(self.prefix.as_deref());
        Wanted {
            prefix: prefix.unwrap_or_default(),
            tags: filter.and_then(|filter| filter.tag.as_ref()).map_or(&[], std::slice::from_ref),
            larger_than: filter.and_then(|filter| filter.object_size_greater_than),
            smaller_than: filter.and_then(|filter| filter.object_size_less_than),
        }
    }
}

impl Wanted<'_> {
    /// Whether it says anything of sizes.
    pub(super) fn has_sizes(&self) -> bool {
        self.larger_than.is_some() || self.smaller_than.is_some()
    }

    /// Whether it takes an object; a delete marker has no size and no tags.
    pub(super) fn takes(&self, key: &str, size_bytes: u64, tags: &[(String, String)]) -> bool {
        let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
        key.starts_with(self.prefix)
            && self.larger_than.is_none_or(|than| size_bytes > than)
            && self.smaller_than.is_none_or(|than| size_bytes < than)
            && self
                .tags
                .iter()
                .all(|tag| tags.iter().any(|(key, value)| *key == tag.key && *value == tag.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 looks like on disk: this text must stay readable for ever.
    #[test]
    fn a_configuration_is_written_as_ever() {
        let golden = r#"{"revision":"r","minimum_size":"varies_by_storage_class","rules":[{"ID":"a","Prefix":"p","Status":"Disabled","Expiration":{"Date":1795219200}},{"ID":"b","Filter":{"And":{"Prefix":"x","Tags":[{"Key":"k","Value":"v"}],"ObjectSizeGreaterThan":1,"ObjectSizeLessThan":9}},"Status":"Enabled","Expiration":{"Days":9},"Transitions":[{"Days":1,"StorageClass":"GLACIER_IR"}],"NoncurrentVersionTransitions":[{"NoncurrentDays":30,"StorageClass":"STANDARD_IA","NewerNoncurrentVersions":2}],"NoncurrentVersionExpiration":{"NoncurrentDays":90,"NewerNoncurrentVersions":3}},{"ID":"c","Filter":{},"Status":"Enabled","Expiration":{"ExpiredObjectDeleteMarker":true},"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":7}}]}"#;
        let configuration: Configuration = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&configuration).unwrap(), golden);
    }

    #[test]
    fn sizes_of_a_filter_are_left_out_and_all_its_tags_are_wanted() {
        let tag = |key: &str, value: &str| Tag { key: key.to_owned(), value: value.to_owned() };
        let tags = [tag("a", "1"), tag("b", "")];
        let wanted = Wanted { prefix: "x/", tags: &tags, larger_than: Some(1), smaller_than: Some(4) };
        let own = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), String::new())];
        assert!(wanted.takes("x/1", 2, &own) && wanted.takes("x/1", 3, &own));
        assert!(!wanted.takes("x/1", 1, &own) && !wanted.takes("x/1", 4, &own));
        assert!(!wanted.takes("y/1", 2, &own) && !wanted.takes("x/1", 2, &own[..1]));
    }
}
