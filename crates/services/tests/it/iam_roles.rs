//! IAM: groups and roles.

use cairn_core::Timestamp;
use cairn_services::Caller;
use cairn_services::iam::Iam;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::world::{World, refusal, root, send};

async fn start(world: &World) -> (Iam, Caller) {
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    (iam, root(&first.account))
}

fn trust(principal: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})
        .to_string()
}

async fn trust_shown(iam: &Iam, root: &Caller, role: &str) -> String {
    let shown = send(iam, root, "GetRole", json!({"RoleName": role})).await.unwrap();
    let text = shown["Role"]["AssumeRolePolicyDocument"].as_str().unwrap();
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

#[tokio::test]
async fn users_join_and_leave_groups() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let made = send(&iam, &root, "CreateGroup", json!({"GroupName": "Ops", "Path": "/it/"})).await.unwrap();
    assert_eq!(made["Group"]["Arn"], format!("arn:aws:iam::{}:group/it/Ops", root.account));
    assert!(made["Group"]["GroupId"].as_str().unwrap().starts_with("AGPA"));
    assert_eq!(
        refusal(&iam, &root, "CreateGroup", json!({"GroupName": "ops"})).await,
        "409 EntityAlreadyExists: Group with name ops already exists."
    );
    for name in ["bob", "alice"] {
        send(&iam, &root, "CreateUser", json!({"UserName": name})).await.unwrap();
        let join = json!({"GroupName": "Ops", "UserName": name});
        send(&iam, &root, "AddUserToGroup", join.clone()).await.unwrap();
        send(&iam, &root, "AddUserToGroup", join).await.unwrap();
    }
    let change = json!({"GroupName": "Ops", "NewGroupName": "Dev", "NewPath": "/"});
    send(&iam, &root, "UpdateGroup", change).await.unwrap();
    let page = send(&iam, &root, "GetGroup", json!({"GroupName": "Dev", "MaxItems": 1})).await.unwrap();
    assert_eq!(
        (&page["Group"]["GroupName"], &page["Users"][0]["UserName"]),
        (&json!("Dev"), &json!("alice"))
    );
    let next = json!({"GroupName": "Dev", "Marker": page["Marker"]});
    let page = send(&iam, &root, "GetGroup", next).await.unwrap();
    assert_eq!((&page["Users"][0]["UserName"], &page["IsTruncated"]), (&json!("bob"), &json!(false)));
    let groups = send(&iam, &root, "ListGroupsForUser", json!({"UserName": "bob"})).await.unwrap();
    assert_eq!(groups["Groups"][0]["GroupName"], "Dev");

    assert_eq!(
        refusal(&iam, &root, "DeleteGroup", json!({"GroupName": "Dev"})).await,
        "409 DeleteConflict: Cannot delete entity, must remove users from group first."
    );
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", json!({"UserName": "bob"})).await,
        "409 DeleteConflict: Cannot delete entity, must remove users from group first."
    );
    for name in ["alice", "bob"] {
        send(&iam, &root, "RemoveUserFromGroup", json!({"GroupName": "Dev", "UserName": name}))
            .await
            .unwrap();
    }
    send(&iam, &root, "DeleteGroup", json!({"GroupName": "Dev"})).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "AddUserToGroup", json!({"GroupName": "Dev", "UserName": "bob"})).await,
        "404 NoSuchEntity: The group with name Dev cannot be found."
    );
    for number in 0..11 {
        let group = format!("g{number}");
        send(&iam, &root, "CreateGroup", json!({"GroupName": group})).await.unwrap();
        let join = json!({"GroupName": group, "UserName": "bob"});
        if number < 10 {
            send(&iam, &root, "AddUserToGroup", join).await.unwrap();
        } else {
            assert_eq!(
                refusal(&iam, &root, "AddUserToGroup", join).await,
                "409 LimitExceeded: Cannot exceed quota for GroupsPerUser: 10"
            );
        }
    }
}

