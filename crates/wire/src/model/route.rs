//! Which operation of a REST service a method, a path and a query mean.
//!
//! The model's `requestUri` gives literal segments, labels, one greedy label at the end, and literal query
//! parameters. Several operations may share all of that (S3's `PUT /{Bucket}/{Key+}` are four): the required members
//! in query and headers then tell them apart. The most specific route wins.

use super::service::{Location, Service};

/// The request line and headers as routing sees them.
pub(crate) struct Request<'a> {
    /// `GET`.
    pub(crate) method: &'a str,
    /// The path's segments, undecoded, without the empty one before the first slash.
    pub(crate) segments: &'a [String],
    /// The query's names and values, decoded.
    pub(crate) query: &'a [(String, String)],
    /// The headers.
    pub(crate) headers: &'a http::HeaderMap,
}

/// A segment of a route's path.
#[derive(Debug)]
enum Segment {
    /// `{Key+}`: this and all further segments.
    Greedy(Box<str>),
    /// `{Bucket}`.
    Label(Box<str>),
    /// Itself.
    Literal(Box<str>),
}

impl Segment {
    /// Whether one segment of a path is this one; a greedy label is not asked.
    fn fits(&self, segment: &str) -> bool {
        match self {
            Self::Greedy(_) | Self::Label(_) => !segment.is_empty(),
            Self::Literal(text) => **text == *segment,
        }
    }

    fn specificity(&self) -> u8 {
        match self {
            Self::Greedy(_) => 0,
            Self::Label(_) => 1,
            Self::Literal(_) => 2,
        }
    }
}

/// The route of one operation.
#[derive(Debug)]
pub struct Route {
    operation: usize,
    method: Box<str>,
    segments: Vec<Segment>,
    query: Vec<(Box<str>, Option<Box<str>>)>,
    /// Names of required members in query and headers.
    required: Vec<(Location, Box<str>)>,
}

/// How well a route fits; greater is better.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    segments: Vec<u8>,
    query_literals: usize,
    has_all_required: bool,
    required: usize,
}

/// Operations that share their route with the one that took their place, and that no client of today sends.
const SUPERSEDED: &[(&str, &str)] = &[
    ("s3", "GetBucketLifecycle"),
    ("s3", "GetBucketNotification"),
    ("s3", "ListDirectoryBuckets"),
    ("s3", "PutBucketLifecycle"),
    ("s3", "PutBucketNotification"),
];

pub(super) fn routes(service: &Service) -> Vec<Route> {
    service
        .operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| !SUPERSEDED.contains(&(&*service.name, &*operation.name)))
        .map(|(at, operation)| {
            let (path, query) = operation.uri.split_once('?').unwrap_or((&operation.uri, ""));
            let required = service.input(operation).map_or(&[][..], |input| input.members());
            Route {
                operation: at,
                method: operation.method.clone(),
                segments: path.trim_start_matches('/').split('/').map(segment).collect(),
                query: query
                    .split('&')
                    .filter(|part| !part.is_empty())
                    .map(|part| match part.split_once('=') {
                        Some((name, value)) => (name.into(), Some(value.into())),
                        None => (part.into(), None),
                    })
                    .collect(),
                required: required
                    .iter()
                    .filter(|member| {
                        member.is_required && matches!(member.location, Location::Query | Location::Header)
                    })
                    .map(|member| (member.location, member.wire_name().into()))
                    .collect(),
            }
        })
        .collect()
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        Some(label) => match label.strip_suffix('+') {
            Some(label) => Segment::Greedy(label.into()),
            None => Segment::Label(label.into()),
        },
        None => Segment::Literal(text.into()),
    }
}

/// A route that fits, with its labels' values, undecoded.
pub(crate) struct Matched<'a> {
    /// The operation's index.
    pub(crate) operation: usize,
    /// Labels and their undecoded values.
    pub(crate) labels: Vec<(&'a str, String)>,
}

/// The route of `service` that fits `request` best.
pub(crate) fn find<'a>(service: &'a Service, request: &Request<'_>) -> Option<Matched<'a>> {
    let (route, _) = service
        .routes()
        .iter()
        .filter(|route| &*route.method == request.method)
        .filter_map(|route| route.fit(request).map(|fit| (route, fit)))
        // Of equals the first wins, as in the model's order.
        .rev()
        .max_by(|(_, one), (_, other)| one.cmp(other))?;
    if &*service.name == "s3"
        && (names_another_subresource(service, route, request) || !route.has_required_query(request))
    {
        return None;
    }
    Some(Matched { operation: route.operation, labels: route.labels(request.segments) })
}

