//! Invoke: a function's answer, or the promise that it will be executed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_wire::{AwsError, Call, Reply};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::Lambda;
use super::error::{Failure, disabled, of_sink, too_large};
use super::functions::{Found, find, version};
use super::name::{LATEST, Named};
use super::package::Package;
use super::queue::QueuedEvent;
use super::runner::{Blueprint, Invocation, RemoteCall, RunFailure};
use super::state::{Config, FUNCTIONS};
use crate::Caller;

/// The largest event of an invocation whose answer is waited for, and the largest answer, in bytes.
const SYNC_SIZE_BYTES_MAX: usize = 6_291_456;
/// The largest event of an invocation that is not waited for, in bytes.
pub(super) const ASYNC_SIZE_BYTES_MAX: usize = 1_048_576;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Invoke {
    function_name: String,
    invocation_type: Option<String>,
    log_type: Option<String>,
    client_context: Option<String>,
    payload: Option<String>,
    qualifier: Option<String>,
    tenant_id: Option<String>,
    durable_execution_name: Option<String>,
}

impl Lambda {
    pub(super) async fn invoke(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let input: Invoke = call.input()?;
        if input.tenant_id.is_some() || input.durable_execution_name.is_some() {
            return Err(super::error::unsupported("TenantId or DurableExecutionName"));
        }
        let named = Named::parse(&input.function_name, input.qualifier.as_deref(), caller)?;
        let payload = payload(&input)?;
        let row = named.function.row();
        let is_here = self.catalog.read(move |tx| FUNCTIONS.get(tx, row.bytes())).await?.is_some();
        if self.remote.is_some() && !is_here {
            return self.invoke_elsewhere(&named, &input, payload).await;
        }
        let found = self.chosen(&named).await?;
        match input.invocation_type.as_deref() {
            Some("DryRun") => Ok(Reply::of(&json!({"StatusCode": 204}))),
            Some("Event") => {
                self.check_runs()?;
                let event = QueuedEvent {
                    request_id: caller.request_id.to_string(),
                    invoked_arn: named.arn(),
                    payload: String::from_utf8(payload.to_vec()).map_err(AwsError::internal)?,
                    invoked_at: caller.now,
                    trace: trace_of(call),
                    client_context: client_context(&input)?,
                };
                self.enqueue(&found.function, &event).await?;
                Ok(Reply::of(&json!({"StatusCode": 202})))
            }
            _ => {
                self.check_runs()?;
                let invocation = Invocation {
                    request_id: caller.request_id.to_string(),
                    payload,
                    invoked_arn: named.arn(),
                    trace: trace_of(call),
                    client_context: client_context(&input)?,
                };
                self.invoke_now(&found, invocation, input.log_type.as_deref() == Some("Tail")).await
            }
        }
    }

    fn check_runs(&self) -> Result<(), Failure> {
        if self.runner.is_some() { Ok(()) } else { Err(disabled()) }
    }

    async fn invoke_now(
        &self,
        found: &Found,
        invocation: Invocation,
        wants_log: bool,
    ) -> Result<Reply, Failure> {
        let runner = self.runner.as_ref().ok_or_else(disabled)?;
        let slot = self.slots.take(&found.function.full_name().arn(), found.function.reserved).inspect_err(
            |_| {
                self.metrics.throttled.inc();
            },
        )?;
        let blueprint = self.blueprint(found).await?;
        let ran = runner.run(blueprint, invocation).await;
        drop(slot);
        self.metrics.count(&ran);
        let ran = ran.map_err(of_run)?;
        let mut reply = json!({
            "StatusCode": 200,
            "ExecutedVersion": found.config.version,
            "Payload": STANDARD.encode(&ran.payload),
        });
        if ran.is_error {
            reply["FunctionError"] = "Unhandled".into();
        }
        if wants_log {
            reply["LogResult"] = STANDARD.encode(&ran.log_tail).into();
        }
        if ran.payload.len() > SYNC_SIZE_BYTES_MAX {
            reply["FunctionError"] = "Unhandled".into();
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({SYNC_SIZE_BYTES_MAX} bytes)."
            );
            let error = json!({"errorMessage": message, "errorType": "Function.ResponseSizeTooLarge"});
            reply["Payload"] = STANDARD.encode(error.to_string()).into();
        }
        Ok(Reply::of(&reply))
    }

    async fn invoke_elsewhere(
        &self,
        named: &Named,
        input: &Invoke,
        payload: Bytes,
    ) -> Result<Reply, Failure> {
        let remote = self.remote.as_ref().ok_or_else(disabled)?;
        let call = RemoteCall {
            function: named.arn(),
            region: named.function.region.clone(),
            invocation_type: input.invocation_type.clone().unwrap_or_else(|| "RequestResponse".to_owned()),
            wants_log: input.log_type.as_deref() == Some("Tail"),
            payload,
        };
        let answer = remote.invoke(call).await.map_err(|failure| {
            if failure.is_transient {
                of_sink(failure)
            } else {
                AwsError::invalid(failure.code, failure.message).into()
            }
        })?;
        let mut reply = json!({"StatusCode": answer.status, "Payload": STANDARD.encode(&answer.payload)});
        for (member, value) in [
            ("FunctionError", answer.function_error),
            ("LogResult", answer.log_result),
            ("ExecutedVersion", answer.executed_version),
        ] {
            if let Some(value) = value {
                reply[member] = value.into();
            }
        }
        Ok(Reply::of(&reply))
    }

    /// What is named, at the version that an alias chooses this time.
    pub(super) async fn chosen(&self, named: &Named) -> Result<Found, Failure> {
        let mut random = [0_u8; 4];
        self.entropy.fill(&mut random);
        let chance = f64::from(u32::from_le_bytes(random)) / (f64::from(u32::MAX) + 1.0);
        let named = named.clone();
        self.catalog
            .read(move |tx| {
                let mut found = find(tx, &named)?;
                let other = found.alias.as_ref().and_then(|alias| alias.other.clone());
                if let Some((number, weight)) = other
                    && chance < weight
                    && let Some(config) = version(tx, &found.function, &number)?
                {
                    found.config = config;
                }
                Ok::<_, Failure>(found)
            })
            .await
    }

    /// What an environment of the function is made of.
    pub(super) async fn blueprint(&self, found: &Found) -> Result<Arc<Blueprint>, Failure> {
        let (function, config) = (&found.function, &found.config);
        let name = function.full_name();
        let variables = match &config.environment {
            None => Vec::new(),
            Some(environment) => {
                let role =
                    super::runner::execution_role(&config.role, &name.arn(), &name.account, &name.region);
                let key = config.kms_key_arn.as_deref();
                // Under the server's key nobody's rights matter.
                let caller = if environment.data_key.is_some() {
                    let roles = self.switchboard.roles().map_err(of_sink)?;
                    roles.assume(&role).await.map_err(of_role)?
                } else {
                    let place = (name.account.clone(), name.region.clone());
                    Caller::of_service(
                        super::runner::SERVICE,
                        place,
                        self.clock.now(),
                        self.entropy.event_id(),
                    )
                };
                self.variables_for(&caller, &name, environment, key).await?.into_iter().collect()
            }
        };
        Ok(Arc::new(blueprint_of(found, variables)))
    }
}

