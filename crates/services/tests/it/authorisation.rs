//! Every operation of every service is allowed with exactly its actions on exactly its resources, and denied otherwise.
//!
//! The tables `authorisation/SERVICE.txt` say what those are. An operation that no row names fails the test, and so
//! does a row that a service's target contradicts. **A new operation needs a row**, a new service a file of its own in
//! `TABLES` and a place in `operations::with_all`. Columns:
//!
//!   operation | params, as JSON | action | resource | further: "action resource" of each, between ";"
//!
//! Action and resource are what the service authorization reference has for the operation; where an action has no
//! resource there, the resource is "*". Action "-" needs no permission; with "trust " before it a role's trust policy
//! alone decides, and a right of the caller's own changes nothing. An operation may have several rows. The caller is the
//! user alice of 111122223333; there are no resources yet but the bucket "logs" and the role "reader", which trusts the
//! account: both are her account's own.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_core::Principal;
use cairn_core::policy::{Document, NamedPolicy, Rights};
use cairn_services::{Caller, Service};
use serde_json::{Value, json};

use crate::{operations, world};

const TABLES: &[(&str, &str)] = &[
    ("cloudtrail", include_str!("authorisation/cloudtrail.txt")),
    ("cloudtrail-data", include_str!("authorisation/cloudtrail-data.txt")),
    ("cloudwatch", include_str!("authorisation/cloudwatch.txt")),
    ("events", include_str!("authorisation/events.txt")),
    ("firehose", include_str!("authorisation/firehose.txt")),
    ("iam", include_str!("authorisation/iam.txt")),
    ("kinesis", include_str!("authorisation/kinesis.txt")),
    ("kms", include_str!("authorisation/kms.txt")),
    ("lambda", include_str!("authorisation/lambda.txt")),
    ("logs", include_str!("authorisation/logs.txt")),
    ("organizations", include_str!("authorisation/organizations.txt")),
    ("s3", include_str!("authorisation/s3.txt")),
    ("sns", include_str!("authorisation/sns.txt")),
    ("s3control", include_str!("authorisation/s3control.txt")),
    ("sqs", include_str!("authorisation/sqs.txt")),
    ("sts", include_str!("authorisation/sts.txt")),
];

/// An action with the resource that it is done to.
type Right = (String, String);

#[derive(Debug)]
struct Row {
    operation: String,
    params: Value,
    needed: Vec<Right>,
    free: bool,
    by_trust: bool,
}

fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let trusted = cells[2].strip_prefix("trust ");
            let (action, resource) = (trusted.unwrap_or(cells[2]), cells[3]);
            let further =
                cells.get(4).into_iter().flat_map(|cell| cell.split(';')).filter(|cell| !cell.is_empty());
            let further = further.map(|cell| cell.trim().split_once(' ').unwrap());
            Row {
                operation: cells[0].to_owned(),
                params: serde_json::from_str(cells[1]).unwrap_or_else(|error| panic!("{line}: {error}")),
                needed: std::iter::once((action, resource))
                    .chain(further)
                    .map(|(action, resource)| (action.to_owned(), resource.to_owned()))
                    .collect(),
                free: action == "-",
                by_trust: trusted.is_some(),
            }
        })
        .collect()
}

