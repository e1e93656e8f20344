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

use crate::{Caller, ResourcePolicy, Target, sts};

/// What the root of a bucket's owner may do whatever the bucket's policy says.
const MENDING_ACTIONS: [&str; 3] = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"];

/// What everybody with credentials may do whatever policies say: "no permissions are required", says the API reference of
/// both.
const FREE_ACTIONS: [&str; 2] = ["sts:GetCallerIdentity", "sts:GetSessionToken"];

/// The services of AWS's query protocol, whose refusals are worded and numbered otherwise than those of JSON services.
const QUERY_SERVICES: [&str; 3] = ["iam", "sns", "sts"];

/// Whether `caller` may do what `target` is about.
///
/// # Errors
/// AWS's refusal in the words and with the status of the service's protocol; an internal error where the resource's
/// stored policy cannot be read.
pub fn authorise(caller: &Caller, target: &Target) -> Result<(), AwsError> {
    sts::check_session(caller, &target.action)?;
    let unconditional = sts::UNCONDITIONAL_ACTIONS.contains(&target.action.as_str());
    if unconditional && caller.principal.account() == Some(&caller.account) {
        return Ok(());
    }
    let verdict = verdict(caller, target)?;
    if verdict.allowed { Ok(()) } else { Err(refused(caller, target, &verdict.reason)) }
}

/// The verdict with its reason.
fn verdict(caller: &Caller, target: &Target) -> Result<Verdict, AwsError> {
    let own = caller.principal.account() == Some(&caller.account);
    match &target.policy {
        _ if matches!(caller.principal, Principal::Unknown { .. }) => return Ok(NOBODY),
        None if !own => return Ok(NOBODY),
        None if FREE_ACTIONS.contains(&target.action.as_str()) => {
            return Ok(Verdict { allowed: true, reason: Reason::Unrestricted });
        }
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
    let mut context = global_context(caller, target);
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
fn global_context(caller: &Caller, target: &Target) -> Vec<(String, Vec<String>)> {
    let principal = &caller.principal;
    let is_service = matches!(principal, Principal::Service { .. });
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
    // Another service acts for the caller: S3, when it asks KMS for a data key.
    let via_service = target.conditions.iter().any(|(key, _)| key == VIA_SERVICE);
    let affiliation = caller.rights.affiliation.as_ref();
    let mut context: Vec<(String, Vec<String>)> = [
        ("aws:SourceIp", (!is_service).then(|| caller.source_ip.to_canonical().to_string())),
        ("aws:SecureTransport", Some(caller.secure_transport.to_string())),
        ("aws:CurrentTime", Some(caller.now.iso())),
        ("aws:EpochTime", Some(caller.now.seconds().to_string())),
        ("aws:username", user_name),
        ("aws:userid", user_id),
        ("aws:PrincipalArn", principal.role_arn().or_else(|| principal.arn())),
        ("aws:PrincipalAccount", principal.account().map(ToString::to_string)),
        ("aws:PrincipalType", principal_type(principal).map(str::to_owned)),
        ("aws:PrincipalIsAWSService", Some(is_service.to_string())),
        ("aws:PrincipalServiceName", service_name),
        ("aws:PrincipalOrgID", affiliation.map(|place| place.organization_id.clone())),
        ("aws:PrincipalOrgPaths", affiliation.map(|place| place.path.clone())),
        ("aws:ViaAWSService", Some(via_service.to_string())),
        ("aws:RequestedRegion", Some(caller.region.to_string())),
        ("aws:UserAgent", caller.user_agent.clone()),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), vec![value?])))
    .collect();
    context.extend(session_context(caller));
    context
}

/// The condition key that says which service acts for the caller.
const VIA_SERVICE: &str = "kms:ViaService";

fn principal_type(principal: &Principal) -> Option<&'static str> {
    match principal {
        Principal::Root { .. } => Some("Account"),
        Principal::IamUser { .. } => Some("User"),
        Principal::AssumedRole { .. } => Some("AssumedRole"),
        Principal::FederatedUser { .. } => Some("FederatedUser"),
        Principal::Anonymous => Some("Anonymous"),
        Principal::WebIdentityUser { .. } | Principal::Service { .. } | Principal::Unknown { .. } => None,
    }
}

