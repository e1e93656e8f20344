//! IAM: access keys, and what the front door gets of them.

use cairn_core::{Principal, Timestamp};
use cairn_services::iam::Iam;
use cairn_services::{Caller, Service};
use serde_json::{Value, json};

use crate::world::{World, caller, refusal, root, send};

async fn start(world: &World) -> (Iam, Caller) {
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    let root = root(&first.account);
    send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    (iam, root)
}

async fn new_key(iam: &Iam, caller: &Caller, params: Value) -> (String, String) {
    let reply = send(iam, caller, "CreateAccessKey", params).await.unwrap();
    let text = |name: &str| reply["AccessKey"][name].as_str().unwrap().to_owned();
    (text("AccessKeyId"), text("SecretAccessKey"))
}

#[tokio::test]
async fn a_user_has_at_most_two_keys_and_is_not_deleted_with_any() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let alice = json!({"UserName": "alice"});
    let (first, secret) = new_key(&iam, &root, alice.clone()).await;
    assert!(first.starts_with("AKIA") && first.len() == 20 && secret.len() == 40);
    let (second, _) = new_key(&iam, &root, alice.clone()).await;
    assert_eq!(
        refusal(&iam, &root, "CreateAccessKey", alice.clone()).await,
        "409 LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2"
    );
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", alice.clone()).await,
        "409 DeleteConflict: Cannot delete entity, must delete access keys first."
    );
    for id in [&first, &second] {
        let delete = json!({"UserName": "alice", "AccessKeyId": id});
        send(&iam, &root, "DeleteAccessKey", delete).await.unwrap();
    }
    let listed = send(&iam, &root, "ListAccessKeys", alice.clone()).await.unwrap();
    assert_eq!(listed, json!({"AccessKeyMetadata": [], "IsTruncated": false}));
    send(&iam, &root, "DeleteUser", alice).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "CreateAccessKey", json!({"UserName": "alice"})).await,
        "404 NoSuchEntity: The user with name alice cannot be found."
    );
}

#[tokio::test]
async fn without_a_user_name_keys_are_the_callers_own() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let (root_key, _) = new_key(&iam, &root, json!({})).await;
    let listed = send(&iam, &root, "ListAccessKeys", json!({})).await.unwrap();
    assert_eq!(listed["AccessKeyMetadata"].as_array().unwrap().len(), 2);
    assert_eq!(listed["AccessKeyMetadata"][0].get("UserName"), None);

    let alice = caller(Principal::IamUser {
        account: root.account.clone(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    });
    let (own, _) = new_key(&iam, &alice, json!({})).await;
    let listed = send(&iam, &alice, "ListAccessKeys", json!({})).await.unwrap();
    assert_eq!(
        listed["AccessKeyMetadata"],
        json!([{"UserName": "alice", "AccessKeyId": own, "Status": "Active", "CreateDate": 1_795_281_866}])
    );
    for id in [root_key.as_str(), "AKIAEXAMPLEEXAMPLE00"] {
        assert_eq!(
            refusal(&iam, &alice, "DeleteAccessKey", json!({"AccessKeyId": id})).await,
            format!("404 NoSuchEntity: The Access Key with id {id} cannot be found.")
        );
    }
}

#[tokio::test]
async fn the_front_door_finds_who_is_behind_a_key_and_follows_every_change() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let (id, secret) = new_key(&iam, &root, json!({"UserName": "alice"})).await;
    let found = iam.find_access_key(&id).await.unwrap().unwrap();
    assert_eq!(found.secret.expose(), secret);
    assert_eq!((found.active, &found.account), (true, &root.account));
    assert!(!format!("{found:?}").contains(&secret));
    let arn = found.principal.arn().unwrap();
    assert_eq!(arn, format!("arn:aws:iam::{}:user/alice", root.account));

    let rename = json!({"UserName": "alice", "NewUserName": "bob", "NewPath": "/ops/"});
    send(&iam, &root, "UpdateUser", rename).await.unwrap();
    let arn = iam.find_access_key(&id).await.unwrap().unwrap().principal.arn().unwrap();
    assert_eq!(arn, format!("arn:aws:iam::{}:user/ops/bob", root.account));

    for (status, active) in [("Inactive", false), ("Active", true)] {
        let update = json!({"UserName": "bob", "AccessKeyId": id, "Status": status});
        send(&iam, &root, "UpdateAccessKey", update).await.unwrap();
        assert_eq!(iam.find_access_key(&id).await.unwrap().unwrap().active, active);
    }
    send(&iam, &root, "DeleteAccessKey", json!({"UserName": "bob", "AccessKeyId": id})).await.unwrap();
    assert!(iam.find_access_key(&id).await.unwrap().is_none());
    assert!(iam.find_access_key(&"A".repeat(100_000)).await.unwrap().is_none());
}