/// Whether an S3 request names a sub-resource that its best route does not have, such as `DELETE /bucket/key?acl`:
/// that must not become a plain `DeleteObject`.
fn names_another_subresource(service: &Service, route: &Route, request: &Request<'_>) -> bool {
    let has = |route: &Route, name: &str| route.query.iter().any(|(own, _)| **own == *name);
    request.query.iter().any(|(name, _)| {
        let is_subresource = name == "uploadId"
            || service
                .routes()
                .iter()
                .any(|other| other.query.iter().any(|(own, value)| value.is_none() && **own == **name));
        let is_own = has(route, name)
            || service.input(&service.operations[route.operation]).is_some_and(|input| {
                input
                    .members()
                    .iter()
                    .any(|member| member.location == Location::Query && member.wire_name() == name)
            });
        is_subresource && !is_own
    })
}

impl Route {
    fn fit(&self, request: &Request<'_>) -> Option<Fit> {
        if !self.fits_path(request.segments) {
            return None;
        }
        for (name, value) in &self.query {
            let is_there = request.query.iter().any(|(own, own_value)| {
                **own == **name && value.as_deref().is_none_or(|value| value == own_value)
            });
            if !is_there {
                return None;
            }
        }
        let required = self
            .required
            .iter()
            .filter(|(location, name)| match location {
                Location::Header => request.headers.contains_key(&**name),
                _ => request.query.iter().any(|(own, _)| **own == **name),
            })
            .count();
        Some(Fit {
            segments: self.trimmed().iter().map(Segment::specificity).collect(),
            query_literals: self.query.len(),
            has_all_required: required == self.required.len(),
            required,
        })
    }

    /// Whether the required query members are there, of a route that has nothing else in the query: an S3 `POST` of
    /// a key is only a `CompleteMultipartUpload` where it names the upload.
    fn has_required_query(&self, request: &Request<'_>) -> bool {
        !self.query.is_empty()
            || self.required.iter().all(|(location, name)| {
                *location != Location::Query || request.query.iter().any(|(own, _)| **own == **name)
            })
    }

    fn fits_path(&self, segments: &[String]) -> bool {
        let own = self.trimmed();
        let Some(greedy) = own.iter().position(|own| matches!(own, Segment::Greedy(_))) else {
            let (paired, rest) = segments.split_at(own.len().min(segments.len()));
            return paired.len() == own.len()
                && own.iter().zip(paired).all(|(own, segment)| own.fits(segment))
                && rest.len() <= 1
                && rest.iter().all(String::is_empty);
        };
        // A greedy label may have more segments after it: `/portals/{portalArn+}/browserSettings`.
        let after = own.len() - greedy - 1;
        if segments.len() < own.len() {
            return false;
        }
        let (before, rest) = segments.split_at(greedy);
        let (taken, end) = rest.split_at(rest.len() - after);
        own.iter().zip(before).all(|(own, segment)| own.fits(segment))
            && taken.iter().any(|segment| !segment.is_empty() || taken.len() > 1)
            && own[greedy + 1..].iter().zip(end).all(|(own, segment)| own.fits(segment))
    }

    fn labels(&self, segments: &[String]) -> Vec<(&str, String)> {
        let own = self.trimmed();
        let mut at = 0;
        let mut labels = Vec::new();
        for (position, segment) in own.iter().enumerate() {
            match segment {
                Segment::Greedy(label) => {
                    let end = segments.len() - (own.len() - position - 1);
                    labels.push((&**label, segments[at..end].join("/")));
                    at = end;
                    continue;
                }
                Segment::Label(label) => labels.push((&**label, segments[at].clone())),
                Segment::Literal(_) => {}
            }
            at += 1;
        }
        labels
    }

