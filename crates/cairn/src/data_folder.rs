//! The data folder: who has it open, and the files in it that belong to no store.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cairn_core::{AccountId, Region};
use cairn_store::{SealError, Sealer};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the server's file.
const SERVER_VERSION: u32 = 1;
/// The version of the credentials' file.
const CREDENTIALS_VERSION: u32 = 2;

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another server has it.
    #[error("the data folder {path} is in use by another cairn (process {holder})")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process id the holder wrote down.
        holder: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not understood")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A file was written by a newer program.
    #[error("{path} has version {found}, this program knows {known}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// A secret cannot be opened.
    #[error("a secret in {path} cannot be opened")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SealError,
    },
}

/// The root keys of the accounts, for `cairn env`. Version 1 had secrets in clear; the start replaces it.
#[derive(Debug, Serialize, Deserialize)]
struct CredentialsFile {
    version: u32,
    /// One entry an account, in the order they were made.
    accounts: Vec<SealedRootKeys>,
}

/// The root keys of one account, as the file has them.
#[derive(Debug, Serialize, Deserialize)]
struct SealedRootKeys {
    account: AccountId,
    access_key_id: String,
    sealed_secret_access_key: String,
}

/// The root keys of one account.
#[derive(Clone)]
pub struct RootKeys {
    /// The account.
    pub account: AccountId,
    /// The key's id.
    pub access_key_id: String,
    /// The key's secret.
    pub secret_access_key: String,
}

impl std::fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootKeys({}, {})", self.account, self.access_key_id)
    }
}

/// Where the server of this folder was last reached.
#[derive(Debug, Serialize, Deserialize)]
pub struct ServerFile {
    version: u32,
    /// `http://127.0.0.1:4580`.
    pub endpoint: String,
    /// The region for clients.
    pub region: Region,
}

/// A data folder that this process has to itself.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is missing (mode 0700) and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, DataFolderError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| DataFolderError::Io { action, path, source }
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed("make the data folder", path))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            lock.read_to_string(&mut holder).map_err(failed("read", &lock_path))?;
            return Err(DataFolderError::InUse { path: path.to_owned(), holder: holder.trim().to_owned() });
        }
        lock.set_len(0).map_err(failed("write", &lock_path))?;
        writeln!(lock, "{}", std::process::id()).map_err(failed("write", &lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of `name` inside the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder inside the folder for files that do not outlive this process: what an earlier one left is removed.
    pub fn empty_subfolder(&self, name: &str) -> Result<PathBuf, DataFolderError> {
        let path = self.join(name);
        let failed = |action| {
            let path = path.clone();
            move |source| DataFolderError::Io { action, path, source }
        };
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("empty")(error));
            }
            _ => {}
        }
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed("make"))?;
        Ok(path)
    }

    /// Where the sealing key is.
    pub fn seal_path(&self) -> PathBuf {
        seal_path(&self.path)
    }

    /// Whether an earlier version wrote down the accounts' root keys in clear.
    pub fn has_clear_credentials(&self) -> Result<bool, DataFolderError> {
        let path = credentials_path(&self.path);
        if !path.exists() {
            return Ok(false);
        }
        Ok(read_version(&path)? < CREDENTIALS_VERSION)
    }

    /// Writes down the accounts' root keys, readable by the owner only, their secrets sealed.
    pub fn write_credentials(&self, accounts: &[RootKeys], sealer: &Sealer) -> Result<(), DataFolderError> {
        let sealed = |keys: &RootKeys| SealedRootKeys {
            account: keys.account.clone(),
            access_key_id: keys.access_key_id.clone(),
            sealed_secret_access_key: sealer
                .seal_text(&seal_context(&keys.access_key_id), keys.secret_access_key.as_bytes()),
        };
        let accounts = accounts.iter().map(sealed).collect();
        let file = CredentialsFile { version: CREDENTIALS_VERSION, accounts };
        write_private(&credentials_path(&self.path), &file)
    }

    /// Writes down where the server listens.
    pub fn write_server(&self, endpoint: &str, region: &Region) -> Result<ServerFile, DataFolderError> {
        let file =
            ServerFile { version: SERVER_VERSION, endpoint: endpoint.to_owned(), region: region.clone() };
        write_private(&server_path(&self.path), &file)?;
        Ok(file)
    }
}

fn credentials_path(data: &Path) -> PathBuf {
    data.join("credentials.json")
}

fn server_path(data: &Path) -> PathBuf {
    data.join("server.json")
}

/// Where the sealing key of the folder `data` is.
pub fn seal_path(data: &Path) -> PathBuf {
    data.join("seal.json")
}

fn seal_context(access_key_id: &str) -> String {
    format!("credentials {access_key_id}")
}

/// The root keys written down in the folder `data`.
pub fn read_credentials(data: &Path, sealer: &Sealer) -> Result<Vec<RootKeys>, DataFolderError> {
    let path = credentials_path(data);
    let file: CredentialsFile = read(&path, CREDENTIALS_VERSION)?;
    let opened = |keys: SealedRootKeys| {
        let context = seal_context(&keys.access_key_id);
        let failed = |source| DataFolderError::Sealed { path: path.clone(), source };
        let secret = sealer.open_text(&context, &keys.sealed_secret_access_key).map_err(failed)?;
        let secret_access_key =
            String::from_utf8(secret).map_err(|_| failed(SealError::Broken { context }))?;
        Ok(RootKeys { account: keys.account, access_key_id: keys.access_key_id, secret_access_key })
    };
    file.accounts.into_iter().map(opened).collect()
}

/// Where the server of the folder `data` listens.
pub fn read_server(data: &Path) -> Result<ServerFile, DataFolderError> {
    read(&server_path(data), SERVER_VERSION)
}

/// Every file of the folder names its version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn read<T: DeserializeOwned>(path: &Path, known: u32) -> Result<T, DataFolderError> {
    match read_version(path)? {
        found if found == known => parse(path),
        found => Err(DataFolderError::Version { path: path.to_owned(), found, known }),
    }
}

fn read_version(path: &Path) -> Result<u32, DataFolderError> {
    Ok(parse::<Versioned>(path)?.version)
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, DataFolderError> {
    let failed = |source| DataFolderError::Io { action: "read", path: path.to_owned(), source };
    let text = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|source| DataFolderError::Format { path: path.to_owned(), source })
}

/// Replaces a file in one step, so that a crash leaves the old one or the new one.
fn write_private(path: &Path, value: &impl Serialize) -> Result<(), DataFolderError> {
    let temporary = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    attempt().map_err(|source| DataFolderError::Io { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolder::open(folder.path()).unwrap();
        let second = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(second.contains("is in use by another cairn"), "{second}");
        assert!(second.contains(&std::process::id().to_string()), "{second}");
        drop(first);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn credentials_are_readable_by_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(folder.path()).unwrap();
        let keys = RootKeys {
            account: "123456789012".parse().unwrap(),
            access_key_id: "AKIA".into(),
            secret_access_key: "secret".into(),
        };
        assert!(!format!("{keys:?}").contains("secret"));
        let sealer = Sealer::from_key(&[7; 32]);
        data.write_credentials(&[keys], &sealer).unwrap();
        let mode = std::fs::metadata(credentials_path(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!std::fs::read_to_string(credentials_path(folder.path())).unwrap().contains("secret\""));
        assert_eq!(read_credentials(folder.path(), &sealer).unwrap()[0].secret_access_key, "secret");
        assert!(read_credentials(folder.path(), &Sealer::from_key(&[8; 32])).is_err());
    }
}
