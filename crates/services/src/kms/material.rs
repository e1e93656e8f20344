//! Key material and what it encrypts.
//!
//! A ciphertext says which key and which material made it, so that old material decrypts after a rotation. The key's
//! ARN, the material's id and the encryption context are bound to it: it opens with exactly these.

use aws_lc_rs::rand;
use cairn_core::{AccountId, Timestamp};
use cairn_store::Sealer;
use cairn_store::seal::KEY_SIZE_BYTES;

use super::error::{Failure, invalid_ciphertext};
use super::state::{EncryptionContext, Key, Material, RotationType};

/// The version of ciphertexts, their first byte.
const VERSION: u8 = 1;
const ACCOUNT_BYTES: usize = 12;
const KEY_ID_BYTES: usize = 36;
const MATERIAL_ID_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + ACCOUNT_BYTES + KEY_ID_BYTES + MATERIAL_ID_BYTES;

/// New material for the key `key_id`.
pub(super) fn new_material(
    sealer: &Sealer,
    key_id: &str,
    since: Timestamp,
    rotated_by: Option<RotationType>,
) -> Material {
    let (id, secret) = (hex::encode(random::<MATERIAL_ID_BYTES>()), random::<KEY_SIZE_BYTES>());
    let sealed = sealer.seal_text(&seal_context(key_id, &id), &secret);
    Material { id, sealed, since, rotated_by }
}

/// Random bytes of the cryptographic library's own.
pub(super) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn seal_context(key_id: &str, material_id: &str) -> String {
    format!("kms.material {key_id} {material_id}")
}

/// Encrypts under the key's current material.
pub(super) fn encrypt(
    sealer: &Sealer,
    key: &Key,
    context: &EncryptionContext,
    plaintext: &[u8],
) -> Result<Vec<u8>, Failure> {
    let material = key.current();
    let mut ciphertext = vec![VERSION];
    ciphertext.extend_from_slice(key.account.as_str().as_bytes());
    ciphertext.extend_from_slice(key.id.as_bytes());
    ciphertext.extend(hex::decode(&material.id).map_err(|_| invalid_ciphertext())?);
    let opened = open(sealer, key, material)?;
    ciphertext.extend(opened.seal(&bound(key, material, context), plaintext));
    Ok(ciphertext)
}

/// Decrypts what the key encrypted, under whichever of its material.
pub(super) fn decrypt(
    sealer: &Sealer,
    key: &Key,
    context: &EncryptionContext,
    ciphertext: &Ciphertext<'_>,
) -> Result<Vec<u8>, Failure> {
    let by_id = |material: &&Material| material.id == ciphertext.material_id;
    let material = key.materials.iter().find(by_id).ok_or_else(invalid_ciphertext)?;
    let opened = open(sealer, key, material)?;
    opened.open(&bound(key, material, context), ciphertext.sealed).map_err(|_| invalid_ciphertext())
}

fn open(sealer: &Sealer, key: &Key, material: &Material) -> Result<Sealer, Failure> {
    let secret = sealer.open_text(&seal_context(&key.id, &material.id), &material.sealed)?;
    let secret: [u8; KEY_SIZE_BYTES] = secret.try_into().map_err(|_| invalid_ciphertext())?;
    Ok(Sealer::from_key(&secret))
}

/// What a ciphertext is bound to, as text without ambiguity.
fn bound(key: &Key, material: &Material, context: &EncryptionContext) -> String {
    serde_json::to_string(&(key.arn(), &material.id, context)).expect("texts serialise to JSON")
}

/// A ciphertext, read as far as it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ciphertext<'a> {
    pub(super) account: AccountId,
    pub(super) key_id: String,
    material_id: String,
    sealed: &'a [u8],
}

impl<'a> Ciphertext<'a> {
    /// Reads what [`encrypt`] wrote.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        let (head, sealed) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(invalid_ciphertext)?;
        if head[0] != VERSION {
            return Err(invalid_ciphertext());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| invalid_ciphertext());
        let (account, rest) = head[1..].split_at(ACCOUNT_BYTES);
        let (key_id, material_id) = rest.split_at(KEY_ID_BYTES);
        Ok(Self {
            account: text(account)?.parse().map_err(|_| invalid_ciphertext())?,
            key_id: text(key_id)?,
            material_id: hex::encode(material_id),
            sealed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::KeyState;
    use super::*;

    fn key() -> (Sealer, Key) {
        let sealer = Sealer::from_key(&[7; KEY_SIZE_BYTES]);
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let key = Key {
            id: id.into(),
            account: "111122223333".parse().unwrap(),
            region: "eu-west-1".parse().unwrap(),
            created: Timestamp::from_millis(0),
            description: String::new(),
            state: KeyState::Enabled,
            aws_managed: false,
            policy: "{}".into(),
            tags: Vec::new(),
            materials: vec![new_material(&sealer, id, Timestamp::from_millis(0), None)],
            rotation: None,
        };
        (sealer, key)
    }

    #[test]
    fn a_ciphertext_opens_under_its_key_and_context_alone() {
        let (sealer, mut key) = key();
        let context = EncryptionContext::from([("a".to_owned(), "b".to_owned())]);
        let bytes = encrypt(&sealer, &key, &context, b"secret").unwrap();
        let read = Ciphertext::parse(&bytes).unwrap();
        assert_eq!((read.account.as_str(), read.key_id.as_str()), ("111122223333", key.id.as_str()));
        assert_eq!(decrypt(&sealer, &key, &context, &read).unwrap(), b"secret");
        assert!(decrypt(&sealer, &key, &EncryptionContext::new(), &read).is_err());
        let newer = new_material(&sealer, &key.id, Timestamp::from_millis(1), Some(RotationType::OnDemand));
        key.materials.push(newer);
        assert_eq!(decrypt(&sealer, &key, &context, &read).unwrap(), b"secret", "old material decrypts");
        key.materials.remove(0);
        assert!(decrypt(&sealer, &key, &context, &read).is_err());
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let opened = Ciphertext::parse(&altered).and_then(|read| decrypt(&sealer, &key, &context, &read));
            assert!(opened.is_err(), "byte {at}");
            assert!(Ciphertext::parse(&bytes[..at]).is_err() || at >= HEAD_BYTES);
        }
    }

    #[test]
    fn contexts_that_look_alike_are_told_apart() {
        let (_, key) = key();
        let pairs = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            bound(&key, key.current(), &owned.collect())
        };
        assert_ne!(pairs(&[("a", "b\",\"c\":\"d")]), pairs(&[("a", "b"), ("c", "d")]));
        assert_ne!(pairs(&[("ab", "c")]), pairs(&[("a", "bc")]));
    }
}