#[tokio::test]
async fn roots_key_shows_the_alias_as_soon_as_there_is_one() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let key = iam.root_credentials(&root.account).await.unwrap().unwrap().key.unwrap();
    let alias_of = |principal| match principal {
        Principal::Root { alias, .. } => alias,
        other => panic!("{other:?} is not root"),
    };
    let found = iam.find_access_key(&key.access_key_id).await.unwrap().unwrap();
    assert_eq!(alias_of(found.principal), None);
    send(&iam, &root, "CreateAccountAlias", json!({"AccountAlias": "acme"})).await.unwrap();
    let found = iam.find_access_key(&key.access_key_id).await.unwrap().unwrap();
    assert_eq!(alias_of(found.principal).as_deref(), Some("acme"));

    let off = json!({"AccessKeyId": key.access_key_id, "Status": "Inactive"});
    send(&iam, &root, "UpdateAccessKey", off).await.unwrap();
    assert!(iam.ensure_first_account(None).await.unwrap().key.is_none());
}

#[tokio::test]
async fn the_last_use_is_shown_at_once_and_written_later() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let (id, _) = new_key(&iam, &root, json!({"UserName": "alice"})).await;
    let ask = json!({"AccessKeyId": id});
    let never = json!({"UserName": "alice", "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}});
    assert_eq!(send(&iam, &root, "GetAccessKeyLastUsed", ask.clone()).await.unwrap(), never);

    iam.note_use(&id, "s3", "eu-west-1", Timestamp::from_seconds(100));
    iam.note_use(&id, "cloudtrail", "us-east-1", Timestamp::from_seconds(200));
    let used = json!({"UserName": "alice", "AccessKeyLastUsed":
        {"LastUsedDate": 200, "ServiceName": "cloudtrail", "Region": "us-east-1"}});
    assert_eq!(send(&iam, &root, "GetAccessKeyLastUsed", ask.clone()).await.unwrap(), used);
    assert_eq!(send(&world.iam(), &root, "GetAccessKeyLastUsed", ask.clone()).await.unwrap(), never);
    iam.flush_last_used().await.unwrap();
    assert_eq!(send(&world.iam(), &root, "GetAccessKeyLastUsed", ask.clone()).await.unwrap(), used);
    assert_eq!(send(&iam, &root, "GetAccessKeyLastUsed", ask.clone()).await.unwrap(), used);

    let other = crate::world::root(&"111122223333".parse().unwrap());
    assert_eq!(
        refusal(&iam, &other, "GetAccessKeyLastUsed", ask).await,
        format!(
            "403 AccessDenied: User: arn:aws:iam::111122223333:root is not authorized to perform: iam:GetAccessKeyLastUsed on resource: access key {id}"
        )
    );
}

#[tokio::test]
async fn a_secret_is_in_no_record_and_the_recorded_key_is_as_aws_records_it() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let reply = send(&iam, &root, "CreateAccessKey", json!({"UserName": "alice"})).await.unwrap();
    let operation = iam.operations().iter().find(|operation| operation.name == "CreateAccessKey").unwrap();
    let recorded = iam.recorded_reply(operation, &reply).unwrap();
    assert!(!recorded.to_string().contains(reply["AccessKey"]["SecretAccessKey"].as_str().unwrap()));
    assert_eq!(recorded["accessKey"]["createDate"], "Nov 21, 2026 5:24:26 PM");
    let other = iam.operations().iter().find(|operation| operation.name == "CreateUser").unwrap();
    assert_eq!(iam.recorded_reply(other, &reply), None);

    let Some(folder) = cairn_testkit::fixtures("events/stratus") else { return };
    let text = std::fs::read_to_string(folder.join("aws.persistence.iam-backdoor-user.json")).unwrap();
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    let real = events.iter().find(|event| event["eventName"] == "CreateAccessKey").unwrap();
    let members =
        |value: &Value| -> Vec<String> { value["accessKey"].as_object().unwrap().keys().cloned().collect() };
    assert_eq!(members(&recorded), members(&real["responseElements"]));
}

#[tokio::test]
async fn refusals_are_recorded_by_the_names_of_their_shapes() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    for (operation, params, expected) in [
        ("GetUser", json!({"UserName": "nobody"}), Some("NoSuchEntityException")),
        ("CreateUser", json!({"UserName": "alice"}), Some("EntityAlreadyExistsException")),
        ("CreateUser", json!({"UserName": "a b"}), None),
    ] {
        let error = send(&iam, &root, operation, params).await.unwrap_err();
        assert_eq!(iam.recorded_error_code(&error).as_deref(), expected, "{error}");
    }
}