fn alice(rights: &[Right]) -> Caller {
    let statements: Vec<Value> = rights
        .iter()
        .map(|(action, resource)| {
            // Some of AWS's messages name a path where an ARN would be; only "*" takes it in.
            let resource = if resource.starts_with("arn:") { resource } else { "*" };
            json!({"Effect": "Allow", "Action": action, "Resource": resource})
        })
        .collect();
    let identity = if statements.is_empty() {
        Vec::new()
    } else {
        let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
        vec![NamedPolicy { name: "exact".into(), document: Arc::new(Document::parse(&text).unwrap()) }]
    };
    let alice = Principal::IamUser {
        account: "111122223333".parse().unwrap(),
        user_id: "AIDAEXAMPLEALICE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    Caller { rights: Arc::new(Rights { identity, ..Rights::default() }), ..world::caller(alice) }
}

/// Whether a caller of these rights gets past authorisation, as the front door asks.
async fn is_allowed(service: &dyn Service, row: &Row, rights: &[Right]) -> bool {
    let caller = alice(rights);
    let call = || world::call(service.model(), &row.operation, row.params.clone());
    if service.authorises_itself(&row.operation) {
        let answer = service.handle(&caller, call()).await;
        let text = answer.map_or_else(|error| error.to_string(), |reply| reply.result.to_string());
        return !["AccessDenied", "AuthorizationError"].iter().any(|code| text.contains(code));
    }
    let mut targets = vec![service.target(&caller, &call()).await.unwrap()];
    targets.extend(service.further_targets(&caller, &call()).await.unwrap());
    targets.iter().all(|target| cairn_services::authorise(&caller, target).is_ok())
}

async fn found_rights(service: &dyn Service, row: &Row) -> Vec<Right> {
    let caller = alice(&[]);
    let call = world::call(service.model(), &row.operation, row.params.clone());
    let mut targets = vec![service.target(&caller, &call).await.unwrap()];
    targets.extend(service.further_targets(&caller, &call).await.unwrap());
    targets.into_iter().map(|target| (target.action, target.resource_arn)).collect()
}

async fn check(service: &dyn Service, row: &Row) {
    let name = format!("{} {} {}", service.model(), row.operation, row.params);
    if row.free {
        assert!(is_allowed(service, row, &[]).await, "{name} needs no permission");
        return;
    }
    if !service.authorises_itself(&row.operation) {
        assert_eq!(found_rights(service, row).await, row.needed, "{name}");
    }
    if row.by_trust {
        assert!(!is_allowed(service, row, &row.needed).await, "{name} is for whom the role trusts");
        return;
    }
    assert!(is_allowed(service, row, &row.needed).await, "{name} is allowed by exactly its rights");
    assert!(!is_allowed(service, row, &[]).await, "{name} is denied by default");
    for at in 0..row.needed.len() {
        let changed = |change: &dyn Fn(&mut Right)| {
            let mut rights = row.needed.clone();
            // A right may be needed twice.
            rights.iter_mut().filter(|right| **right == row.needed[at]).for_each(change);
            rights
        };
        let other_action = changed(&|right| right.0.push_str("Other"));
        assert!(!is_allowed(service, row, &other_action).await, "{name} is denied: {other_action:?}");
        let other_resource = changed(&|right| right.1 = "arn:aws:s3:::another/thing".to_owned());
        assert!(!is_allowed(service, row, &other_resource).await, "{name} is denied: {other_resource:?}");
    }
}

async fn make_resources(services: &[&dyn Service]) {
    let owner = world::root(&"111122223333".parse().unwrap());
    let trust = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": "111122223333"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}});
    let role = json!({"RoleName": "reader", "AssumeRolePolicyDocument": trust.to_string()});
    for (model, operation, params) in
        [("s3", "CreateBucket", json!({"Bucket": "logs"})), ("iam", "CreateRole", role)]
    {
        let service = services.iter().find(|service| service.model() == model).unwrap();
        world::send(*service, &owner, operation, params).await.unwrap();
    }
}

#[test]
fn every_operation_is_allowed_by_exactly_its_rights() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    operations::with_all(|services| {
        runtime.block_on(make_resources(services));
        for service in services {
            let model = service.model();
            let (_, table) = TABLES.iter().find(|(name, _)| *name == model).unwrap_or_else(|| {
                panic!("{model} has no table of its rights: see the head of tests/it/authorisation.rs")
            });
            let rows = rows(table);
            let named: BTreeSet<&str> = rows.iter().map(|row| row.operation.as_str()).collect();
            let had: BTreeSet<&str> = service.operations().iter().map(|operation| operation.name).collect();
            let missing: Vec<_> = had.symmetric_difference(&named).collect();
            assert!(
                missing.is_empty(),
                "{model}: the table of rights and the operations differ in {missing:?}"
            );
            runtime.block_on(async {
                for row in &rows {
                    check(*service, row).await;
                }
            });
        }
    });
}
