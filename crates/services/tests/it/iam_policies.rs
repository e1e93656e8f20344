//! IAM: inline and managed policies, boundaries, and the rights that they give.

use std::sync::Arc;

use cairn_core::policy::{Question, Request, Requester, Rights, decide};
use cairn_core::{Principal, Session, Timestamp};
use cairn_services::Caller;
use cairn_services::iam::Iam;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::world::{World, refusal, root, send};

const READ: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}}"#;
const LIST: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}"#;

async fn start(world: &World) -> (Iam, Caller) {
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    (iam, root(&first.account))
}

async fn new_user(iam: &Iam, root: &Caller, name: &str) -> Principal {
    let made = send(iam, root, "CreateUser", json!({"UserName": name})).await.unwrap();
    Principal::IamUser {
        account: root.account.clone(),
        user_id: made["User"]["UserId"].as_str().unwrap().into(),
        user_name: name.into(),
        path: "/".into(),
    }
}

async fn new_policy(iam: &Iam, root: &Caller, name: &str, document: &str) -> String {
    let params = json!({"PolicyName": name, "PolicyDocument": document});
    let made = send(iam, root, "CreatePolicy", params).await.unwrap();
    made["Policy"]["Arn"].as_str().unwrap().to_owned()
}

fn allows(rights: &Rights, principal: &Principal, action: &str) -> bool {
    let request = Request {
        requester: Requester::from(principal),
        action: action.into(),
        resource: "arn:aws:s3:::b/k".into(),
        context: Vec::new(),
    };
    decide(&Question { request: &request, rights, resource: None }).allowed
}

async fn may(iam: &Iam, principal: &Principal, action: &str) -> bool {
    allows(&iam.rights_of(principal, None).await.unwrap(), principal, action)
}

#[tokio::test]
async fn inline_policies_are_put_read_listed_and_deleted_for_all_three_kinds() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"sts:AssumeRole"}}"#;
    for (kind, create) in [
        ("User", json!({"UserName": "a"})),
        ("Group", json!({"GroupName": "a"})),
        ("Role", json!({"RoleName": "a", "AssumeRolePolicyDocument": trust})),
    ] {
        let name = format!("{kind}Name");
        let operation = |verb: &str| format!("{verb}{kind}Policy");
        send(&iam, &root, &format!("Create{kind}"), create).await.unwrap();
        let put = json!({name.clone(): "a", "PolicyName": "p", "PolicyDocument": READ});
        send(&iam, &root, &operation("Put"), put).await.unwrap();
        let one = json!({name.clone(): "a", "PolicyName": "p"});
        let read = send(&iam, &root, &operation("Get"), one.clone()).await.unwrap();
        assert_eq!((&read[&name], &read["PolicyName"]), (&json!("a"), &json!("p")));
        let encoded = read["PolicyDocument"].as_str().unwrap();
        assert!(encoded.starts_with("%7B%22Version%22%3A"), "{encoded}");
        assert_eq!(percent_decode_str(encoded).decode_utf8().unwrap(), READ);
        let list = format!("List{kind}Policies");
        assert_eq!(
            send(&iam, &root, &list, json!({name.clone(): "a"})).await.unwrap(),
            json!({"PolicyNames": ["p"], "IsTruncated": false})
        );
        let word = kind.to_lowercase();
        assert_eq!(
            refusal(&iam, &root, &format!("Delete{kind}"), json!({name.clone(): "a"})).await,
            "409 DeleteConflict: Cannot delete entity, must delete policies first."
        );
        send(&iam, &root, &operation("Delete"), one.clone()).await.unwrap();
        for verb in ["Get", "Delete"] {
            assert_eq!(
                refusal(&iam, &root, &operation(verb), one.clone()).await,
                format!("404 NoSuchEntity: The {word} policy with name p cannot be found.")
            );
        }
        assert_eq!(
            refusal(&iam, &root, &list, json!({name.clone(): "b"})).await,
            format!("404 NoSuchEntity: The {word} with name b cannot be found.")
        );
        send(&iam, &root, &format!("Delete{kind}"), json!({name: "a"})).await.unwrap();
    }
}

