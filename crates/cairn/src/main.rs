//! The binary: `cairn serve` and its companions. Settings and wiring; the only crate that knows the real clock, real
//! randomness, signals and sockets.

#![allow(unreachable_pub, reason = "in a binary, `pub` marks a module's face")]

mod data_folder;
mod door;
mod env;
mod failpoint;
mod fetch;
mod functions;
mod messaging;
mod monitor;
mod outgoing;
mod rekey;
mod root_key;
mod serve;
mod settings;
mod stages;
mod system;
mod watching;

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// glibc keeps what a burst took; this one gives it back, and takes less time for it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A self-hosted, wire-compatible AWS CloudTrail.
#[derive(Parser)]
#[command(name = "cairn", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: one process, one port.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        #[command(flatten)]
        given: Box<settings::Given>,

        /// A settings file (TOML) with the same names, such as `delivery-interval = "1m"`.
        #[arg(long, env = "CAIRN_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },

    /// Print the `export` lines that point AWS clients in this shell at a server.
    #[command(after_help = ENV_EXAMPLES)]
    Env {
        /// The server's data folder.
        #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
        data: PathBuf,

        /// The account whose root keys to print [default: the first].
        #[arg(long, value_name = "ID")]
        account: Option<cairn_core::AccountId>,

        /// The server's root key file [default: root.key in the data folder].
        #[arg(long, env = "CAIRN_ROOT_KEY_FILE", value_name = "FILE")]
        root_key_file: Option<PathBuf>,
    },

    /// Become a function's process, as the standard input says: for the server's own use.
    #[command(name = functions::launch::SUBCOMMAND, hide = true)]
    LaunchFunction,

    /// Seal a data folder's secrets under another root key. The server must not run.
    #[command(after_help = REKEY_EXAMPLES)]
    Rekey {
        /// The data folder.
        #[arg(long, env = "CAIRN_DATA", value_name = "DIR")]
        data: PathBuf,

        /// The root key file until now [default: root.key in the data folder].
        #[arg(long, env = "CAIRN_ROOT_KEY_FILE", value_name = "FILE")]
        root_key_file: Option<PathBuf>,

        /// The root key file from now on; made where it is missing. Without, CAIRN_NEW_ROOT_PASSPHRASE is taken.
        #[arg(long, value_name = "FILE")]
        new_root_key_file: Option<PathBuf>,
    },

    /// Have a trail's events watched: filters, alarms and a topic, made where they are missing.
    #[command(after_help = MONITOR_EXAMPLES)]
    Monitor {
        #[command(subcommand)]
        action: monitor::Action,
    },
}

const SERVE_EXAMPLES: &str = "\
Examples:
  cairn serve --data ./cairn-data
  cairn serve --data ./cairn-data --delivery-interval 20s --digest-interval 1m
  CAIRN_LISTEN=127.0.0.1:8080 cairn serve --config cairn.toml
  cairn serve --data /var/lib/cairn --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem

Log verbosity is set by CAIRN_LOG: error, warn, info (default), debug, or per module.";

const ENV_EXAMPLES: &str = "\
Examples:
  eval \"$(cairn env --data ./cairn-data)\"
  aws cloudtrail lookup-events";

const REKEY_EXAMPLES: &str = "\
Examples:
  cairn rekey --data ./cairn-data --new-root-key-file /etc/cairn/root.key
  CAIRN_NEW_ROOT_PASSPHRASE=\"$(cat new)\" cairn rekey --data ./cairn-data
  CAIRN_ROOT_PASSPHRASE=\"$(cat old)\" cairn rekey --data ./cairn-data --new-root-key-file root.key";

const MONITOR_EXAMPLES: &str = "\
Examples:
  eval \"$(cairn env --data ./cairn-data)\"
  cairn monitor enable --topic security --dry-run
  cairn monitor enable --data ./cairn-data --trail audit
  cairn monitor disable";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Serve { given, config } => {
            start_logging();
            given.resolve(config.as_deref()).map_err(Into::into).and_then(serve::run)
        }
        Command::LaunchFunction => functions::launch::run(),
        Command::Env { data, account, root_key_file } => env::print(&data, account.as_ref(), root_key_file),
        Command::Rekey { data, root_key_file, new_root_key_file } => {
            start_logging();
            rekey::run(&data, root_key_file, new_root_key_file)
        }
        Command::Monitor { action } => monitor::run(&action),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cairn: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        // It would report a line that could not be written to the same full disk, and panic in whoever logs.
        .log_internal_errors(false)
        .init();
}

/// An error with its sources: `cannot read the settings file x: No such file or directory`.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
