//! The calls of S3: GetObject from a place on, and ListObjectsV2.
//!
//! Source: the S3 API reference; requester pays, as the Java library does; the region of a bucket is corrected by the
//! `x-amz-bucket-region` that S3 answers with.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use http::header::{ETAG, HeaderMap, HeaderName, IF_MATCH, LAST_MODIFIED, RANGE};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::connection::read_part;
use super::endpoint::{Endpoint, EndpointError};
use super::request::{Call, elements, transport};
use super::{Client, Settings};
use crate::access::{AccessError, GetRequest, ListRequest, Object, ObjectSource};

/// What of a key does not stand as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What of a text does not stand as it is in a query.
const QUERY: &AsciiSet = &PATH.add(b'/');
const REQUEST_PAYER: HeaderName = HeaderName::from_static("x-amz-request-payer");
const BUCKET_REGION: &str = "x-amz-bucket-region";
const METADATA_PREFIX: &str = "x-amz-meta-";

/// Where buckets are.
#[derive(Debug)]
pub(super) struct Buckets {
    region: String,
    endpoint: Option<Endpoint>,
    path_style: Option<bool>,
    /// Regions that S3 told, by bucket.
    regions: Mutex<HashMap<String, String>>,
}

impl Buckets {
    pub(super) fn new(settings: &Settings, region: &str) -> Result<Self, EndpointError> {
        let region = settings.s3_region.as_deref().unwrap_or(region).to_owned();
        // Whether the region can stand in a host's name is seen here rather than at the first object.
        Endpoint::of_aws("s3", &region)?;
        Ok(Self {
            region,
            endpoint: settings.s3_endpoint.as_deref().map(Endpoint::of_url).transpose()?,
            path_style: settings.s3_path_style,
            regions: Mutex::default(),
        })
    }

    fn region(&self, bucket: &str) -> String {
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.get(bucket).unwrap_or(&self.region).clone()
    }

    /// Learns a bucket's region; says whether it is another one than was believed.
    fn learn(&self, bucket: &str, believed: &str, headers: &HeaderMap) -> bool {
        let told = headers.get(BUCKET_REGION).and_then(|value| value.to_str().ok());
        let Some(told) = told.filter(|told| *told != believed) else { return false };
        self.regions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(bucket.to_owned(), told.to_owned());
        true
    }

    /// The endpoint of a bucket, and the path of a key there.
    fn place(&self, bucket: &str, region: &str, key: &str) -> Result<(Endpoint, String), EndpointError> {
        let key = utf8_percent_encode(key, PATH);
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::of_aws("s3", region)?,
        };
        let is_path_style = self.path_style.unwrap_or(self.endpoint.is_some() || bucket.contains('.'));
        if is_path_style || endpoint.host().parse::<IpAddr>().is_ok() {
            Ok((endpoint, format!("/{}/{key}", utf8_percent_encode(bucket, PATH))))
        } else {
            Ok((endpoint.below(bucket)?, format!("/{key}")))
        }
    }
}

impl Client {
    /// Makes a call on a bucket, in the region that it turns out to be in.
    async fn s3(
        &self,
        operation: &'static str,
        (bucket, key): (&str, &str),
        query: &str,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Incoming>, AccessError> {
        let mut is_second = false;
        loop {
            let region = self.s3.region(bucket);
            let (endpoint, path) = self.s3.place(bucket, &region, key).map_err(|error| {
                AccessError::refused(operation, "InvalidBucketName", "the bucket has no place")
                    .with_source(error)
            })?;
            let call = Call {
                operation,
                service: "s3",
                region: &region,
                endpoint: &endpoint,
                method: Method::GET,
                path: format!("{path}{query}"),
                headers: headers.to_vec(),
                body: Bytes::new(),
                timeout: self.settings.read_timeout,
            };
            let answer = self.call(call).await?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            if is_second || !self.s3.learn(bucket, &region, answer.headers()) {
                return Err(self.xml_error(operation, answer).await);
            }
            is_second = true;
        }
    }
}

#[async_trait]
impl ObjectSource for Client {
    async fn get(&self, request: GetRequest<'_>) -> Result<Object, AccessError> {
        const OPERATION: &str = "GetObject";
        let mut headers = vec![(REQUEST_PAYER, "requester".to_owned())];
        if request.offset > 0 {
            headers.push((RANGE, format!("bytes={}-", request.offset)));
        }
        headers.extend(request.etag.map(|etag| (IF_MATCH, etag.to_owned())));
        let answer = match self.s3(OPERATION, (request.bucket, request.key), "", &headers).await {
            // The connection broke off after the last byte.
            Err(error) if request.offset > 0 && error.code() == Some("InvalidRange") => {
                return Ok(Object::new(stream::empty().boxed()));
            }
            answer => answer?,
        };
        if request.offset > 0 && answer.status() != StatusCode::PARTIAL_CONTENT {
            let message = "the server gives the whole object instead of its rest";
            return Err(AccessError::refused(OPERATION, "InvalidRange", message));
        }
        let timeout = self.settings.read_timeout;
        let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(ETAG), text(LAST_MODIFIED));
        let metadata = metadata(answer.headers());
        let body = stream::unfold(Some(answer.into_body()), move |body| async move {
            let mut body = body?;
            match read_part(&mut body, timeout).await? {
                Ok(bytes) => Some((Ok(bytes), Some(body))),
                Err(error) => Some((Err(transport(OPERATION)(error)), None)),
            }
        });
        Ok(Object { etag, last_modified, metadata, body: body.boxed() })
    }