#[tokio::test]
async fn policies_that_are_too_long_or_no_policies_are_refused() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    new_user(&iam, &root, "alice").await;
    let of_length = |chars: usize| {
        let sid = "x".repeat(chars - r#"{"Version":"2012-10-17","Statement":{"Sid":"","Effect":"Allow","Action":"*","Resource":"*"}}"#.len());
        format!(
            r#"{{"Version":"2012-10-17", "Statement":{{"Sid":"{sid}","Effect":"Allow","Action":"*","Resource":"*"}}}}"#
        )
    };
    let put = |name: &str, document: String| json!({"UserName": "alice", "PolicyName": name, "PolicyDocument": document});
    send(&iam, &root, "PutUserPolicy", put("a", of_length(2000))).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "PutUserPolicy", put("b", of_length(200))).await,
        "409 LimitExceeded: Maximum policy size of 2048 bytes exceeded for user alice"
    );
    send(&iam, &root, "PutUserPolicy", put("a", of_length(2048))).await.unwrap();
    let create = |document: String| json!({"PolicyName": "p", "PolicyDocument": document});
    assert_eq!(
        refusal(&iam, &root, "CreatePolicy", create(of_length(6145))).await,
        "409 LimitExceeded: Cannot exceed quota for PolicySize: 6144"
    );
    send(&iam, &root, "CreatePolicy", create(of_length(6144))).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "PutUserPolicy", put("c", "{}".into())).await,
        "400 MalformedPolicyDocument: Syntax errors in policy."
    );
}

#[tokio::test]
async fn a_managed_policy_has_versions_of_which_one_is_in_force() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let params = json!({"PolicyName": "P", "Path": "/ops/", "PolicyDocument": READ, "Description": "d",
        "Tags": [{"Key": "k", "Value": "v"}]});
    let made = send(&iam, &root, "CreatePolicy", params.clone()).await.unwrap();
    let arn = made["Policy"]["Arn"].as_str().unwrap().to_owned();
    assert_eq!(arn, format!("arn:aws:iam::{}:policy/ops/P", root.account));
    assert!(made["Policy"]["PolicyId"].as_str().unwrap().starts_with("ANPA"));
    assert_eq!(
        refusal(&iam, &root, "CreatePolicy", json!({"PolicyName": "p", "PolicyDocument": READ})).await,
        "409 EntityAlreadyExists: A policy called p already exists. Duplicate names are not allowed."
    );
    let got = send(&iam, &root, "GetPolicy", json!({"PolicyArn": arn})).await.unwrap();
    assert_eq!(
        (&got["Policy"]["Description"], &got["Policy"]["DefaultVersionId"]),
        (&json!("d"), &json!("v1"))
    );

    for number in 2..=5 {
        let version = json!({"PolicyArn": arn, "PolicyDocument": LIST, "SetAsDefault": number == 5});
        let made = send(&iam, &root, "CreatePolicyVersion", version).await.unwrap();
        let shown = &made["PolicyVersion"];
        assert_eq!(shown["VersionId"], format!("v{number}"));
        assert_eq!(shown["IsDefaultVersion"], number == 5);
    }
    assert_eq!(
        refusal(&iam, &root, "CreatePolicyVersion", json!({"PolicyArn": arn, "PolicyDocument": LIST})).await,
        "409 LimitExceeded: A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version."
    );
    let version = |id: &str| json!({"PolicyArn": arn, "VersionId": id});
    assert_eq!(
        refusal(&iam, &root, "DeletePolicyVersion", version("v5")).await,
        "409 DeleteConflict: Cannot delete the default version of a policy."
    );
    send(&iam, &root, "DeletePolicyVersion", version("v4")).await.unwrap();
    send(&iam, &root, "SetDefaultPolicyVersion", version("v1")).await.unwrap();
    let listed =
        send(&iam, &root, "ListPolicyVersions", json!({"PolicyArn": arn, "MaxItems": 2})).await.unwrap();
    let ids: Vec<&Value> = listed["Versions"].as_array().unwrap().iter().map(|v| &v["VersionId"]).collect();
    assert_eq!((ids, &listed["IsTruncated"]), (vec![&json!("v5"), &json!("v3")], &json!(true)));
    let read = send(&iam, &root, "GetPolicyVersion", version("v1")).await.unwrap();
    assert_eq!(read["PolicyVersion"]["IsDefaultVersion"], true);
    assert_eq!(
        refusal(&iam, &root, "GetPolicyVersion", version("v4")).await,
        format!("404 NoSuchEntity: Policy {arn} version v4 does not exist or is not attachable.")
    );
    assert!(
        refusal(&iam, &root, "DeletePolicy", json!({"PolicyArn": arn}))
            .await
            .contains("more than one version")
    );
    let more = json!({"PolicyArn": arn, "PolicyDocument": LIST});
    let next = send(&iam, &root, "CreatePolicyVersion", more).await.unwrap();
    assert_eq!(next["PolicyVersion"]["VersionId"], "v6", "a number is not used twice");
    for id in ["v2", "v3", "v5", "v6"] {
        send(&iam, &root, "DeletePolicyVersion", version(id)).await.unwrap();
    }
    send(&iam, &root, "DeletePolicy", json!({"PolicyArn": arn})).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "GetPolicy", json!({"PolicyArn": arn})).await,
        format!("404 NoSuchEntity: Policy {arn} was not found.")
    );
}