    /// The segments without an empty one at the end: a trailing slash makes no difference.
    fn trimmed(&self) -> &[Segment] {
        match self.segments.split_last() {
            Some((Segment::Literal(last), rest)) if last.is_empty() => rest,
            _ => &self.segments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Models;
    use super::*;

    fn check(service: &str, request: &str, headers: &[&'static str], expected: &str) {
        let service = Models::embedded().service(service).unwrap();
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<String> = path.trim_start_matches('/').split('/').map(str::to_owned).collect();
        let query: Vec<(String, String)> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let headers = headers.iter().map(|name| (name.parse().unwrap(), "x".parse().unwrap())).collect();
        let found = find(service, &Request { method, segments: &segments, query: &query, headers: &headers });
        let found = found.map_or("none".to_owned(), |found| {
            let labels: Vec<String> = found.labels.iter().map(|(_, value)| value.clone()).collect();
            format!("{} {}", service.operations[found.operation].name, labels.join(" "))
        });
        assert_eq!(found.trim(), expected, "{request}");
    }

    #[test]
    fn s3_operations_are_told_apart() {
        check("s3", "GET /", &[], "ListBuckets");
        check("s3", "GET /b", &[], "ListObjects b");
        check("s3", "GET /b/", &[], "ListObjects b");
        check("s3", "GET /b/?list-type=2&prefix=x", &[], "ListObjectsV2 b");
        check("s3", "GET /b?versions", &[], "ListObjectVersions b");
        check("s3", "GET /b?location", &[], "GetBucketLocation b");
        check("s3", "GET /b?lifecycle", &[], "GetBucketLifecycleConfiguration b");
        check("s3", "GET /b?analytics", &[], "ListBucketAnalyticsConfigurations b");
        check("s3", "GET /b?analytics&id=1", &[], "GetBucketAnalyticsConfiguration b");
        check("s3", "GET /b/k", &[], "GetObject b k");
        check("s3", "GET /b/k?x-id=GetObject", &[], "GetObject b k");
        check("s3", "GET /b//k/", &[], "GetObject b /k/");
        check("s3", "GET /b//", &[], "GetObject b /");
        check("s3", "GET /b/k?uploadId=1", &[], "ListParts b k");
        check("s3", "HEAD /b", &[], "HeadBucket b");
        check("s3", "HEAD /b/k", &[], "HeadObject b k");
        check("s3", "PUT /b", &[], "CreateBucket b");
        check("s3", "PUT /b/k", &[], "PutObject b k");
        check("s3", "PUT /b/k", &["x-amz-copy-source"], "CopyObject b k");
        check("s3", "PUT /b/k?partNumber=1&uploadId=1", &[], "UploadPart b k");
        check("s3", "PUT /b/k?partNumber=1&uploadId=1", &["x-amz-copy-source"], "UploadPartCopy b k");
        check("s3", "POST /b/k?uploads", &[], "CreateMultipartUpload b k");
        check("s3", "POST /b/k?uploadId=1", &[], "CompleteMultipartUpload b k");
        check("s3", "DELETE /b/k?uploadId=1", &[], "AbortMultipartUpload b k");
        check("s3", "DELETE /b/k?versionId=1", &[], "DeleteObject b k");
        check("s3", "POST /b?delete", &[], "DeleteObjects b");
        check(
            "s3",
            "POST /WriteGetObjectResponse",
            &["x-amz-request-route", "x-amz-request-token"],
            "WriteGetObjectResponse",
        );
    }

    #[test]
    fn a_sub_resource_is_never_dropped_from_a_request() {
        check("s3", "DELETE /b/k?acl", &[], "none");
        check("s3", "PUT /b/k?uploadId=1", &[], "none");
        check("s3", "DELETE /b?versioning", &[], "none");
        check("s3", "POST /b", &[], "none");
        check("s3", "PATCH /b/k", &[], "none");
    }

    #[test]
    fn a_greedy_label_leaves_the_segments_after_it() {
        check(
            "workspaces-web",
            "PUT /portals/a/b/browserSettings?browserSettingsArn=x",
            &[],
            "AssociateBrowserSettings a/b",
        );
        check("workspaces-web", "PUT /portals/a/b", &[], "UpdatePortal a/b");
    }

    #[test]
    fn literal_segments_win_over_labels() {
        check("lambda", "GET /2015-03-31/functions/", &[], "ListFunctions");
        check("lambda", "GET /2015-03-31/functions", &[], "ListFunctions");
        check("lambda", "GET /2015-03-31/functions/f", &[], "GetFunction f");
        check("lambda", "GET /2018-10-31/layers?find=LayerVersion&Arn=a", &[], "GetLayerVersionByArn");
        check("chime", "POST /accounts/1/users?operation=suspend", &[], "BatchSuspendUser 1");
        check("chime", "POST /accounts/1/users", &[], "BatchUpdateUser 1");
        check("chime", "PUT /accounts/1/users", &[], "none");
    }
}
