//! Which service, protocol and operation a request's head means.
//!
//! The signature's scope says the service, and nothing that a signature need not cover may overrule it: a presigned
//! URL with an `X-Amz-Target` header added to it stays a request to the service that it was signed for. Only of
//! requests without signature are target, host and form asked. What is left is S3's.

use super::head::Head;
use super::{Exchange, FrontSettings, Rejection, Signing};
use crate::model::{Matched, Request, find};
use crate::model::{Models, Operation, Protocol, Service};

/// A request that has found its service.
pub(super) struct Found {
    pub(super) exchange: Exchange,
    pub(super) labels: Vec<(String, String)>,
    /// Of awsQuery, whose version and operation may be in the body: the services that it may be.
    pub(super) query_candidates: Vec<&'static Service>,
}

/// Further signing names of S3, for its other endpoints.
const S3_SIGNING_NAMES: &[&str] = &["s3express", "s3-object-lambda", "s3-outposts"];

/// The awsQuery services with operations that are called without a signature, such as
/// `AssumeRoleWithWebIdentity` and `ConfirmSubscription`.
const UNSIGNED_QUERY_SERVICES: &[&str] = &["sts", "sns"];

/// What a request of an RPC protocol says that it is for.
struct Target {
    protocol: Protocol,
    prefix: String,
    operation: String,
}

impl Target {
    /// rpcv2Cbor says it in the path, `/service/PREFIX/operation/NAME`; awsJson in a header, `PREFIX.NAME`.
    fn of(head: &Head) -> Option<Self> {
        let (protocol, prefix, operation) =
            if head.header("smithy-protocol").as_deref() == Some("rpc-v2-cbor") {
                let [.., service, prefix, operation, name] = head.segments.as_slice() else { return None };
                if service != "service" || operation != "operation" {
                    return None;
                }
                (Protocol::RpcV2Cbor, prefix.clone(), name.clone())
            } else {
                let target = head.header("x-amz-target")?;
                let (prefix, name) = target.rsplit_once('.').unwrap_or(("", &target));
                (Protocol::Json, prefix.to_owned(), name.to_owned())
            };
        Some(Self { protocol, prefix, operation })
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn found(
    settings: &FrontSettings,
    head: &Head,
    signing: Option<Signing<'_>>,
) -> Result<Found, Box<Rejection>> {
    let is_head = head.method == "HEAD";
    let candidates = match signing {
        Some(signing) => signed(signing.service),
        None => unsigned(settings, head),
    };
    if candidates.is_empty() {
        let exchange = Exchange::without_service(guessed_protocol(head), is_head);
        let name = signing.map_or("", |signing| signing.service);
        let error = crate::AwsError::with_status(
            404,
            "UnknownOperationException",
            format!("No service is signed as {name:?}."),
        );
        return Err(Rejection::of(error, exchange));
    }
    if let Some(target) =
        Target::of(head).filter(|target| candidates.iter().any(|s| s.speaks(target.protocol)))
    {
        return by_target(head, &target, &candidates, signing, is_head);
    }
    let is_form = head.media_type().as_deref() == Some(FORM) || head.parameter("Action").is_some();
    let rest: Vec<&'static Service> =
        candidates.iter().copied().filter(|service| service.rest_protocol().is_some()).collect();
    if rest.is_empty() || (is_form && candidates.iter().any(|service| service.query_protocol().is_some())) {
        return by_action(head, &candidates, is_head);
    }
    by_route(settings, head, &rest, signing, is_head)
}

fn signed(name: &str) -> Vec<&'static Service> {
    let models = Models::embedded();
    let mut services = models.by_signing_name(name);
    if S3_SIGNING_NAMES.contains(&name) {
        services.extend(models.by_signing_name("s3"));
    }
    services
}

fn unsigned(settings: &FrontSettings, head: &Head) -> Vec<&'static Service> {
    let models = Models::embedded();
    let s3 = || models.service("s3").into_iter().collect();
    if let Some(target) = Target::of(head) {
        let services = models.by_target_prefix(&target.prefix);
        if !services.is_empty() {
            return services;
        }
    }
    if head.virtual_bucket(&settings.s3_hosts).is_some() {
        return s3();
    }
    let services = by_host(head);
    if !services.is_empty() {
        return services;
    }
    if head.method == "POST" && head.media_type().as_deref() == Some(FORM) && is_queue(&head.segments) {
        return models.service("sqs").into_iter().collect();
    }
    // Elsewhere than at the root a form is a body like any other: of an anonymous `PUT` of an object, say.
    let is_root = head.segments.iter().all(String::is_empty);
    if is_root && (head.media_type().as_deref() == Some(FORM) || head.parameter("Action").is_some()) {
        return UNSIGNED_QUERY_SERVICES.iter().filter_map(|name| models.service(name)).collect();
    }
    s3()
}

