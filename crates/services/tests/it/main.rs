//! The embedded services on a real catalog, without HTTP.

mod iam;
mod iam_keys;
mod sts;
mod world;
