//! Lines of groups with a KMS key: sealed one by one with AES-256-GCM, under data keys of the group's.
//!
//! A sealed line is: FF, which no text begins with; the version of this form; the number of the group's data key; 16
//! random bytes, from which and from the data key the line's own key is derived; the ciphertext. The group's number is
//! additional data, so that a line does not open in another group. All other lines are kept as they came: the store
//! itself encrypts its files.
//!
//! Keys are asked for in the name of `logs.REGION.amazonaws.com`, with the context `aws:logs:arn`; a key that is disabled
//! refuses writes, and reads of what it sealed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_store::catalog::Key as Row;
use cairn_store::lines::GroupId;
use cairn_store::{CatalogError, Table, Tx};
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};

use super::Logs;
use super::arn::GroupName;
use super::error::{Failure, fail, internal};
use super::state::{Group, group_id_row};
use crate::Caller;
use crate::kms::{Asker, DATA_KEY_BYTES, DataKey, EncryptionContext};
use crate::sinks::Source;

/// The data keys of groups: by the group's number and their own, which is at most `u32::MAX`.
const DATA_KEYS: Table<StoredKey> = Table::new("logs.data_key", 1);

/// What sealed lines begin with.
const MARK: u8 = 0xff;
/// The version of the form that this program writes.
const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
/// How many bytes stand before the salt: mark, version, number.
const HEAD_BYTES: usize = 6;
/// How long a data key seals new lines.
const DATA_KEY_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an opened data key is used again.
const REUSE_PERIOD: Duration = Duration::from_secs(5 * 60);
/// The most opened data keys that are kept.
const KEPT_KEYS_MAX: usize = 10_000;

type Key = [u8; DATA_KEY_BYTES];
/// A key, or KMS's code and message where it cannot be had.
type KeyOrRefusal = Result<Key, (String, String)>;

/// A data key of a group's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredKey {
    /// The data key, encrypted, in base64.
    blob: String,
    /// The KMS key that encrypted it.
    kms_key_arn: String,
    made: Timestamp,
}

/// Opened data keys, and until when they are used again. Without Debug: they are secrets.
#[derive(Default)]
pub(super) struct OpenedKeys(Mutex<HashMap<(GroupId, u32), (Key, Timestamp)>>);

impl OpenedKeys {
    fn find(&self, place: (GroupId, u32), now: Timestamp) -> Option<Key> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&place).filter(|(_, until)| now < *until).map(|(key, _)| *key)
    }

    fn keep(&self, place: (GroupId, u32), key: Key, now: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_KEYS_MAX {
            kept.retain(|_, (_, until)| now < *until);
        }
        if kept.len() < KEPT_KEYS_MAX {
            kept.insert(place, (key, now.plus(REUSE_PERIOD)));
        }
    }
}

/// What new lines of a group are sealed under.
pub(super) struct SealingKey {
    group: GroupId,
    number: u32,
    key: Key,
}

/// What opens the lines of a group. Without Debug: it holds secrets.
#[derive(Clone)]
pub(crate) struct Opener {
    group: GroupId,
    keys: Arc<HashMap<u32, KeyOrRefusal>>,
}

impl Logs {
    /// A data key for a group of that name, under the key that its caller named.
    pub(super) async fn new_data_key(&self, name: &GroupName, key: &str) -> Result<DataKey, Failure> {
        let made = self.data_keys.generate(&self.asker(name), key, &context(name)).await;
        made.map_err(|error| not_usable(name, error))
    }

    /// What new lines of the group are sealed under: nothing where it has no KMS key.
    pub(super) async fn sealing_key(&self, group: &Group) -> Result<Option<SealingKey>, Failure> {
        let Some(kms_key) = &group.kms_key_arn else { return Ok(None) };
        let (asker, now) = (self.asker(&group.name), self.clock.now());
        let usable = self.data_keys.usable_key(&asker, kms_key).await;
        usable.map_err(|error| not_usable(&group.name, error))?;
        let latest = self.stored_keys(group.id).await?.pop();
        let fresh = latest.filter(|(_, stored)| {
            stored.kms_key_arn == *kms_key && now.since(stored.made) < DATA_KEY_LIFETIME
        });
        if let Some((number, stored)) = fresh {
            let opened = self.opened_key(group, number, &stored).await;
            let key = opened.map_err(|error| not_usable(&group.name, error))?;
            return Ok(Some(SealingKey { group: group.id, number, key }));
        }
        let made = self.new_data_key(&group.name, kms_key).await?;
        let (id, plaintext) = (group.id, made.plaintext);
        let number = self.catalog.write(move |tx| add_data_key(tx, id, &made, now)).await?;
        self.opened_keys.keep((group.id, number), plaintext, now);
        Ok(Some(SealingKey { group: group.id, number, key: plaintext }))
    }