fn blueprint_of(found: &Found, variables: Vec<(String, String)>) -> Blueprint {
    let (function, config): (_, &Config) = (&found.function, &found.config);
    Blueprint {
        function_arn: function.full_name().arn(),
        name: function.name.clone(),
        version: config.version.clone(),
        account: function.account.clone(),
        region: function.region.clone(),
        revision: config.revision.clone(),
        runtime: config.runtime.clone(),
        handler: config.handler.clone(),
        memory_mb: config.memory_mb,
        timeout: Duration::from_secs(u64::from(config.timeout_s)),
        role_arn: config.role.clone(),
        log_group: config.log_group(&function.name),
        variables,
        package: Package::from(&config.code),
    }
}

/// The event, which must be JSON; nothing is an empty object.
fn payload(input: &Invoke) -> Result<Bytes, Failure> {
    let bytes = STANDARD.decode(input.payload.as_deref().unwrap_or_default()).map_err(AwsError::internal)?;
    if bytes.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    let is_async = input.invocation_type.as_deref() == Some("Event");
    let size_bytes_max = if is_async { ASYNC_SIZE_BYTES_MAX } else { SYNC_SIZE_BYTES_MAX };
    if bytes.len() > size_bytes_max {
        return Err(too_large(bytes.len(), size_bytes_max));
    }
    check_json(&bytes)?;
    Ok(Bytes::from(bytes))
}

/// Refuses what is not JSON.
pub(super) fn check_json(bytes: &[u8]) -> Result<(), Failure> {
    serde_json::from_slice::<IgnoredAny>(bytes).map(drop).map_err(|error| {
        let message = format!("Could not parse request body into json: {error}");
        AwsError::invalid("InvalidRequestContentException", message).with_member("Type", "User").into()
    })
}

fn client_context(input: &Invoke) -> Result<Option<String>, Failure> {
    let Some(text) = &input.client_context else { return Ok(None) };
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.filter(|text| serde_json::from_str::<Value>(text).is_ok());
    let invalid = || super::error::invalid("Client context must be a valid Base64-encoded JSON object.");
    decoded.map(Some).ok_or_else(invalid)
}

fn trace_of(call: &Call) -> Option<String> {
    let header = call.request.headers.iter().find(|(name, _)| name == "x-amzn-trace-id");
    header.map(|(_, value)| value.clone())
}

fn of_role(failure: crate::sinks::SinkFailure) -> Failure {
    of_run(RunFailure::Role(failure))
}

/// Why a function was not executed, as its caller hears it.
fn of_run(failure: RunFailure) -> Failure {
    match failure {
        RunFailure::Busy => super::error::throttled("ConcurrentInvocationLimitExceeded"),
        RunFailure::Package(why) => AwsError::with_status(
            502,
            "InvalidZipFileException",
            format!("Lambda could not unzip the deployment package: {why}"),
        )
        .into(),
        RunFailure::Role(why) if !why.is_transient => AwsError::with_status(
            400,
            "InvalidParameterValueException",
            "The role defined for the function cannot be assumed by Lambda.",
        )
        .with_member("Type", "User")
        .into(),
        other => AwsError::internal(other).into(),
    }
}

/// The qualifier that settings of asynchronous invocation are kept under.
pub(super) fn config_qualifier(named: &Named) -> &str {
    named.qualifier.as_deref().unwrap_or(LATEST)
}
