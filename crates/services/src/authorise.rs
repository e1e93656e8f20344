//! Whether a call may be done: the one seam that every call passes, between decoding and the service.
//!
//! On the road: the front door asks it with the service's [`Target`]; a refusal is recorded like any outcome. It puts the
//! caller's rights, the resource's policy and the condition keys of the call before [`decide`].
//!
//! Invariants: an explicit Deny wins, except that the root of a bucket's owner can always read and replace its policy
//! ("as a security precaution", says the API reference of PutBucketPolicy: else a mistake could never be mended).
//! A stored policy that cannot be read lets nobody in.

use cairn_core::Principal;
use cairn_core::policy::{
    AttachedPolicy, Document, PolicyKind, Question, Reason, Request, Requester, Verdict, decide,
};
use cairn_wire::AwsError;

use crate::{Caller, ResourcePolicy, Target};

/// What the root of a bucket's owner may do whatever the bucket's policy says.
const MENDING_ACTIONS: [&str; 3] = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];

/// The services of AWS's query protocol, whose refusals are worded and numbered otherwise than those of JSON services.
const QUERY_SERVICES: [&str; 2] = ["iam", "sts"];

/// Whether `caller` may do what `target` is about.
///
/// # Errors
/// AWS's refusal in the words and with the status of the service's protocol; an internal error where the resource's
/// stored policy cannot be read.
pub fn authorise(caller: &Caller, target: &Target) -> Result<(), AwsError> {
    let verdict = verdict(caller, target)?;
    if verdict.allowed { Ok(()) } else { Err(refused(caller, target, &verdict.reason)) }
}

/// The verdict with its reason.
fn verdict(caller: &Caller, target: &Target) -> Result<Verdict, AwsError> {
    let own = caller.principal.account() == Some(&caller.account);
    match &target.policy {
        _ if matches!(caller.principal, Principal::Unknown { .. }) => return Ok(NOBODY),
        None if !own => return Ok(NOBODY),
        Some(policy) if may_always_mend(caller, target, policy) => {
            return Ok(Verdict { allowed: true, reason: Reason::Unrestricted });
        }
        _ => {}
    }
    let stored = target.policy.as_ref().and_then(|policy| policy.document.as_deref());
    let document = stored.map(Document::parse).transpose().map_err(AwsError::internal)?;
    let resource = target.policy.as_ref().map(|policy| AttachedPolicy {
        owner: policy.owner.as_str(),
        document: document.as_ref(),
        must_allow: policy.must_allow,
    });
    let request = request(caller, target);
    Ok(decide(&Question { request: &request, rights: &caller.rights, resource }))
}

/// Nobody has rights where no policy is.
const NOBODY: Verdict = Verdict { allowed: false, reason: Reason::NotAllowed(PolicyKind::Identity) };

fn may_always_mend(caller: &Caller, target: &Target, policy: &ResourcePolicy) -> bool {
    matches!(caller.principal, Principal::Root { .. })
        && caller.principal.account() == Some(&policy.owner)
        && MENDING_ACTIONS.contains(&target.action.as_str())
}

fn request(caller: &Caller, target: &Target) -> Request {
    let mut context = global_context(caller);
    let owner = target.policy.as_ref().map_or(&caller.account, |policy| &policy.owner);
    context.push(("aws:ResourceAccount".to_owned(), vec![owner.to_string()]));
    context.extend(target.conditions.iter().cloned());
    Request {
        requester: Requester::from(&caller.principal),
        action: target.action.clone(),
        resource: target.resource_arn.clone(),
        context,
    }
}

