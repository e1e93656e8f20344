//! AWS's service models: what the codec is driven by.
//!
//! The models come embedded, as the archive `models/aws.models` that `models/generate.py` makes from botocore's data.
//! A service is decompressed and parsed when it is first asked for; nothing happens at start.

mod raw;
mod route;
mod service;

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

pub use route::Route;
pub(crate) use route::{Matched, Request, find};
pub use service::{
    Kind, Location, Member, Operation, Protocol, Service, Shape, ShapeId, TimestampFormat, XmlNamespace,
};

static ARCHIVE: &[u8] = include_bytes!("../../../../models/aws.models");

const MAGIC: &[u8] = b"CAIRNMD1";
/// Magic, length of the index frame, length of the index.
const HEAD_BYTES: usize = 16;

/// The models of all services.
#[derive(Debug)]
pub struct Models {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    by_signing_name: HashMap<String, Vec<usize>>,
    by_endpoint_prefix: HashMap<String, Vec<usize>>,
    by_target_prefix: HashMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    endpoint_prefix: String,
    signing_name: String,
    frame: &'static [u8],
    length_bytes: usize,
    service: OnceLock<Service>,
}

#[derive(Deserialize)]
struct Index {
    services: Vec<(String, usize, usize, String, Option<String>, String)>,
}

impl Models {
    /// The models that are built into the program.
    ///
    /// # Panics
    /// Where the embedded archive is damaged, which a test rules out.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static EMBEDDED: OnceLock<Models> = OnceLock::new();
        EMBEDDED.get_or_init(|| Self::read(ARCHIVE).expect("the embedded archive was read in a test"))
    }

    /// The names of all services, as botocore's data folder has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The service of a name: `cloudtrail`.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.by_name.get(name).map(|&at| self.load(at))
    }

    /// The endpoint prefix and the signing name of a service, without loading its model.
    #[must_use]
    pub fn endpoint_names(&self, name: &str) -> Option<(&str, &str)> {
        let entry = &self.entries[*self.by_name.get(name)?];
        Some((&entry.endpoint_prefix, &entry.signing_name))
    }

    /// The services that are signed as `name`, such as `s3` and `s3control` for `s3`.
    #[must_use]
    pub fn by_signing_name(&self, name: &str) -> Vec<&Service> {
        self.loaded(self.by_signing_name.get(name))
    }

    /// The services whose host names begin with `prefix`.
    #[must_use]
    pub fn by_endpoint_prefix(&self, prefix: &str) -> Vec<&Service> {
        self.loaded(self.by_endpoint_prefix.get(prefix))
    }

    /// The services that an `X-Amz-Target` of `prefix.Operation` may mean. The prefix may lack the namespace before
    /// its last dot: CloudTrail's own is `com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101`, and clients are
    /// seen to send `CloudTrail_20131101`.
    #[must_use]
    pub fn by_target_prefix(&self, prefix: &str) -> Vec<&Service> {
        self.loaded(self.by_target_prefix.get(prefix))
    }

    fn loaded(&self, at: Option<&Vec<usize>>) -> Vec<&Service> {
        at.into_iter().flatten().map(|&at| self.load(at)).collect()
    }

    fn load(&self, at: usize) -> &Service {
        let entry = &self.entries[at];
        entry.service.get_or_init(|| {
            let json = zstd::bulk::decompress(entry.frame, entry.length_bytes)
                .expect("every frame of the embedded archive was read in a test");
            raw::service(&entry.name, &json).expect("every embedded model was parsed in a test")
        })
    }

    fn read(archive: &'static [u8]) -> Result<Self, ArchiveError> {
        if archive.get(..MAGIC.len()) != Some(MAGIC) {
            return Err(ArchiveError::Layout);
        }
        let number = |at: usize| -> Option<usize> {
            let bytes: [u8; 4] = archive.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_le_bytes(bytes)).ok()
        };
        let (frame_bytes, index_bytes) = number(8).zip(number(12)).ok_or(ArchiveError::Layout)?;
        let mut at = HEAD_BYTES;
        let mut next = |length: usize| {
            let part = archive.get(at..at + length).ok_or(ArchiveError::Layout);
            at += length;
            part
        };
        let index = zstd::bulk::decompress(next(frame_bytes)?, index_bytes)?;
        let index: Index = serde_json::from_slice(&index)?;
        let mut models = Self {
            entries: Vec::with_capacity(index.services.len()),
            by_name: HashMap::new(),
            by_signing_name: HashMap::new(),
            by_endpoint_prefix: HashMap::new(),
            by_target_prefix: HashMap::new(),
        };
        for (name, frame_bytes, length_bytes, signing_name, target_prefix, endpoint_prefix) in index.services
        {
            let frame = next(frame_bytes)?;
            let at = models.entries.len();
            models.by_name.insert(name.clone(), at);
            models.by_signing_name.entry(signing_name.clone()).or_default().push(at);
            models.by_endpoint_prefix.entry(endpoint_prefix.clone()).or_default().push(at);
            if let Some(prefix) = target_prefix {
                if let Some((_, short)) = prefix.rsplit_once('.') {
                    models.by_target_prefix.entry(short.to_owned()).or_default().push(at);
                }
                models.by_target_prefix.entry(prefix).or_default().push(at);
            }
            let service = OnceLock::new();
            models.entries.push(Entry { name, endpoint_prefix, signing_name, frame, length_bytes, service });
        }
        Ok(models)
    }
}

#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("the archive of models is not laid out as it should be")]
    Layout,
    #[error("a frame of the archive of models does not decompress")]
    Frame(#[from] std::io::Error),
    #[error("the index of the archive of models is not readable")]
    Index(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_model_parses() {
        let models = Models::embedded();
        let names: Vec<&str> = models.names().collect();
        assert!(names.len() > 400, "{}", names.len());
        let operations: usize =
            names.iter().map(|name| models.service(name).unwrap().operations().len()).sum();
        assert!(operations > 18_000, "{operations}");
    }

    #[test]
    fn services_are_found_by_each_of_their_names() {
        let models = Models::embedded();
        let names =
            |found: Vec<&Service>| found.iter().map(|service| service.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(models.by_signing_name("s3")), ["s3", "s3control"]);
        assert_eq!(names(models.by_signing_name("monitoring")), ["cloudwatch"]);
        assert_eq!(names(models.by_target_prefix("CloudTrail_20131101")), ["cloudtrail"]);
        assert_eq!(
            names(models.by_target_prefix("com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101")),
            ["cloudtrail"]
        );
        assert_eq!(names(models.by_endpoint_prefix("sts")), ["sts"]);
        assert!(models.service("no-such-service").is_none());
        assert_eq!(models.endpoint_names("cloudwatch"), Some(("monitoring", "monitoring")));
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        for archive in
            [&b""[..], b"CAIRNMD1", b"CAIRNMD1\xff\xff\xff\xff\x01\0\0\0", b"CAIRNMD1\0\0\0\0\0\0\0\0"]
        {
            assert!(Models::read(archive).is_err());
        }
    }
}
