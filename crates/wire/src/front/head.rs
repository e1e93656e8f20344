//! The head of a request, taken apart once: host, path, query, headers as the models see them.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;

use crate::RequestFacts;
use crate::codec::{rest, uri};

/// What a request says before its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: String,
    /// In lower case, with the port.
    pub(super) host: String,
    /// The undecoded path segments.
    pub(super) segments: Vec<String>,
    /// The query, decoded, with the signature's parameters.
    pub(super) query: Vec<(String, String)>,
    /// The headers without the traces of transfer: `aws-chunked`, and the length with chunk signatures.
    pub(super) headers: HeaderMap,
}

/// The query parameters of presigned requests of Signature Version 4 and 2, in lower case.
const SIGNATURE_PARAMETERS: &[&str] = &[
    "awsaccesskeyid",
    "signature",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

fn is_of_signature(name: &str) -> bool {
    SIGNATURE_PARAMETERS.iter().any(|parameter| parameter.eq_ignore_ascii_case(name))
}

impl Head {
    /// `None` where the query is not UTF-8.
    pub(super) fn of(parts: &Parts) -> Option<Self> {
        let query = uri::pairs(parts.uri.query().unwrap_or(""))?;
        let host = parts
            .headers
            .get(HOST)
            .map(rest::header_text)
            .or_else(|| parts.uri.authority().map(ToString::to_string))
            .unwrap_or_default();
        let mut headers = parts.headers.clone();
        undo_chunking(&mut headers);
        adopt_presigned(&mut headers, &query);
        Some(Self {
            method: parts.method.as_str().to_owned(),
            host: host.to_ascii_lowercase(),
            segments: uri::segments(parts.uri.path()),
            query,
            headers,
        })
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(rest::header_text)
    }

    /// A query parameter's value.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The content type without its parameters, in lower case.
    pub(super) fn media_type(&self) -> Option<String> {
        let text = self.header("content-type")?;
        Some(text.split(';').next().unwrap_or("").trim().to_ascii_lowercase())
    }

    /// The bucket of a virtual-host style request under one of `suffixes`.
    pub(super) fn virtual_bucket(&self, suffixes: &[String]) -> Option<String> {
        let host = self.host.rsplit_once(':').map_or(&*self.host, |(host, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &self.host }
        });
        suffixes
            .iter()
            .filter_map(|suffix| host.strip_suffix(suffix.as_str())?.strip_suffix('.'))
            // Of `a.b.c` under `c` and `b.c` the longest suffix is meant.
            .min_by_key(|bucket| bucket.len())
            .filter(|bucket| !bucket.is_empty())
            .map(str::to_owned)
    }

    /// What records and handlers see of the request.
    pub(super) fn facts(&self, parts: &Parts) -> RequestFacts {
        let is_shown = |name: &str| {
            (name.starts_with("x-amz-") && name != "x-amz-security-token")
                || name.starts_with("content-")
                || name.starts_with("if-")
                || matches!(name, "cache-control" | "expires" | "range" | "x-amzn-trace-id")
        };
        RequestFacts {
            host: self.host.clone(),
            user_agent: parts.headers.get(USER_AGENT).map(rest::header_text),
            query: self.query.iter().filter(|(name, _)| !is_of_signature(name)).cloned().collect(),
            headers: self
                .headers
                .iter()
                .filter(|(name, _)| is_shown(name.as_str()))
                .map(|(name, value)| (name.as_str().to_owned(), rest::header_text(value)))
                .collect(),
        }
    }
}

/// `aws-chunked` is how a body was sent and not what it is; S3 does not store it.
fn undo_chunking(headers: &mut HeaderMap) {
    let Some(encoding) = headers.get(CONTENT_ENCODING).map(rest::header_text) else { return };
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    if kept.len() == encoding.split(',').count() {
        return;
    }
    match HeaderValue::from_str(&kept.join(",")) {
        Ok(value) if !kept.is_empty() => {
            headers.insert(CONTENT_ENCODING, value);
        }
        _ => {
            headers.remove(CONTENT_ENCODING);
        }
    }
    if let Some(length) = headers.get("x-amz-decoded-content-length").cloned() {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// SDKs move `x-amz-*` headers of presigned requests into the query, where the signature covers them too.
fn adopt_presigned(headers: &mut HeaderMap, query: &[(String, String)]) {
    if !query.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-amz-signature")) {
        return;
    }
    for (name, value) in query {
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-amz-") || is_of_signature(&lower) || headers.contains_key(&*lower) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (lower.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Head {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Head::of(&request.body(()).unwrap().into_parts().0).unwrap()
    }

    #[test]
    fn chunking_leaves_no_trace() {
        let chunked = |encoding| {
            let head = head(
                "/",
                &[
                    ("content-encoding", encoding),
                    ("content-length", "9"),
                    ("x-amz-decoded-content-length", "5"),
                ],
            );
            (head.header("content-encoding"), head.header("content-length").unwrap())
        };
        assert_eq!(chunked("aws-chunked"), (None, "5".into()));
        assert_eq!(chunked("gzip, aws-chunked"), (Some("gzip".into()), "5".into()));
        assert_eq!(chunked("gzip"), (Some("gzip".into()), "9".into()));
    }

    #[test]
    fn headers_in_a_presigned_query_count_as_headers() {
        let head = head("/b/k?X-Amz-Signature=1&x-amz-acl=private&X-Amz-Credential=c", &[]);
        assert_eq!(head.header("x-amz-acl").as_deref(), Some("private"));
        assert_eq!(head.header("x-amz-credential"), None);
        assert_eq!(super::tests::head("/b/k?x-amz-acl=private", &[]).header("x-amz-acl"), None);
    }

    #[test]
    fn the_bucket_is_what_stands_before_the_longest_known_suffix() {
        let suffixes = ["localhost".to_owned(), "s3.localhost".to_owned()];
        let bucket = |host| head("/", &[("host", host)]).virtual_bucket(&suffixes);
        assert_eq!(bucket("b.s3.localhost:4566").as_deref(), Some("b"));
        assert_eq!(bucket("a.b.localhost").as_deref(), Some("a.b"));
        assert_eq!(bucket("localhost:4566"), None);
        assert_eq!(bucket("notlocalhost"), None);
        assert_eq!(bucket("[::1]:80"), None);
    }
}
