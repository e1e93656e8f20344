//! Who executes functions: the seam between the service and the processes of the binary, or a Lambda elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, Region};

use super::package::Package;
use crate::sinks::{AsRole, SinkFailure, Source};

/// As whom Lambda assumes execution roles.
pub(super) const SERVICE: &str = "lambda.amazonaws.com";

/// What an execution environment is made of. It may serve all invocations of the same revision.
#[derive(Clone, PartialEq, Eq)]
pub struct Blueprint {
    /// The function's ARN, without a version.
    pub function_arn: String,
    /// Its name.
    pub name: String,
    /// `$LATEST`, or a number.
    pub version: String,
    /// Whose it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// Another one whenever code or configuration change.
    pub revision: String,
    /// `provided.al2023`, `python3.13`.
    pub runtime: String,
    /// `module.function`.
    pub handler: String,
    /// The memory that it may have, in MB.
    pub memory_mb: u32,
    /// How long an invocation, and the start, may take.
    pub timeout: Duration,
    /// The execution role.
    pub role_arn: String,
    /// The log group's name.
    pub log_group: String,
    /// Environment variables: secrets.
    pub variables: Vec<(String, String)>,
    /// Its code.
    pub package: Package,
}

impl fmt::Debug for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blueprint({} {})", self.function_arn, self.version)
    }
}

impl Blueprint {
    /// The execution role, as the function's session of it.
    #[must_use]
    pub fn role(&self) -> AsRole {
        execution_role(&self.role_arn, &self.function_arn, &self.account, &self.region)
    }
}

pub(super) fn execution_role(
    role_arn: &str,
    function_arn: &str,
    account: &AccountId,
    region: &Region,
) -> AsRole {
    AsRole {
        role_arn: role_arn.to_owned(),
        session_name: function_arn.rsplit(':').next().unwrap_or_default().to_owned(),
        source: Source {
            service: SERVICE.to_owned(),
            arn: function_arn.to_owned(),
            account: account.clone(),
        },
        region: region.clone(),
    }
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its id, a UUID.
    pub request_id: String,
    /// The event: JSON.
    pub payload: Bytes,
    /// The ARN that was invoked, with the alias if it was one.
    pub invoked_arn: String,
    /// The X-Ray header.
    pub trace: Option<String>,
    /// The client's context: JSON.
    pub client_context: Option<String>,
}

/// What an invocation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The function's answer, or what went wrong: JSON.
    pub payload: Bytes,
    /// Whether it went wrong.
    pub is_error: bool,
    /// The end of what it logged.
    pub log_tail: Vec<u8>,
}

/// Why a function was not executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunFailure {
    /// As many functions run as may.
    #[error("as many functions run as may")]
    Busy,
    /// Its code cannot be unpacked.
    #[error("the package cannot be unpacked: {0}")]
    Package(String),
    /// Its role cannot be assumed.
    #[error("the execution role cannot be assumed")]
    Role(#[source] SinkFailure),
    /// The server could not.
    #[error("the function cannot be started: {0}")]
    Broken(String),
}

/// Executes functions in processes of this machine.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// Whether functions of that runtime can be executed; why not otherwise.
    fn takes(&self, runtime: &str) -> Result<(), String>;

    /// Executes a function once, in an environment that is there or a new one.
    async fn run(&self, blueprint: Arc<Blueprint>, invocation: Invocation) -> Result<Ran, RunFailure>;

    /// Ends the environments of a function, once they have nothing to do.
    fn retire(&self, function_arn: &str);
}

/// How a function elsewhere is invoked.
#[derive(Clone, Debug)]
pub struct RemoteCall {
    /// Its ARN or name, with or without a version.
    pub function: String,
    /// The region of its Lambda.
    pub region: Region,
    /// `RequestResponse`, `Event` or `DryRun`.
    pub invocation_type: String,
    /// Whether the end of its log is wanted.
    pub wants_log: bool,
    /// The event.
    pub payload: Bytes,
}

/// What Lambda answered elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteAnswer {
    /// 200, 202, 204.
    pub status: u16,
    /// `X-Amz-Function-Error`.
    pub function_error: Option<String>,
    /// `X-Amz-Log-Result`.
    pub log_result: Option<String>,
    /// `X-Amz-Executed-Version`.
    pub executed_version: Option<String>,
    /// The payload.
    pub payload: Bytes,
}

/// A Lambda elsewhere, for the functions that this server does not have.
#[async_trait]
pub trait Remote: Send + Sync + 'static {
    /// Invokes a function there.
    async fn invoke(&self, call: RemoteCall) -> Result<RemoteAnswer, SinkFailure>;
}
