//! The root key: from a file or a passphrase, never kept with what it seals; and the file that holds the sealing key
//! sealed under it.
//!
//! Invariants: a root key that does not fit the sealing key's file stops the start, and neither file is made anew
//! where the other one says that there was one. The file is replaced in one step.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::{pbkdf2, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{KEY_SIZE_BYTES, Sealer};

/// The version of the sealing key's file.
const VERSION: u32 = 1;
/// How often a passphrase is hashed (OWASP's recommendation for PBKDF2-HMAC-SHA512).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(210_000).expect("not zero");
/// The most iterations that a file may ask for: a minute or so.
const ITERATIONS_MAX: u32 = 100_000_000;
/// Random bytes that go with a passphrase.
const SALT_SIZE_BYTES: usize = 16;
/// What the sealing key is sealed for.
const SEALING_KEY: &str = "sealing key";

/// Where the root key comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum RootSource {
    /// A file of 64 hexadecimal digits.
    File(PathBuf),
    /// A passphrase.
    Passphrase(String),
}

impl std::fmt::Debug for RootSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Passphrase(_) => f.write_str("Passphrase"),
        }
    }
}

/// Why secrets cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealFileError {
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
    /// The sealing key's file is not what it should be.
    #[error("{path} is not understood")]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sealing key's file was written by a newer program.
    #[error("{path} has version {found}, this program knows {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// The root key's file is gone.
    #[error(
        "the root key file {path} does not exist, but the data folder's secrets are sealed under one: \
         name it with --root-key-file"
    )]
    NoRootKey {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The root key's file holds no key.
    #[error("the root key file {path} does not hold 64 hexadecimal digits")]
    RootKeyForm {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase without characters.
    #[error("the root passphrase is empty")]
    EmptyPassphrase,
    /// The secrets are sealed under the other kind of root key.
    #[error("the data folder's secrets are sealed under a {wanted}, and a {given} was given")]
    Kind {
        /// What the file says.
        wanted: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// The root key is another one.
    #[error("the {given} is not the one that the data folder's secrets are sealed under ({path})")]
    WrongRootKey {
        /// What was given.
        given: &'static str,
        /// The sealing key's file.
        path: PathBuf,
    },
}

impl RootSource {
    fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "root key file",
            Self::Passphrase(_) => "root passphrase",
        }
    }
}

/// The sealing key's file.
#[derive(Serialize, Deserialize)]
struct SealFile {
    version: u32,
    root: Root,
    sealing_key_base64: String,
}

/// What the root key is made of.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Root {
    File,
    Passphrase { salt_hex: String, iterations: NonZeroU32 },
}

impl Root {
    fn kind(&self) -> &'static str {
        match self {
            Self::File => "root key file",
            Self::Passphrase { .. } => "root passphrase",
        }
    }
}

/// The sealer of the data folder whose sealing key is, sealed, in the file at `path`. Where there is no such file it is
/// made, and so is the root key's file where there is none.
///
/// # Errors
/// Where a file cannot be read or written, or the root key is not the one that the file was sealed under.
pub fn open(path: &Path, source: &RootSource) -> Result<Sealer, SealFileError> {
    let key = match read(path)? {
        Some(file) => unwrapped(path, &file, source)?,
        None => {
            let key = random();
            make_root_key_file(source)?;
            write(path, &wrapped(&key, source)?)?;
            key
        }
    };
    Ok(Sealer::from_key(&key))
}

/// The sealer of a data folder that exists; nothing is made.
///
/// # Errors
/// As [`open`], and where there is no such file.
pub fn open_existing(path: &Path, source: &RootSource) -> Result<Sealer, SealFileError> {
    Ok(Sealer::from_key(&unwrapped(path, &existing(path)?, source)?))
}

/// Seals the sealing key under the root key of `new` instead of that of `old`. No value changes. A root key file that
/// does not exist is made.
///
/// # Errors
/// As [`open_existing`]; the file is then as it was.
pub fn replace(path: &Path, old: &RootSource, new: &RootSource) -> Result<(), SealFileError> {
    let key = unwrapped(path, &existing(path)?, old)?;
    make_root_key_file(new)?;
    write(path, &wrapped(&key, new)?)
}

fn existing(path: &Path) -> Result<SealFile, SealFileError> {
    let missing =
        || SealFileError::Io { action: "read", path: path.to_owned(), source: ErrorKind::NotFound.into() };
    read(path)?.ok_or_else(missing)
}

fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

