//! Functions as processes of this machine: environments that are started, kept warm, used again and ended.
//!
//! On the road: behind the Lambda service, which knows them as a [`Runner`]. What isolates them from one another and from
//! the server, and what does not, is said in docs/lambda.md.
//! Invariants: there are at most [`Limits::environments_max`] process groups; each serves one invocation at a time; all
//! end with the server, however that ends; credentials in an environment outlive it.

mod code;
mod environment;
pub(crate) mod launch;
mod logs;
mod process;
mod remote;
mod runtime_api;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cairn_core::{Clock, Entropy, Timestamp};
use cairn_services::lambda::{Blueprint, Invocation, Packages, Ran, RunFailure, Runner};
use cairn_services::sinks::Switchboard;
use prometheus::{IntCounter, IntGauge, Registry};

use self::code::UnpackedCode;
use self::environment::{Environment, Start, broken, without_bootstrap};
use self::logs::LogPlace;
pub(crate) use self::remote::RemoteLambda;

/// How long the credentials of an environment last, and how long it is used at most.
const CREDENTIALS_LIFE: Duration = Duration::from_secs(6 * 3600);
const ENVIRONMENT_LIFE: Duration = Duration::from_secs(5 * 3600);
/// How long an environment that nobody uses is kept.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// The file of custom runtimes.
const BOOTSTRAP: &str = "bootstrap";
/// Runtimes that execute the package's own `bootstrap`.
const CUSTOM_RUNTIMES: [&str; 3] = ["provided", "provided.al2", "provided.al2023"];
/// The largest file that a function writes, in bytes.
const FILE_SIZE_BYTES_MAX: u64 = 10 << 30;

/// How functions may be executed.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Process groups at a time.
    pub(crate) environments_max: usize,
    /// The Python that has the runtime interface client; none where Python functions are not executed.
    pub(crate) python: Option<PathBuf>,
}

/// Executes functions.
pub(crate) struct LocalFunctions {
    limits: Limits,
    code: UnpackedCode,
    tmp: PathBuf,
    logs: LogPlace,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    switchboard: Switchboard,
    endpoint: OnceLock<String>,
    pool: Mutex<Pool>,
    starts: IntCounter,
    environments: IntGauge,
}

/// The environments that have nothing to do, and how many there are in all.
#[derive(Default)]
struct Pool {
    idle: HashMap<(String, String), Vec<Idle>>,
    total: usize,
}

struct Idle {
    environment: Environment,
    made_at: Timestamp,
    used_at: Timestamp,
}

/// The place of an environment among all, until this is dropped.
struct Place<'a>(&'a LocalFunctions);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.pool().total -= 1;
        self.0.environments.dec();
    }
}

impl LocalFunctions {
    /// With the folders for code and temporary files, which are there and empty.
    pub(crate) fn new(
        limits: Limits,
        packages: Packages,
        (code, tmp): (PathBuf, PathBuf),
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        switchboard: Switchboard,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let starts =
            IntCounter::new("cairn_lambda_starts_total", "environments of functions that were started")?;
        let environments =
            IntGauge::new("cairn_lambda_environments", "environments of functions that there are")?;
        registry.register(Box::new(starts.clone()))?;
        registry.register(Box::new(environments.clone()))?;
        Ok(Self {
            limits,
            code: UnpackedCode::new(code, packages),
            tmp,
            logs: LogPlace::new(switchboard.clone(), Arc::clone(&clock), registry)?,
            clock,
            entropy,
            switchboard,
            endpoint: OnceLock::new(),
            pool: Mutex::default(),
            starts,
            environments,
        })
    }

    /// Where functions reach the server.
    pub(crate) fn reached_at(&self, endpoint: &str) {
        if self.endpoint.set(endpoint.to_owned()).is_err() {
            tracing::debug!(endpoint, "the address was known before");
        }
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what nobody used for long.
    pub(crate) fn tidy(&self) {
        let now = self.clock.now();
        let mut ended = Vec::new();
        let mut pool = self.pool();
        for idle in pool.idle.values_mut() {
            let (kept, over): (Vec<Idle>, Vec<Idle>) = std::mem::take(idle)
                .into_iter()
                .partition(|idle| idle.environment.is_alive() && now.since(idle.used_at) < IDLE_MAX);
            *idle = kept;
            ended.extend(over);
        }
        pool.idle.retain(|_, idle| !idle.is_empty());
        pool.total -= ended.len();
        drop(pool);
        self.environments.sub(i64::try_from(ended.len()).unwrap_or(0));
    }

    /// Ends all.
    pub(crate) fn end_all(&self) {
        let mut pool = self.pool();
        let idle = std::mem::take(&mut pool.idle);
        let count: usize = idle.values().map(Vec::len).sum();
        pool.total -= count;
        drop(pool);
        self.environments.sub(i64::try_from(count).unwrap_or(0));
    }

    /// An environment that has served the same before.
    fn warm(&self, blueprint: &Arc<Blueprint>) -> Option<(Environment, Timestamp, Place<'_>)> {
        let now = self.clock.now();
        let key = key(blueprint);
        let mut pool = self.pool();
        loop {
            let idle = pool.idle.get_mut(&key)?.pop()?;
            let fits = idle.environment.is_alive()
                && *idle.environment.blueprint == **blueprint
                && now.since(idle.made_at) < ENVIRONMENT_LIFE;
            if fits {
                return Some((idle.environment, idle.made_at, Place(self)));
            }
            pool.total -= 1;
            self.environments.dec();
        }
    }

    /// A place for a new environment; for want of one, that which was idle for longest has to go.
    fn place(&self) -> Option<Place<'_>> {
        let mut pool = self.pool();
        if pool.total >= self.limits.environments_max {
            let oldest = pool
                .idle
                .iter()
                .flat_map(|(key, idle)| idle.iter().map(move |idle| (idle.used_at, key)))
                .min_by_key(|(used_at, _)| *used_at);
            let key = oldest.map(|(_, key)| key.clone())?;
            let idle = pool.idle.get_mut(&key)?;
            let at = (0..idle.len()).min_by_key(|at| idle[*at].used_at)?;
            idle.remove(at);
            pool.total -= 1;
            self.environments.dec();
        }
        pool.total += 1;
        self.environments.inc();
        Some(Place(self))
    }

