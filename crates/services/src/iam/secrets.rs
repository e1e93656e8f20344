//! Secrets of access keys at rest: sealed for their key's id.

use cairn_store::{CatalogError, Sealer, Tx};
use cairn_wire::sigv4::Secret;
use serde::{Deserialize, Serialize};

use super::Iam;
use super::state::{AccessKey, KEYS};

/// A secret as it is kept: sealed text, or clear until [`Iam::seal_clear_secrets`] has sealed it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct KeptSecret(String);

impl std::fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptSecret")
    }
}

impl KeptSecret {
    /// Seals the secret of the access key `id`.
    pub(super) fn seal(sealer: &Sealer, id: &str, secret: &str) -> Self {
        Self(sealer.seal_text(&context(id), secret.as_bytes()))
    }
}

impl AccessKey {
    /// The key's secret.
    pub(super) fn open_secret(&self, sealer: &Sealer) -> Result<Secret, CatalogError> {
        let KeptSecret(kept) = &self.secret;
        if !Sealer::is_sealed_text(kept) {
            return Ok(Secret::new(kept.clone()));
        }
        let unreadable = |source| CatalogError::Decode { table: "iam_access_key", source };
        let bytes = sealer.open_text(&context(&self.id), kept).map_err(|error| unreadable(error.into()))?;
        String::from_utf8(bytes).map(Secret::new).map_err(|error| unreadable(error.into()))
    }
}

impl Iam {
    /// Seals the secrets that an earlier version kept in clear; says whether there were any.
    ///
    /// # Errors
    /// The catalog's failure.
    pub async fn seal_clear_secrets(&self) -> Result<bool, CatalogError> {
        let sealer = self.sealer.clone();
        let sealed = self.catalog.write(move |tx| seal_all(tx, &sealer)).await?;
        Ok(sealed > 0)
    }
}

fn seal_all(tx: &mut dyn Tx, sealer: &Sealer) -> Result<usize, CatalogError> {
    let mut sealed = 0;
    for (place, mut key) in KEYS.scan_prefix(tx, &[])? {
        if !Sealer::is_sealed_text(&key.secret.0) {
            key.secret = KeptSecret::seal(sealer, &key.id, &key.secret.0);
            KEYS.put(tx, &place, &key)?;
            sealed += 1;
        }
    }
    Ok(sealed)
}

fn context(id: &str) -> String {
    format!("iam.access_key {id}")
}
