//! STS: who the caller is, sessions of roles, users and web identities, and what they may do.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_core::policy::{Document, NamedPolicy, Rights};
use cairn_core::{AccountId, Principal, Session, Timestamp};
use cairn_services::sts::{Fetch, FetchError, Found, Identities, ProviderFacts, RoleFacts, Sessions, Sts};
use cairn_services::{Caller, Service, authorise};
use cairn_store::CatalogError;
use cairn_testkit::{SeededEntropy, TestClock, fixed_sealer};
use cairn_wire::AwsError;
use serde_json::{Value, json};

use crate::world::{call, caller};

const OWN: &str = "111122223333";
const OTHER: &str = "444455556666";
const ROLE: &str = "arn:aws:iam::111122223333:role/ops/reader";

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

/// An IAM of one role, whose trust policy the test sets, and one device, whose code is 123456.
struct FakeIam {
    trust: Mutex<Option<String>>,
}

#[async_trait]
impl Identities for FakeIam {
    async fn role(&self, of: &AccountId, name: &str) -> Result<Option<RoleFacts>, CatalogError> {
        let trust = self.trust.lock().unwrap().clone();
        Ok(trust.filter(|_| of.as_str() == OWN && name == "reader").map(|trust_policy| RoleFacts {
            id: "AROAEXAMPLE".into(),
            name: "reader".into(),
            path: "/ops/".into(),
            trust_policy,
            session_seconds_max: 7200,
            tags: vec![("stage".into(), "prod".into())],
        }))
    }

    async fn is_there(&self, principal: &Principal) -> Result<bool, CatalogError> {
        let role = !matches!(principal, Principal::AssumedRole { .. });
        Ok(role || self.trust.lock().unwrap().is_some())
    }

    async fn account_of_key(&self, access_key_id: &str) -> Result<Option<AccountId>, CatalogError> {
        Ok((access_key_id == "AKIAEXAMPLEEXAMPLE00").then(|| account(OWN)))
    }

    async fn provider(&self, of: &AccountId, issuer: &str) -> Result<Option<ProviderFacts>, CatalogError> {
        Ok((of.as_str() == OWN && issuer == "idp.example.com").then(|| ProviderFacts {
            arn: format!("arn:aws:iam::{OWN}:oidc-provider/idp.example.com"),
            client_ids: vec!["app".into()],
            thumbprints: Vec::new(),
        }))
    }

    async fn verify_mfa(
        &self,
        _principal: &Principal,
        _serial: &str,
        code: &str,
        _now: Timestamp,
    ) -> Result<bool, CatalogError> {
        Ok(code == "123456")
    }
}

struct NoNet;

#[async_trait]
impl Fetch for NoNet {
    async fn get(&self, url: &str, _thumbprints: &[String]) -> Result<Bytes, FetchError> {
        Err(FetchError { url: url.into(), reason: "there is no net".into() })
    }
}

struct World {
    sts: Sts,
    iam: Arc<FakeIam>,
}

