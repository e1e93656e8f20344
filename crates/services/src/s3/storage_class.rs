//! The storage classes of objects. All are stored alike: a class is what a client asked for or a lifecycle rule made
//! of it, and shows in replies and listings. Objects of the archive classes are read without being restored.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::{Failure, fail, not_implemented};
use super::params::Params;

/// A storage class, in the order of the waterfall: objects move to later ones only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    IntelligentTiering,
    OnezoneIa,
    GlacierIr,
    Glacier,
    DeepArchive,
}

/// Those that AWS has for other kinds of buckets.
const NOT_BUILT: [&str; 4] = ["OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS"];

impl StorageClass {
    /// The class that a write asks for in its header.
    pub(super) fn requested(params: Params<'_>) -> Result<Self, Failure> {
        let Some(name) = params.text("StorageClass") else { return Ok(Self::Standard) };
        if NOT_BUILT.contains(&name) {
            return Err(not_implemented("x-amz-storage-class"));
        }
        serde_json::from_value(name.into()).map_err(|_| {
            fail(400, "InvalidStorageClass", "The storage class you specified is not valid")
                .with("StorageClassRequested", name)
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Standard => "STANDARD",
            Self::ReducedRedundancy => "REDUCED_REDUNDANCY",
            Self::StandardIa => "STANDARD_IA",
            Self::IntelligentTiering => "INTELLIGENT_TIERING",
            Self::OnezoneIa => "ONEZONE_IA",
            Self::GlacierIr => "GLACIER_IR",
            Self::Glacier => "GLACIER",
            Self::DeepArchive => "DEEP_ARCHIVE",
        }
    }

    pub(super) fn is_standard(&self) -> bool {
        *self == Self::Standard
    }

    /// Whether a lifecycle rule may move an object of this class to another.
    pub(super) fn can_become(self, other: Self) -> bool {
        self < other && (self, other) != (Self::OnezoneIa, Self::GlacierIr)
    }

    /// As replies of reads show it: the header is there for all but STANDARD.
    pub(super) fn show(self, reply: &mut Map<String, Value>) {
        if !self.is_standard() {
            reply.insert("StorageClass".into(), self.name().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_they_are_stored_and_move_down_the_waterfall() {
        use StorageClass::{DeepArchive, Glacier, GlacierIr, OnezoneIa, Standard, StandardIa};
        let all = [
            Standard,
            StorageClass::ReducedRedundancy,
            StandardIa,
            StorageClass::IntelligentTiering,
            OnezoneIa,
            GlacierIr,
            Glacier,
            DeepArchive,
        ];
        for class in all {
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
            let params = serde_json::json!({"StorageClass": class.name()});
            assert_eq!(StorageClass::requested(Params(&params)).unwrap(), class);
        }
        assert!(Standard.can_become(DeepArchive) && OnezoneIa.can_become(Glacier));
        assert!(!OnezoneIa.can_become(GlacierIr) && !Glacier.can_become(StandardIa));
        assert!(!Glacier.can_become(Glacier));
    }
}
