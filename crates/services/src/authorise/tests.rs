//! Who may do what, and how a refusal reads.

use std::net::IpAddr;
use std::sync::Arc;

use cairn_core::identity::Session;
use cairn_core::policy::{Affiliation, NamedPolicy, Rights};
use cairn_core::{AccountId, EventId, Timestamp};

use super::*;

const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";

fn account(id: &str) -> AccountId {
    id.parse().unwrap()
}

fn root(id: &str) -> Principal {
    Principal::Root { account: account(id), alias: None }
}

fn user(id: &str) -> Principal {
    Principal::IamUser {
        account: account(id),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/".into(),
    }
}

fn caller(principal: Principal) -> Caller {
    Caller {
        account: principal.account().cloned().unwrap_or_else(|| account(OWNER)),
        principal,
        access_key_id: None,
        session: None,
        mfa_verified: false,
        region: "eu-west-1".parse().unwrap(),
        now: Timestamp::from_seconds(1_795_281_866),
        request_id: EventId::from_random([7; 16]),
        source_ip: IpAddr::from([203, 0, 113, 9]),
        secure_transport: false,
        user_agent: Some("aws-cli/1.45".into()),
        rights: Arc::new(Rights::unrestricted()),
    }
}

fn on_bucket(action: &str, document: Option<&str>) -> Target {
    Target {
        action: action.into(),
        resource_arn: "arn:aws:s3:::b/k".into(),
        resources: Vec::new(),
        policy: Some(ResourcePolicy {
            owner: account(OWNER),
            document: document.map(str::to_owned),
            must_allow: false,
        }),
        conditions: vec![("s3:x-amz-acl".into(), vec!["private".into()])],
    }
}

fn without_resource(action: &str) -> Target {
    Target {
        action: action.into(),
        resource_arn: "*".into(),
        resources: Vec::new(),
        policy: None,
        conditions: Vec::new(),
    }
}

/// `allowed`, or the refusal in one line.
fn check(principal: Principal, target: &Target, expected: &str) {
    let found = match authorise(&caller(principal), target) {
        Ok(()) => "allowed".to_owned(),
        Err(error) => format!("{} {}: {}", error.status, error.code, error.message),
    };
    assert_eq!(found, expected, "{target:?}");
}

fn statement(effect: &str, principal: &str, rest: &str) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":{principal},"Action":"s3:*","Resource":"*"{rest}}}}}"#
    )
}