    /// Keeps an environment for the next invocation.
    fn keep(&self, environment: Environment, made_at: Timestamp, place: Place<'_>) {
        if !environment.is_alive() {
            return;
        }
        std::mem::forget(place);
        let idle = Idle { made_at, used_at: self.clock.now(), environment };
        let key = key(&idle.environment.blueprint);
        self.pool().idle.entry(key).or_default().push(idle);
    }

    async fn start(&self, blueprint: &Arc<Blueprint>) -> Result<Option<Environment>, RunFailure> {
        let code = self.code.path(&blueprint.package).await?;
        let (program, arguments) = match &self.limits.python {
            Some(python) if is_python(&blueprint.runtime) => {
                (python.clone(), vec!["-m".to_owned(), "awslambdaric".to_owned(), blueprint.handler.clone()])
            }
            _ => (code.join(BOOTSTRAP), Vec::new()),
        };
        if !program.is_file() {
            return Ok(None);
        }
        let tmp = self.tmp.join(self.entropy.event_id().to_string());
        std::fs::create_dir(&tmp).map_err(|error| broken(&error))?;
        let start = Start {
            code,
            tmp,
            program,
            arguments,
            variables: self.credentials(blueprint).await?,
            file_size_bytes_max: FILE_SIZE_BYTES_MAX,
        };
        self.starts.inc();
        let started = Environment::start(Arc::clone(blueprint), start, &self.logs, &*self.entropy).await;
        started.map(Some).map_err(|error| broken(&error))
    }

    /// What a function calls the server with: as its execution role.
    async fn credentials(&self, blueprint: &Blueprint) -> Result<Vec<(String, String)>, RunFailure> {
        let roles = self.switchboard.roles().map_err(RunFailure::Role)?;
        let made = roles.credentials(&blueprint.role(), CREDENTIALS_LIFE).await.map_err(RunFailure::Role)?;
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), made.access_key_id),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), made.secret.expose().to_owned()),
            ("AWS_SESSION_TOKEN".to_owned(), made.token),
        ];
        let chooses_endpoint = blueprint.variables.iter().any(|(name, _)| name == "AWS_ENDPOINT_URL");
        if let Some(endpoint) = self.endpoint.get().filter(|_| !chooses_endpoint) {
            variables.push(("AWS_ENDPOINT_URL".to_owned(), endpoint.clone()));
        }
        Ok(variables)
    }
}

#[async_trait]
impl Runner for LocalFunctions {
    fn takes(&self, runtime: &str) -> Result<(), String> {
        if CUSTOM_RUNTIMES.contains(&runtime) {
            return Ok(());
        }
        match &self.limits.python {
            Some(_) if is_python(runtime) => Ok(()),
            None if is_python(runtime) => Err("it was started without --lambda-python".to_owned()),
            _ => Err("it executes python3.* and provided.*".to_owned()),
        }
    }

    async fn run(&self, blueprint: Arc<Blueprint>, invocation: Invocation) -> Result<Ran, RunFailure> {
        let (mut environment, made_at, place) = match self.warm(&blueprint) {
            Some(warm) => warm,
            None => {
                let place = self.place().ok_or(RunFailure::Busy)?;
                let made_at = self.clock.now();
                let Some(mut environment) = self.start(&blueprint).await? else {
                    return Ok(without_bootstrap(&invocation.request_id));
                };
                if let Err(failed) = environment.become_ready(&invocation).await {
                    return Ok(failed);
                }
                (environment, made_at, place)
            }
        };
        let ran = environment.invoke(invocation).await;
        self.keep(environment, made_at, place);
        Ok(ran)
    }

    fn retire(&self, function_arn: &str) {
        let mut pool = self.pool();
        let retired: usize =
            pool.idle.iter().filter(|(key, _)| key.0 == function_arn).map(|(_, idle)| idle.len()).sum();
        pool.idle.retain(|key, _| key.0 != function_arn);
        pool.total -= retired;
        drop(pool);
        self.environments.sub(i64::try_from(retired).unwrap_or(0));
    }
}

fn key(blueprint: &Blueprint) -> (String, String) {
    (blueprint.function_arn.clone(), blueprint.version.clone())
}

fn is_python(runtime: &str) -> bool {
    runtime.starts_with("python3.")
}
