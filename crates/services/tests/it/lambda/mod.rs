//! Lambda without processes: who executes is a stand-in that says what it was given.

mod asynchronous;
mod calls;

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cairn_core::policy::{Document, NamedPolicy, Rights};
use cairn_core::{AccountId, Principal};
use cairn_services::Caller;
use cairn_services::lambda::{Blueprint, Deps, Invocation, Lambda, Packages, Ran, RunFailure, Runner};
use cairn_services::sinks::{AsRole, Roles, SinkFailure, Switchboard};
use cairn_services::sqs::Sqs;
use cairn_services::sts::TemporaryCredentials;
use cairn_store::Queues;
use cairn_store::blobs::FileBlobs;
use cairn_testkit::{fixed_sealer, memory_log, memory_queues};
use cairn_wire::AwsError;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::world;

/// What the stand-in was given: the version, the variables and the event.
pub(crate) type Given = (String, Vec<(String, String)>, Invocation);

/// Executes nothing: what is told to it, it answers next; the event where nothing was told.
#[derive(Default)]
pub(crate) struct StandIn {
    pub(crate) given: Mutex<Vec<Given>>,
    pub(crate) answers: Mutex<VecDeque<Result<Ran, RunFailure>>>,
}

impl StandIn {
    pub(crate) fn fail(&self, times: usize) {
        let payload = Bytes::from_static(br#"{"errorMessage":"boom","errorType":"ValueError"}"#);
        let failed = Ran { payload, is_error: true, log_tail: b"the log".to_vec() };
        self.answers.lock().unwrap().extend(std::iter::repeat_n(Ok(failed), times));
    }

    pub(crate) fn count(&self) -> usize {
        self.given.lock().unwrap().len()
    }
}

#[async_trait]
impl Runner for StandIn {
    fn takes(&self, runtime: &str) -> Result<(), String> {
        if runtime == "provided.al2023" { Ok(()) } else { Err("it is another".to_owned()) }
    }

    async fn run(&self, blueprint: Arc<Blueprint>, invocation: Invocation) -> Result<Ran, RunFailure> {
        let payload = invocation.payload.clone();
        let given = (blueprint.version.clone(), blueprint.variables.clone(), invocation);
        self.given.lock().unwrap().push(given);
        let told = self.answers.lock().unwrap().pop_front();
        told.unwrap_or(Ok(Ran { payload, is_error: false, log_tail: b"the log".to_vec() }))
    }

    fn retire(&self, _: &str) {}
}

/// Every role but "nobody" can be assumed; its rights are what the test says.
pub(crate) struct AnyRole(pub(crate) Arc<Rights>);

#[async_trait]
impl Roles for AnyRole {
    async fn assume(&self, role: &AsRole) -> Result<Caller, SinkFailure> {
        if role.role_arn.ends_with("/nobody") {
            let message = "it does not trust".to_owned();
            return Err(SinkFailure { is_transient: false, code: "AccessDenied".to_owned(), message });
        }
        let principal = Principal::AssumedRole {
            account: role.source.account.clone(),
            role_id: "AROAEXAMPLE".to_owned(),
            role_name: "r".to_owned(),
            role_path: "/".to_owned(),
            session_name: role.session_name.clone(),
        };
        Ok(Caller { rights: Arc::clone(&self.0), ..world::caller(principal) })
    }

    async fn credentials(&self, _: &AsRole, _: Duration) -> Result<TemporaryCredentials, SinkFailure> {
        unreachable!("no process is started")
    }
}

pub(crate) fn rights(action: &str) -> Arc<Rights> {
    let text = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]});
    let document = Arc::new(Document::parse(&text.to_string()).unwrap());
    Arc::new(Rights { identity: vec![NamedPolicy { name: "p".into(), document }], ..Rights::default() })
}

/// A Lambda with what it stands on.
pub(crate) struct World {
    pub(crate) world: world::World,
    pub(crate) runner: Arc<StandIn>,
    pub(crate) queues: Arc<dyn Queues>,
    pub(crate) switchboard: Switchboard,
    folder: tempfile::TempDir,
}

pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/r";
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:111122223333:function:f";

pub(crate) fn owner() -> Caller {
    let account: AccountId = "111122223333".parse().unwrap();
    world::root(&account)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_rights(rights("*"))
    }

    pub(crate) fn with_rights(rights: Arc<Rights>) -> Self {
        let switchboard = Switchboard::default();
        switchboard.plug_roles(Arc::new(AnyRole(rights)));
        Self {
            world: world::World::new(),
            runner: Arc::default(),
            queues: memory_queues(),
            switchboard,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The service as it opens on what there is, with whom executes.
    pub(crate) async fn lambda(&self) -> Arc<Lambda> {
        self.lambda_by(Some(Arc::clone(&self.runner) as _)).await
    }

    pub(crate) async fn lambda_by(&self, runner: Option<Arc<dyn Runner>>) -> Arc<Lambda> {
        let registry = Registry::new();
        let blobs = FileBlobs::open(self.folder.path(), self.world.entropy.clone(), &registry).unwrap();
        let deps = Deps {
            catalog: self.world.catalog.clone(),
            queues: Arc::clone(&self.queues),
            packages: Packages::new(Arc::new(blobs), fixed_sealer()),
            sealer: fixed_sealer(),
            data_keys: Arc::new(self.world.kms(memory_log())),
            clock: self.world.clock.clone(),
            entropy: self.world.entropy.clone(),
            switchboard: self.switchboard.clone(),
            runner,
            remote: None,
            concurrency_max: 8,
            retry_delay: Duration::from_secs(60),
        };
        Arc::new(Lambda::open(deps, &registry).await.unwrap())
    }

    /// Queues that the switchboard leads to.
    pub(crate) async fn sqs(&self) -> Arc<Sqs> {
        let sqs = Arc::new(self.world.sqs().await);
        self.switchboard.plug_queues(Arc::clone(&sqs) as _);
        sqs
    }

    pub(crate) fn blob_count(&self) -> usize {
        fn files(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(self.folder.path())
    }
}

/// A package of one file, in base64.
pub(crate) fn package(content: &str) -> String {
    let name = "bootstrap";
    let mut crc = flate2::Crc::new();
    crc.update(content.as_bytes());
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let common =
        [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes(), &size, &size, &[9, 0, 0, 0]]
            .concat();
    let mut zip = Vec::new();
    zip.write_all(&[&b"PK\x03\x04"[..], &common, name.as_bytes(), content.as_bytes()].concat()).unwrap();
    let start = u32::try_from(zip.len()).unwrap();
    let mode = (0o100_755_u32 << 16).to_le_bytes();
    let listed = [&b"PK\x01\x02"[..], &[20, 3], &common, &[0; 6], &mode, &[0; 4], name.as_bytes()].concat();
    let end = [
        &b"PK\x05\x06"[..],
        &[0, 0, 0, 0, 1, 0, 1, 0],
        &u32::try_from(listed.len()).unwrap().to_le_bytes(),
        &start.to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    zip.extend([listed, end].concat());
    STANDARD.encode(zip)
}

pub(crate) fn create(more: &Value) -> Value {
    let mut params = json!({
        "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "h", "Role": ROLE,
        "Code": {"ZipFile": package("#!/bin/sh")},
    });
    for (member, value) in more.as_object().unwrap() {
        params[member] = value.clone();
    }
    params
}

pub(crate) async fn send(lambda: &Lambda, operation: &str, params: Value) -> Result<Value, AwsError> {
    world::send(lambda, &owner(), operation, params).await
}

pub(crate) async fn made(lambda: &Lambda, more: Value) -> Value {
    send(lambda, "CreateFunction", create(&more)).await.unwrap()
}

pub(crate) async fn refusal(lambda: &Lambda, operation: &str, params: Value) -> String {
    world::refusal(lambda, &owner(), operation, params).await
}
