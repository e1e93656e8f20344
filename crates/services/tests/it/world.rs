//! What the tests of services stand on: a catalog in a temporary folder, a clock, callers and calls.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cairn_core::{AccountId, Clock, EventId, Principal, Timestamp};
use cairn_services::iam::Iam;
use cairn_services::kinesis::{self, Kinesis};
use cairn_services::kms::Kms;
use cairn_services::s3::ObjectKeys;
use cairn_services::sqs::{self, Sqs};
use cairn_services::{Caller, Service};
use cairn_store::{Catalog, EventLog, Queues, Streams};
use cairn_testkit::{SeededEntropy, TestClock, fixed_sealer, memory_queues, memory_streams};
use cairn_trail::Recorder;
use cairn_wire::{AwsError, Call, RequestFacts};
use serde_json::Value;

/// A catalog that lives as long as its folder.
pub(crate) struct World {
    pub(crate) catalog: Catalog,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    /// Set where whoever waits by the clock is to be woken by something else.
    pub(crate) is_clock_held: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = cairn_store::catalog::sqlite::open(&folder.path().join("catalog")).unwrap();
        let clock = Arc::new(TestClock::new(Timestamp::from_seconds(1_795_281_866)));
        let entropy = Arc::new(SeededEntropy::new(7));
        Self { catalog, clock, entropy, is_clock_held: Arc::default(), _folder: folder }
    }

    pub(crate) fn kms(&self, log: Arc<dyn EventLog>) -> Kms {
        let recorder = Recorder::new(log, self.clock.clone());
        Kms::new(self.catalog.clone(), self.clock.clone(), self.entropy.clone(), fixed_sealer(), recorder)
    }

    pub(crate) fn object_keys(&self) -> ObjectKeys {
        let data_keys = Arc::new(self.kms(cairn_testkit::memory_log()));
        ObjectKeys { server_key: fixed_sealer().derived_key("s3.objects"), data_keys }
    }

    /// SQS over queues in memory.
    pub(crate) async fn sqs(&self) -> Sqs {
        self.sqs_over(memory_queues()).await
    }

    pub(crate) async fn sqs_over(&self, queues: Arc<dyn Queues>) -> Sqs {
        let deps = sqs::Deps {
            catalog: self.catalog.clone(),
            queues,
            data_keys: Arc::new(self.kms(cairn_testkit::memory_log())),
            server_key: fixed_sealer().derived_key("sqs.messages"),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            pause: self.pause(),
            changed: Arc::new(|| {}),
        };
        Sqs::open(deps, &prometheus::Registry::new()).await.unwrap()
    }

    /// Whoever waits by the clock sets it.
    pub(crate) fn pause(&self) -> Arc<dyn sqs::Pause> {
        Arc::new(Jump(self.clock.clone(), Arc::clone(&self.is_clock_held)))
    }

    /// Kinesis over streams in memory.
    pub(crate) async fn kinesis(&self) -> Kinesis {
        self.kinesis_over(memory_streams()).await
    }

    pub(crate) async fn kinesis_over(&self, streams: Arc<dyn Streams>) -> Kinesis {
        let deps = kinesis::Deps {
            catalog: self.catalog.clone(),
            streams,
            data_keys: Arc::new(self.kms(cairn_testkit::memory_log())),
            server_key: fixed_sealer().derived_key("kinesis.records"),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            pause: self.pause(),
        };
        Kinesis::open(deps, &prometheus::Registry::new()).await.unwrap()
    }

    pub(crate) fn iam(&self) -> Iam {
        Iam::new(self.catalog.clone(), self.clock.clone(), self.entropy.clone(), fixed_sealer())
    }
}

/// How often others may go on before the clock is set.
const TURNS_OF_OTHERS: usize = 10_000;

/// Waits by setting the clock.
struct Jump(Arc<TestClock>, Arc<AtomicBool>);

#[async_trait]
impl sqs::Pause for Jump {
    async fn until(&self, at: Timestamp) {
        // Whatever else ends the wait goes first.
        for _ in 0..TURNS_OF_OTHERS {
            tokio::task::yield_now().await;
        }
        if self.1.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.0.set(self.0.now().max(at));
    }

    fn is_in_vain(&self) -> bool {
        false
    }
}

pub(crate) fn root(account: &AccountId) -> Caller {
    caller(Principal::Root { account: account.clone(), alias: None })
}

pub(crate) fn caller(principal: Principal) -> Caller {
    let anonymous_account = || "999988887777".parse().unwrap();
    Caller {
        account: principal.account().cloned().unwrap_or_else(anonymous_account),
        principal,
        access_key_id: None,
        session: None,
        mfa_verified: false,
        region: "us-east-1".parse().unwrap(),
        now: Timestamp::from_seconds(1_795_281_866),
        request_id: EventId::from_random([7; 16]),
        source_ip: IpAddr::from([127, 0, 0, 1]),
        secure_transport: false,
        user_agent: None,
        rights: Arc::new(cairn_core::policy::Rights::unrestricted()),
    }
}

pub(crate) fn call(service: &str, operation: &str, params: Value) -> Call {
    Call {
        service: service.into(),
        operation: operation.into(),
        params,
        body: None,
        request: RequestFacts::default(),
    }
}

/// Authorises and does one call.
pub(crate) async fn send(
    service: &dyn Service,
    caller: &Caller,
    operation: &str,
    params: Value,
) -> Result<Value, AwsError> {
    let call = call(service.model(), operation, params);
    let target = service.target(caller, &call).await?;
    cairn_services::authorise(caller, &target)?;
    Ok(service.handle(caller, call).await?.result)
}

/// The refusal of a call as `status code: message`.
pub(crate) async fn refusal(
    service: &dyn Service,
    caller: &Caller,
    operation: &str,
    params: Value,
) -> String {
    let error = send(service, caller, operation, params).await.expect_err("the call is to be refused");
    format!("{} {}: {}", error.status, error.code, error.message)
}