#[tokio::test]
async fn a_role_is_created_read_changed_and_deleted() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let document = trust(&json!({"Service": "cloudtrail.amazonaws.com"}));
    let params = json!({"RoleName": "CloudTrail_CloudWatchLogs_Role", "Path": "/service-role/",
        "AssumeRolePolicyDocument": document, "Description": "d", "MaxSessionDuration": 7200,
        "Tags": [{"Key": "k", "Value": "v"}], "PermissionsBoundary": "arn:aws:iam::aws:policy/ReadOnlyAccess"});
    let made = send(&iam, &root, "CreateRole", params.clone()).await.unwrap();
    let role = &made["Role"];
    assert_eq!(
        role["Arn"],
        format!("arn:aws:iam::{}:role/service-role/CloudTrail_CloudWatchLogs_Role", root.account)
    );
    assert!(role["RoleId"].as_str().unwrap().starts_with("AROA"));
    assert_eq!((&role["MaxSessionDuration"], &role["Description"]), (&json!(7200), &json!("d")));
    let one = json!({"RoleName": "CloudTrail_CloudWatchLogs_Role"});
    let got = send(&iam, &root, "GetRole", one.clone()).await.unwrap();
    assert_eq!(got["Role"]["RoleLastUsed"], json!({}));
    assert_eq!(got["Role"]["PermissionsBoundary"]["PermissionsBoundaryType"], "Policy");
    assert_eq!(trust_shown(&iam, &root, "CloudTrail_CloudWatchLogs_Role").await, document);
    assert_eq!(
        refusal(&iam, &root, "CreateRole", params).await,
        "409 EntityAlreadyExists: Role with name CloudTrail_CloudWatchLogs_Role already exists."
    );
    let update =
        json!({"RoleName": "CloudTrail_CloudWatchLogs_Role", "Description": "e", "MaxSessionDuration": 3600});
    send(&iam, &root, "UpdateRole", update).await.unwrap();
    let described = json!({"RoleName": "CloudTrail_CloudWatchLogs_Role", "Description": "f"});
    let described = send(&iam, &root, "UpdateRoleDescription", described).await.unwrap();
    assert_eq!(
        (&described["Role"]["Description"], &described["Role"]["MaxSessionDuration"]),
        (&json!("f"), &json!(3600))
    );
    let longer = json!({"RoleName": "CloudTrail_CloudWatchLogs_Role", "MaxSessionDuration": 7200});
    send(&iam, &root, "UpdateRole", longer).await.unwrap();
    let got = send(&iam, &root, "GetRole", one.clone()).await.unwrap();
    let facts = |reply: &Value| {
        (reply["Role"].get("Description").cloned(), reply["Role"]["MaxSessionDuration"].clone())
    };
    assert_eq!(facts(&got), (Some(json!("f")), json!(7200)), "what is not named stays");
    let bare = json!({"RoleName": "CloudTrail_CloudWatchLogs_Role", "Description": ""});
    send(&iam, &root, "UpdateRole", bare).await.unwrap();
    let got = send(&iam, &root, "GetRole", one.clone()).await.unwrap();
    assert_eq!(facts(&got), (None, json!(7200)));
    let listed = send(&iam, &root, "ListRoles", json!({"PathPrefix": "/service-role/"})).await.unwrap();
    assert_eq!(listed["Roles"].as_array().unwrap().len(), 1);
    assert_eq!(listed["Roles"][0].get("Tags"), None);
    let profiles = send(&iam, &root, "ListInstanceProfilesForRole", one.clone()).await.unwrap();
    assert_eq!(profiles["InstanceProfiles"], json!([]));
    send(&iam, &root, "DeleteRole", one.clone()).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "GetRole", one).await,
        "404 NoSuchEntity: The role with name CloudTrail_CloudWatchLogs_Role cannot be found."
    );
}

#[tokio::test]
async fn a_trust_policy_means_the_user_who_was_there_and_not_a_later_one_of_its_name() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let account = root.account.clone();
    let arn = format!("arn:aws:iam::{account}:user/alice");
    let document = trust(&json!({"AWS": [arn.clone()]}));
    let create = json!({"RoleName": "r", "AssumeRolePolicyDocument": document});
    assert_eq!(
        refusal(&iam, &root, "CreateRole", create.clone()).await,
        format!("400 MalformedPolicyDocument: Invalid principal in policy: \"AWS\":\"{arn}\"")
    );
    let made = send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    let id = made["User"]["UserId"].as_str().unwrap().to_owned();
    send(&iam, &root, "CreateRole", create).await.unwrap();
    assert_eq!(trust_shown(&iam, &root, "r").await, document);
    let for_sts = iam.role(&account, "r").await.unwrap().unwrap();
    assert!(for_sts.trust_policy.contains(&id) && !for_sts.trust_policy.contains(&arn), "{for_sts:?}");

    send(&iam, &root, "UpdateUser", json!({"UserName": "alice", "NewUserName": "anna"})).await.unwrap();
    assert!(trust_shown(&iam, &root, "r").await.contains(":user/anna"));
    send(&iam, &root, "DeleteUser", json!({"UserName": "anna"})).await.unwrap();
    send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    let shown = trust_shown(&iam, &root, "r").await;
    assert!(shown.contains(&id) && !shown.contains("alice"), "{shown}");

    for (principal, refused) in [
        (json!({"AWS": "123456789012"}), "\"AWS\":\"123456789012\""),
        (json!({"AWS": id}), &*format!("\"AWS\":\"{id}\"")),
        (json!({"Service": "nowhere.example.com"}), "\"SERVICE\":\"nowhere.example.com\""),
    ] {
        let update = json!({"RoleName": "r", "PolicyDocument": trust(&principal)});
        assert_eq!(
            refusal(&iam, &root, "UpdateAssumeRolePolicy", update).await,
            format!("400 MalformedPolicyDocument: Invalid principal in policy: {refused}")
        );
    }
    let update = json!({"RoleName": "r", "PolicyDocument": trust(&json!({"AWS": account}))});
    send(&iam, &root, "UpdateAssumeRolePolicy", update).await.unwrap();
    assert!(!trust_shown(&iam, &root, "r").await.contains(&id));
}

