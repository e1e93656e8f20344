//! Holds log files to the digests that the trail signed.
//!
//! On the road: between the download of a file and its events, where it is asked for. A file passes where a digest that
//! verifies lists its SHA-256; a file with another hash is refused whatever the policy. Digests are found by their keys
//! beside the file's own, verified once, held against their predecessors, and kept.
//!
//! A digest comes up to an hour and some minutes after the files that it lists: what is done until then is the policy's.
//!
//! Source: the AWS user guide's "CloudTrail digest file structure".

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::Timestamp;
use cairn_core::digest::{
    ChainFlaw, DigestFlaw, DigestKey, DigestObject, METADATA_SIGNATURE, METADATA_SIGNATURE_ALGORITHM,
    Verified, fingerprint, verify, verify_chain,
};
use cairn_core::logfile::{LogFileKey, account_root};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;

use crate::access::{AccessError, GetRequest, ListRequest, ObjectSource};
use crate::message::LogFile;

/// For how long after a file was written a digest may list it.
const LISTED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// For how long a list of a day's digests is believed.
const LIST_AGE_MAX: Duration = Duration::from_secs(30);
/// Log files that the digests in memory may list, all together.
const CACHED_FILES_MAX: usize = 100_000;
/// Days whose lists are in memory.
const CACHED_LISTS_MAX: usize = 100;
/// The largest digest, compressed and uncompressed, in bytes.
const DIGEST_SIZE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most answers that a day's list of digests may take.
const LIST_ANSWERS_MAX: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the public keys of digests come from.
#[async_trait]
pub trait PublicKeys: Send + Sync + 'static {
    /// The PKCS#1 DER of the key of `fingerprint` that was valid at `time`; none where there is none.
    async fn public_key(&self, fingerprint: &str, time: Timestamp) -> Result<Option<Vec<u8>>, AccessError>;
}

/// Public keys that are known beforehand: then the answers of no server need to be believed.
///
/// ```
/// use cairn_processing::PinnedKeys;
///
/// let der_of_the_key = vec![0x30, 0x82];
/// let keys = PinnedKeys::new([der_of_the_key]);
/// # let _ = keys;
/// ```
#[derive(Clone, Debug, Default)]
pub struct PinnedKeys(BTreeMap<String, Vec<u8>>);

impl PinnedKeys {
    /// Keys as the PKCS#1 DER that `ListPublicKeys` gives as `Value`.
    pub fn new(keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self(keys.into_iter().map(|key| (fingerprint(&key), key)).collect())
    }
}

#[async_trait]
impl PublicKeys for PinnedKeys {
    async fn public_key(&self, fingerprint: &str, _: Timestamp) -> Result<Option<Vec<u8>>, AccessError> {
        Ok(self.0.get(fingerprint).cloned())
    }
}

/// What is done with a file that no digest lists yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// Its events are handled; their [`Verification`] says so.
    Handle,
    /// Its message is put off for this long, again and again until a digest lists the file; a file that none lists a day
    /// after it was written is refused. Mind the queue's retention and its limit of receipts.
    PutOff(Duration),
}

/// What is known of a file whose events are handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// A digest that verifies lists it with its hash.
    Verified {
        /// The digest's key.
        digest: String,
    },
    /// No digest lists it yet.
    NotListed,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerificationError {
    /// Its key is none that a trail gives, so that its digests cannot be found.
    #[error("the key is not that of a delivered log file")]
    Key,
    /// It is not what was delivered.
    #[error("the digest {digest} lists the log file with another hash")]
    Altered {
        /// The digest's key.
        digest: String,
    },
    /// No digest listed it within a day.
    #[error("no digest lists the log file")]
    NotListed,
    /// A digest that may list it is not sound.
    #[error("the digest {digest} is not sound")]
    Digest {
        /// The digest's key.
        digest: String,
        /// What is wrong with it.
        #[source]
        flaw: DigestFlaw,
    },
    /// A digest that may list it does not fit its predecessor.
    #[error("the chain of digests is broken")]
    Chain(#[source] ChainFlaw),
    /// A digest could not be read.
    #[error("the digest {digest} could not be read")]
    Unreadable {
        /// The digest's key.
        digest: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Digests or keys could not be fetched.
    #[error("the digests could not be fetched")]
    Access(#[from] AccessError),
}

/// A file that was read, for its check.
pub(crate) struct FileToVerify<'a> {
    pub(crate) file: &'a LogFile,
    pub(crate) sha256_hex: String,
    pub(crate) last_modified: Option<&'a str>,
    pub(crate) now: Timestamp,
}

/// What comes of a check.
pub(crate) enum Verdict {
    Passed(Verification),
    Deferred,
}

/// Holds every log file to the digests of its trail.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cairn_processing::{DigestCheck, PinnedKeys, Unlisted};
///
/// let keys = Arc::new(PinnedKeys::default());
/// let check = DigestCheck::new(keys, Unlisted::PutOff(Duration::from_secs(900)));
/// # let _ = check;
/// ```
pub struct DigestCheck {
    keys: Arc<dyn PublicKeys>,
    unlisted: Unlisted,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    digests: VecDeque<Arc<Verified>>,
    files: usize,
    /// The digests of a bucket and day, and when they were listed; the oldest list first.
    lists: VecDeque<(String, Timestamp, Arc<Vec<DigestKey>>)>,
}

impl fmt::Debug for DigestCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestCheck").field("unlisted", &self.unlisted).finish_non_exhaustive()
    }
}

