//! `cairn rekey`: another root key for a data folder's secrets.

use std::error::Error;
use std::path::{Path, PathBuf};

use cairn_store::seal;

use crate::data_folder::DataFolder;
use crate::root_key;

/// Seals the sealing key of the folder `data` under the new root key.
pub fn run(
    data: &Path,
    root_key_file: Option<PathBuf>,
    new_root_key_file: Option<PathBuf>,
) -> Result<(), Box<dyn Error>> {
    let old = root_key::source(data, root_key_file, root_key::passphrase(root_key::PASSPHRASE))?;
    let new = root_key::new_source(new_root_key_file, root_key::passphrase(root_key::NEW_PASSPHRASE))?;
    let folder = DataFolder::open(data)?;
    seal::root::replace(&folder.seal_path(), &old, &new)?;
    tracing::info!(data = %data.display(), "the secrets are sealed under the new root key; destroy the old one");
    Ok(())
}
