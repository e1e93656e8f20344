//! S3 on a real catalog and real blobs, driven with decoded calls.

mod buckets;
mod delivery;
mod guards;
mod lifecycle;
mod lifecycle_simulation;
mod listing;
mod multipart;
mod notifications;
mod notifications_simulation;
mod object_sink;
mod objects;
mod recorded;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::{AccountId, AccountId as Account, Clock};
use cairn_services::s3::S3;
use cairn_services::{Caller, Service};
use cairn_store::Blobs;
use cairn_store::blobs::FileBlobs;
use cairn_wire::{AwsError, Body, BodyError, BodySource, Call, Reply};
use serde_json::{Value, json};

use crate::world::{World, call, root};

/// A real S3, its clock, and a caller who is the root of an account.
struct Shop {
    s3: S3,
    world: World,
    folder: tempfile::TempDir,
    root: Caller,
}

impl Shop {
    fn new() -> Self {
        let world = World::new();
        let folder = tempfile::tempdir().unwrap();
        let s3 = open(&world, folder.path());
        Self { s3, root: root(&account()), world, folder }
    }

    /// One with a bucket `logs`.
    async fn with_bucket() -> Self {
        let shop = Self::new();
        shop.ok("CreateBucket", json!({"Bucket": "logs"})).await;
        shop
    }

    /// One with a bucket `logs` that keeps versions.
    async fn with_versions() -> Self {
        let shop = Self::with_bucket().await;
        shop.set_versioning("Enabled").await;
        shop
    }

    async fn set_versioning(&self, status: &str) {
        let configuration = json!({"Bucket": "logs", "VersioningConfiguration": {"Status": status}});
        self.ok("PutBucketVersioning", configuration).await;
    }

    fn caller(&self) -> Caller {
        Caller { now: self.world.clock.now(), ..self.root.clone() }
    }

    async fn send(&self, call: Call) -> Result<Reply, AwsError> {
        self.send_as(&self.caller(), call).await
    }

    async fn send_as(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        let target = self.s3.target(caller, &call).await?;
        if !self.s3.authorises_itself(&call.operation) {
            cairn_services::authorise(caller, &target)?;
        }
        for target in self.s3.further_targets(caller, &call).await? {
            cairn_services::authorise(caller, &target)?;
        }
        self.s3.handle(caller, call).await
    }

    /// The result of a call that succeeds.
    async fn ok(&self, operation: &str, params: Value) -> Value {
        self.send(call("s3", operation, params)).await.unwrap().result
    }

    /// The refusal of a call as `status code`.
    async fn refused(&self, operation: &str, params: Value) -> String {
        let refusal = self.send(call("s3", operation, params)).await;
        shown(&refusal.expect_err("the call is to be refused"))
    }

    /// Puts an object into `logs`.
    async fn put(&self, key: &str, body: &str) -> Value {
        self.put_with(json!({"Bucket": "logs", "Key": key}), body).await.unwrap()
    }

    async fn put_with(&self, params: Value, body: &str) -> Result<Value, AwsError> {
        let body = Body::from_bytes(Bytes::from(body.to_owned()));
        let call = Call { body: Some(body), ..call("s3", "PutObject", params) };
        Ok(self.send(call).await?.result)
    }

    /// Gets an object: status, result, bytes.
    async fn get(&self, params: Value) -> Result<(Option<u16>, Value, String), AwsError> {
        let reply = self.send(call("s3", "GetObject", params)).await?;
        Ok((reply.status, reply.result, read(reply.body.unwrap()).await))
    }

    /// The text of an object in `logs`.
    async fn text(&self, key: &str) -> String {
        self.get(json!({"Bucket": "logs", "Key": key})).await.unwrap().2
    }

    /// How many blobs are on disk.
    fn blob_count(&self) -> usize {
        blobs(&self.world, self.folder.path()).ids().count()
    }
}

fn account() -> AccountId {
    "123456789012".parse().unwrap()
}

fn stranger() -> Account {
    "210987654321".parse().unwrap()
}

fn blobs(world: &World, folder: &Path) -> FileBlobs {
    let folder: PathBuf = folder.join("blobs");
    FileBlobs::open(&folder, world.entropy.clone(), &prometheus::Registry::new()).unwrap()
}

fn open(world: &World, folder: &Path) -> S3 {
    let blobs: Arc<dyn Blobs> = Arc::new(blobs(world, folder));
    S3::new(world.catalog.clone(), blobs, world.clock.clone(), world.entropy.clone(), world.object_keys())
}

async fn read(mut body: Body) -> String {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend(piece.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

fn shown(error: &AwsError) -> String {
    format!("{} {}", error.status, error.code)
}

/// A body whose client goes away, or whose trailers come at its end.
struct Pieces {
    pieces: Vec<&'static str>,
    breaks_off: bool,
    trailers: Vec<(String, String)>,
}

#[async_trait]
impl BodySource for Pieces {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.pieces.is_empty() {
            let broken = std::mem::take(&mut self.breaks_off);
            return broken.then_some(Err(BodyError::Incomplete(None)));
        }
        Some(Ok(Bytes::from(self.pieces.remove(0))))
    }

    fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }
}
