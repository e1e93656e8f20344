//! An execution environment: a process with its end of the Runtime API, its folder and its log stream, which serves one
//! invocation at a time.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_core::{Clock, Entropy};
use cairn_services::lambda::{Blueprint, Invocation, Ran, RunFailure};
use serde_json::json;
use tokio::time::Instant;

use super::launch::Order;
use super::logs::{LogPlace, LogStream};
use super::process::Process;
use super::runtime_api::{Handed, RuntimeApi, Said};

/// How long a runtime may take to ask for its first event, where its function's own limit is shorter.
const START_TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// How often the memory of a function that runs is looked at.
const MEMORY_INTERVAL: Duration = Duration::from_millis(50);
/// What a process may ask for beside its memory, since it does not use all that it asks for, in bytes.
const DATA_ALLOWANCE_BYTES: u64 = 512 << 20;
/// The end of the log that Invoke shows, in bytes.
const TAIL_SIZE_BYTES_MAX: usize = 4096;
/// What is read of the output at a time, in bytes.
const PIECE_SIZE_BYTES: usize = 16 * 1024;
/// The longest line that is waited for the end of, in bytes.
const LINE_SIZE_BYTES_MAX: usize = 256 * 1024;
const MB: u64 = 1 << 20;

/// What an environment is started with beside its blueprint.
pub(super) struct Start {
    /// Where the code is unpacked.
    pub(super) code: PathBuf,
    /// A folder of its own, for temporary files.
    pub(super) tmp: PathBuf,
    /// What executes it, and with which arguments.
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// Variables of the server's: credentials, the region, the endpoint.
    pub(super) variables: Vec<(String, String)>,
    /// The largest file.
    pub(super) file_size_bytes_max: u64,
}

/// An environment.
pub(super) struct Environment {
    pub(super) blueprint: Arc<Blueprint>,
    process: Process,
    api: RuntimeApi,
    log: LogStream,
    clock: Arc<dyn Clock>,
    tmp: PathBuf,
    /// Output whose line is not over.
    line: Vec<u8>,
    /// Of the invocation that runs.
    tail: Vec<u8>,
    memory_bytes_most: u64,
    /// How long the start took, until an invocation reported it.
    init: Option<Duration>,
    is_broken: bool,
}

/// How a wait for the runtime ended.
enum Heard {
    Said(Said),
    Exited(Option<ExitStatus>),
    OutOfMemory,
    OutOfTime,
}

impl Environment {
    /// Starts the process. It is not ready before it has asked for an event.
    pub(super) async fn start(
        blueprint: Arc<Blueprint>,
        start: Start,
        place: &LogPlace,
        entropy: &dyn Entropy,
    ) -> std::io::Result<Self> {
        let api = RuntimeApi::open().await?;
        let clock = Arc::clone(&place.clock);
        let day = clock.now().day_path();
        let stream =
            format!("{day}/[{}]{}", blueprint.version, entropy.event_id().to_string().replace('-', ""));
        let mut variables = own_variables(&blueprint, &start, &stream, &api.address());
        // A function's own variables do not take the place of these, but for those that it may choose.
        variables.splice(0..0, blueprint.variables.iter().cloned());
        variables.extend(start.variables);
        let order = Order {
            program: start.program,
            arguments: start.arguments,
            variables,
            folder: start.code,
            data_size_bytes_max: u64::from(blueprint.memory_mb) * MB + DATA_ALLOWANCE_BYTES,
            file_size_bytes_max: start.file_size_bytes_max,
            parent: i32::try_from(std::process::id()).unwrap_or(i32::MAX),
        };
        let process = Process::start(&order).await?;
        let log = place.open(Arc::clone(&blueprint), stream);
        Ok(Self {
            blueprint,
            process,
            api,
            log,
            clock,
            tmp: start.tmp,
            line: Vec::new(),
            tail: Vec::new(),
            memory_bytes_most: 0,
            init: None,
            is_broken: false,
        })
    }

    /// Waits until the runtime asks for its first event. The error is what its function's caller gets.
    pub(super) async fn become_ready(&mut self, invocation: &Invocation) -> Result<(), Ran> {
        let began = Instant::now();
        let limit = self.blueprint.timeout.max(START_TIMEOUT_MIN);
        let heard = self.hear(began + limit).await;
        self.init = Some(began.elapsed());
        let id = &invocation.request_id;
        let error = match heard {
            Heard::Said(Said::Ready) => return Ok(()),
            Heard::Said(Said::InitError(report)) => {
                self.is_broken = true;
                report
            }
            Heard::OutOfTime => told(id, "Sandbox.Timedout", &timed_out(limit)),
            other => self.broken_off(id, other),
        };
        self.end_invocation(id, began, Some("error"));
        Err(self.failed(error))
    }