/// The keys that temporary credentials bring, and the tags of the principal, over which those of its session go.
fn session_context(caller: &Caller) -> Vec<(String, Vec<String>)> {
    let mut context = Vec::new();
    let mut put = |key: &str, value: String| context.push((key.to_owned(), vec![value]));
    // The first of several keys of one name counts.
    if caller.mfa_verified {
        put("aws:MultiFactorAuthPresent", true.to_string());
        put("aws:MultiFactorAuthAge", 0.to_string());
    }
    if let Some(session) = &caller.session {
        put("aws:TokenIssueTime", session.created.iso());
        // Of a role's session the records know whether it began with MFA, but "the temporary credentials returned by
        // AssumeRole do not include MFA information in the context".
        let own = matches!(caller.principal, Principal::IamUser { .. } | Principal::Root { .. });
        let with_mfa = own && session.mfa_authenticated;
        put("aws:MultiFactorAuthPresent", with_mfa.to_string());
        if with_mfa {
            let age_seconds = caller.now.seconds().saturating_sub(session.created.seconds());
            put("aws:MultiFactorAuthAge", age_seconds.to_string());
        }
        if let Some(identity) = &session.source_identity {
            put("aws:SourceIdentity", identity.clone());
        }
        if let Some(identity) = &session.web_identity {
            put("aws:FederatedProvider", identity.provider.clone());
        }
    }
    let session_tags = caller.session.as_ref().map_or(&[][..], |session| &session.tags);
    for (key, value) in session_tags.iter().chain(&caller.rights.tags) {
        put(&format!("aws:PrincipalTag/{key}"), value.clone());
    }
    context
}

/// The refusal as the caller sees it.
fn refused(caller: &Caller, target: &Target, reason: &Reason) -> AwsError {
    let service = target.action.split(':').next().unwrap_or_default();
    let is_query = QUERY_SERVICES.contains(&service);
    if matches!(caller.principal, Principal::WebIdentityUser { .. }) {
        return AwsError::with_status(
            403,
            "AccessDenied",
            format!("Not authorized to perform {}", target.action),
        );
    }
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
    // SQS writes the action small, SNS its own name large.
    let action = &match target.action.strip_prefix("sns:") {
        Some(name) => format!("SNS:{name}"),
        None if service == "sqs" => target.action.to_ascii_lowercase(),
        None => target.action.clone(),
    };
    let resource = match service {
        "s3" => format!("\"{}\"", target.resource_arn),
        _ => target.resource_arn.clone(),
    };
    let reason = match reason {
        Reason::Denied(by) => format!("with an explicit deny in {}", a_policy(by.kind, action)),
        Reason::NotAllowed(kind) => {
            format!("because no {} allows the {action} action", policy_name(*kind, action))
        }
        Reason::Allowed(_) | Reason::Unrestricted => String::new(),
    };
    let message =
        format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {reason}");
    if service == "sns" {
        AwsError::with_status(403, "AuthorizationError", message)
    } else if service == "s3" || is_query {
        AwsError::with_status(403, "AccessDenied", message)
    } else if service == "sqs" {
        AwsError::with_status(403, "AccessDeniedException", message)
    } else {
        AwsError::invalid("AccessDeniedException", message)
    }
}

fn policy_name(kind: PolicyKind, action: &str) -> &'static str {
    match kind {
        PolicyKind::Identity => "identity-based policy",
        PolicyKind::Resource if action.starts_with("sts:") => "role trust policy",
        PolicyKind::Resource => "resource-based policy",
        PolicyKind::Boundary => "permissions boundary",
        PolicyKind::Session => "session policy",
        PolicyKind::Control => "service control policy",
    }
}

fn a_policy(kind: PolicyKind, action: &str) -> String {
    let name = policy_name(kind, action);
    let article = match name {
        "identity-based policy" => "an",
        "role trust policy" => "the",
        _ => "a",
    };
    format!("{article} {name}")
}

#[cfg(test)]
mod tests;