#[test]
fn the_owners_account_may_do_what_no_policy_denies() {
    let silent = statement("Allow", &format!(r#"{{"AWS":"{OTHER}"}}"#), "");
    for document in [None, Some(silent.as_str())] {
        check(root(OWNER), &on_bucket("s3:GetObject", document), "allowed");
        check(user(OWNER), &on_bucket("s3:GetObject", document), "allowed");
    }
    let deny = statement("Deny", &format!(r#"{{"AWS":"arn:aws:iam::{OWNER}:root"}}"#), "");
    check(
        user(OWNER),
        &on_bucket("s3:GetObject", Some(&deny)),
        "403 AccessDenied: User: arn:aws:iam::111122223333:user/alice is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::b/k\" with an explicit deny in a resource-based policy",
    );
}

#[test]
fn other_accounts_services_and_the_anonymous_need_the_resource_policys_allow() {
    let document = statement("Allow", &format!(r#"{{"AWS":"{OTHER}"}}"#), "");
    check(user(OTHER), &on_bucket("s3:GetObject", Some(&document)), "allowed");
    check(
        user("777788889999"),
        &on_bucket("s3:GetObject", Some(&document)),
        "403 AccessDenied: User: arn:aws:iam::777788889999:user/alice is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::b/k\" because no resource-based policy allows the s3:GetObject action",
    );
    check(
        Principal::Anonymous,
        &on_bucket("s3:GetObject", Some(&document)),
        "403 AccessDenied: Access Denied",
    );
    check(Principal::Anonymous, &on_bucket("s3:GetObject", None), "403 AccessDenied: Access Denied");
    let open = statement("Allow", r#""*""#, "");
    check(Principal::Anonymous, &on_bucket("s3:GetObject", Some(&open)), "allowed");
    let service = Principal::Service { name: "cloudtrail.amazonaws.com".into() };
    let for_service = statement("Allow", r#"{"Service":"cloudtrail.amazonaws.com"}"#, "");
    check(service.clone(), &on_bucket("s3:PutObject", Some(&for_service)), "allowed");
    check(service, &on_bucket("s3:PutObject", None), "403 AccessDenied: Access Denied");
    let unknown = Principal::Unknown { claimed_access_key_id: None };
    check(unknown, &on_bucket("s3:GetObject", Some(&open)), "403 AccessDenied: Access Denied");
}

#[test]
fn the_owners_root_can_always_mend_a_bucket_policy() {
    let deny_all = statement("Deny", r#""*""#, "");
    for document in [deny_all.as_str(), "not a policy"] {
        for action in MENDING_ACTIONS {
            check(root(OWNER), &on_bucket(action, Some(document)), "allowed");
            assert!(authorise(&caller(user(OWNER)), &on_bucket(action, Some(document))).is_err());
            assert!(authorise(&caller(root(OTHER)), &on_bucket(action, Some(document))).is_err());
        }
        assert!(authorise(&caller(root(OWNER)), &on_bucket("s3:GetObject", Some(document))).is_err());
    }
}

#[test]
fn calls_without_a_resource_are_the_accounts_own() {
    check(user(OWNER), &without_resource("cloudtrail:DescribeTrails"), "allowed");
    check(root(OWNER), &without_resource("s3:ListAllMyBuckets"), "allowed");
    check(Principal::Anonymous, &without_resource("s3:ListAllMyBuckets"), "403 AccessDenied: Access Denied");
    check(
        Principal::Anonymous,
        &without_resource("iam:ListUsers"),
        "403 MissingAuthenticationToken: Request is missing Authentication Token",
    );
    check(
        Principal::Anonymous,
        &without_resource("cloudtrail:DescribeTrails"),
        "400 MissingAuthenticationTokenException: Missing Authentication Token",
    );
    let mut foreign = caller(user(OTHER));
    foreign.account = account(OWNER);
    for (action, expected) in
        [("cloudtrail:DescribeTrails", "400 AccessDeniedException"), ("iam:ListUsers", "403 AccessDenied")]
    {
        let error = authorise(&foreign, &without_resource(action)).unwrap_err();
        assert_eq!(format!("{} {}", error.status, error.code), expected);
        assert_eq!(
            error.message,
            format!(
                "User: arn:aws:iam::444455556666:user/alice is not authorized to perform: {action} on resource: * because no identity-based policy allows the {action} action"
            )
        );
    }
}

#[test]
fn every_context_key_reaches_the_policy() {
    for (operator, key, value, expected) in [
        ("IpAddress", "aws:SourceIp", "203.0.113.0/24", true),
        ("Bool", "aws:SecureTransport", "false", true),
        ("DateLessThan", "aws:CurrentTime", "2027-01-01T00:00:00Z", true),
        ("NumericGreaterThan", "aws:EpochTime", "1795281865", true),
        ("StringEquals", "aws:username", "alice", true),
        ("StringEquals", "aws:userid", "AIDAEXAMPLE", true),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::444455556666:user/*", true),
        ("StringEquals", "aws:PrincipalAccount", OTHER, true),
        ("StringEquals", "aws:PrincipalType", "User", true),
        ("Bool", "aws:PrincipalIsAWSService", "false", true),
        ("StringEquals", "aws:RequestedRegion", "eu-west-1", true),
        ("StringLike", "aws:UserAgent", "aws-cli/*", true),
        ("StringEquals", "aws:ResourceAccount", OWNER, true),
        ("StringEquals", "s3:x-amz-acl", "private", true),
        ("StringEquals", "s3:x-amz-acl", "public-read", false),
        ("Null", "aws:MultiFactorAuthPresent", "true", true),
    ] {
        let condition = format!(r#","Condition":{{"{operator}":{{"{key}":"{value}"}}}}"#);
        let document = statement("Allow", r#""*""#, &condition);
        let allowed = authorise(&caller(user(OTHER)), &on_bucket("s3:GetObject", Some(&document))).is_ok();
        assert_eq!(allowed, expected, "{condition}");
    }
}

fn named(name: &str, statement: &str) -> NamedPolicy {
    let document = Document::parse(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#));
    NamedPolicy { name: name.into(), document: Arc::new(document.unwrap()) }
}

const ALLOW: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const DENY: &str = r#"{"Effect":"Deny","Action":"*","Resource":"*"}"#;

#[test]
fn a_refusal_names_the_kind_of_policy_in_awss_words() {
    let allow = || named("open", ALLOW);
    let deny = || named("shut", DENY);
    let full = || Rights { identity: vec![allow()], ..Rights::default() };
    for (rights, expected) in [
        (Rights::default(), "because no identity-based policy allows the cloudtrail:GetTrail action"),
        (
            Rights { identity: vec![allow(), deny()], ..full() },
            "with an explicit deny in an identity-based policy",
        ),
        (
            Rights {
                boundary: Some(named("b", r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#)),
                ..full()
            },
            "because no permissions boundary allows the cloudtrail:GetTrail action",
        ),
        (Rights { boundary: Some(deny()), ..full() }, "with an explicit deny in a permissions boundary"),
        (
            Rights { session: Some(Vec::new()), ..full() },
            "because no session policy allows the cloudtrail:GetTrail action",
        ),
        (Rights { session: Some(vec![deny()]), ..full() }, "with an explicit deny in a session policy"),
        (
            Rights { control: vec![vec![allow()], Vec::new()], ..full() },
            "because no service control policy allows the cloudtrail:GetTrail action",
        ),
        (
            Rights { control: vec![vec![allow(), deny()]], ..full() },
            "with an explicit deny in a service control policy",
        ),
    ] {
        let alice = Caller { rights: Arc::new(rights), ..caller(user(OWNER)) };
        let error = authorise(&alice, &without_resource("cloudtrail:GetTrail")).unwrap_err();
        let message = format!(
            "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: cloudtrail:GetTrail on resource: * {expected}"
        );
        assert_eq!(error.message, message);
    }
    let mut trust = without_resource("sts:AssumeRole");
    trust.policy = Some(ResourcePolicy { owner: account(OWNER), document: None, must_allow: true });
    let error = authorise(&caller(user(OWNER)), &trust).unwrap_err();
    assert!(error.message.ends_with("because no role trust policy allows the sts:AssumeRole action"));
}

#[test]
fn sessions_bring_their_keys_and_their_tags_go_over_the_roles() {
    let principal = Principal::AssumedRole {
        account: account(OWNER),
        role_id: "AROAEXAMPLE".into(),
        role_name: "reader".into(),
        role_path: "/ops/".into(),
        session_name: "alice".into(),
    };
    let now = Timestamp::from_seconds(1_795_281_866);
    let session = Session {
        created: Timestamp::from_seconds(now.seconds() - 60),
        expires: Timestamp::from_seconds(now.seconds() + 60),
        mfa_authenticated: true,
        source_identity: Some("alice@example.com".into()),
        tags: vec![("team".into(), "red".into())],
        transitive_tag_keys: Vec::new(),
        web_identity: None,
        policy: None,
        policy_arns: Vec::new(),
    };
    let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (condition, expected) in [
        (r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/ops/reader"}}"#, true),
        (r#"{"StringEquals":{"aws:userid":"AROAEXAMPLE:alice","aws:PrincipalType":"AssumedRole"}}"#, true),
        (r#"{"Null":{"aws:username":"true","aws:FederatedProvider":"true"}}"#, true),
        // A role's session brings no word of MFA.
        (r#"{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#, false),
        (r#"{"Null":{"aws:MultiFactorAuthAge":"true"}}"#, true),
        (r#"{"DateLessThan":{"aws:TokenIssueTime":"2026-11-21T17:24:00Z"}}"#, true),
        (r#"{"StringEquals":{"aws:SourceIdentity":"alice@example.com"}}"#, true),
        (r#"{"StringEquals":{"aws:PrincipalTag/Team":"red","aws:PrincipalTag/level":"2"}}"#, true),
        (r#"{"StringEquals":{"aws:PrincipalOrgID":"o-example","aws:ViaAWSService":"false"}}"#, true),
        (r#"{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-example/r-1/ou-*"}}"#, true),
    ] {
        let statement =
            format!(r#"{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}"#);
        let rights = Rights {
            identity: vec![named("p", &statement)],
            tags: vec![tag("team", "blue"), tag("level", "2")],
            affiliation: Some(Affiliation {
                organization_id: "o-example".into(),
                path: "o-example/r-1/ou-2/".into(),
            }),
            ..Rights::default()
        };
        let holder = Caller {
            session: Some(Arc::new(session.clone())),
            rights: Arc::new(rights),
            ..caller(principal.clone())
        };
        let allowed = authorise(&holder, &without_resource("cloudtrail:GetTrail")).is_ok();
        assert_eq!(allowed, expected, "{condition}");
    }
}