#[tokio::test]
async fn policies_are_attached_counted_listed_and_detached() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    new_user(&iam, &root, "alice").await;
    let arn = new_policy(&iam, &root, "P", READ).await;
    let aws = "arn:aws:iam::aws:policy/AWSCloudTrail_ReadOnlyAccess";
    let on_alice = |arn: &str| json!({"UserName": "alice", "PolicyArn": arn});
    for arn in [arn.as_str(), aws, aws] {
        send(&iam, &root, "AttachUserPolicy", on_alice(arn)).await.unwrap();
    }
    let boundary = json!({"UserName": "alice", "PermissionsBoundary": arn});
    send(&iam, &root, "PutUserPermissionsBoundary", boundary).await.unwrap();
    let listed = send(&iam, &root, "ListAttachedUserPolicies", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(
        listed["AttachedPolicies"],
        json!([{"PolicyName": "AWSCloudTrail_ReadOnlyAccess", "PolicyArn": aws}, {"PolicyName": "P", "PolicyArn": arn}])
    );
    let got = send(&iam, &root, "GetPolicy", json!({"PolicyArn": arn})).await.unwrap();
    let counts = (&got["Policy"]["AttachmentCount"], &got["Policy"]["PermissionsBoundaryUsageCount"]);
    assert_eq!(counts, (&json!(1), &json!(1)));
    let user = send(&iam, &root, "GetUser", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(user["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"], arn);
    let entities = send(&iam, &root, "ListEntitiesForPolicy", json!({"PolicyArn": arn})).await.unwrap();
    assert_eq!(entities["PolicyUsers"][0]["UserName"], "alice");
    assert_eq!((&entities["PolicyGroups"], &entities["PolicyRoles"]), (&json!([]), &json!([])));
    let names = |listed: &Value| -> Vec<String> {
        listed["Policies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["PolicyName"].as_str().unwrap().to_owned())
            .collect()
    };
    let attached = send(&iam, &root, "ListPolicies", json!({"OnlyAttached": true})).await.unwrap();
    assert_eq!(names(&attached), ["AWSCloudTrail_ReadOnlyAccess", "P"]);
    let local = send(&iam, &root, "ListPolicies", json!({"Scope": "Local"})).await.unwrap();
    assert_eq!(names(&local), ["P"]);
    let aws_ones = send(&iam, &root, "ListPolicies", json!({"Scope": "AWS"})).await.unwrap();
    for name in ["AWSCloudTrail_FullAccess", "AdministratorAccess", "ReadOnlyAccess"] {
        assert!(names(&aws_ones).contains(&name.to_owned()), "{name}");
    }
    assert_eq!(
        refusal(&iam, &root, "DeletePolicy", json!({"PolicyArn": arn})).await,
        "409 DeleteConflict: Cannot delete a policy attached to entities."
    );
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await,
        "409 DeleteConflict: Cannot delete entity, must detach all policies first."
    );
    send(&iam, &root, "DeleteUserPermissionsBoundary", json!({"UserName": "alice"})).await.unwrap();
    for arn in [arn.as_str(), aws] {
        send(&iam, &root, "DetachUserPolicy", on_alice(arn)).await.unwrap();
    }
    assert_eq!(
        refusal(&iam, &root, "DetachUserPolicy", on_alice(&arn)).await,
        format!("404 NoSuchEntity: Policy {arn} was not found.")
    );
    send(&iam, &root, "DeletePolicy", json!({"PolicyArn": arn})).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "AttachUserPolicy", on_alice(&arn)).await,
        format!("404 NoSuchEntity: Policy {arn} does not exist or is not attachable.")
    );
    for number in 0..10 {
        let arn = new_policy(&iam, &root, &format!("P{number}"), READ).await;
        send(&iam, &root, "AttachUserPolicy", on_alice(&arn)).await.unwrap();
    }
    assert_eq!(
        refusal(&iam, &root, "AttachUserPolicy", on_alice(aws)).await,
        "409 LimitExceeded: Cannot exceed quota for PoliciesPerUser: 10"
    );
}