    /// What opens the group's lines. Keys that cannot be had refuse the lines that they sealed, and no others.
    pub(crate) async fn opener(&self, group: &Group) -> Result<Opener, Failure> {
        let mut keys = HashMap::new();
        for (number, stored) in self.stored_keys(group.id).await? {
            let usable = self.data_keys.usable_key(&self.asker(&group.name), &stored.kms_key_arn).await;
            let opened = match usable {
                Ok(_) => self.opened_key(group, number, &stored).await,
                Err(error) => Err(error),
            };
            let opened = match opened {
                Err(error) if error.status >= 500 => return Err(error.into()),
                other => other.map_err(|error| (error.code.into_owned(), error.message)),
            };
            keys.insert(number, opened);
        }
        Ok(Opener { group: group.id, keys: Arc::new(keys) })
    }

    async fn opened_key(&self, group: &Group, number: u32, stored: &StoredKey) -> Result<Key, AwsError> {
        let (place, now) = ((group.id, number), self.clock.now());
        if let Some(key) = self.opened_keys.find(place, now) {
            return Ok(key);
        }
        let blob = STANDARD.decode(&stored.blob).map_err(AwsError::internal)?;
        let key = self.data_keys.decrypt(&self.asker(&group.name), &blob, &context(&group.name)).await?;
        self.opened_keys.keep(place, key, now);
        Ok(key)
    }

    async fn stored_keys(&self, group: GroupId) -> Result<Vec<(u32, StoredKey)>, CatalogError> {
        self.catalog.read(move |tx| read_keys(tx, group)).await
    }

    fn asker(&self, name: &GroupName) -> Asker {
        let service = format!("logs.{}.amazonaws.com", name.region);
        let place = (name.account.clone(), name.region.clone());
        let caller = Caller::of_service(&service, place, self.clock.now(), self.entropy.event_id());
        let source = Source { service, arn: name.to_string(), account: name.account.clone() };
        Asker::for_source("logs", caller, &source)
    }
}

fn read_keys(tx: &mut dyn Tx, group: GroupId) -> Result<Vec<(u32, StoredKey)>, CatalogError> {
    let rows = DATA_KEYS.scan_prefix(tx, group_id_row(group).bytes())?;
    // Each has its number at the row's end.
    let numbered = rows.into_iter().filter_map(|(row, stored)| {
        let number = row.last_chunk::<4>()?;
        Some((u32::from_be_bytes(*number), stored))
    });
    Ok(numbered.collect())
}

/// Adds a data key to a group's, and gives its number.
pub(super) fn add_data_key(
    tx: &mut dyn Tx,
    group: GroupId,
    made: &DataKey,
    now: Timestamp,
) -> Result<u32, CatalogError> {
    let number = read_keys(tx, group)?.last().map_or(0, |(last, _)| last.saturating_add(1));
    let stored =
        StoredKey { blob: STANDARD.encode(&made.blob), kms_key_arn: made.key_arn.clone(), made: now };
    DATA_KEYS.put(tx, key_row(group, number).bytes(), &stored)?;
    Ok(number)
}

/// Removes the data keys of a group that is deleted.
pub(super) fn remove_data_keys(tx: &mut dyn Tx, group: GroupId) -> Result<(), CatalogError> {
    for (number, _) in read_keys(tx, group)? {
        DATA_KEYS.delete(tx, key_row(group, number).bytes())?;
    }
    Ok(())
}

fn key_row(group: GroupId, number: u32) -> Row {
    group_id_row(group).number(u64::from(number))
}

impl SealingKey {
    /// What a filter's debts are sealed under: the server's own key, and the filter's number in place of a group's.
    pub(super) fn of_debts(filter: GroupId, key: Key) -> Self {
        Self { group: filter, number: 0, key }
    }

    /// Seals a line.
    pub(super) fn seal(&self, text: &[u8]) -> Result<Bytes, Failure> {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt).map_err(|_| internal("the system gives no random bytes"))?;
        let mut ciphertext = text.to_vec();
        line_key(&self.key, &salt)
            .seal_in_place_append_tag(nonce(), Aad::from(self.group.0.to_be_bytes()), &mut ciphertext)
            .map_err(|_| internal("a line is too long to be sealed"))?;
        let mut sealed = Vec::with_capacity(HEAD_BYTES + SALT_BYTES + ciphertext.len());
        sealed.extend([MARK, VERSION]);
        sealed.extend(self.number.to_be_bytes());
        sealed.extend(salt);
        sealed.extend(ciphertext);
        Ok(sealed.into())
    }
}