/// Whether the path is that of an SQS queue's URL: an account and a name. S3 takes no such form at any path.
fn is_queue(segments: &[String]) -> bool {
    let [account, name] = segments else { return false };
    account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty()
}

/// The services whose endpoint prefix the host begins with: `sts.eu-west-1.…`, `data.iot.eu-west-1.…`.
fn by_host(head: &Head) -> Vec<&'static Service> {
    let ends = head.host.match_indices('.').map(|(at, _)| at).take(3);
    // The longest prefix first: `api.sagemaker` before `api`.
    let prefixes: Vec<&str> = ends.map(|end| &head.host[..end]).collect();
    let found = prefixes.iter().rev().map(|prefix| Models::embedded().by_endpoint_prefix(prefix));
    found.into_iter().find(|services| !services.is_empty()).unwrap_or_default()
}

fn guessed_protocol(head: &Head) -> Protocol {
    match head.media_type().as_deref() {
        _ if head.headers.contains_key("smithy-protocol") => Protocol::RpcV2Cbor,
        _ if head.headers.contains_key("x-amz-target") => Protocol::Json,
        Some(FORM) => Protocol::Query,
        Some("application/json") => Protocol::RestJson,
        _ => Protocol::RestXml,
    }
}

fn by_target(
    head: &Head,
    target: &Target,
    candidates: &[&'static Service],
    signing: Option<Signing<'_>>,
    is_head: bool,
) -> Result<Found, Box<Rejection>> {
    let Target { protocol, prefix, operation: name } = target;
    let named = Models::embedded().by_target_prefix(prefix);
    let both: Vec<&'static Service> = named
        .iter()
        .copied()
        .filter(|service| candidates.iter().any(|own| own.name == service.name))
        .collect();
    let service =
        preferred(head, &both, name).or_else(|| candidates.iter().copied().find(|s| s.speaks(*protocol)));
    let Some(service) = service else {
        let exchange = Exchange::without_service(*protocol, is_head).with_unknown_operation(name);
        return Err(Rejection::of(exchange.unknown_operation(), exchange));
    };
    let exchange = Exchange::new(service, *protocol, is_head);
    if both.is_empty() {
        let exchange = exchange.with_unknown_operation(name);
        let error = match named.first() {
            Some(named) if signing.is_some() => Exchange::wrong_scope(&named.endpoint_prefix),
            _ => exchange.unknown_operation(),
        };
        return Err(Rejection::of(error, exchange));
    }
    let Some(operation) = service.operation(name) else {
        let exchange = exchange.with_unknown_operation(name);
        return Err(Rejection::of(exchange.unknown_operation(), exchange));
    };
    Ok(Found {
        exchange: exchange.with_operation(operation),
        labels: Vec::new(),
        query_candidates: Vec::new(),
    })
}

/// Of services that share their names, the one whose host it is, else the one that has the operation.
fn preferred(head: &Head, services: &[&'static Service], operation: &str) -> Option<&'static Service> {
    let has = |service: &&&'static Service| service.operation(operation).is_some();
    let is_host = |service: &&&'static Service| {
        head.host.strip_prefix(&*service.endpoint_prefix).is_some_and(|rest| rest.starts_with('.'))
    };
    let found = services.iter().filter(has).find(is_host).or_else(|| services.iter().find(has));
    found.or(services.first()).copied()
}

/// The operation is in the form, which is the query or the body; what the body says is found out when it is there.
fn by_action(head: &Head, candidates: &[&'static Service], is_head: bool) -> Result<Found, Box<Rejection>> {
    let speakers: Vec<&'static Service> =
        candidates.iter().copied().filter(|service| service.query_protocol().is_some()).collect();
    if speakers.is_empty() {
        // Only services that speak awsJson alone come here: the target is missing.
        let service = candidates[0];
        let exchange = Exchange::new(service, service.protocols[0], is_head);
        return Err(Rejection::of(exchange.unknown_operation(), exchange));
    }
    let service = by_version(&speakers, head.parameter("Version"), head.parameter("Action").unwrap_or(""));
    let protocol = service.query_protocol().unwrap_or(Protocol::Query);
    let exchange = Exchange::new(service, protocol, is_head);
    Ok(Found { exchange, labels: Vec::new(), query_candidates: speakers })
}

/// Of services that are signed alike (`elasticloadbalancing` is two, `rds` is three), the one of the version that
/// has the operation; of equals the one that has the name.
pub(super) fn by_version(
    services: &[&'static Service],
    version: Option<&str>,
    action: &str,
) -> &'static Service {
    let rank = |service: &&&'static Service| {
        (
            version.is_some_and(|version| *service.api_version == *version),
            service.operation(action).is_some(),
            service.name == service.endpoint_prefix,
        )
    };
    // Of equals the first wins.
    services.iter().rev().max_by_key(rank).expect("the caller has at least one")
}

fn by_route(
    settings: &FrontSettings,
    head: &Head,
    candidates: &[&'static Service],
    signing: Option<Signing<'_>>,
    is_head: bool,
) -> Result<Found, Box<Rejection>> {
    let mut ordered: Vec<&'static Service> = candidates
        .iter()
        .copied()
        .filter(|service| &*service.name != "s3control" || is_s3_control(head))
        .collect();
    let host = by_host(head);
    ordered.sort_by_key(|service| {
        (
            &*service.name != "s3control",
            // Every path is one of S3's, so it comes last.
            &*service.name == "s3",
            !host.iter().any(|other| other.name == service.name),
            // Of a service and its successor, which share their paths, the one that has more.
            std::cmp::Reverse(service.operations().len()),
        )
    });
    for service in &ordered {
        let segments = segments_of(settings, head, service);
        let request =
            Request { method: &head.method, segments: &segments, query: &head.query, headers: &head.headers };
        if let Some(Matched { operation, labels }) = find(service, &request) {
            let protocol = service.rest_protocol().unwrap_or(Protocol::RestJson);
            let operation = of_directory_buckets(service, &service.operations()[operation], signing);
            return Ok(Found {
                exchange: Exchange::new(service, protocol, is_head).with_operation(operation),
                labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                query_candidates: Vec::new(),
            });
        }
    }
    let service = ordered.first().copied().unwrap_or(candidates[0]);
    let exchange = Exchange::new(service, service.rest_protocol().unwrap_or(Protocol::RestJson), is_head);
    Err(Rejection::of(exchange.unknown_operation(), exchange))
}

/// S3 Express has its own endpoint for its list of buckets, at S3's path: the signature's service tells them apart.
fn of_directory_buckets(
    service: &'static Service,
    operation: &'static Operation,
    signing: Option<Signing<'_>>,
) -> &'static Operation {
    let is_express = signing.is_some_and(|signing| signing.service == "s3express");
    let other = if is_express && &*operation.name == "ListBuckets" {
        service.operation("ListDirectoryBuckets")
    } else {
        None
    };
    other.unwrap_or(operation)
}

/// S3 Control is signed as S3. Its paths alone do not tell it: a bucket may have the name of its version.
fn is_s3_control(head: &Head) -> bool {
    let has_its_header =
        ["x-amz-account-id", "x-amz-outpost-id"].iter().any(|name| head.headers.contains_key(*name));
    let is_its_host = ["s3-control.", "s3-outposts."].iter().any(|name| head.host.contains(name));
    head.segments.first().is_some_and(|first| first == "v20180820") && (has_its_header || is_its_host)
}

/// The path's segments; of S3's virtual-host style with the bucket before them.
fn segments_of(settings: &FrontSettings, head: &Head, service: &Service) -> Vec<String> {
    let mut segments = head.segments.clone();
    if &*service.name == "s3"
        && let Some(bucket) = head.virtual_bucket(&settings.s3_hosts)
    {
        segments.insert(0, bucket);
    }
    segments
}