#[tokio::test]
async fn rights_are_those_of_the_user_and_its_groups_within_the_boundary_and_change_at_once() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    assert!(iam.rights_of(&root.principal, None).await.unwrap().unrestricted);
    let alice = new_user(&iam, &root, "alice").await;
    assert!(!may(&iam, &alice, "s3:GetObject").await);

    let put = json!({"UserName": "alice", "PolicyName": "read", "PolicyDocument": READ});
    send(&iam, &root, "PutUserPolicy", put).await.unwrap();
    assert!(may(&iam, &alice, "s3:GetObject").await);
    let first = iam.rights_of(&alice, None).await.unwrap();
    assert!(Arc::ptr_eq(&first, &iam.rights_of(&alice, None).await.unwrap()), "rights are kept");

    send(&iam, &root, "CreateGroup", json!({"GroupName": "g"})).await.unwrap();
    let arn = new_policy(&iam, &root, "L", LIST).await;
    send(&iam, &root, "AttachGroupPolicy", json!({"GroupName": "g", "PolicyArn": arn})).await.unwrap();
    assert!(!may(&iam, &alice, "s3:ListBucket").await);
    send(&iam, &root, "AddUserToGroup", json!({"GroupName": "g", "UserName": "alice"})).await.unwrap();
    assert!(may(&iam, &alice, "s3:ListBucket").await);

    let deny = LIST.replace("Allow", "Deny");
    let version = json!({"PolicyArn": arn, "PolicyDocument": deny, "SetAsDefault": true});
    send(&iam, &root, "CreatePolicyVersion", version).await.unwrap();
    assert!(!may(&iam, &alice, "s3:ListBucket").await);
    send(&iam, &root, "SetDefaultPolicyVersion", json!({"PolicyArn": arn, "VersionId": "v1"})).await.unwrap();
    assert!(may(&iam, &alice, "s3:ListBucket").await);

    let boundary = json!({"UserName": "alice", "PermissionsBoundary": arn});
    send(&iam, &root, "PutUserPermissionsBoundary", boundary).await.unwrap();
    assert!(may(&iam, &alice, "s3:ListBucket").await && !may(&iam, &alice, "s3:GetObject").await);

    let Principal::IamUser { account, user_name, path, .. } = alice.clone() else { unreachable!() };
    let namesake = Principal::IamUser { account, user_id: "AIDAEARLIER".into(), user_name, path };
    assert!(!may(&iam, &namesake, "s3:ListBucket").await, "an id that is gone has no rights");
}

#[tokio::test]
async fn sessions_have_what_their_policies_leave_of_the_role_and_the_issuer() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": root.account}, "Action": "sts:AssumeRole"}});
    let made = send(
        &iam,
        &root,
        "CreateRole",
        json!({"RoleName": "r", "AssumeRolePolicyDocument": trust.to_string()}),
    );
    let role_id = made.await.unwrap()["Role"]["RoleId"].as_str().unwrap().to_owned();
    let all = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#;
    let put = json!({"RoleName": "r", "PolicyName": "all", "PolicyDocument": all});
    send(&iam, &root, "PutRolePolicy", put).await.unwrap();
    let session_of_role = Principal::AssumedRole {
        account: root.account.clone(),
        role_id,
        role_name: "r".into(),
        role_path: "/".into(),
        session_name: "s".into(),
    };
    let plain = session(None);
    let limited = session(Some(READ));
    for (session, get, list) in [(&plain, true, true), (&limited, true, false)] {
        let rights = iam.rights_of(&session_of_role, Some(session)).await.unwrap();
        assert_eq!(allows(&rights, &session_of_role, "s3:GetObject"), get);
        assert_eq!(allows(&rights, &session_of_role, "s3:ListBucket"), list);
    }
    let federated = Principal::FederatedUser {
        account: root.account.clone(),
        name: "f".into(),
        issuer: Box::new(root.principal.clone()),
    };
    for (session, get, list) in [(&plain, false, false), (&limited, true, false)] {
        let rights = iam.rights_of(&federated, Some(session)).await.unwrap();
        assert_eq!(allows(&rights, &federated, "s3:GetObject"), get);
        assert_eq!(allows(&rights, &federated, "s3:ListBucket"), list);
    }
    let by_arn = Session {
        policy_arns: vec!["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".into()],
        ..session(None)
    };
    let rights = iam.rights_of(&session_of_role, Some(&by_arn)).await.unwrap();
    assert!(allows(&rights, &session_of_role, "s3:GetObject"));
    assert!(!allows(&rights, &session_of_role, "s3:PutObject"));
}

fn session(policy: Option<&str>) -> Session {
    serde_json::from_value(json!({
        "created": Timestamp::from_seconds(0), "expires": Timestamp::from_seconds(1), "policy": policy}))
    .unwrap()
}