impl World {
    fn trusting(principal: &str, more: &str) -> Self {
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},"Action":["sts:AssumeRole","sts:AssumeRoleWithWebIdentity","sts:TagSession","sts:SetSourceIdentity"]{more}}}]}}"#
        );
        let iam = Arc::new(FakeIam { trust: Mutex::new(Some(trust)) });
        let sts = Sts::new(
            fixed_sealer(),
            iam.clone(),
            Arc::new(NoNet),
            Arc::new(TestClock::new(Timestamp::from_seconds(1_795_281_866))),
            Arc::new(SeededEntropy::new(7)),
        );
        Self { sts, iam }
    }

    /// Does a call as the front door does.
    async fn send(&self, caller: &Caller, operation: &str, params: Value) -> Result<Value, AwsError> {
        let call = call("sts", operation, params);
        let mut caller = caller.clone();
        self.sts.recognise(&mut caller, &call).await?;
        authorise(&caller, &self.sts.target(&caller, &call).await?)?;
        for further in self.sts.further_targets(&caller, &call).await? {
            authorise(&caller, &further)?;
        }
        Ok(self.sts.handle(&caller, call).await?.result)
    }

    async fn refusal(&self, caller: &Caller, operation: &str, params: Value) -> String {
        let error = self.send(caller, operation, params).await.expect_err("the call is to be refused");
        format!("{} {}: {}", error.status, error.code, error.message)
    }

    async fn assume(&self, caller: &Caller, more: Value) -> Result<Value, AwsError> {
        let mut params = json!({"RoleArn": ROLE, "RoleSessionName": "alice"});
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.send(caller, "AssumeRole", params).await
    }

    /// Whoever calls with the credentials of a reply.
    async fn with(&self, reply: &Value) -> Caller {
        let credentials = &reply["Credentials"];
        let (id, token) = (text(&credentials["AccessKeyId"]), text(&credentials["SessionToken"]));
        match self.find(&id, Some(&token), 0).await {
            Found::Holder(credential) => {
                assert_eq!(credential.secret.expose(), credentials["SecretAccessKey"]);
                Caller {
                    session: credential.session,
                    access_key_id: Some(id),
                    ..caller(credential.principal)
                }
            }
            other => panic!("the credentials are not believed: {other:?}"),
        }
    }

    async fn find(&self, id: &str, token: Option<&str>, later_seconds: i64) -> Found {
        let sessions: Sessions = self.sts.sessions();
        sessions.find(id, token, Timestamp::from_seconds(1_795_281_866 + later_seconds)).await.unwrap()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn user(of: &str) -> Caller {
    caller(Principal::IamUser {
        account: account(of),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/ops/".into(),
    })
}

fn session_of(caller: &Caller) -> &Session {
    caller.session.as_ref().unwrap()
}

#[tokio::test]
async fn every_identity_may_ask_who_it_is_and_nobody_else() {
    let world = World::trusting(r#"{"AWS":"*"}"#, "");
    let root = caller(Principal::Root { account: account(OWN), alias: Some("acme".into()) });
    assert_eq!(
        world.send(&root, "GetCallerIdentity", json!({})).await.unwrap(),
        json!({"UserId": OWN, "Account": OWN, "Arn": "arn:aws:iam::111122223333:root"})
    );
    let nothing_allowed = Caller { rights: Arc::new(Rights::default()), ..user(OWN) };
    assert_eq!(
        world.send(&nothing_allowed, "GetCallerIdentity", json!({})).await.unwrap(),
        json!({"UserId": "AIDAEXAMPLE", "Account": OWN, "Arn": "arn:aws:iam::111122223333:user/ops/alice"})
    );
    let role = world.with(&world.assume(&user(OWN), json!({})).await.unwrap()).await;
    assert_eq!(
        world.send(&role, "GetCallerIdentity", json!({})).await.unwrap(),
        json!({"UserId": "AROAEXAMPLE:alice", "Account": OWN, "Arn": "arn:aws:sts::111122223333:assumed-role/reader/alice"})
    );
    assert_eq!(
        world.refusal(&caller(Principal::Anonymous), "GetCallerIdentity", json!({})).await,
        "403 MissingAuthenticationToken: Request is missing Authentication Token"
    );
}

#[tokio::test]
async fn a_role_is_assumed_under_its_trust_policy_and_across_accounts_with_both_sides_leave() {
    let refused =
        "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/ops/reader";
    let nothing_allowed = |of| Caller { rights: Arc::new(Rights::default()), ..user(of) };
    let named = World::trusting(r#"{"AWS":"arn:aws:iam::111122223333:user/ops/alice"}"#, "");
    assert!(named.assume(&nothing_allowed(OWN), json!({})).await.is_ok(), "the trust policy is enough");
    let account = World::trusting(r#"{"AWS":"111122223333"}"#, "");
    assert!(account.assume(&user(OWN), json!({})).await.is_ok());
    let error = account.assume(&nothing_allowed(OWN), json!({})).await.unwrap_err();
    assert_eq!((error.status, error.code.as_ref()), (403, "AccessDenied"));
    assert!(error.message.contains(refused), "{}", error.message);
    assert!(account.assume(&user(OTHER), json!({})).await.is_err(), "another account's");
    let foreign = World::trusting(r#"{"AWS":"arn:aws:iam::444455556666:root"}"#, "");
    let reply = foreign.assume(&user(OTHER), json!({})).await.unwrap();
    assert_eq!(reply["AssumedRoleUser"]["AssumedRoleId"], "AROAEXAMPLE:alice");
    assert!(
        foreign.assume(&nothing_allowed(OTHER), json!({})).await.is_err(),
        "its own account must allow it too"
    );
    let absent = json!({"RoleArn": "arn:aws:iam::111122223333:role/none", "RoleSessionName": "alice"});
    assert!(
        foreign.refusal(&user(OTHER), "AssumeRole", absent).await.starts_with("403 AccessDenied: User: ")
    );
    let root = caller(Principal::Root { account: self::account(OWN), alias: None });
    assert_eq!(
        World::trusting(r#"{"AWS":"*"}"#, "").assume(&root, json!({})).await.unwrap_err().message,
        "Roles may not be assumed by root accounts."
    );
}

#[tokio::test]
async fn conditions_of_a_trust_policy_hold_the_external_id_mfa_and_the_sessions_name() {
    let condition =
        |test: &str| World::trusting(r#"{"AWS":"111122223333"}"#, &format!(r#","Condition":{test}"#));
    let by_id = condition(r#"{"StringEquals":{"sts:ExternalId":"secret-7"}}"#);
    assert!(by_id.assume(&user(OWN), json!({})).await.is_err());
    assert!(by_id.assume(&user(OWN), json!({"ExternalId": "secret-8"})).await.is_err());
    assert!(by_id.assume(&user(OWN), json!({"ExternalId": "secret-7"})).await.is_ok());

    let with_mfa = condition(r#"{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#);
    assert!(with_mfa.assume(&user(OWN), json!({})).await.is_err());
    let device = "arn:aws:iam::111122223333:mfa/alice";
    let wrong = json!({"SerialNumber": device, "TokenCode": "000000"});
    assert_eq!(
        with_mfa.assume(&user(OWN), wrong).await.unwrap_err().message,
        "MultiFactorAuthentication failed with invalid MFA one time pass code. "
    );
    let right = json!({"SerialNumber": device, "TokenCode": "123456"});
    let role = with_mfa.with(&with_mfa.assume(&user(OWN), right.clone()).await.unwrap()).await;
    assert!(session_of(&role).mfa_authenticated);
    let session = with_mfa.send(&user(OWN), "GetSessionToken", right).await.unwrap();
    let session = with_mfa.with(&session).await;
    assert!(with_mfa.assume(&session, json!({})).await.is_ok(), "the session's MFA counts");

    let by_name = condition(r#"{"StringEquals":{"sts:RoleSessionName":"${aws:username}"}}"#);
    assert!(by_name.assume(&user(OWN), json!({})).await.is_ok());
    assert!(by_name.assume(&user(OWN), json!({"RoleSessionName": "mallory"})).await.is_err());
    let by_tag = condition(r#"{"StringEquals":{"aws:RequestTag/team":"red"}}"#);
    assert!(by_tag.assume(&user(OWN), json!({"Tags": [{"Key": "team", "Value": "red"}]})).await.is_ok());
    assert!(by_tag.assume(&user(OWN), json!({"Tags": [{"Key": "team", "Value": "blue"}]})).await.is_err());
}

#[tokio::test]
async fn tags_and_source_identities_need_leave_of_their_own() {
    let world = World::trusting(r#"{"AWS":"111122223333"}"#, "");
    let only = |actions: &str| {
        let text = format!(r#"{{"Statement":[{{"Effect":"Allow","Action":[{actions}],"Resource":"*"}}]}}"#);
        let policy = NamedPolicy { name: "p".into(), document: Arc::new(Document::parse(&text).unwrap()) };
        Caller { rights: Arc::new(Rights { identity: vec![policy], ..Rights::default() }), ..user(OWN) }
    };
    let (tagged, named) = (json!({"Tags": [{"Key": "a", "Value": "1"}]}), json!({"SourceIdentity": "alice"}));
    let plain = only(r#""sts:AssumeRole""#);
    assert!(world.assume(&plain, json!({})).await.is_ok());
    for (more, action) in [(&tagged, "sts:TagSession"), (&named, "sts:SetSourceIdentity")] {
        let error = world.assume(&plain, more.clone()).await.unwrap_err();
        assert!(error.message.contains(action), "{}", error.message);
        let both = only(&format!(r#""sts:AssumeRole","{action}""#));
        assert!(world.assume(&both, more.clone()).await.is_ok(), "{action}");
    }
    let first = world.with(&world.assume(&user(OWN), named).await.unwrap()).await;
    let next = world.assume(&first, json!({})).await.unwrap();
    assert_eq!(next["SourceIdentity"], "alice", "it stays through every further role");
}

#[tokio::test]
async fn sessions_last_as_long_as_role_and_chaining_let_them() {
    let world = World::trusting(r#"{"AWS":"111122223333"}"#, "");
    let lasts = |reply: &Value| reply["Credentials"]["Expiration"].as_i64().unwrap() - 1_795_281_866;
    let first = world.assume(&user(OWN), json!({})).await.unwrap();
    assert_eq!(lasts(&first), 3600);
    assert_eq!(lasts(&world.assume(&user(OWN), json!({"DurationSeconds": 7200})).await.unwrap()), 7200);
    assert_eq!(
        world.assume(&user(OWN), json!({"DurationSeconds": 7201})).await.unwrap_err().message,
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    );
    let chained = world.with(&first).await;
    assert_eq!(
        world.assume(&chained, json!({"DurationSeconds": 3601})).await.unwrap_err().message,
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
    );
    let token = world.send(&user(OWN), "GetSessionToken", json!({})).await.unwrap();
    assert_eq!(lasts(&token), 43_200);
    let root = caller(Principal::Root { account: account(OWN), alias: None });
    let token = world.send(&root, "GetSessionToken", json!({"DurationSeconds": 129_600})).await.unwrap();
    assert_eq!(lasts(&token), 3600, "a root gets an hour");
}

#[tokio::test]
async fn credentials_end_and_are_believed_whole_or_not_at_all() {
    let world = World::trusting(r#"{"AWS":"111122223333"}"#, "");
    let reply = world.assume(&user(OWN), json!({})).await.unwrap();
    let (id, token) =
        (text(&reply["Credentials"]["AccessKeyId"]), text(&reply["Credentials"]["SessionToken"]));
    assert!(id.starts_with("ASIA") && id.len() == 20, "{id}");
    assert!(matches!(world.find(&id, Some(&token), 3599).await, Found::Holder(_)));
    assert!(matches!(world.find(&id, Some(&token), 3600).await, Found::Expired));
    assert!(matches!(world.find(&id, None, 0).await, Found::NoToken));
    assert!(matches!(world.find(&id, Some(&token[1..]), 0).await, Found::Invalid));
    let other = world.assume(&user(OWN), json!({})).await.unwrap();
    let other = text(&other["Credentials"]["SessionToken"]);
    assert!(matches!(world.find(&id, Some(&other), 0).await, Found::Invalid), "another key's token");
    *world.iam.trust.lock().unwrap() = None;
    assert!(matches!(world.find(&id, Some(&token), 0).await, Found::Invalid), "the role is gone");
}

#[tokio::test]
async fn a_federated_user_has_an_issuer_and_calls_neither_iam_nor_sts() {
    let world = World::trusting(r#"{"AWS":"*"}"#, "");
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    let params = json!({"Name": "bob", "Policy": policy, "Tags": [{"Key": "a", "Value": "1"}]});
    let reply = world.send(&user(OWN), "GetFederationToken", params).await.unwrap();
    assert_eq!(
        reply["FederatedUser"],
        json!({"FederatedUserId": "111122223333:bob", "Arn": "arn:aws:sts::111122223333:federated-user/bob"})
    );
    assert_eq!(reply["PackedPolicySize"], 1);
    let bob = world.with(&reply).await;
    assert!(session_of(&bob).has_policies());
    assert_eq!(bob.principal.issuer().unwrap().0, "arn:aws:iam::111122223333:user/ops/alice");
    assert!(world.send(&bob, "GetCallerIdentity", json!({})).await.is_ok());
    assert_eq!(
        world.assume(&bob, json!({})).await.unwrap_err().message,
        "Cannot call AssumeRole with session credentials"
    );
}

#[tokio::test]
async fn sessions_make_no_further_sessions_of_their_user() {
    let world = World::trusting(r#"{"AWS":"*"}"#, "");
    let own = world.with(&world.send(&user(OWN), "GetSessionToken", json!({})).await.unwrap()).await;
    let role = world.with(&world.assume(&user(OWN), json!({})).await.unwrap()).await;
    for (session, operation) in [
        (&own, "GetSessionToken"),
        (&own, "GetFederationToken"),
        (&role, "GetSessionToken"),
        (&role, "GetFederationToken"),
    ] {
        assert_eq!(
            world.refusal(session, operation, json!({"Name": "bob"})).await,
            format!("403 AccessDenied: Cannot call {operation} with session credentials")
        );
    }
    let iam = |caller: &Caller| {
        let mut target = cairn_services::Target {
            action: "iam:ListUsers".into(),
            resource_arn: "*".into(),
            resources: Vec::new(),
            policy: None,
            conditions: Vec::new(),
        };
        target.action = "iam:ListUsers".into();
        authorise(caller, &target).map_err(|error| error.code.into_owned())
    };
    assert_eq!(iam(&own), Err("InvalidClientTokenId".into()), "a session without MFA calls no IAM");
    let code = json!({"SerialNumber": "arn:aws:iam::111122223333:mfa/alice", "TokenCode": "123456"});
    let with_mfa = world.with(&world.send(&user(OWN), "GetSessionToken", code).await.unwrap()).await;
    assert_eq!(iam(&with_mfa), Ok(()));
    assert_eq!(iam(&role), Ok(()));
}

#[tokio::test]
async fn a_web_identity_without_a_known_provider_is_refused() {
    let world = World::trusting(r#"{"Federated":"*"}"#, "");
    let send = |token: &str| {
        let params = json!({"RoleArn": ROLE, "RoleSessionName": "bob", "WebIdentityToken": token});
        let world = &world;
        async move { world.refusal(&caller(Principal::Anonymous), "AssumeRoleWithWebIdentity", params).await }
    };
    assert!(
        send("no.jwt.here")
            .await
            .starts_with("400 InvalidIdentityToken: The ID Token provided is not a valid JWT")
    );
    // {"alg":"RS256"}.{"iss":"https://idp.example.com","sub":"bob","aud":"app"}
    let known = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsInN1YiI6ImJvYiIsImF1ZCI6ImFwcCJ9.c2ln";
    assert!(send(known).await.starts_with("400 IDPCommunicationError: Couldn't retrieve verification key"));
    // The same of https://evil.example.com.
    let unknown = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZS5jb20iLCJzdWIiOiJib2IiLCJhdWQiOiJhcHAifQ.c2ln";
    assert_eq!(
        send(unknown).await,
        "400 InvalidIdentityToken: No OpenIDConnect provider found in your account for https://evil.example.com"
    );
}

#[tokio::test]
async fn a_key_says_its_account_and_only_our_messages_are_decoded() {
    let world = World::trusting(r#"{"AWS":"*"}"#, "");
    let reply = world.assume(&user(OTHER), json!({})).await.unwrap();
    let temporary = text(&reply["Credentials"]["AccessKeyId"]);
    for id in [temporary.as_str(), "AKIAEXAMPLEEXAMPLE00"] {
        let info = world.send(&user(OWN), "GetAccessKeyInfo", json!({"AccessKeyId": id})).await.unwrap();
        assert_eq!(info, json!({"Account": OWN}), "{id}");
    }
    let unknown = json!({"AccessKeyId": "AKIAUNKNOWNUNKNOWN00"});
    assert!(world.refusal(&user(OWN), "GetAccessKeyInfo", unknown).await.starts_with("400 ValidationError"));

    let message = world.sts.encode_authorization_message(&account(OWN), r#"{"allowed":false}"#);
    let decode = json!({"EncodedMessage": message});
    assert_eq!(
        world.send(&user(OWN), "DecodeAuthorizationMessage", decode.clone()).await.unwrap(),
        json!({"DecodedMessage": r#"{"allowed":false}"#})
    );
    let refused = "400 InvalidAuthorizationMessageException: Invalid EncodedMessage";
    assert_eq!(world.refusal(&user(OTHER), "DecodeAuthorizationMessage", decode).await, refused);
    let junk = json!({"EncodedMessage": "junk"});
    assert_eq!(world.refusal(&user(OWN), "DecodeAuthorizationMessage", junk).await, refused);
}

#[tokio::test]
async fn records_show_credentials_without_their_secret_and_requests_without_proofs() {
    let world = World::trusting(r#"{"AWS":"*"}"#, "");
    let params = json!({
        "RoleArn": ROLE,
        "RoleSessionName": "alice",
        "SerialNumber": "arn:aws:iam::111122223333:mfa/alice",
        "TokenCode": "123456",
        "ExternalId": "x7",
    });
    let recorded = world.sts.recorded_request(&call("sts", "AssumeRole", params)).unwrap();
    assert_eq!(
        recorded.to_string(),
        r#"{"roleArn":"arn:aws:iam::111122223333:role/ops/reader","roleSessionName":"alice","externalId":"x7","serialNumber":"arn:aws:iam::111122223333:mfa/alice"}"#
    );
    let reply = world.assume(&user(OWN), json!({})).await.unwrap();
    let operation = world.sts.operations().iter().find(|operation| operation.name == "AssumeRole").unwrap();
    let recorded = world.sts.recorded_read(operation, &reply).unwrap();
    let secret = text(&reply["Credentials"]["SecretAccessKey"]);
    assert!(!recorded.to_string().contains(&secret));
    let credentials: Vec<_> = recorded["credentials"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(credentials, ["accessKeyId", "sessionToken", "expiration"]);
    assert_eq!(recorded["credentials"]["expiration"], "Nov 21, 2026 6:24:26 PM");
    assert_eq!(
        recorded["assumedRoleUser"],
        json!({"assumedRoleId": "AROAEXAMPLE:alice", "arn": "arn:aws:sts::111122223333:assumed-role/reader/alice"})
    );
    let identity =
        world.sts.operations().iter().find(|operation| operation.name == "GetCallerIdentity").unwrap();
    assert_eq!(world.sts.recorded_read(identity, &json!({"Account": OWN})), None);
}

/// STS on the IAM of a world.
pub(crate) fn sts_of(world: &crate::world::World) -> Sts {
    let iam = Arc::new(world.iam());
    Sts::new(fixed_sealer(), iam, Arc::new(NoNet), world.clock.clone(), world.entropy.clone())
}
