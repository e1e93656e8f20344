//! Where the real records and cases with known answers are that tests are held against.

use std::path::{Path, PathBuf};

/// The variable that names the folder that holds `fixtures`.
const SHARED: &str = "CAIRN_SHARED";

/// Where that folder is, unless the variable names another: beside the repository's own.
const BESIDE: &str = "shared";
/// How far above a crate's manifest the folder of the repository lies in.
const ABOVE_MANIFEST: usize = 3;

/// The fixture `name`, a file or a folder, of the folder that `CAIRN_SHARED` names. Where it is missing, as in a public
/// clone, that is printed and the test has nothing to do.
#[must_use]
#[allow(clippy::print_stdout, reason = "a test's output is where a skip is looked for")]
pub fn fixtures(name: &str) -> Option<PathBuf> {
    let beside =
        || Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(ABOVE_MANIFEST).map(|at| at.join(BESIDE));
    let shared = std::env::var_os(SHARED).map(PathBuf::from).or_else(beside)?;
    let path = shared.join("fixtures").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {SHARED} names no folder of fixtures with {name}");
    None
}
