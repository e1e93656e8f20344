//! Where the real records and cases with known answers are that tests are held against.

use std::path::{Path, PathBuf};

/// The fixture `name`, a file or a folder: below the folder that `CAIRN_SHARED` names, else below `shared` beside the
/// repository. Where it is missing, as in a public clone, that is printed and the test has nothing to do.
#[must_use]
#[allow(clippy::print_stdout, reason = "a test's output is where a skip is looked for")]
pub fn fixtures(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("CAIRN_SHARED").map_or(beside, PathBuf::from);
    let path = shared.join("fixtures").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no fixtures at {}", path.display());
    None
}
