//! AWS's protocols in both directions, driven by AWS's service models.
//!
//! On the road: the first and the last step of every call. It turns HTTP into a [`Call`] and a [`Reply`] or an
//! [`AwsError`] back into HTTP, and verifies SigV4 signatures. Must not know: storage, services.

pub mod call;
mod codec;
mod constraints;
pub mod event_stream;
pub mod front;
pub mod model;
pub mod recorded;
pub mod sigv4;

pub use call::{AwsError, Body, BodyError, BodySource, Call, Reply, RequestFacts};
pub use event_stream::{Event, Events};
pub use front::{
    BodyNeed, Checks, Exchange, Front, FrontSettings, Opening, Payload, Rejection, ReplyBody, Signing,
};
