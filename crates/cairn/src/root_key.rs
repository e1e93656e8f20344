//! Where this process takes the root key from: a file, or a passphrase in the environment. A passphrase is no flag,
//! since flags are open to whoever lists processes.

use std::path::{Path, PathBuf};

use cairn_store::seal::RootSource;

/// The variable that holds the passphrase.
pub const PASSPHRASE: &str = "CAIRN_ROOT_PASSPHRASE";
/// The variable that holds the passphrase from now on, for `cairn rekey`.
pub const NEW_PASSPHRASE: &str = "CAIRN_NEW_ROOT_PASSPHRASE";

/// Why it is not known which root key is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootKeyError {
    /// Two root keys.
    #[error("{file} and {variable} exclude each other")]
    Two {
        /// The flag.
        file: &'static str,
        /// The variable.
        variable: &'static str,
    },
    /// No new root key.
    #[error("name the new root key: --new-root-key-file FILE or {NEW_PASSPHRASE}")]
    None,
}

/// The root key of the data folder `data`: the passphrase or the file that was given, else the folder's own file.
pub fn source(
    data: &Path,
    file: Option<PathBuf>,
    passphrase: Option<String>,
) -> Result<RootSource, RootKeyError> {
    match (file, passphrase) {
        (Some(_), Some(_)) => Err(RootKeyError::Two { file: "--root-key-file", variable: PASSPHRASE }),
        (Some(file), None) => Ok(RootSource::File(file)),
        (None, Some(passphrase)) => Ok(RootSource::Passphrase(passphrase)),
        (None, None) => Ok(RootSource::File(data.join("root.key"))),
    }
}

/// The root key that is to take over.
pub fn new_source(file: Option<PathBuf>, passphrase: Option<String>) -> Result<RootSource, RootKeyError> {
    match (file, passphrase) {
        (Some(_), Some(_)) => {
            Err(RootKeyError::Two { file: "--new-root-key-file", variable: NEW_PASSPHRASE })
        }
        (Some(file), None) => Ok(RootSource::File(file)),
        (None, Some(passphrase)) => Ok(RootSource::Passphrase(passphrase)),
        (None, None) => Err(RootKeyError::None),
    }
}

/// The passphrase in the variable `name`, if it is set.
pub fn passphrase(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_root_key_and_its_default_is_the_folders_own_file() {
        let (data, key) = (Path::new("/data"), || Some(PathBuf::from("/etc/root.key")));
        assert_eq!(source(data, None, None), Ok(RootSource::File("/data/root.key".into())));
        assert_eq!(source(data, key(), None), Ok(RootSource::File("/etc/root.key".into())));
        assert_eq!(source(data, None, Some("p".into())), Ok(RootSource::Passphrase("p".into())));
        let two = source(data, key(), Some("p".into())).unwrap_err();
        assert_eq!(two.to_string(), "--root-key-file and CAIRN_ROOT_PASSPHRASE exclude each other");
        assert_eq!(new_source(None, None), Err(RootKeyError::None));
        assert_eq!(new_source(key(), None), Ok(RootSource::File("/etc/root.key".into())));
        assert_eq!(new_source(None, Some("p".into())), Ok(RootSource::Passphrase("p".into())));
        assert!(new_source(key(), Some("p".into())).is_err());
    }
}
