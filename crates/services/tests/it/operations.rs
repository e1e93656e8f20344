//! `docs/operations.md` says what the services say: it is compared here, and written where `CAIRN_WRITE_DOCS` is set.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use cairn_services::cloudtrail_data::CloudTrailData;
use cairn_services::organizations::Organizations;
use cairn_services::s3::{S3, S3Control};
use cairn_services::{Access, EventKind, Service};
use cairn_store::blobs::FileBlobs;
use cairn_testkit::{memory_lines, memory_log};
use cairn_trail::Ingest;
use prometheus::Registry;

use crate::{cloudtrail, world};

const HEAD: &str = "# Operations

Every operation that Cairn has. All others of AWS's models answer AWS's error for an unsupported operation, and are
recorded with it. The table is made from the program: `CAIRN_WRITE_DOCS=1 cargo test -p cairn-services operations`.
";

fn table(service: &dyn Service) -> String {
    let mut operations = service.operations().to_vec();
    operations.sort_by_key(|operation| operation.name);
    let mut text = format!(
        "\n## {}\n\n{} operations.\n\n| operation | name in records | access | event |\n|---|---|---|---|\n",
        service.model(),
        operations.len()
    );
    for operation in operations {
        let access = match operation.access {
            Access::Read => "read",
            Access::Write => "write",
        };
        let kind = match operation.kind {
            EventKind::Management => "management",
            EventKind::Data => "data",
        };
        writeln!(text, "| {} | {} | {access} | {kind} |", operation.name, operation.event_name).unwrap();
    }
    text
}

fn data_service(world: &world::World) -> CloudTrailData {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ingest = runtime.block_on(Ingest::open(memory_log(), world.clock.clone())).unwrap();
    CloudTrailData::new(world.catalog.clone(), Arc::new(ingest))
}

/// Calls `visit` with every service that there is. There is the account 111122223333.
pub(crate) fn with_all(visit: impl FnOnce(&[&dyn Service])) {
    let world = world::World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let account = "111122223333".parse().unwrap();
    runtime.block_on(world.iam().ensure_first_account(Some(&account))).unwrap();
    let trails = cloudtrail::World::new();
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), world.entropy.clone(), &Registry::new()).unwrap();
    let s3 = Arc::new(S3::new(
        world.catalog.clone(),
        Arc::new(blobs),
        world.clock.clone(),
        world.entropy.clone(),
        world.object_keys(),
    ));
    let control = S3Control::new(Arc::clone(&s3));
    let data = data_service(&world);
    let kms = world.kms(memory_log());
    let iam = Arc::new(world.iam());
    let (clock, entropy) = (world.clock.clone(), world.entropy.clone());
    let organizations = Organizations::new(world.catalog.clone(), clock, entropy, Arc::clone(&iam));
    let kinesis = runtime.block_on(world.kinesis());
    let functions = crate::lambda::World::new();
    let lambda = runtime.block_on(functions.lambda());
    let firehose = runtime.block_on(crate::firehose::firehose_alone(&world, &kinesis));
    let logs = crate::logs::logs_of(&world, memory_lines());
    let cloudwatch = crate::cloudwatch::cloudwatch_of(&world);
    let sns = crate::sns::sns_of(&world, Arc::default());
    let sqs = runtime.block_on(world.sqs());
    let events = crate::events::bare_events_of(&world);
    let sts = crate::sts::sts_of(&world);
    visit(&[
        trails.service(),
        &data,
        &cloudwatch,
        &events,
        &firehose,
        iam.as_ref(),
        &kinesis,
        &kms,
        lambda.as_ref(),
        &logs,
        &organizations,
        s3.as_ref(),
        &control,
        &sns,
        &sqs,
        &sts,
    ]);
}

#[test]
fn the_table_of_operations_is_that_of_the_services() {
    let mut text = HEAD.to_owned();
    with_all(|services| services.iter().for_each(|service| text += &table(*service)));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    if std::env::var_os("CAIRN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/operations.md is out of date: CAIRN_WRITE_DOCS=1 cargo test -p cairn-services operations"
    );
}