fn wrapped(key: &[u8; KEY_SIZE_BYTES], source: &RootSource) -> Result<SealFile, SealFileError> {
    let root = match source {
        RootSource::File(_) => Root::File,
        RootSource::Passphrase(_) => {
            Root::Passphrase { salt_hex: hex::encode(random::<SALT_SIZE_BYTES>()), iterations: ITERATIONS }
        }
    };
    let root_key = root_key(&root, source)?;
    let sealing_key_base64 = STANDARD.encode(Sealer::from_key(&root_key).seal(SEALING_KEY, key));
    Ok(SealFile { version: VERSION, root, sealing_key_base64 })
}

fn unwrapped(
    path: &Path,
    file: &SealFile,
    source: &RootSource,
) -> Result<[u8; KEY_SIZE_BYTES], SealFileError> {
    let not_understood = |source: Box<dyn std::error::Error + Send + Sync>| SealFileError::Format {
        path: path.to_owned(),
        source,
    };
    if let Root::Passphrase { iterations, .. } = file.root
        && iterations.get() > ITERATIONS_MAX
    {
        return Err(not_understood(format!("more than {ITERATIONS_MAX} iterations").into()));
    }
    let sealed = STANDARD.decode(&file.sealing_key_base64).map_err(|source| not_understood(source.into()))?;
    let wrong = || SealFileError::WrongRootKey { given: source.kind(), path: path.to_owned() };
    let root_key = root_key(&file.root, source)?;
    let key = Sealer::from_key(&root_key).open(SEALING_KEY, &sealed).map_err(|_| wrong())?;
    key.try_into().map_err(|_| wrong())
}

fn root_key(root: &Root, source: &RootSource) -> Result<[u8; KEY_SIZE_BYTES], SealFileError> {
    match (root, source) {
        (Root::File, RootSource::File(path)) => read_root_key(path),
        (Root::Passphrase { salt_hex, iterations }, RootSource::Passphrase(passphrase)) => {
            if passphrase.is_empty() {
                return Err(SealFileError::EmptyPassphrase);
            }
            let (algorithm, mut key) = (pbkdf2::PBKDF2_HMAC_SHA512, [0; KEY_SIZE_BYTES]);
            pbkdf2::derive(algorithm, *iterations, salt_hex.as_bytes(), passphrase.as_bytes(), &mut key);
            Ok(key)
        }
        _ => Err(SealFileError::Kind { wanted: root.kind(), given: source.kind() }),
    }
}

/// A root key that others may read guards nothing; it is used all the same, as a mounted secret may have such a mode.
fn warn_of_readers(path: &Path) {
    let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o7777);
        tracing::warn!(path = %path.display(), mode, "others than the server's user may reach the root key");
    }
}

fn read_root_key(path: &Path) -> Result<[u8; KEY_SIZE_BYTES], SealFileError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(SealFileError::NoRootKey { path: path.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            return Err(SealFileError::RootKeyForm { path: path.to_owned() });
        }
        Err(source) => return Err(SealFileError::Io { action: "read", path: path.to_owned(), source }),
    };
    warn_of_readers(path);
    let mut key = [0; KEY_SIZE_BYTES];
    let form = |_| SealFileError::RootKeyForm { path: path.to_owned() };
    hex::decode_to_slice(text.trim(), &mut key).map_err(form)?;
    Ok(key)
}

/// Makes the root key's file, readable by its owner only, where there is none.
fn make_root_key_file(source: &RootSource) -> Result<(), SealFileError> {
    let RootSource::File(path) = source else { return Ok(()) };
    let failed = |source| SealFileError::Io { action: "make", path: path.clone(), source };
    let text = format!("{}\n", hex::encode(random::<KEY_SIZE_BYTES>()));
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    sync_folder_of(path).map_err(failed)?;
    tracing::warn!(path = %path.display(), "a root key was made: keep a copy of it, away from the data folder");
    Ok(())
}

fn read(path: &Path) -> Result<Option<SealFile>, SealFileError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SealFileError::Io { action: "read", path: path.to_owned(), source }),
    };
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let not_understood =
        |source: serde_json::Error| SealFileError::Format { path: path.to_owned(), source: source.into() };
    match serde_json::from_slice::<Versioned>(&text).map_err(not_understood)?.version {
        VERSION => serde_json::from_slice(&text).map(Some).map_err(not_understood),
        found => Err(SealFileError::Version { path: path.to_owned(), found }),
    }
}