impl Opener {
    /// What opens a filter's debts.
    pub(super) fn of_debts(filter: GroupId, key: Key) -> Self {
        Self { group: filter, keys: Arc::new(HashMap::from([(0, Ok(key))])) }
    }

    /// Whether lines may be there that have to be opened: where not, what is stored is the text.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The text of a stored line.
    ///
    /// # Errors
    /// `AccessDeniedException` where its key cannot be had.
    pub(crate) fn open(&self, stored: &Bytes) -> Result<Bytes, AwsError> {
        if stored.first() != Some(&MARK) {
            return Ok(stored.clone());
        }
        let damaged = || AwsError::internal("a stored line cannot be opened");
        let (head, rest) = stored.split_first_chunk::<HEAD_BYTES>().ok_or_else(damaged)?;
        let [MARK, VERSION, number @ ..] = *head else { return Err(damaged()) };
        let key = match self.keys.get(&u32::from_be_bytes(number)).ok_or_else(damaged)? {
            Ok(key) => key,
            Err((code, message)) => return Err(refused_by_kms(code, message)),
        };
        let (salt, ciphertext) = rest.split_at_checked(SALT_BYTES).ok_or_else(damaged)?;
        let mut bytes = ciphertext.to_vec();
        let aad = Aad::from(self.group.0.to_be_bytes());
        let opened = line_key(key, salt).open_in_place(nonce(), aad, &mut bytes);
        let size_bytes = opened.map_err(|_| damaged())?.len();
        bytes.truncate(size_bytes);
        Ok(bytes.into())
    }
}

/// It seals one line alone, so its nonce may be fixed.
fn line_key(key: &Key, salt: &[u8]) -> LessSafeKey {
    let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), salt);
    let key = UnboundKey::new(&AES_256_GCM, derived.as_ref()).expect("SHA-256 has AES-256's length");
    LessSafeKey::new(key)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn context(name: &GroupName) -> EncryptionContext {
    EncryptionContext::from([("aws:logs:arn".to_owned(), name.to_string())])
}

/// KMS's refusals as CloudWatch Logs words them, for whoever associates a key or writes.
fn not_usable(name: &GroupName, error: AwsError) -> Failure {
    if error.status >= 500 {
        return error.into();
    }
    fail(
        "AccessDeniedException",
        format!("The specified KMS key does not exist or is not allowed to be used with Arn '{name}'"),
    )
}

fn refused_by_kms(code: &str, message: &str) -> AwsError {
    AwsError::invalid(
        "AccessDeniedException",
        format!("The log events are encrypted with a KMS key that cannot be used: {code}: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    const KEY: Key = [7; DATA_KEY_BYTES];

    fn opener(group: u64, key: KeyOrRefusal) -> Opener {
        Opener { group: GroupId(group), keys: Arc::new(HashMap::from([(3, key)])) }
    }

    #[test]
    fn data_keys_are_written_and_read_as_in_their_first_version() {
        check::<StoredKey>(
            r#"{"blob":"AQ==","kms_key_arn":"arn:aws:kms:eu-west-1:111122223333:key/k","made":1}"#,
        );
    }

    /// What version 1 looks like: these bytes must open for ever.
    #[test]
    fn lines_open_as_version_1_sealed_them() {
        let golden = "ff0100000003000102030405060708090a0b0c0d0e0fa041aeff89d4ab1838fe271a64c5388ac49359eb";
        let stored = Bytes::from(hex::decode(golden).unwrap());
        assert_eq!(&opener(1, Ok(KEY)).open(&stored).unwrap()[..], b"line");
    }

    #[test]
    fn what_is_sealed_opens_for_its_group_and_key_alone() {
        let sealing = SealingKey { group: GroupId(1), number: 3, key: KEY };
        let sealed = sealing.seal(b"line").unwrap();
        assert_ne!(sealed, sealing.seal(b"line").unwrap(), "no two look alike");
        assert_eq!(&opener(1, Ok(KEY)).open(&sealed).unwrap()[..], b"line");
        assert!(opener(2, Ok(KEY)).open(&sealed).is_err());
        assert!(opener(1, Ok([8; DATA_KEY_BYTES])).open(&sealed).is_err());
        let disabled = opener(1, Err(("DisabledException".into(), "k is disabled.".into())));
        assert_eq!(disabled.open(&sealed).unwrap_err().code, "AccessDeniedException");
        for at in 1..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert!(opener(1, Ok(KEY)).open(&altered.into()).is_err(), "byte {at}");
            assert!(opener(1, Ok(KEY)).open(&sealed.slice(..at)).is_err(), "cut at {at}");
        }
        let plain = Bytes::from_static("æ plain".as_bytes());
        assert_eq!(disabled.open(&plain).unwrap(), plain);
    }
}
