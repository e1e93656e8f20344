//! What can be set of a function: how it is read, checked, sealed and shown.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::{Entropy, Timestamp};
use cairn_store::{SealError, Sealer};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Lambda;
use super::error::{Failure, invalid, unsupported, validation};
use super::name::{FunctionName, LATEST};
use super::runner::execution_role;
use super::state::{Code, Config, Logging, SealedVariables};
use crate::Caller;
use crate::kms::{Asker, EncryptionContext};

/// The longest that a function may run, in seconds.
const TIMEOUT_S_MAX: u32 = 900;
const TIMEOUT_S_DEFAULT: u32 = 3;
/// The memory that a function may have, in MB.
const MEMORY_MB_MAX: u32 = 10_240;
const MEMORY_MB_DEFAULT: u32 = 128;
const TMP_MB_DEFAULT: u32 = 512;
/// All environment variables of a function, names and values, in bytes.
const VARIABLES_SIZE_BYTES_MAX: usize = 4096;
/// Environment variables that only Lambda sets.
const RESERVED_VARIABLES: [&str; 18] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
];
/// What Lambda logs as, where nothing else was asked for.
const LOG_FORMAT_DEFAULT: &str = "Text";

/// The settings, as CreateFunction and UpdateFunctionConfiguration take them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Settings {
    pub(super) runtime: Option<String>,
    pub(super) role: Option<String>,
    pub(super) handler: Option<String>,
    description: Option<String>,
    timeout: Option<u32>,
    memory_size: Option<u32>,
    environment: Option<EnvironmentInput>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
    dead_letter_config: Option<DeadLetterInput>,
    tracing_config: Option<TracingInput>,
    ephemeral_storage: Option<StorageInput>,
    logging_config: Option<LoggingInput>,
    vpc_config: Option<Value>,
    layers: Option<Vec<String>>,
    file_system_configs: Option<Vec<Value>>,
    image_config: Option<Value>,
    snap_start: Option<Value>,
    capacity_provider_config: Option<Value>,
    durable_config: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnvironmentInput {
    variables: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterInput {
    target_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TracingInput {
    mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StorageInput {
    size: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingInput {
    log_format: Option<String>,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
    log_group: Option<String>,
}

impl Settings {
    fn check(&self) -> Result<(), Failure> {
        let most = |name: &str, given: Option<u32>, most: u32| match given.filter(|given| *given > most) {
            Some(given) => Err(validation(format!(
                "1 validation error detected: Value '{given}' at '{name}' failed to satisfy constraint: Member must have \
                 value less than or equal to {most}"
            ))),
            None => Ok(()),
        };
        most("timeout", self.timeout, TIMEOUT_S_MAX)?;
        most("memorySize", self.memory_size, MEMORY_MB_MAX)?;
        let names = |member: &str| {
            let config = self.vpc_config.as_ref().and_then(|config| config[member].as_array());
            config.is_some_and(|names| !names.is_empty())
        };
        let some = |list: Option<usize>| list.is_some_and(|length| length > 0);
        let published = self.snap_start.as_ref().is_some_and(|start| start["ApplyOn"] == "PublishedVersions");
        let asked_for = [
            (names("SubnetIds") || names("SecurityGroupIds"), "VpcConfig"),
            (some(self.layers.as_ref().map(Vec::len)), "Layers"),
            (some(self.file_system_configs.as_ref().map(Vec::len)), "FileSystemConfigs"),
            (self.image_config.is_some(), "ImageConfig"),
            (published, "SnapStart"),
            (self.capacity_provider_config.is_some(), "CapacityProviderConfig"),
            (self.durable_config.is_some(), "DurableConfig"),
        ];
        match asked_for.iter().find(|(is_asked_for, _)| *is_asked_for) {
            Some((_, what)) => Err(unsupported(what)),
            None => Ok(()),
        }
    }

    fn variables(&self) -> Result<Option<&BTreeMap<String, String>>, Failure> {
        let Some(variables) = self.environment.as_ref().map(|given| &given.variables) else {
            return Ok(None);
        };
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let variables = variables.as_ref().unwrap_or(&NONE);
        let reserved: Vec<&str> =
            RESERVED_VARIABLES.into_iter().filter(|name| variables.contains_key(*name)).collect();
        if !reserved.is_empty() {
            return Err(invalid(format!(
                "Lambda was unable to configure your environment variables because the environment variables you have \
                 provided contains reserved keys that are currently not supported for modification. Reserved keys used \
                 in this request: {}",
                reserved.join(", ")
            )));
        }
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if let Some(name) = variables.keys().find(|name| !is_name(name)) {
            return Err(validation(format!(
                "1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must \
                 satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]: {name}"
            )));
        }
        if variables.values().any(|value| value.contains('\0')) {
            return Err(invalid("A value of an environment variable holds a character that none may have."));
        }
        let size_bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size_bytes > VARIABLES_SIZE_BYTES_MAX {
            return Err(invalid(format!(
                "Lambda was unable to configure your environment variables because the environment variables you have \
                 provided exceeded the 4KB limit. String measured: {}",
                json!(variables)
            )));
        }
        Ok(Some(variables))
    }

    /// Changes what was given.
    fn apply(&self, config: &mut Config) -> Result<(), Failure> {
        fn set<T: Clone>(place: &mut T, given: Option<&T>) {
            if let Some(given) = given {
                place.clone_from(given);
            }
        }
        set(&mut config.runtime, self.runtime.as_ref());
        set(&mut config.role, self.role.as_ref());
        set(&mut config.handler, self.handler.as_ref());
        set(&mut config.description, self.description.as_ref());
        set(&mut config.timeout_s, self.timeout.as_ref());
        set(&mut config.memory_mb, self.memory_size.as_ref());
        if let Some(storage) = &self.ephemeral_storage {
            config.tmp_mb = storage.size;
        }
        set(&mut config.tracing, self.tracing_config.as_ref().and_then(|tracing| tracing.mode.as_ref()));
        if let Some(key) = &self.kms_key_arn {
            config.kms_key_arn = Some(key.clone()).filter(|key| !key.is_empty());
        }
        if let Some(given) = &self.dead_letter_config {
            let target = given.target_arn.clone().filter(|arn| !arn.is_empty());
            if let Some(arn) = target.as_ref().filter(|arn| !is_queue(arn) && !is_topic(arn)) {
                return Err(invalid(format!(
                    "The provided DeadLetter target {arn} is no queue and no topic."
                )));
            }
            config.dead_letters = target;
        }
        if let Some(given) = &self.logging_config {
            config.logging = Logging {
                group: given.log_group.clone(),
                format: given.log_format.clone(),
                application_level: given.application_log_level.clone(),
                system_level: given.system_log_level.clone(),
            };
        }
        Ok(())
    }
}

pub(super) fn is_queue(arn: &str) -> bool {
    arn.starts_with("arn:aws:sqs:")
}

pub(super) fn is_topic(arn: &str) -> bool {
    arn.starts_with("arn:aws:sns:")
}

/// A function as it is before anything is set.
pub(super) fn fresh(code: Code, architectures: Vec<String>, now: Timestamp, entropy: &dyn Entropy) -> Config {
    Config {
        version: LATEST.to_owned(),
        description: String::new(),
        runtime: String::new(),
        handler: String::new(),
        role: String::new(),
        timeout_s: TIMEOUT_S_DEFAULT,
        memory_mb: MEMORY_MB_DEFAULT,
        tmp_mb: TMP_MB_DEFAULT,
        environment: None,
        kms_key_arn: None,
        dead_letters: None,
        logging: Logging::default(),
        architectures,
        tracing: "PassThrough".to_owned(),
        code,
        last_modified: now,
        revision: entropy.event_id().to_string(),
    }
}

impl Lambda {
    /// `config` with what was given; all that can be refused is.
    pub(super) async fn configured(
        &self,
        caller: &Caller,
        name: &FunctionName,
        settings: &Settings,
        mut config: Config,
    ) -> Result<Config, Failure> {
        settings.check()?;
        let variables = settings.variables()?;
        let key_before = config.kms_key_arn.clone();
        // Where only the key changes, the variables move from one to the other.
        let kept = match (variables, &config.environment) {
            (None, Some(environment)) if settings.kms_key_arn.is_some() => {
                Some(self.variables_for(caller, name, environment, key_before.as_deref()).await?)
            }
            _ => None,
        };
        settings.apply(&mut config)?;
        if let Some(runtime) = &settings.runtime {
            self.check_runtime(runtime)?;
        }
        if settings.role.is_some() {
            self.check_role(name, &config.role).await?;
        }
        if let Some(variables) = variables.or(kept.as_ref()) {
            config.environment = self.sealed(caller, name, &config, variables).await?;
        }
        Ok(config)
    }

    fn check_runtime(&self, runtime: &str) -> Result<(), Failure> {
        let Some(runner) = &self.runner else { return Err(super::error::disabled()) };
        runner.takes(runtime).map_err(|why| {
            invalid(format!("The runtime parameter of {runtime} is not supported by this server: {why}"))
        })
    }

    async fn check_role(&self, name: &FunctionName, role: &str) -> Result<(), Failure> {
        let role = execution_role(role, &name.arn(), &name.account, &name.region);
        let assumed = self.switchboard.roles().map_err(super::error::of_sink)?.assume(&role).await;
        match assumed {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_transient => Err(AwsError::internal(failure).into()),
            Err(_) => Err(invalid("The role defined for the function cannot be assumed by Lambda.")),
        }
    }

    async fn sealed(
        &self,
        caller: &Caller,
        name: &FunctionName,
        config: &Config,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<SealedVariables>, Failure> {
        if variables.is_empty() {
            return Ok(None);
        }
        let context = variables_context(name);
        let text = json!(variables).to_string();
        let Some(key) = &config.kms_key_arn else {
            let sealed = self.sealer.seal_text(&context, text.as_bytes());
            return Ok(Some(SealedVariables { sealed, data_key: None }));
        };
        let asker = Asker { caller: caller.clone(), service: "lambda", conditions: Vec::new() };
        let data_key = self.data_keys.generate(&asker, key, &encryption_context(name)).await.map_err(|error| {
            invalid(format!(
                "Lambda was unable to configure access to your environment variables because the KMS key is invalid for \
                 CreateGrant. Please check your KMS key settings. KMS Exception: {} KMS Message: {}",
                error.code, error.message
            ))
        })?;
        let sealed = Sealer::from_key(&data_key.plaintext).seal_text(&context, text.as_bytes());
        Ok(Some(SealedVariables { sealed, data_key: Some(STANDARD.encode(&data_key.blob)) }))
    }

    /// The environment variables, in the name of `caller`, who must be allowed their key.
    pub(super) async fn variables_for(
        &self,
        caller: &Caller,
        name: &FunctionName,
        environment: &SealedVariables,
        key: Option<&str>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let context = variables_context(name);
        let opened = match &environment.data_key {
            None => self.sealer.open_text(&context, &environment.sealed)?,
            Some(blob) => {
                let blob =
                    STANDARD.decode(blob).map_err(|_| SealError::Broken { context: context.clone() })?;
                let caller = Caller { region: name.region.clone(), ..caller.clone() };
                let asker = Asker { caller, service: "lambda", conditions: Vec::new() };
                let data_key = self.data_keys.decrypt(&asker, &blob, &encryption_context(name)).await;
                let data_key = data_key.map_err(|error| {
                    tracing::info!(function = %name.arn(), key, code = %error.code, "variables stay encrypted");
                    unreadable(&error)
                })?;
                Sealer::from_key(&data_key).open_text(&context, &environment.sealed)?
            }
        };
        serde_json::from_slice(&opened).map_err(|error| AwsError::internal(error).into())
    }

    /// `Environment` as GetFunctionConfiguration answers it to `caller`.
    async fn shown_environment(
        &self,
        caller: &Caller,
        name: &FunctionName,
        config: &Config,
    ) -> Option<Value> {
        let environment = config.environment.as_ref()?;
        let opened = self.variables_for(caller, name, environment, config.kms_key_arn.as_deref()).await;
        Some(match opened {
            Ok(variables) => json!({ "Variables": variables }),
            Err(failure) => {
                let error = AwsError::from(failure);
                json!({"Error": {"ErrorCode": error.code, "Message": error.message}})
            }
        })
    }

    /// A function's configuration as calls answer it; `arn` is what it goes by in this answer.
    pub(super) async fn shown(
        &self,
        caller: &Caller,
        name: &FunctionName,
        arn: &str,
        config: &Config,
    ) -> Value {
        let mut shown = Map::new();
        let mut put = |member: &str, value: Value| shown.insert(member.to_owned(), value);
        put("FunctionName", name.name.as_str().into());
        put("FunctionArn", arn.into());
        put("Runtime", config.runtime.as_str().into());
        put("Role", config.role.as_str().into());
        put("Handler", config.handler.as_str().into());
        put("CodeSize", config.code.size_bytes.into());
        put("Description", config.description.as_str().into());
        put("Timeout", config.timeout_s.into());
        put("MemorySize", config.memory_mb.into());
        put("LastModified", aws_time(config.last_modified).into());
        put("CodeSha256", config.code.sha256.as_str().into());
        put("Version", config.version.as_str().into());
        put("TracingConfig", json!({"Mode": config.tracing}));
        put("RevisionId", config.revision.as_str().into());
        put("State", "Active".into());
        put("LastUpdateStatus", "Successful".into());
        put("PackageType", "Zip".into());
        put("Architectures", json!(config.architectures));
        put("EphemeralStorage", json!({"Size": config.tmp_mb}));
        put("SnapStart", json!({"ApplyOn": "None", "OptimizationStatus": "Off"}));
        put("LoggingConfig", shown_logging(config, &name.name));
        if let Some(key) = &config.kms_key_arn {
            put("KMSKeyArn", key.as_str().into());
        }
        if let Some(arn) = &config.dead_letters {
            put("DeadLetterConfig", json!({"TargetArn": arn}));
        }
        if let Some(environment) = self.shown_environment(caller, name, config).await {
            shown.insert("Environment".to_owned(), environment);
        }
        Value::Object(shown)
    }
}

/// What variables are sealed for.
fn variables_context(name: &FunctionName) -> String {
    format!("lambda.variables {}", name.arn())
}

fn encryption_context(name: &FunctionName) -> EncryptionContext {
    EncryptionContext::from([("aws:lambda:FunctionArn".to_owned(), name.arn())])
}

fn unreadable(error: &AwsError) -> Failure {
    let denied = error.code.contains("AccessDenied");
    let code = if denied { "AccessDeniedException" } else { "KMSNotFoundException" };
    AwsError::invalid(
        code,
        format!(
            "Lambda was unable to decrypt your environment variables because the KMS access was denied or the key cannot \
             be used. Please check your KMS permissions. KMS Exception: {} KMS Message: {}",
            error.code, error.message
        ),
    )
    .into()
}

fn shown_logging(config: &Config, name: &str) -> Value {
    let logging = &config.logging;
    let mut shown = json!({
        "LogFormat": logging.format.as_deref().unwrap_or(LOG_FORMAT_DEFAULT),
        "LogGroup": config.log_group(name),
    });
    let levels =
        [("ApplicationLogLevel", &logging.application_level), ("SystemLogLevel", &logging.system_level)];
    for (member, level) in levels {
        if let Some(level) = level {
            shown[member] = level.as_str().into();
        }
    }
    shown
}

/// `2026-11-21T10:00:00.000+0000`.
pub(super) fn aws_time(time: Timestamp) -> String {
    time.iso_millis().replace('Z', "+0000")
}