fn write(path: &Path, file: &SealFile) -> Result<(), SealFileError> {
    let temporary = path.with_extension("new");
    let attempt = || -> std::io::Result<()> {
        let mut open =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        open.set_permissions(Permissions::from_mode(0o600))?;
        serde_json::to_writer_pretty(&mut open, file)?;
        open.write_all(b"\n")?;
        open.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder_of(path)
    };
    attempt().map_err(|source| SealFileError::Io { action: "write", path: path.to_owned(), source })
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Sealer, SealFileError>, folder: &Path) -> String {
        result.unwrap_err().to_string().replace(&format!("{}", folder.display()), "DIR")
    }

    #[test]
    fn a_wrong_or_missing_root_key_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (seal, root) = (at("seal.json"), RootSource::File(at("root.key")));
        let sealed = open(&seal, &root).unwrap().seal("c", b"secret");
        assert_eq!(std::fs::metadata(at("root.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open(&seal, &root).unwrap().open("c", &sealed).unwrap(), b"secret");
        assert_eq!(open_existing(&seal, &root).unwrap().open("c", &sealed).unwrap(), b"secret");

        std::fs::write(at("other.key"), "00".repeat(32)).unwrap();
        assert_eq!(
            refusal(open(&seal, &RootSource::File(at("other.key"))), folder.path()),
            "the root key file is not the one that the data folder's secrets are sealed under (DIR/seal.json)"
        );
        assert_eq!(
            refusal(open(&seal, &RootSource::File(at("none.key"))), folder.path()),
            "the root key file DIR/none.key does not exist, but the data folder's secrets are sealed under one: \
             name it with --root-key-file"
        );
        assert!(!at("none.key").exists());
        std::fs::write(at("text.key"), "hunter2").unwrap();
        assert_eq!(
            refusal(open(&seal, &RootSource::File(at("text.key"))), folder.path()),
            "the root key file DIR/text.key does not hold 64 hexadecimal digits"
        );
        assert_eq!(
            refusal(open(&seal, &RootSource::Passphrase("p".into())), folder.path()),
            "the data folder's secrets are sealed under a root key file, and a root passphrase was given"
        );
        let text = std::fs::read_to_string(&seal).unwrap();
        std::fs::write(&seal, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        assert_eq!(
            refusal(open(&seal, &root), folder.path()),
            "DIR/seal.json has version 2, this program knows 1"
        );
    }

    #[test]
    fn the_root_key_is_replaced_without_touching_a_value() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (seal, old) = (at("seal.json"), RootSource::File(at("root.key")));
        let sealed = open(&seal, &old).unwrap().seal("c", b"secret");
        let new = RootSource::Passphrase("correct horse".into());
        replace(&seal, &old, &new).unwrap();
        assert_eq!(open(&seal, &new).unwrap().open("c", &sealed).unwrap(), b"secret");
        assert!(matches!(open(&seal, &old), Err(SealFileError::Kind { .. })));
        let wrong = open(&seal, &RootSource::Passphrase("incorrect horse".into())).unwrap_err();
        assert!(matches!(wrong, SealFileError::WrongRootKey { given: "root passphrase", .. }));
        replace(&seal, &new, &RootSource::File(at("new.key"))).unwrap();
        let opened = open(&seal, &RootSource::File(at("new.key"))).unwrap().open("c", &sealed);
        assert_eq!(opened.unwrap(), b"secret");
        assert!(matches!(
            replace(&at("none.json"), &new, &old),
            Err(SealFileError::Io { action: "read", .. })
        ));
    }

    /// What version 1 of the file looks like: these texts must be read for ever.
    #[test]
    fn the_file_is_read_as_version_1_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let (seal, key) = (folder.path().join("seal.json"), folder.path().join("root.key"));
        let sealed = Sealer::from_key(&[1; KEY_SIZE_BYTES]).seal("c", b"secret");
        std::fs::write(&key, "07".repeat(32) + "\n").unwrap();
        for (golden, source) in [
            (GOLDEN_FILE, RootSource::File(key)),
            (GOLDEN_PASSPHRASE, RootSource::Passphrase("correct horse".into())),
        ] {
            std::fs::write(&seal, golden).unwrap();
            assert_eq!(open(&seal, &source).unwrap().open("c", &sealed).unwrap(), b"secret");
        }
    }

    const GOLDEN_FILE: &str = r#"{"version":1,"root":{"kind":"file"},"sealing_key_base64":"AaMi+8lv1e/Enlogvo3E4F+PzRc17wizLUxhgavTDH0t2H5MnMj4D3hGQoTH4rD2adq5xrrT0ofOsBxA/NvZpvc="}"#;
    const GOLDEN_PASSPHRASE: &str = r#"{"version":1,"root":{"kind":"passphrase","salt_hex":"ea53166b451f271f4d4b81e565691b5b","iterations":210000},"sealing_key_base64":"AfNI0YfoKfEVhdp4C4B64F75cV4PCicT/7BBIRv9vXVuIR32Rg8gbaTmDdZHE5tYDO2aRt2kwx/cVhmzoY0T1Sg="}"#;
}