    /// Executes the function once.
    pub(super) async fn invoke(&mut self, invocation: Invocation) -> Ran {
        let began = Instant::now();
        let limit = self.blueprint.timeout;
        let id = invocation.request_id.clone();
        self.tail.clear();
        self.memory_bytes_most = 0;
        self.write(&format!("START RequestId: {id} Version: {}", self.blueprint.version));
        let deadline_ms = self.clock.now().plus(limit).millis();
        let is_handed = self.api.hand(Handed { invocation, deadline_ms }).await;
        let heard = if is_handed { self.hear(began + limit).await } else { Heard::Exited(None) };
        self.api.forget();
        match heard {
            Heard::Said(Said::Answer(payload)) => {
                self.end_invocation(&id, began, None);
                Ran { payload, is_error: false, log_tail: self.tail.clone() }
            }
            Heard::Said(Said::Error(report)) => {
                self.end_invocation(&id, began, None);
                self.failed(report)
            }
            Heard::Said(Said::TooLarge) => {
                let message = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
                // AWS's own runtimes do not go on after that refusal.
                self.end();
                self.end_invocation(&id, began, None);
                self.failed(json_error("Function.ResponseSizeTooLarge", message))
            }
            Heard::OutOfTime => {
                self.end();
                let line = format!("{} {id} {}", self.clock.now().iso_millis(), timed_out(limit));
                self.write(&line);
                self.end_invocation(&id, began, Some("timeout"));
                self.failed(told(&id, "Sandbox.Timedout", &timed_out(limit)))
            }
            other => {
                let report = self.broken_off(&id, other);
                self.end_invocation(&id, began, Some("error"));
                self.failed(report)
            }
        }
    }

    /// Whether it can serve another invocation.
    pub(super) fn is_alive(&self) -> bool {
        !self.is_broken && !self.process.is_over()
    }

    fn end(&mut self) {
        self.is_broken = true;
        self.process.kill();
    }

