//! A function's process: started, watched, ended with all that it started.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

use super::launch::{Order, SUBCOMMAND};

/// This program, also where its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// The most processes of a function whose memory is added up.
const PROCESSES_MAX: usize = 200;

/// A process and its group.
pub(super) struct Process {
    pid: Pid,
    /// What it writes to its standard output and its standard error, in that order.
    pub(super) output: pipe::Receiver,
    exited: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a process. A thread of its own waits for it: the process ends with that thread.
    pub(super) async fn start(order: &Order) -> io::Result<Self> {
        let text = serde_json::to_vec(order).map_err(io::Error::other)?;
        let (output, into) = io::pipe()?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
        let (started, begun) = oneshot::channel();
        let (exit, exited) = watch::channel(None);
        std::thread::Builder::new().name("function".to_owned()).spawn(move || {
            match spawn(into, &text) {
                Ok(child) => wait(child, started, &exit),
                // Who asked has gone where this cannot be sent.
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        let pid = begun.await.map_err(|_| io::Error::other("the process was not started"))??;
        Ok(Self { pid, output, exited })
    }

    /// Ends it, and all of its group.
    pub(super) fn kill(&self) {
        kill_group(self.pid);
    }

    /// How it ended, once it has.
    pub(super) fn exited(&self) -> impl Future<Output = Option<ExitStatus>> + use<> {
        let mut exited = self.exited.clone();
        async move {
            match exited.wait_for(Option::is_some).await {
                Ok(status) => *status,
                Err(_) => None,
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.exited.borrow().is_some()
    }

    /// The memory that the process and those it started hold, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let mut pids = vec![self.pid.as_raw_nonzero().get()];
        let (mut at, mut total_bytes) = (0, 0);
        while let Some(pid) = pids.get(at).copied().filter(|_| at < PROCESSES_MAX) {
            at += 1;
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // What processes share counts once.
            total_bytes += kilobytes(&status, if at == 1 { "VmRSS:" } else { "RssAnon:" }) * 1024;
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
        total_bytes
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_over() {
            self.kill();
        }
    }
}

fn spawn(output: io::PipeWriter, order: &[u8]) -> io::Result<Child> {
    let errors = output.try_clone()?;
    let mut child = Command::new(OWN_PROGRAM)
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()?;
    let mut input = child.stdin.take().ok_or_else(|| io::Error::other("the process has no input"))?;
    input.write_all(order)?;
    Ok(child)
}

fn wait(
    mut child: Child,
    started: oneshot::Sender<io::Result<Pid>>,
    exit: &watch::Sender<Option<ExitStatus>>,
) {
    let pid = Pid::from_child(&child);
    if started.send(Ok(pid)).is_err() {
        kill_group(pid);
    }
    let status = child.wait().unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a function cannot be waited for");
        ExitStatus::from_raw(1 << 8)
    });
    // What it started and left behind.
    kill_group(pid);
    exit.send_replace(Some(status));
}

/// A number of a process's status.
fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn kill_group(pid: Pid) {
    if let Err(error) = kill_process_group(pid, Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(%error, "a function cannot be ended");
    }
}
