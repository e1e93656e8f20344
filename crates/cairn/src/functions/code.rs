//! Unpacked packages: each once, when a function of it is first started, until the server ends.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_services::lambda::{Package, Packages, RunFailure, unpack};
use tokio::sync::{Mutex, OnceCell};

/// The most packages that stay unpacked.
const PACKAGES_MAX: usize = 500;

/// The folder of unpacked packages.
pub(super) struct UnpackedCode {
    folder: PathBuf,
    packages: Packages,
    known: Mutex<HashMap<String, Arc<OnceCell<PathBuf>>>>,
}

impl UnpackedCode {
    /// In `folder`, which is there and empty.
    pub(super) fn new(folder: PathBuf, packages: Packages) -> Self {
        Self { folder, packages, known: Mutex::default() }
    }

    /// Where the package is unpacked.
    pub(super) async fn path(&self, package: &Package) -> Result<PathBuf, RunFailure> {
        let name: String = package
            .sha256
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c
                } else if c == '/' {
                    '_'
                } else {
                    '-'
                }
            })
            .collect();
        let cell = {
            let mut known = self.known.lock().await;
            if known.len() >= PACKAGES_MAX && !known.contains_key(&name) {
                return Err(RunFailure::Broken("too many packages are unpacked".to_owned()));
            }
            Arc::clone(known.entry(name.clone()).or_default())
        };
        let path = cell.get_or_try_init(|| self.unpacked(package, self.folder.join(&name))).await?;
        Ok(path.clone())
    }

    async fn unpacked(&self, package: &Package, path: PathBuf) -> Result<PathBuf, RunFailure> {
        let failed = |error: &dyn std::fmt::Display| RunFailure::Package(error.to_string());
        let bytes = self.packages.read(package).await.map_err(|error| failed(&error))?;
        let into = path.clone();
        let done = tokio::task::spawn_blocking(move || unpack_whole(&bytes, &into)).await;
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        Ok(path)
    }
}

/// Unpacks beside the folder first, so that what is under its name is whole.
fn unpack_whole(bytes: &[u8], path: &Path) -> Result<(), cairn_services::lambda::PackageError> {
    let partial = path.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir(&partial)?;
    unpack(bytes, &partial)?;
    std::fs::rename(&partial, path)?;
    Ok(())
}
