//! Reading the decoded input: members by their model names.

use serde_json::Value;

/// The params of a call.
#[derive(Clone, Copy)]
pub(super) struct Params<'a>(pub(super) &'a Value);

impl<'a> Params<'a> {
    /// A text member.
    pub(super) fn text(self, member: &str) -> Option<&'a str> {
        self.0.get(member)?.as_str()
    }

    /// A text member that the model requires; empty where it is missing all the same.
    pub(super) fn required(self, member: &str) -> &'a str {
        self.text(member).unwrap_or_default()
    }

    /// A number member; timestamps are numbers of seconds, of which a fraction is cut off.
    pub(super) fn number(self, member: &str) -> Option<i64> {
        let value = self.0.get(member)?;
        value.as_i64().or_else(|| value.as_f64().map(|number| number as i64))
    }

    /// A boolean member.
    pub(super) fn flag(self, member: &str) -> bool {
        self.0.get(member).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A structure member.
    pub(super) fn part(self, member: &str) -> Option<Params<'a>> {
        self.0.get(member).filter(|value| value.is_object()).map(Params)
    }

    /// A list member; empty where it is missing.
    pub(super) fn list(self, member: &str) -> &'a [Value] {
        self.0.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Whether the member was given.
    pub(super) fn has(self, member: &str) -> bool {
        self.0.get(member).is_some_and(|value| !value.is_null())
    }

    /// The bucket's name.
    pub(super) fn bucket(self) -> &'a str {
        self.required("Bucket")
    }

    /// The object's key.
    pub(super) fn key(self) -> &'a str {
        self.required("Key")
    }

    /// The version asked for; the empty text is none.
    pub(super) fn version_id(self) -> Option<&'a str> {
        self.text("VersionId").filter(|id| !id.is_empty())
    }
}