#[tokio::test]
async fn the_role_of_cloudtrail_is_made_by_its_service_and_changed_by_nobody() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let create = json!({"AWSServiceName": "cloudtrail.amazonaws.com"});
    let made = send(&iam, &root, "CreateServiceLinkedRole", create.clone()).await.unwrap();
    assert_eq!(
        made["Role"]["Arn"],
        format!(
            "arn:aws:iam::{}:role/aws-service-role/cloudtrail.amazonaws.com/AWSServiceRoleForCloudTrail",
            root.account
        )
    );
    assert!(
        refusal(&iam, &root, "CreateServiceLinkedRole", create)
            .await
            .contains("has been taken in this account")
    );
    let role = json!({"RoleName": "AWSServiceRoleForCloudTrail"});
    let attached = send(&iam, &root, "ListAttachedRolePolicies", role.clone()).await.unwrap();
    assert_eq!(attached["AttachedPolicies"][0]["PolicyName"], "CloudTrailServiceRolePolicy");
    assert_eq!(
        refusal(&iam, &root, "DeleteRole", role.clone()).await,
        "400 UnmodifiableEntity: Cannot perform the operation on the protected role 'AWSServiceRoleForCloudTrail' - this role is only modifiable by AWS"
    );
    let deleted = send(&iam, &root, "DeleteServiceLinkedRole", role.clone()).await.unwrap();
    let status = send(&iam, &root, "GetServiceLinkedRoleDeletionStatus", deleted).await.unwrap();
    assert_eq!(status["Status"], "SUCCEEDED");
    assert!(refusal(&iam, &root, "GetRole", role).await.starts_with("404 NoSuchEntity"));
}

#[tokio::test]
async fn roles_and_policies_have_tags() {
    let world = World::new();
    let (iam, root) = start(&world).await;
    let document = trust(&json!({"Service": "cloudtrail.amazonaws.com"}));
    send(&iam, &root, "CreateRole", json!({"RoleName": "r", "AssumeRolePolicyDocument": document}))
        .await
        .unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let made = send(&iam, &root, "CreatePolicy", json!({"PolicyName": "p", "PolicyDocument": policy}))
        .await
        .unwrap();
    for (kind, name) in
        [("Role", json!({"RoleName": "r"})), ("Policy", json!({"PolicyArn": made["Policy"]["Arn"]}))]
    {
        let with = |member: &str, value: Value| {
            let mut params = name.clone();
            params[member] = value;
            params
        };
        let tags = json!([{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "2"}]);
        send(&iam, &root, &format!("Tag{kind}"), with("Tags", tags)).await.unwrap();
        send(&iam, &root, &format!("Untag{kind}"), with("TagKeys", json!(["B"]))).await.unwrap();
        let left = send(&iam, &root, &format!("List{kind}Tags"), name.clone()).await.unwrap();
        assert_eq!(left, json!({"Tags": [{"Key": "a", "Value": "2"}], "IsTruncated": false}), "{kind}");
    }
}

#[tokio::test]
async fn the_last_use_of_a_role_is_shown_at_once_and_written_later() {
    let world = World::new();
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    let root = root(&first.account);
    let trust = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}});
    let params = json!({"RoleName": "r", "AssumeRolePolicyDocument": trust.to_string()});
    let made = send(&iam, &root, "CreateRole", params.clone()).await.unwrap();
    let session = |id: &str| cairn_core::Principal::AssumedRole {
        account: first.account.clone(),
        role_id: id.into(),
        role_name: "r".into(),
        role_path: "/".into(),
        session_name: "s".into(),
    };
    let id = made["Role"]["RoleId"].as_str().unwrap();
    iam.note_role_use(&session(id), "eu-west-1", Timestamp::from_seconds(100));
    iam.note_role_use(&session(id), "us-east-1", Timestamp::from_seconds(200));
    let one = json!({"RoleName": "r"});
    let used = json!({"LastUsedDate": 200, "Region": "us-east-1"});
    let shown = |reply: Value| reply["Role"]["RoleLastUsed"].clone();
    assert_eq!(shown(send(&iam, &root, "GetRole", one.clone()).await.unwrap()), used);
    assert_eq!(shown(send(&world.iam(), &root, "GetRole", one.clone()).await.unwrap()), json!({}));
    iam.flush_last_used().await.unwrap();
    assert_eq!(shown(send(&world.iam(), &root, "GetRole", one.clone()).await.unwrap()), used);

    send(&iam, &root, "DeleteRole", one.clone()).await.unwrap();
    send(&iam, &root, "CreateRole", params).await.unwrap();
    iam.note_role_use(&session(id), "us-east-1", Timestamp::from_seconds(300));
    iam.flush_last_used().await.unwrap();
    assert_eq!(
        shown(send(&iam, &root, "GetRole", one).await.unwrap()),
        json!({}),
        "another role of this name"
    );
}
