//! IAM: users, tags, aliases, accounts.

use cairn_core::AccountId;
use cairn_services::iam::Iam;
use cairn_services::{Access, Caller, Service};
use serde_json::{Value, json};

use crate::world::{World, call, refusal, root, send};

async fn start(world: &World) -> (Iam, Caller) {
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    (iam, root(&first.account))
}

fn names(reply: &Value) -> Vec<&str> {
    reply["Users"].as_array().unwrap().iter().map(|user| user["UserName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_first_account_is_made_once_and_found_again() {
    let world = World::new();
    let made = world.iam().ensure_first_account(None).await.unwrap();
    assert!(made.is_new);
    let again = world.iam().ensure_first_account(None).await.unwrap();
    assert!(!again.is_new);
    assert_eq!(again.account, made.account);
    let (first, second) = (made.key.unwrap(), again.key.unwrap());
    assert_eq!(first.access_key_id, second.access_key_id);
    assert_eq!(first.secret.expose(), second.secret.expose());
    assert_eq!((first.access_key_id.len(), first.secret.expose().len()), (20, 40));
    assert!(!format!("{first:?}").contains(first.secret.expose()));

    world.clock.advance(std::time::Duration::from_secs(1));
    let wanted: AccountId = "111122223333".parse().unwrap();
    assert_eq!(world.iam().root_credentials(&wanted).await.unwrap().map(|_| ()), None);
    let other = world.iam().ensure_first_account(Some(&wanted)).await.unwrap();
    assert!(other.is_new && other.account == wanted);
    assert_eq!(world.iam().root_credentials(&wanted).await.unwrap().unwrap().account, wanted);
    assert_eq!(world.iam().ensure_first_account(None).await.unwrap().account, made.account);
    assert_eq!(world.iam().accounts().await.unwrap(), [made.account, wanted]);
}

#[tokio::test]
async fn a_user_is_created_read_changed_and_deleted() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let account = root.account.clone();
    let params = json!({"UserName": "Alice", "Path": "/ops/", "Tags": [{"Key": "team", "Value": "red"}]});
    let made = send(&iam, &root, "CreateUser", params.clone()).await.unwrap();
    let user = &made["User"];
    assert_eq!(user["Arn"], format!("arn:aws:iam::{account}:user/ops/Alice"));
    assert_eq!((&user["Path"], &user["CreateDate"]), (&json!("/ops/"), &json!(1_795_281_866)));
    let id = user["UserId"].as_str().unwrap();
    assert!(id.starts_with("AIDA") && id.len() == 21, "{id}");
    assert_eq!(send(&iam, &root, "GetUser", json!({"UserName": "Alice"})).await.unwrap(), made);

    assert_eq!(
        refusal(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await,
        "409 EntityAlreadyExists: User with name alice already exists."
    );
    assert_eq!(
        refusal(&iam, &root, "GetUser", json!({"UserName": "bob"})).await,
        "404 NoSuchEntity: The user with name bob cannot be found."
    );

    send(&iam, &root, "CreateUser", json!({"UserName": "bob"})).await.unwrap();
    let to_bob = json!({"UserName": "Alice", "NewUserName": "BOB"});
    assert_eq!(
        refusal(&iam, &root, "UpdateUser", to_bob).await,
        "409 EntityAlreadyExists: User with name BOB already exists."
    );
    let changes = json!({"UserName": "Alice", "NewUserName": "alice", "NewPath": "/"});
    send(&iam, &root, "UpdateUser", changes).await.unwrap();
    let changed = send(&iam, &root, "GetUser", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(changed["User"]["Arn"], format!("arn:aws:iam::{account}:user/alice"));
    assert_eq!(changed["User"]["UserId"], made["User"]["UserId"]);

    send(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await,
        "404 NoSuchEntity: The user with name alice cannot be found."
    );
    assert_eq!(names(&send(&iam, &root, "ListUsers", json!({})).await.unwrap()), ["bob"]);
}

#[tokio::test]
async fn get_user_without_a_name_is_about_the_caller() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let account = root.account.clone();
    assert_eq!(
        send(&iam, &root, "GetUser", json!({})).await.unwrap(),
        json!({"User": {"UserId": account, "Arn": format!("arn:aws:iam::{account}:root"), "CreateDate": 1_795_281_866}})
    );
    let made = send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    let alice = crate::world::caller(cairn_core::Principal::IamUser {
        account,
        user_id: made["User"]["UserId"].as_str().unwrap().into(),
        user_name: "alice".into(),
        path: "/".into(),
    });
    assert_eq!(send(&iam, &alice, "GetUser", json!({})).await.unwrap(), made);
}

#[tokio::test]
async fn names_paths_and_tags_are_checked() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    for (params, code) in [
        (json!({"UserName": "a b"}), "ValidationError"),
        (json!({"UserName": "x".repeat(65)}), "ValidationError"),
        (json!({"UserName": "a", "Path": "ops"}), "ValidationError"),
        (json!({"UserName": "a", "Path": "/ops"}), "ValidationError"),
        (json!({"UserName": "a", "Path": "//"}), "ValidationError"),
        (json!({"UserName": "a", "Path": "/o ps/"}), "ValidationError"),
        (
            json!({"UserName": "a", "PermissionsBoundary": "arn:aws:iam::aws:policy/NoSuchPolicy"}),
            "NoSuchEntity",
        ),
        (
            json!({"UserName": "a", "Tags": [{"Key": "A", "Value": ""}, {"Key": "a", "Value": ""}]}),
            "InvalidInput",
        ),
        (json!({"UserName": "a", "Tags": [{"Key": "aws:x", "Value": ""}]}), "InvalidInput"),
    ] {
        let error = send(&iam, &root, "CreateUser", params.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{params}");
    }
    assert_eq!(names(&send(&iam, &root, "ListUsers", json!({})).await.unwrap()), Vec::<&str>::new());
}

#[tokio::test]
async fn users_are_listed_in_pages_by_name_and_path() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    for name in ["dora", "Bob", "alice", "carl", "emil"] {
        let path = if name < "c" { "/ops/" } else { "/dev/" };
        send(&iam, &root, "CreateUser", json!({"UserName": name, "Path": path})).await.unwrap();
    }
    let first = send(&iam, &root, "ListUsers", json!({"MaxItems": 2})).await.unwrap();
    assert_eq!(names(&first), ["alice", "Bob"]);
    assert_eq!(first["IsTruncated"], true);
    send(&iam, &root, "DeleteUser", json!({"UserName": "Bob"})).await.unwrap();
    let second = json!({"MaxItems": 3, "Marker": first["Marker"]});
    let second = send(&iam, &root, "ListUsers", second).await.unwrap();
    assert_eq!(names(&second), ["carl", "dora", "emil"]);
    assert_eq!((&second["IsTruncated"], second.get("Marker")), (&json!(false), None));
    let ops = send(&iam, &root, "ListUsers", json!({"PathPrefix": "/op"})).await.unwrap();
    assert_eq!(names(&ops), ["alice"]);
    assert_eq!(
        refusal(&iam, &root, "ListUsers", json!({"Marker": "!!"})).await,
        "400 ValidationError: Invalid Marker."
    );
}

#[tokio::test]
async fn tags_are_set_replaced_listed_and_removed() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    let tags = json!([{"Key": "Team", "Value": "red"}, {"Key": "cost", "Value": "7"}]);
    send(&iam, &root, "TagUser", json!({"UserName": "alice", "Tags": tags})).await.unwrap();
    let again = json!({"UserName": "alice", "Tags": [{"Key": "team", "Value": "blue"}]});
    send(&iam, &root, "TagUser", again).await.unwrap();
    let listed = send(&iam, &root, "ListUserTags", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(
        listed,
        json!({"Tags": [{"Key": "cost", "Value": "7"}, {"Key": "team", "Value": "blue"}], "IsTruncated": false})
    );
    let many: Vec<Value> = (0..49).map(|n| json!({"Key": format!("k{n}"), "Value": ""})).collect();
    assert_eq!(
        refusal(&iam, &root, "TagUser", json!({"UserName": "alice", "Tags": many})).await,
        "409 LimitExceeded: Cannot exceed quota for TagsPerUser: 50"
    );
    send(&iam, &root, "UntagUser", json!({"UserName": "alice", "TagKeys": ["TEAM", "none"]})).await.unwrap();
    let left = send(&iam, &root, "GetUser", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(left["User"]["Tags"], json!([{"Key": "cost", "Value": "7"}]));
}

#[tokio::test]
async fn an_account_has_one_alias_that_no_other_has() {
    let world = World::new();
    let (iam, one) = start(&world).await;
    let two = root(&iam.ensure_first_account(Some(&"111122223333".parse().unwrap())).await.unwrap().account);
    send(&iam, &one, "CreateAccountAlias", json!({"AccountAlias": "acme"})).await.unwrap();
    assert_eq!(
        refusal(&iam, &two, "CreateAccountAlias", json!({"AccountAlias": "acme"})).await,
        "409 EntityAlreadyExists: The account alias acme already exists."
    );
    send(&iam, &one, "CreateAccountAlias", json!({"AccountAlias": "acme-2"})).await.unwrap();
    send(&iam, &two, "CreateAccountAlias", json!({"AccountAlias": "acme"})).await.unwrap();
    let ask = json!({});
    assert_eq!(
        send(&iam, &one, "ListAccountAliases", ask.clone()).await.unwrap()["AccountAliases"],
        json!(["acme-2"])
    );
    assert_eq!(
        refusal(&iam, &one, "DeleteAccountAlias", json!({"AccountAlias": "acme"})).await,
        "404 NoSuchEntity: The account alias with name acme cannot be found."
    );
    send(&iam, &one, "DeleteAccountAlias", json!({"AccountAlias": "acme-2"})).await.unwrap();
    assert_eq!(
        send(&iam, &one, "ListAccountAliases", ask.clone()).await.unwrap()["AccountAliases"],
        json!([])
    );
    for alias in ["ab", "-abc", "abc-", "a--b", "Abc", "a_b"] {
        let error = send(&iam, &one, "CreateAccountAlias", json!({"AccountAlias": alias})).await.unwrap_err();
        assert_eq!(error.code, "ValidationError", "{alias}");
    }
}

#[tokio::test]
async fn accounts_do_not_see_each_others_users() {
    let world = World::new();
    let (iam, one) = start(&world).await;
    let two = root(&iam.ensure_first_account(Some(&"111122223333".parse().unwrap())).await.unwrap().account);
    send(&iam, &one, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(
        refusal(&iam, &two, "GetUser", json!({"UserName": "alice"})).await,
        "404 NoSuchEntity: The user with name alice cannot be found."
    );
    assert_eq!(names(&send(&iam, &two, "ListUsers", json!({})).await.unwrap()), Vec::<&str>::new());
    let summary = send(&iam, &one, "GetAccountSummary", json!({})).await.unwrap();
    assert_eq!(summary["SummaryMap"]["Users"], 1);
    assert_eq!(summary["SummaryMap"]["AccountAccessKeysPresent"], 1);
    let summary = send(&iam, &two, "GetAccountSummary", json!({})).await.unwrap();
    assert_eq!(summary["SummaryMap"]["Users"], 0);
}

#[tokio::test]
async fn a_call_is_about_the_user_it_names_with_the_users_path() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let account = root.account.clone();
    send(&iam, &root, "CreateUser", json!({"UserName": "alice", "Path": "/ops/"})).await.unwrap();
    for (operation, params, resource) in [
        ("CreateUser", json!({"UserName": "bob", "Path": "/dev/"}), "user/dev/bob"),
        ("GetUser", json!({"UserName": "alice"}), "user/ops/alice"),
        ("DeleteUser", json!({"UserName": "nobody"}), "user/nobody"),
        ("CreateAccessKey", json!({}), "root"),
        ("ListUsers", json!({"PathPrefix": "/ops"}), "user/ops"),
    ] {
        let target = iam.target(&root, &call("iam", operation, params)).await.unwrap();
        assert_eq!(target.resource_arn, format!("arn:aws:iam::{account}:{resource}"));
        assert_eq!(target.action, format!("iam:{operation}"));
    }
    let target = iam.target(&root, &call("iam", "GetAccountSummary", json!({}))).await.unwrap();
    assert_eq!(target.resource_arn, "*");
}

#[tokio::test]
async fn every_declared_operation_is_done_and_reads_are_named_like_reads() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    for operation in iam.operations() {
        let params = json!({"UserName": "nobody"});
        if let Err(error) = send(&iam, &root, operation.name, params).await {
            assert_ne!(error.code, "InvalidAction", "{}", operation.name);
            assert_ne!(error.status, 500, "{}: {error}", operation.name);
        }
        let reads =
            ["Get", "List", "Simulate", "Generate"].iter().any(|verb| operation.name.starts_with(verb));
        assert_eq!(operation.access == Access::Read, reads, "{}", operation.name);
    }
    assert_eq!(
        refusal(&iam, &root, "CreateInstanceProfile", json!({})).await,
        "400 InvalidAction: The action CreateInstanceProfile is not valid for this web service."
    );
}
