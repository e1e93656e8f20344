//! Where the real records and cases with known answers are that tests are held against.

use std::path::{Path, PathBuf};

/// The variable that names the folder that holds `fixtures`; the Makefile sets it.
const SHARED: &str = "CAIRN_SHARED";

/// The fixture `name`, a file or a folder, of the folder that `CAIRN_SHARED` names. Where the variable or the fixture is
/// missing, as in a public clone, that is printed and the test has nothing to do.
#[must_use]
#[allow(clippy::print_stdout, reason = "a test's output is where a skip is looked for")]
pub fn fixtures(name: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os(SHARED) else {
        println!("skipped: {SHARED} names no folder of fixtures");
        return None;
    };
    let path = Path::new(&shared).join("fixtures").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no fixtures at {}", path.display());
    None
}