    async fn list(&self, request: ListRequest<'_>) -> Result<Vec<String>, AccessError> {
        const OPERATION: &str = "ListObjectsV2";
        let encoded = |text| utf8_percent_encode(text, QUERY);
        let mut query = format!("?list-type=2&prefix={}", encoded(request.prefix));
        if !request.start_after.is_empty() {
            query.push_str(&format!("&start-after={}", encoded(request.start_after)));
        }
        let headers = [(REQUEST_PAYER, "requester".to_owned())];
        let answer = self.s3(OPERATION, (request.bucket, ""), &query, &headers).await?;
        Ok(elements(&self.read_text(OPERATION, answer).await?, "Key"))
    }
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(METADATA_PREFIX)?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::StaticCredentials;
    use super::*;

    fn place(endpoint: Option<&str>, path_style: Option<bool>, bucket: &str, key: &str) -> String {
        let credentials = Arc::new(StaticCredentials::new("AKIDEXAMPLE", "secret", None));
        let mut settings = Settings::new("https://sqs.eu-west-1.amazonaws.com/1/q", credentials);
        settings.s3_endpoint = endpoint.map(str::to_owned);
        settings.s3_path_style = path_style;
        let buckets = Buckets::new(&settings, "eu-west-1").unwrap();
        let (endpoint, path) = buckets.place(bucket, &buckets.region(bucket), key).unwrap();
        format!("{}{path}", endpoint.authority)
    }

    #[test]
    fn a_bucket_stands_in_the_hosts_name_or_in_the_path() {
        for (endpoint, path_style, bucket, expected) in [
            (None, None, "logs", "logs.s3.eu-west-1.amazonaws.com/a%20b/c%2B"),
            (None, None, "my.logs", "s3.eu-west-1.amazonaws.com/my.logs/a%20b/c%2B"),
            (None, Some(true), "logs", "s3.eu-west-1.amazonaws.com/logs/a%20b/c%2B"),
            (Some("http://127.0.0.1:1"), None, "logs", "127.0.0.1:1/logs/a%20b/c%2B"),
            (Some("http://127.0.0.1:1"), Some(false), "logs", "127.0.0.1:1/logs/a%20b/c%2B"),
            (Some("http://localhost:1"), None, "logs", "localhost:1/logs/a%20b/c%2B"),
            (Some("http://localhost:1"), Some(false), "logs", "logs.localhost:1/a%20b/c%2B"),
        ] {
            assert_eq!(place(endpoint, path_style, bucket, "a b/c+"), expected);
        }
    }

    #[test]
    fn a_buckets_region_is_learnt_once() {
        let credentials = Arc::new(StaticCredentials::new("AKIDEXAMPLE", "secret", None));
        let settings = Settings::new("https://sqs.eu-west-1.amazonaws.com/1/q", credentials);
        let buckets = Buckets::new(&settings, "eu-west-1").unwrap();
        let mut headers = HeaderMap::new();
        assert!(!buckets.learn("logs", "eu-west-1", &headers));
        headers.insert(BUCKET_REGION, "us-east-2".parse().unwrap());
        assert!(buckets.learn("logs", "eu-west-1", &headers));
        assert_eq!(buckets.region("logs"), "us-east-2");
        assert!(!buckets.learn("logs", "us-east-2", &headers));
        assert_eq!(buckets.region("other"), "eu-west-1");
    }
}