    /// Waits for what the runtime says, and for what ends it, and takes its output meanwhile.
    async fn hear(&mut self, until: Instant) -> Heard {
        let memory_bytes_max = u64::from(self.blueprint.memory_mb) * MB;
        let mut looks = tokio::time::interval(MEMORY_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let heard = loop {
            tokio::select! {
                biased;
                said = self.api.said.recv() => match said {
                    Some(said) => break Heard::Said(said),
                    None => break Heard::Exited(None),
                },
                status = self.process.exited() => break Heard::Exited(status),
                () = tokio::time::sleep_until(until) => break Heard::OutOfTime,
                _ = looks.tick() => {
                    let memory_bytes = self.process.memory_bytes();
                    self.memory_bytes_most = self.memory_bytes_most.max(memory_bytes);
                    if memory_bytes > memory_bytes_max {
                        break Heard::OutOfMemory;
                    }
                }
                readable = self.process.output.readable() => {
                    if readable.is_err() || !self.take_output() {
                        // Its end alone is no end: a function may close its output.
                        let status = tokio::time::timeout_at(until, self.process.exited()).await;
                        match status {
                            Ok(status) => break Heard::Exited(status),
                            Err(_) => break Heard::OutOfTime,
                        }
                    }
                }
            }
        };
        self.memory_bytes_most = self.memory_bytes_most.max(self.process.memory_bytes());
        self.take_output();
        heard
    }

    /// Takes what is there of the output. Says whether there may be more to come.
    fn take_output(&mut self) -> bool {
        let mut piece = [0_u8; PIECE_SIZE_BYTES];
        loop {
            match self.process.output.try_read(&mut piece) {
                Ok(0) => return false,
                Ok(size_bytes) => self.take_piece(&piece[..size_bytes]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    fn take_piece(&mut self, piece: &[u8]) {
        self.line.extend_from_slice(piece);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.write(&String::from_utf8_lossy(&line[..end]));
        }
        if self.line.len() > LINE_SIZE_BYTES_MAX {
            self.flush_line();
        }
    }

    fn flush_line(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.write(&String::from_utf8_lossy(&line));
        }
    }

    fn write(&mut self, line: &str) {
        self.tail.extend_from_slice(line.as_bytes());
        self.tail.push(b'\n');
        let over = self.tail.len().saturating_sub(TAIL_SIZE_BYTES_MAX);
        self.tail.drain(..over);
        self.log.write(line);
    }

    /// Why a runtime that should have answered did not.
    fn broken_off(&mut self, id: &str, heard: Heard) -> Bytes {
        let reason = match heard {
            Heard::OutOfMemory => {
                self.end();
                "Runtime exited with error: signal: killed".to_owned()
            }
            Heard::Exited(status) => exit_text(status),
            Heard::Said(_) | Heard::OutOfTime => "Runtime exited without providing a reason".to_owned(),
        };
        self.is_broken = true;
        self.write(&format!("RequestId: {id} Error: {reason}"));
        told(
            id,
            if reason.ends_with("killed") { "Runtime.OutOfMemory" } else { "Runtime.ExitError" },
            &reason,
        )
    }

    fn end_invocation(&mut self, id: &str, began: Instant, status: Option<&str>) {
        self.flush_line();
        let duration_ms = began.elapsed().as_secs_f64() * 1000.0;
        let memory_mb = self.memory_bytes_most.div_ceil(MB);
        let mut report = format!(
            "REPORT RequestId: {id}\tDuration: {duration_ms:.2} ms\tBilled Duration: {:.0} ms\tMemory Size: {} MB\tMax \
             Memory Used: {memory_mb} MB\t",
            duration_ms.ceil(),
            self.blueprint.memory_mb,
        );
        if let Some(init) = self.init.take() {
            report += &format!("Init Duration: {:.2} ms\t", init.as_secs_f64() * 1000.0);
        }
        if let Some(status) = status {
            report += &format!("Status: {status}");
        }
        self.write(&format!("END RequestId: {id}"));
        self.write(&report);
    }

    fn failed(&self, payload: Bytes) -> Ran {
        Ran { payload, is_error: true, log_tail: self.tail.clone() }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.process.kill();
        let tmp = self.tmp.clone();
        // Its files may be many.
        std::thread::spawn(move || {
            if let Err(error) = std::fs::remove_dir_all(&tmp) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a function's folder cannot be removed"
                );
            }
        });
    }
}

fn timed_out(limit: Duration) -> String {
    format!("Task timed out after {:.2} seconds", limit.as_secs_f64())
}

fn exit_text(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "Runtime exited without providing a reason".to_owned() };
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(9)) => "Runtime exited with error: signal: killed".to_owned(),
        (None, Some(11)) => "Runtime exited with error: signal: segmentation fault".to_owned(),
        (None, Some(6)) => "Runtime exited with error: signal: aborted".to_owned(),
        (None, signal) => format!("Runtime exited with error: signal: {}", signal.unwrap_or_default()),
    }
}

/// An error as Lambda itself words it.
fn told(id: &str, kind: &str, reason: &str) -> Bytes {
    json_error(kind, &format!("RequestId: {id} Error: {reason}"))
}

fn json_error(kind: &str, message: &str) -> Bytes {
    Bytes::from(json!({"errorType": kind, "errorMessage": message}).to_string())
}

/// A function that cannot be started since its package has nothing to start.
pub(super) fn without_bootstrap(id: &str) -> Ran {
    let reason = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]";
    Ran { payload: told(id, "Runtime.InvalidEntrypoint", reason), is_error: true, log_tail: Vec::new() }
}

/// The variables that every function has.
fn own_variables(blueprint: &Blueprint, start: &Start, stream: &str, api: &str) -> Vec<(String, String)> {
    let tmp = text(&start.tmp);
    let region = blueprint.region.to_string();
    let runtime = &blueprint.runtime;
    let pairs = [
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("HOME", tmp.clone()),
        ("TMPDIR", tmp),
        ("_HANDLER", blueprint.handler.clone()),
        ("AWS_REGION", region.clone()),
        ("AWS_DEFAULT_REGION", region),
        ("AWS_EXECUTION_ENV", format!("AWS_Lambda_{runtime}")),
        ("AWS_LAMBDA_FUNCTION_NAME", blueprint.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", blueprint.version.clone()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", blueprint.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", blueprint.log_group.clone()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream.to_owned()),
        ("AWS_LAMBDA_RUNTIME_API", api.to_owned()),
        ("LAMBDA_TASK_ROOT", text(&start.code)),
        ("LAMBDA_RUNTIME_DIR", text(&start.code)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What a failure to start is to the service.
pub(super) fn broken(error: &std::io::Error) -> RunFailure {
    RunFailure::Broken(error.to_string())
}