impl DigestCheck {
    /// A check with these keys: [`PinnedKeys`], or those of [`aws::Client`](crate::aws::Client).
    #[must_use]
    pub fn new(keys: Arc<dyn PublicKeys>, unlisted: Unlisted) -> Self {
        Self { keys, unlisted, cache: Mutex::default() }
    }

    /// For how long the message of an unlisted file is put off.
    pub(crate) fn deferral(&self) -> Option<Duration> {
        match self.unlisted {
            Unlisted::Handle => None,
            Unlisted::PutOff(delay) => Some(delay),
        }
    }

    pub(crate) async fn verify(
        &self,
        objects: &dyn ObjectSource,
        found: &FileToVerify<'_>,
    ) -> Result<Verdict, VerificationError> {
        let key = LogFileKey::parse(&found.file.key).ok_or(VerificationError::Key)?;
        let written = found.last_modified.and_then(parse_http_date).unwrap_or(key.stamp).max(key.stamp);
        let latest = written.plus(LISTED_WITHIN);
        let bucket = &found.file.bucket;
        let mut fault = None;
        let mut day = written.floor(DAY);
        while day <= latest && day <= found.now {
            let listed = self.digests_of_day(objects, bucket, &key, day, found.now).await?;
            for digest in listed.iter().filter(|digest| digest.end >= written && digest.end <= latest) {
                match self.digest(objects, bucket, &digest.to_string()).await {
                    Ok(verified) => {
                        if let Some(verdict) = judge(&verified, found) {
                            return verdict.map(Verdict::Passed);
                        }
                    }
                    Err(error @ VerificationError::Access(_)) => return Err(error),
                    Err(error) => fault = Some(error),
                }
            }
            day = day.plus(DAY);
        }
        // Where a digest that might list the file is broken, nobody can say that the file is sound.
        if let Some(fault) = fault {
            return Err(fault);
        }
        match self.unlisted {
            Unlisted::Handle => Ok(Verdict::Passed(Verification::NotListed)),
            Unlisted::PutOff(_) if found.now <= latest => Ok(Verdict::Deferred),
            Unlisted::PutOff(_) => Err(VerificationError::NotListed),
        }
    }

    /// The digests of the file's account and region on a day, the earliest first.
    async fn digests_of_day(
        &self,
        objects: &dyn ObjectSource,
        bucket: &str,
        file: &LogFileKey,
        day: Timestamp,
        now: Timestamp,
    ) -> Result<Arc<Vec<DigestKey>>, VerificationError> {
        let root = account_root(file.prefix.as_deref(), file.organization.as_deref(), &file.account);
        let prefix = format!("{root}CloudTrail-Digest/{}/{}/", file.region, day.day_path());
        let name = format!("{bucket}/{prefix}");
        if let Some(known) = self.with_cache(|cache| cache.list(&name, now)) {
            return Ok(known);
        }
        let mut digests: Vec<DigestKey> = Vec::new();
        let mut start_after = String::new();
        for _ in 0..LIST_ANSWERS_MAX {
            let request = ListRequest { bucket, prefix: &prefix, start_after: &start_after };
            let keys = objects.list(request).await?;
            let Some(last) = keys.last() else { break };
            start_after.clone_from(last);
            digests.extend(keys.iter().filter_map(|key| DigestKey::parse(key)));
        }
        digests.sort_by_key(|digest| digest.end);
        let digests = Arc::new(digests);
        self.with_cache(|cache| cache.keep_list(name, now, Arc::clone(&digests)));
        Ok(digests)
    }

    /// A digest that is sound by itself and fits its predecessor, where that is still there.
    async fn digest(
        &self,
        objects: &dyn ObjectSource,
        bucket: &str,
        key: &str,
    ) -> Result<Arc<Verified>, VerificationError> {
        if let Some(known) = self.with_cache(|cache| cache.digest(bucket, key)) {
            return Ok(known);
        }
        let verified = self.fetch(objects, bucket, key).await?;
        if let Some(previous_key) = &verified.digest.previous_digest_s3_object {
            let previous_bucket = verified.digest.previous_digest_s3_bucket.as_deref().unwrap_or(bucket);
            let known = self.with_cache(|cache| cache.digest(previous_bucket, previous_key));
            let previous = match known {
                Some(known) => Some(known),
                None => match self.fetch(objects, previous_bucket, previous_key).await {
                    Ok(previous) => Some(Arc::new(previous)),
                    // Old digests may have been removed, or lie in a bucket that is not ours to read.
                    Err(VerificationError::Access(error)) if !error.is_retryable() => None,
                    Err(error) => return Err(error),
                },
            };
            if let Some(previous) = previous
                && let Some(flaw) = verify_chain(&[(*previous).clone(), verified.clone()]).into_iter().next()
            {
                return Err(VerificationError::Chain(flaw));
            }
        }
        let verified = Arc::new(verified);
        self.with_cache(|cache| cache.keep_digest(Arc::clone(&verified)));
        Ok(verified)
    }