/// The condition keys that every call has. They come first, so a service's own keys cannot take their place.
fn global_context(caller: &Caller) -> Vec<(String, Vec<String>)> {
    let principal = &caller.principal;
    let is_service = matches!(principal, Principal::Service { .. });
    let kind = match principal {
        Principal::Root { .. } => Some("Account"),
        Principal::IamUser { .. } => Some("User"),
        Principal::Anonymous => Some("Anonymous"),
        Principal::AssumedRole { .. } => Some("AssumedRole"),
        Principal::FederatedUser { .. } => Some("FederatedUser"),
        Principal::WebIdentityUser { .. } | Principal::Service { .. } | Principal::Unknown { .. } => None,
    };
    let user_name = match principal {
        Principal::IamUser { user_name, .. } => Some(user_name.clone()),
        _ => None,
    };
    let user_id = match principal {
        Principal::Anonymous => Some("anonymous".to_owned()),
        _ => principal.principal_id(),
    };
    let service_name = match principal {
        Principal::Service { name } => Some(name.clone()),
        _ => None,
    };
    [
        ("aws:SourceIp", (!is_service).then(|| caller.source_ip.to_canonical().to_string())),
        ("aws:SecureTransport", Some(caller.secure_transport.to_string())),
        ("aws:CurrentTime", Some(caller.now.iso())),
        ("aws:EpochTime", Some(caller.now.seconds().to_string())),
        ("aws:username", user_name),
        ("aws:userid", user_id),
        ("aws:PrincipalArn", principal.arn()),
        ("aws:PrincipalAccount", principal.account().map(ToString::to_string)),
        ("aws:PrincipalType", kind.map(str::to_owned)),
        ("aws:PrincipalIsAWSService", Some(is_service.to_string())),
        ("aws:PrincipalServiceName", service_name),
        ("aws:ViaAWSService", Some("false".to_owned())),
        ("aws:RequestedRegion", Some(caller.region.to_string())),
        ("aws:UserAgent", caller.user_agent.clone()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), vec![value?])))
    .collect()
}

/// The refusal as the caller sees it.
fn refused(caller: &Caller, target: &Target, reason: &Reason) -> AwsError {
    let service = target.action.split(':').next().unwrap_or_default();
    let is_query = QUERY_SERVICES.contains(&service);
    let Some(arn) = caller.principal.arn() else {
        return match service {
            "s3" => AwsError::with_status(403, "AccessDenied", "Access Denied"),
            _ if is_query => AwsError::with_status(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
            _ => AwsError::invalid("MissingAuthenticationTokenException", "Missing Authentication Token"),
        };
    };
    let action = &target.action;
    let resource = match service {
        "s3" => format!("\"{}\"", target.resource_arn),
        _ => target.resource_arn.clone(),
    };
    let reason = match reason {
        Reason::Denied(by) => format!("with an explicit deny in {}", a_policy(by.kind)),
        Reason::NotAllowed(kind) => format!("because no {} allows the {action} action", policy_name(*kind)),
        Reason::Allowed(_) | Reason::Unrestricted => String::new(),
    };
    let message =
        format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {reason}");
    if service == "s3" || is_query {
        AwsError::with_status(403, "AccessDenied", message)
    } else {
        AwsError::invalid("AccessDeniedException", message)
    }
}

fn policy_name(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Identity => "identity-based policy",
        PolicyKind::Resource => "resource-based policy",
        PolicyKind::Boundary => "permissions boundary",
        PolicyKind::Session => "session policy",
        PolicyKind::Control => "service control policy",
    }
}

fn a_policy(kind: PolicyKind) -> String {
    let article = if kind == PolicyKind::Identity { "an" } else { "a" };
    format!("{article} {}", policy_name(kind))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

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
            region: "eu-west-1".parse().unwrap(),
            now: Timestamp::from_seconds(1_795_281_866),
            request_id: EventId::from_random([7; 16]),
            source_ip: IpAddr::from([203, 0, 113, 9]),
            secure_transport: false,
            user_agent: Some("aws-cli/1.45".into()),
            rights: std::sync::Arc::new(cairn_core::policy::Rights::unrestricted()),
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
        check(
            Principal::Anonymous,
            &without_resource("s3:ListAllMyBuckets"),
            "403 AccessDenied: Access Denied",
        );
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
        for (action, expected) in [
            ("cloudtrail:DescribeTrails", "400 AccessDeniedException"),
            ("iam:ListUsers", "403 AccessDenied"),
        ] {
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
            let allowed =
                authorise(&caller(user(OTHER)), &on_bucket("s3:GetObject", Some(&document))).is_ok();
            assert_eq!(allowed, expected, "{condition}");
        }
    }
}
