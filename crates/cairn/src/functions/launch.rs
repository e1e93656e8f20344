//! The first moments of a function's process: this program once more, which gives up what it may not have and becomes the
//! function.
//!
//! What to become is read from the standard input, so that no argument shows a secret and nothing of a function's own
//! variables (`LD_PRELOAD`) has effect before it is bound. It ends with whoever started it, and with the thread that did.

use std::error::Error;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use serde::{Deserialize, Serialize};

/// The hidden subcommand.
pub(crate) const SUBCOMMAND: &str = "launch-function";
/// Files that a function may have open, as AWS has it.
const OPEN_FILES_MAX: u64 = 1024;
/// The longest order, in bytes.
const ORDER_SIZE_BYTES_MAX: u64 = 1 << 20;

/// What to become.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    /// The most private memory that it may ask for.
    pub(crate) data_size_bytes_max: u64,
    /// The largest file that it may write.
    pub(crate) file_size_bytes_max: u64,
    /// The process that gave the order.
    pub(crate) parent: i32,
}

/// Becomes what the standard input says. Returns only where that fails.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(ORDER_SIZE_BYTES_MAX).read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(order.parent) {
        return Err("the server is gone".into());
    }
    for (resource, most) in [
        (Resource::Data, order.data_size_bytes_max),
        (Resource::Fsize, order.file_size_bytes_max),
        (Resource::Nofile, OPEN_FILES_MAX),
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    let error = Command::new(&order.program)
        .args(&order.arguments)
        .env_clear()
        .envs(order.variables)
        .current_dir(&order.folder)
        .exec();
    Err(format!("{} cannot be executed: {error}", order.program.display()).into())
}
