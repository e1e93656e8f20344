//! How the typed objects of a record are read: known members by their types, all others as they stand.
//!
//! serde's `flatten` would copy every member into a tree first; what is generated here reads each member once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A value of a record, as it stands in the log file: its JSON text.
///
/// ```
/// # fn main() -> Result<(), serde_json::Error> {
/// let json: cairn_processing::event::Json = serde_json::from_str(r#"{"bucketName":"logs", "key":"a"}"#)?;
/// assert_eq!(json.text(), r#"{"bucketName":"logs", "key":"a"}"#);
/// assert_eq!(json.to_value()["bucketName"], "logs");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The text, byte for byte.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// The value as a tree; `null` where it is nested too deep for one.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }

    /// The value as a type of your own.
    ///
    /// # Errors
    /// Where it is not one.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.0.get())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// Members by their names.
pub type Members = BTreeMap<String, Json>;

/// What the value of a member can be read as, with all that is inside it read leniently.
pub(crate) trait Typed: Sized {
    /// The value; none where it is of another type.
    fn read(json: &Json) -> Option<Self>;
}

/// Types that have nothing inside.
macro_rules! plain {
    ($($type:ty),*) => {
        $( impl Typed for $type {
            fn read(json: &Json) -> Option<Self> {
                json.parse().ok()
            }
        } )*
    };
}

plain!(String, bool, f64, Json);

impl<T: Typed> Typed for Vec<T> {
    fn read(json: &Json) -> Option<Self> {
        json.parse::<Vec<Json>>().ok()?.iter().map(T::read).collect()
    }
}

/// The name of a member, borrowed where it has no escapes.
pub(crate) struct Name<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        from.deserialize_str(Visitor)
    }
}

/// Makes a struct of optional members, and the reading of it: strict, where a member of another type than the documented
/// one is an error, and lenient, where such a member is kept with the unknown ones.
macro_rules! object {
    (
        $(#[$about:meta])*
        $object:ident { $( $(#[$member_about:meta])* $member:ident: $type:ty = $name:literal, )* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct $object {
            $( $(#[$member_about])* pub $member: Option<$type>, )*
            /// Members that are not known here, and known ones that are of another type than documented; as they stand.
            pub other: $crate::event::Members,
        }

        impl $object {
            /// Takes every member that is what it should be, and keeps the others as they stand.
            pub(crate) fn lenient(members: $crate::event::Members) -> Self {
                let mut object = Self::default();
                for (name, json) in members {
                    let is_read = match name.as_str() {

                        $( $name if json.text() == "null" => true,
                        $name => {
                            object.$member = $crate::event::object::Typed::read(&json);
                            object.$member.is_some()
                        } )*
                        _ => false,
                    };
                    if !is_read {
                        object.other.insert(name, json);
                    }
                }
                object
            }
        }

        impl $crate::event::object::Typed for $object {
            fn read(json: &$crate::event::Json) -> Option<Self> {
                json.parse().ok().map(Self::lenient)
            }
        }

        impl<'de> serde::Deserialize<'de> for $object {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $object;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut from: A) -> Result<$object, A::Error> {
                        let mut object = $object::default();
                        while let Some(name) = from.next_key::<$crate::event::object::Name<'_>>()? {
                            match &*name.0 {
                                $( $name => object.$member = from.next_value()?, )*
                                _ => {
                                    object.other.insert(name.0.into_owned(), from.next_value()?);
                                }
                            }
                        }
                        Ok(object)
                    }
                }
                from.deserialize_map(Visitor)
            }
        }
    };
}

pub(crate) use object;
