//! Log files held to digests that were signed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use cairn_core::digest::{Digest, DigestFrame, DigestKey, DigestedFile, Link, RsaSigner, Signer};
use cairn_core::logfile::{gzip, sha256_hex};
use cairn_processing::{
    Clock, DigestCheck, Event, HandlerError, LogFile, Options, PinnedKeys, ProcessingError, Processor,
    Timestamp, Unlisted, Verification, VerificationError,
};

use crate::fakes::{Buckets, Queue, Stored, content, file, options, run_until_empty};

/// Shortly after the stamp of the fakes' files.
const WRITTEN: &str = "Fri, 20 Nov 2026 17:24:26 GMT";

/// A clock that a test sets.
struct HandClock(Mutex<Timestamp>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap()
}

struct Trail {
    queue: Arc<Queue>,
    buckets: Arc<Buckets>,
    signer: RsaSigner,
    clock: Arc<HandClock>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Trail {
    fn new() -> Self {
        let der: Pkcs8V1Der<'static> = KeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap();
        let clock = Arc::new(HandClock(Mutex::new(time("2026-11-20T17:30:00Z"))));
        let signer = RsaSigner::from_pkcs8(der.as_ref()).unwrap();
        Self {
            queue: Arc::default(),
            buckets: Arc::new(Buckets::new(1)),
            signer,
            clock,
            seen: Arc::default(),
        }
    }

    fn put(&self, number: usize, id: &str) -> DigestedFile {
        let body = content(&[id.to_owned()]);
        let last_modified = Some(WRITTEN.to_owned());
        let hash_value = sha256_hex(&cairn_core::logfile::gunzip(&body, 1 << 20).unwrap());
        self.buckets.store(&file(number), Stored { body: body.into(), last_modified, ..Stored::default() });
        self.queue.announce(&file(number));
        let LogFile { bucket: s3_bucket, key: s3_object } = file(number);
        let hash_algorithm = "SHA-256".to_owned();
        let (oldest_event_time, newest_event_time) =
            (time("2026-11-20T17:20:00Z"), time("2026-11-20T17:20:00Z"));
        DigestedFile {
            s3_bucket,
            s3_object,
            hash_value,
            hash_algorithm,
            newest_event_time,
            oldest_event_time,
        }
    }

    /// Signs and puts the digest of the hour that ends at `hour`; `damage` may change what is put.
    fn digest(
        &self,
        hour: u32,
        files: Vec<DigestedFile>,
        previous: Option<Link>,
        damage: impl FnOnce(&mut Vec<u8>),
    ) -> Link {
        let end = time(&format!("2026-11-20T{hour:02}:00:00Z"));
        let object = DigestKey {
            prefix: None,
            organization: None,
            account: "111122223333".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            trail_name: "t".to_owned(),
            home_region: "us-east-1".parse().unwrap(),
            end,
        };
        let frame = DigestFrame {
            account: object.account.clone(),
            start: end.minus(Duration::from_secs(3600)),
            end,
            bucket: "logs".to_owned(),
            object: object.to_string(),
            previous,
        };
        let mut signed = Digest::new(frame, files, self.signer.fingerprint()).sign(&self.signer).unwrap();
        damage(&mut signed.json);
        let metadata =
            [("signature", signed.link.signature.as_str()), ("signature-algorithm", "SHA256withRSA")];
        let metadata: BTreeMap<String, String> =
            metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let key = LogFile { bucket: "logs".to_owned(), key: signed.link.object.clone() };
        self.buckets.store(&key, Stored { body: gzip(&signed.json), metadata, last_modified: None });
        signed.link
    }

    /// Runs for a while; says what was handled and how it was verified, and what was refused.
    async fn run(&self, unlisted: Unlisted) -> (Vec<String>, Vec<String>) {
        let keys = PinnedKeys::new([self.signer.public_key_der().to_vec()]);
        let (seen, kept) = (Arc::clone(&self.seen), Arc::<Mutex<Vec<String>>>::default());
        let refused = Arc::clone(&kept);
        let handler = move |events: Vec<Event>| {
            for event in events {
                let verification = match &event.origin().verification {
                    Some(Verification::Verified { digest }) => format!("in {}", &digest[digest.len() - 24..]),
                    Some(Verification::NotListed) => "not listed".to_owned(),
                    None => "not checked".to_owned(),
                };
                seen.lock().unwrap().push(format!("{} {verification}", event.event_id.as_ref().unwrap()));
            }
            async { Ok::<(), HandlerError>(()) }
        };
        let processor = Processor::builder(self.queue.clone(), self.buckets.clone(), handler)
            .options(Options { attempts_max: 2, ..options() })
            .clock(self.clock.clone())
            .digest_check(DigestCheck::new(Arc::new(keys), unlisted))
            .exceptions(move |failure| {
                let ProcessingError::Verification(error) = &failure.error else {
                    panic!("{failure:?}");
                };
                let source = match error {
                    VerificationError::Digest { flaw, .. } => format!(": {flaw}"),
                    VerificationError::Chain(flaw) => format!(": {flaw}"),
                    _ => String::new(),
                };
                refused.lock().unwrap().push(format!("{error}{source}"));
            })
            .build()
            .unwrap();
        run_until_empty(&processor, &self.queue, Duration::from_secs(50)).await;
        let refused = kept.lock().unwrap().clone();
        (self.seen.lock().unwrap().drain(..).collect(), refused)
    }
}

const PUT_OFF: Unlisted = Unlisted::PutOff(Duration::from_secs(600));

#[tokio::test(start_paused = true)]
async fn a_listed_file_passes_and_an_altered_one_is_refused_whatever_the_policy() {
    for unlisted in [PUT_OFF, Unlisted::Handle] {
        let trail = Trail::new();
        let (sound, mut altered) = (trail.put(1, "sound"), trail.put(2, "altered"));
        altered.hash_value = sha256_hex(b"as it was delivered");
        let first = trail.digest(17, Vec::new(), None, |_| {});
        trail.digest(18, vec![sound, altered], Some(first), |_| {});
        *trail.clock.0.lock().unwrap() = time("2026-11-20T18:30:00Z");
        let (seen, refused) = trail.run(unlisted).await;
        assert_eq!(seen, ["sound in 20261120T180000Z.json.gz"]);
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].ends_with("_20261120T180000Z.json.gz lists the log file with another hash"),
            "{refused:?}"
        );
        assert_eq!(trail.queue.left(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_no_digest_lists_yet_is_handled_or_put_off() {
    let trail = Trail::new();
    trail.put(1, "early");
    trail.digest(17, Vec::new(), None, |_| {});
    assert_eq!(trail.run(Unlisted::Handle).await, (vec!["early not listed".to_owned()], vec![]));

    let trail = Trail::new();
    let early = trail.put(1, "early");
    assert_eq!(trail.run(PUT_OFF).await, (vec![], vec![]));
    assert_eq!((trail.queue.left(), trail.queue.receives()), (1, vec![1]), "it waits");
    trail.digest(18, vec![early], None, |_| {});
    *trail.clock.0.lock().unwrap() = time("2026-11-20T18:30:00Z");
    crate::fakes::pause(Duration::from_secs(600)).await;
    let (seen, refused) = trail.run(PUT_OFF).await;
    assert_eq!((seen.len(), refused.len(), trail.queue.left()), (1, 0, 0));

    let trail = Trail::new();
    trail.put(1, "planted");
    trail.digest(18, vec![], None, |_| {});
    *trail.clock.0.lock().unwrap() = time("2026-11-22T00:00:00Z");
    let (seen, refused) = trail.run(PUT_OFF).await;
    assert_eq!((seen, refused), (vec![], vec!["no digest lists the log file".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_not_sound_vouches_for_nothing() {
    for (damage, expected) in [
        (0, "signature verification failed"),
        (1, "has a previousDigestHashValue that is not its predecessor's"),
    ] {
        let trail = Trail::new();
        let sound = trail.put(1, "sound");
        let mut first = trail.digest(17, Vec::new(), None, |_| {});
        if damage == 1 {
            first.hash = sha256_hex(b"another");
        }
        trail.digest(18, vec![sound], Some(first), |json| {
            if damage == 0 {
                json.push(b' ');
            }
        });
        *trail.clock.0.lock().unwrap() = time("2026-11-20T18:30:00Z");
        let (seen, refused) = trail.run(Unlisted::Handle).await;
        assert_eq!(seen, Vec::<String>::new());
        assert!(refused.len() == 1 && refused[0].ends_with(expected), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_not_pinned_vouches_for_nothing() {
    let mut trail = Trail::new();
    let sound = trail.put(1, "sound");
    trail.digest(18, vec![sound], None, |_| {});
    trail.signer = Trail::new().signer;
    *trail.clock.0.lock().unwrap() = time("2026-11-20T18:30:00Z");
    let (seen, refused) = trail.run(Unlisted::Handle).await;
    assert_eq!(seen, Vec::<String>::new());
    assert!(refused.len() == 1 && refused[0].contains("public key not found"), "{refused:?}");
}
