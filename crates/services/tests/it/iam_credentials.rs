//! IAM: passwords, MFA devices, identity providers, reports, the simulator.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Principal;
use cairn_services::iam::Iam;
use cairn_services::{Caller, Service};
use serde_json::{Value, json};

use crate::world::{World, call, caller, refusal, root, send};

async fn start(world: &World) -> (Iam, Caller, Principal) {
    let iam = world.iam();
    let first = iam.ensure_first_account(None).await.unwrap();
    let root = root(&first.account);
    let made = send(&iam, &root, "CreateUser", json!({"UserName": "alice"})).await.unwrap();
    let alice = Principal::IamUser {
        account: first.account,
        user_id: made["User"]["UserId"].as_str().unwrap().into(),
        user_name: "alice".into(),
        path: "/".into(),
    };
    (iam, root, alice)
}

#[tokio::test]
async fn a_password_is_set_under_the_policy_changed_by_its_user_and_recorded_nowhere() {
    let world = World::new();
    let (iam, root, alice) = start(&world).await;
    let with =
        |password: &str| json!({"UserName": "alice", "Password": password, "PasswordResetRequired": true});
    assert_eq!(
        refusal(&iam, &root, "CreateLoginProfile", with("short")).await,
        "400 PasswordPolicyViolation: Password does not conform to the account password policy."
    );
    let policy = json!({"MinimumPasswordLength": 10, "RequireSymbols": true, "PasswordReusePrevention": 2, "MaxPasswordAge": 90});
    assert!(
        refusal(&iam, &root, "GetAccountPasswordPolicy", json!({}))
            .await
            .starts_with("404 NoSuchEntity: The Password Policy")
    );
    send(&iam, &root, "UpdateAccountPasswordPolicy", policy).await.unwrap();
    let shown = send(&iam, &root, "GetAccountPasswordPolicy", json!({})).await.unwrap();
    assert_eq!(
        (&shown["PasswordPolicy"]["ExpirePasswords"], &shown["PasswordPolicy"]["RequireNumbers"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        refusal(&iam, &root, "CreateLoginProfile", with("LongEnough1")).await,
        "400 PasswordPolicyViolation: Password should have at least one symbol"
    );
    let made = send(&iam, &root, "CreateLoginProfile", with("Long-Enough1")).await.unwrap();
    assert_eq!(made["LoginProfile"]["PasswordResetRequired"], true);
    assert_eq!(
        refusal(&iam, &root, "CreateLoginProfile", with("Long-Enough1")).await,
        "409 EntityAlreadyExists: Login Profile for user alice already exists."
    );
    let recorded = iam.recorded_request(&call("iam", "CreateLoginProfile", with("Long-Enough1"))).unwrap();
    assert_eq!(recorded, json!({"userName": "alice", "passwordResetRequired": true}));

    let alice = caller(alice);
    let change = |old: &str, new: &str| json!({"OldPassword": old, "NewPassword": new});
    assert_eq!(
        refusal(&iam, &alice, "ChangePassword", change("wrong", "Another-One1")).await,
        "403 AccessDenied: The old password was incorrect."
    );
    send(&iam, &alice, "ChangePassword", change("Long-Enough1", "Another-One1")).await.unwrap();
    assert!(
        refusal(&iam, &alice, "ChangePassword", change("Another-One1", "Long-Enough1"))
            .await
            .starts_with("400 PasswordPolicyViolation")
    );
    assert!(
        refusal(&iam, &root, "ChangePassword", change("a", "b")).await.starts_with("403 InvalidUserType")
    );
    let got = send(&iam, &root, "GetLoginProfile", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(got["LoginProfile"]["PasswordResetRequired"], false);
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await,
        "409 DeleteConflict: Cannot delete entity, must delete login profile first."
    );
    send(&iam, &root, "DeleteLoginProfile", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(
        refusal(&iam, &root, "GetLoginProfile", json!({"UserName": "alice"})).await,
        "404 NoSuchEntity: Login Profile for User alice cannot be found."
    );
    send(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await.unwrap();
}

/// What an authenticator app shows at a time, computed here from the seed's base 32 text.
fn code_of(seed: &str, seconds: i64) -> String {
    let mut bits = String::new();
    for c in seed.chars() {
        let value = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(c).unwrap();
        bits += &format!("{value:05b}");
    }
    let bytes: Vec<u8> =
        (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = hmac::sign(&key, &(seconds / 30).to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let word = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", word % 1_000_000)
}

#[tokio::test]
async fn a_virtual_device_is_enabled_with_two_codes_and_each_code_counts_once() {
    let world = World::new();
    let (iam, root, alice) = start(&world).await;
    let now = root.now;
    let made =
        send(&iam, &root, "CreateVirtualMFADevice", json!({"VirtualMFADeviceName": "phone"})).await.unwrap();
    let device = &made["VirtualMFADevice"];
    let serial = device["SerialNumber"].as_str().unwrap();
    assert_eq!(serial, format!("arn:aws:iam::{}:mfa/phone", root.account));
    let png = STANDARD.decode(device["QRCodePNG"].as_str().unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let seed = STANDARD.decode(device["Base32StringSeed"].as_str().unwrap()).unwrap();
    let seed = String::from_utf8(seed).unwrap();
    assert_eq!(seed.len(), 64);
    let code = |steps: i64| code_of(&seed, now.seconds() + 30 * steps);

    let enable = |first: i64, second: i64| json!({"UserName": "alice", "SerialNumber": serial, "AuthenticationCode1": code(first), "AuthenticationCode2": code(second)});
    assert_eq!(
        refusal(&iam, &root, "EnableMFADevice", enable(0, 2)).await,
        "403 InvalidAuthenticationCode: Authentication code for device is not valid."
    );
    send(&iam, &root, "EnableMFADevice", enable(-1, 0)).await.unwrap();
    assert!(!iam.verify_mfa(&alice, serial, &code(0), now).await.unwrap(), "used to enable");
    assert!(iam.verify_mfa(&alice, serial, &code(1), now).await.unwrap());
    assert!(!iam.verify_mfa(&alice, serial, &code(1), now).await.unwrap(), "replayed");
    assert!(!iam.verify_mfa(&root.principal, serial, &code(2), now).await.unwrap(), "not the device's user");

    let listed = send(&iam, &root, "ListMFADevices", json!({"UserName": "alice"})).await.unwrap();
    assert_eq!(listed["MFADevices"][0]["SerialNumber"], serial);
    let listed =
        send(&iam, &root, "ListVirtualMFADevices", json!({"AssignmentStatus": "Assigned"})).await.unwrap();
    assert_eq!(listed["VirtualMFADevices"][0]["User"]["UserName"], "alice");
    assert_eq!(listed["VirtualMFADevices"][0].get("Base32StringSeed"), None);
    let one = json!({"UserName": "alice", "SerialNumber": serial});
    assert_eq!(
        refusal(&iam, &root, "DeleteVirtualMFADevice", json!({"SerialNumber": serial})).await,
        "409 DeleteConflict: MFA VirtualDevice in use. Must deactivate first."
    );
    assert_eq!(
        refusal(&iam, &root, "DeleteUser", json!({"UserName": "alice"})).await,
        "409 DeleteConflict: Cannot delete entity, must delete MFA device first."
    );
    send(&iam, &root, "ResyncMFADevice", enable(4, 5)).await.unwrap();
    send(&iam, &root, "DeactivateMFADevice", one).await.unwrap();
    assert!(!iam.verify_mfa(&alice, serial, &code(6), now).await.unwrap(), "deactivated");
    send(&iam, &root, "DeleteVirtualMFADevice", json!({"SerialNumber": serial})).await.unwrap();
}

#[tokio::test]
async fn an_identity_provider_is_made_changed_and_deleted() {
    let world = World::new();
    let (iam, root, _) = start(&world).await;
    let print = "a".repeat(40);
    let create =
        json!({"Url": "https://idp.example.com/x", "ClientIDList": ["app"], "ThumbprintList": [print]});
    let made = send(&iam, &root, "CreateOpenIDConnectProvider", create.clone()).await.unwrap();
    let arn = made["OpenIDConnectProviderArn"].clone();
    assert_eq!(arn, format!("arn:aws:iam::{}:oidc-provider/idp.example.com/x", root.account));
    assert!(
        refusal(&iam, &root, "CreateOpenIDConnectProvider", create)
            .await
            .starts_with("409 EntityAlreadyExists")
    );
    let plain = json!({"Url": "http://idp.example.com"});
    assert!(
        refusal(&iam, &root, "CreateOpenIDConnectProvider", plain).await.starts_with("400 ValidationError")
    );
    let one = |more: Value| {
        let mut params = json!({"OpenIDConnectProviderArn": arn});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    send(&iam, &root, "AddClientIDToOpenIDConnectProvider", one(json!({"ClientID": "web"}))).await.unwrap();
    send(&iam, &root, "RemoveClientIDFromOpenIDConnectProvider", one(json!({"ClientID": "app"})))
        .await
        .unwrap();
    let prints = one(json!({"ThumbprintList": ["b".repeat(40)]}));
    send(&iam, &root, "UpdateOpenIDConnectProviderThumbprint", prints).await.unwrap();
    let got = send(&iam, &root, "GetOpenIDConnectProvider", one(json!({}))).await.unwrap();
    assert_eq!((&got["Url"], &got["ClientIDList"]), (&json!("idp.example.com/x"), &json!(["web"])));
    let for_sts = iam.provider(&root.account, "idp.example.com/x").await.unwrap().unwrap();
    assert_eq!((for_sts.client_ids, for_sts.thumbprints), (vec!["web".to_owned()], vec!["b".repeat(40)]));
    send(&iam, &root, "DeleteOpenIDConnectProvider", one(json!({}))).await.unwrap();
    assert!(
        refusal(&iam, &root, "GetOpenIDConnectProvider", one(json!({})))
            .await
            .starts_with("404 NoSuchEntity")
    );
}

#[tokio::test]
async fn the_credential_report_has_a_line_for_root_and_every_user() {
    let world = World::new();
    let (iam, root, _) = start(&world).await;
    assert!(refusal(&iam, &root, "GetCredentialReport", json!({})).await.starts_with("410 ReportNotPresent"));
    let first = send(&iam, &root, "GenerateCredentialReport", json!({})).await.unwrap();
    let second = send(&iam, &root, "GenerateCredentialReport", json!({})).await.unwrap();
    assert_eq!((&first["State"], &second["State"]), (&json!("STARTED"), &json!("COMPLETE")));
    let report = send(&iam, &root, "GetCredentialReport", json!({})).await.unwrap();
    let text = STANDARD.decode(report["Content"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.iter().map(|line| line[0]).collect::<Vec<_>>(), ["user", "<root_account>", "alice"]);
    assert!(lines.iter().all(|line| line.len() == 22), "{text}");
    assert_eq!((lines[1][8], lines[2][8]), ("true", "false"));
}

#[tokio::test]
async fn everything_that_gives_rights_is_listed_at_once() {
    let world = World::new();
    let (iam, root, _) = start(&world).await;
    let policy = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    send(&iam, &root, "CreateGroup", json!({"GroupName": "g"})).await.unwrap();
    send(&iam, &root, "AddUserToGroup", json!({"GroupName": "g", "UserName": "alice"})).await.unwrap();
    let put = json!({"UserName": "alice", "PolicyName": "p", "PolicyDocument": policy});
    send(&iam, &root, "PutUserPolicy", put).await.unwrap();
    let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    send(&iam, &root, "AttachGroupPolicy", json!({"GroupName": "g", "PolicyArn": arn})).await.unwrap();
    let all = send(&iam, &root, "GetAccountAuthorizationDetails", json!({})).await.unwrap();
    assert_eq!(all["UserDetailList"][0]["GroupList"], json!(["g"]));
    assert_eq!(all["UserDetailList"][0]["UserPolicyList"][0]["PolicyName"], "p");
    assert_eq!(all["GroupDetailList"][0]["AttachedManagedPolicies"][0]["PolicyArn"], arn);
    assert_eq!(all["Policies"].as_array().unwrap().len(), 1);
    assert_eq!(all["Policies"][0]["PolicyVersionList"][0]["IsDefaultVersion"], true);
    let users =
        send(&iam, &root, "GetAccountAuthorizationDetails", json!({"Filter": ["User"]})).await.unwrap();
    assert_eq!((&users["GroupDetailList"], &users["Policies"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn the_simulator_says_what_decides_and_what_it_was_not_told() {
    let world = World::new();
    let (iam, root, alice) = start(&world).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"},
  {"Effect":"Deny","Action":"s3:DeleteObject","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}"#;
    let put = json!({"UserName": "alice", "PolicyName": "p", "PolicyDocument": policy});
    send(&iam, &root, "PutUserPolicy", put).await.unwrap();
    let ask = json!({"PolicySourceArn": alice.arn(), "ActionNames": ["s3:GetObject", "s3:DeleteObject"],
        "ResourceArns": ["arn:aws:s3:::b/k", "arn:aws:s3:::c/k"],
        "ContextEntries": [{"ContextKeyName": "aws:securetransport", "ContextKeyValues": ["false"], "ContextKeyType": "boolean"}]});
    let found = send(&iam, &root, "SimulatePrincipalPolicy", ask.clone()).await.unwrap();
    let results = found["EvaluationResults"].as_array().unwrap();
    let decisions: Vec<_> = results.iter().map(|result| result["EvalDecision"].as_str().unwrap()).collect();
    assert_eq!(decisions, ["allowed", "implicitDeny", "explicitDeny", "explicitDeny"]);
    assert_eq!(
        results[0]["MatchedStatements"],
        json!([{"SourcePolicyId": "user_alice_p", "SourcePolicyType": "user",
            "StartPosition": {"Line": 2, "Column": 3}, "EndPosition": {"Line": 2, "Column": 66}}])
    );
    assert_eq!(results[0]["MissingContextValues"], json!([]));
    let page = json!({"MaxItems": 3, "PolicySourceArn": ask["PolicySourceArn"], "ActionNames": ask["ActionNames"],
        "ResourceArns": ask["ResourceArns"]});
    let page = send(&iam, &root, "SimulatePrincipalPolicy", page).await.unwrap();
    assert_eq!(page["IsTruncated"], true);
    assert_eq!(page["EvaluationResults"][2]["EvalDecision"], "allowed", "the condition's key is missing");
    assert_eq!(page["EvaluationResults"][2]["MissingContextValues"], json!(["aws:SecureTransport"]));

    let custom = json!({"PolicyInputList": [policy], "ActionNames": ["s3:GetObject"], "ResourceArns": ["arn:aws:s3:::b/k"],
        "PermissionsBoundaryPolicyInputList": [policy.replace("Allow", "Deny")]});
    let found = send(&iam, &root, "SimulateCustomPolicy", custom).await.unwrap();
    assert_eq!(found["EvaluationResults"][0]["EvalDecision"], "explicitDeny");
    let keys =
        send(&iam, &root, "GetContextKeysForPrincipalPolicy", json!({"PolicySourceArn": alice.arn()})).await;
    assert_eq!(keys.unwrap()["ContextKeyNames"], json!(["aws:SecureTransport"]));
    let nobody = json!({"PolicySourceArn": format!("arn:aws:iam::{}:user/bob", root.account), "ActionNames": ["s3:GetObject"]});
    assert!(refusal(&iam, &root, "SimulatePrincipalPolicy", nobody).await.starts_with("404 NoSuchEntity"));
}
