//! The protocols' bodies: JSON, XML, form fields and HTTP bindings, to and from the neutral form of a [`Call`].
//!
//! The neutral form is a `serde_json` object of the model's member names; blobs are base64 text, timestamps are
//! numbers of epoch seconds. Everything here walks the model's shapes; nothing knows services or transport.
//!
//! [`Call`]: crate::Call

pub(crate) mod cbor;
pub(crate) mod form;
pub(crate) mod json;
pub(crate) mod query;
pub(crate) mod rest;
pub(crate) mod scalar;
pub(crate) mod timestamp;
pub(crate) mod uri;
pub(crate) mod xml;

/// What is wrong with a request, before it is an AWS error of the request's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The body is not what the protocol says.
    Body(String),
    /// A member in path, query or header has a value that is not of its type.
    Parameter {
        /// The member's name on the wire.
        name: String,
        /// The value.
        value: String,
        /// What is wrong.
        message: String,
    },
}

impl Malformed {
    pub(crate) fn body(message: impl Into<String>) -> Self {
        Self::Body(message.into())
    }
}

pub(crate) type Decoded<T> = Result<T, Malformed>;
