//! The project's own checks: `cargo xtask tidy`, or `cargo run -p xtask -- tidy`.
//!
//! `tidy` holds what no linter knows: which crate may depend on which, that every module says what it is, that files
//! stay readable, and that pure crates pull in neither runtime nor HTTP.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which of the workspace's crates each may depend on: data flows one way.
const MAY_DEPEND_ON: [(&str, &[&str]); 9] = [
    ("core", &[]),
    ("wire", &["core"]),
    ("processing", &["core", "wire"]),
    ("store", &["core"]),
    ("trail", &["core", "store"]),
    ("services", &["core", "store", "trail", "wire"]),
    ("cairn", &["core", "services", "store", "trail", "wire"]),
    ("testkit", &["core", "store"]),
    ("xtask", &[]),
];

/// What must stay out of a crate, so that it can stay what it is.
const MUST_NOT_KNOW: [(&str, &[&str]); 6] = [
    ("core", &["tokio", "http", "hyper", "rusqlite", "rand", "futures"]),
    ("wire", &["tokio", "hyper", "rusqlite", "rand"]),
    ("processing", &["rusqlite", "rand"]),
    ("store", &["http", "hyper", "rand"]),
    ("trail", &["http", "hyper", "rusqlite", "rand"]),
    ("services", &["http", "hyper", "rusqlite", "rand"]),
];

/// A stage of `trail` never uses another.
const STAGES: [&str; 4] = ["record", "history", "delivery", "digest"];

/// The longest file, in lines. About 500 is where a file usually has two subjects; this is where it surely has.
const FILE_LINES_MAX: usize = 900;

fn main() -> ExitCode {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned();
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => {}
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy");
            return ExitCode::FAILURE;
        }
    }
    let mut faults = Vec::new();
    check_dependencies(&root, &mut faults);
    let files = rust_files(&root);
    for file in &files {
        check_file(&root, file, &mut faults);
    }
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if faults.is_empty() {
        eprintln!("tidy: {} files, no fault", files.len());
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn check_dependencies(root: &Path, faults: &mut Vec<String>) {
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.into_iter().collect();
    let banned: BTreeMap<_, _> = MUST_NOT_KNOW.into_iter().collect();
    for entry in fs::read_dir(root.join("crates")).expect("the crates folder is readable") {
        let folder = entry.expect("the crates folder is readable").path();
        let name = folder.file_name().expect("a crate has a name").to_string_lossy().into_owned();
        let Some(allowed) = allowed.get(name.as_str()) else {
            faults.push(format!("crates/{name}: not in xtask's list of who may depend on whom"));
            continue;
        };
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
            .expect("a crate has a manifest")
            .parse()
            .expect("a manifest is TOML");
        let Some(dependencies) = manifest.get("dependencies").and_then(toml::Value::as_table) else {
            continue;
        };
        for dependency in dependencies.keys() {
            if let Some(other) = dependency.strip_prefix("cairn-")
                && !allowed.contains(&other)
            {
                faults.push(format!("crates/{name}: must not depend on {dependency}"));
            }
            if banned.get(name.as_str()).is_some_and(|banned| banned.contains(&dependency.as_str())) {
                faults.push(format!("crates/{name}: must not know {dependency}"));
            }
        }
    }
}

fn check_file(root: &Path, file: &Path, faults: &mut Vec<String>) {
    let text = fs::read_to_string(file).expect("a source file is readable");
    let shown = file.strip_prefix(root).expect("the file lies in the workspace").display().to_string();
    if !text.starts_with("//!") {
        faults.push(format!("{shown}: begins without saying what it is (//!)"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{shown}: {lines} lines, the most is {FILE_LINES_MAX}"));
    }
    for (at, line) in text.lines().enumerate() {
        if line.contains("/home/") || line.contains("TODO") || line.contains("FIXME") {
            if shown.starts_with("xtask/") {
                continue;
            }
            faults.push(format!("{shown}:{}: a note to oneself or a path of one machine", at + 1));
        }
    }
    if let Some(stage) = STAGES.iter().find(|stage| shown.starts_with(&format!("crates/trail/src/{stage}"))) {
        for other in STAGES.iter().filter(|other| other != &stage) {
            if text.contains(&format!("crate::{other}::")) {
                faults.push(format!("{shown}: the stage {stage} uses the stage {other}"));
            }
        }
    }
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("crates"), root.join("fuzz"), root.join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder is readable") {
            let path = entry.expect("a source folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}