    async fn fetch(
        &self,
        objects: &dyn ObjectSource,
        bucket: &str,
        key: &str,
    ) -> Result<Verified, VerificationError> {
        let unreadable = |source| VerificationError::Unreadable { digest: key.to_owned(), source };
        let mut object = objects.get(GetRequest { bucket, key, offset: 0, etag: None }).await?;
        let mut body = Vec::new();
        while let Some(bytes) = object.body.next().await {
            body.extend_from_slice(&bytes?);
            if body.len() > DIGEST_SIZE_BYTES_MAX {
                return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
            }
        }
        let mut json = Vec::new();
        let limit = DIGEST_SIZE_BYTES_MAX as u64;
        MultiGzDecoder::new(&body[..]).take(limit + 1).read_to_end(&mut json).map_err(unreadable)?;
        if json.len() > DIGEST_SIZE_BYTES_MAX {
            return Err(unreadable(std::io::ErrorKind::FileTooLarge.into()));
        }
        let metadata = |name: &str| object.metadata.get(name).map(String::as_str);
        let found = DigestObject {
            bucket,
            object: key,
            json: &json,
            signature: metadata(METADATA_SIGNATURE),
            signature_algorithm: metadata(METADATA_SIGNATURE_ALGORITHM),
        };
        let named = cairn_core::digest::Digest::parse(&json).map_err(|error| VerificationError::Digest {
            digest: key.to_owned(),
            flaw: DigestFlaw::Format(error),
        })?;
        let public_key =
            self.keys.public_key(&named.digest_public_key_fingerprint, named.digest_end_time).await?;
        verify(&found, |_| public_key.clone())
            .map_err(|flaw| VerificationError::Digest { digest: key.to_owned(), flaw })
    }

    fn with_cache<T>(&self, work: impl FnOnce(&mut Cache) -> T) -> T {
        work(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a digest says of a file, if anything.
fn judge(digest: &Verified, found: &FileToVerify<'_>) -> Option<Result<Verification, VerificationError>> {
    let listed = |bucket: &str, object: &str| bucket == found.file.bucket && object == found.file.key;
    let file = digest.digest.log_files.iter().find(|file| listed(&file.s3_bucket, &file.s3_object))?;
    let digest = digest.link.object.clone();
    Some(if file.hash_value.eq_ignore_ascii_case(&found.sha256_hex) {
        Ok(Verification::Verified { digest })
    } else {
        Err(VerificationError::Altered { digest })
    })
}

impl Cache {
    fn digest(&self, bucket: &str, key: &str) -> Option<Arc<Verified>> {
        let named = |digest: &&Arc<Verified>| digest.link.object == key && digest.link.bucket == bucket;
        self.digests.iter().rev().find(named).cloned()
    }

    fn keep_digest(&mut self, digest: Arc<Verified>) {
        // One is counted for the digest itself: empty ones take room as well.
        let weight = |digest: &Verified| digest.digest.log_files.len() + 1;
        self.files += weight(&digest);
        self.digests.push_back(digest);
        while self.files > CACHED_FILES_MAX && self.digests.len() > 1 {
            let Some(oldest) = self.digests.pop_front() else { break };
            self.files -= weight(&oldest);
        }
    }

    fn list(&self, name: &str, now: Timestamp) -> Option<Arc<Vec<DigestKey>>> {
        let (_, listed_at, keys) = self.lists.iter().find(|(listed, _, _)| listed == name)?;
        (now.since(*listed_at) <= LIST_AGE_MAX).then(|| Arc::clone(keys))
    }

    fn keep_list(&mut self, name: String, now: Timestamp, keys: Arc<Vec<DigestKey>>) {
        self.lists.retain(|(listed, _, _)| *listed != name);
        self.lists.push_back((name, now, keys));
        if self.lists.len() > CACHED_LISTS_MAX {
            self.lists.pop_front();
        }
    }
}

/// Reads `Fri, 20 Nov 2026 17:24:26 GMT`.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::parse_iso(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        let time = parse_http_date("Fri, 20 Nov 2026 17:24:26 GMT").unwrap();
        assert_eq!(time.iso(), "2026-11-20T17:24:26Z");
        for text in ["", "Fri, 20 Nov 2026", "Fri, 20 Brumaire 2026 17:24:26 GMT", "20 Nov 2026 17:24:26 GMT"]
        {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }
}
