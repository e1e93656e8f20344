//! Where a service is: scheme, host and port.

use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// An endpoint that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no http or https url")]
pub struct EndpointError {
    url: String,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(super) is_tls: bool,
    pub(super) authority: Authority,
    /// What comes before every path, without a slash at its end.
    pub(super) path: String,
}

impl Endpoint {
    /// The endpoint that a URL names.
    ///
    /// # Errors
    /// Where it is no http or https URL.
    ///
    /// ```
    /// use cairn_processing::aws::Endpoint;
    ///
    /// assert!(Endpoint::of_url("http://127.0.0.1:4580").is_ok());
    /// assert!(Endpoint::of_url("ftp://host").is_err());
    /// ```
    pub fn of_url(url: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme().ok_or_else(wrong)?;
        if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
            return Err(wrong());
        }
        let authority = uri.authority().ok_or_else(wrong)?.clone();
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { is_tls: *scheme == Scheme::HTTPS, authority, path })
    }

    /// AWS's endpoint of a service in a region.
    pub(super) fn of_aws(service: &str, region: &str) -> Result<Self, EndpointError> {
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Self::of_url(&format!("https://{service}.{region}.{domain}"))
    }

    /// The same host, without the path.
    pub(super) fn at_root(&self) -> Self {
        Self { path: String::new(), ..self.clone() }
    }

    /// A host below this one.
    pub(super) fn below(&self, name: &str) -> Result<Self, EndpointError> {
        let host = format!("{name}.{}", self.authority);
        let authority = host.parse().map_err(|_| EndpointError { url: host.clone() })?;
        Ok(Self { authority, ..self.clone() })
    }

    pub(super) fn host(&self) -> &str {
        self.authority.host().trim_matches(['[', ']'])
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 })
    }

    /// The region that one of AWS's host names has: `sqs.eu-west-1.amazonaws.com`.
    pub(super) fn region(&self) -> Option<String> {
        if self.host().parse::<IpAddr>().is_ok() {
            return None;
        }
        let (name, _) = self.host().split_once(".amazonaws.com")?;
        let mut labels = name.split('.');
        labels.find(|label| *label == "sqs" || *label == "sqs-fips")?;
        labels.next().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_read_off_awss_hosts_alone() {
        for (url, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", Some("cn-north-1")),
            ("https://sqs-fips.us-east-1.amazonaws.com/1/q", Some("us-east-1")),
            ("https://vpce-1.sqs.us-west-2.amazonaws.com", Some("us-west-2")),
            ("https://queue.amazonaws.com/1/q", None),
            ("http://127.0.0.1:4580/1/q", None),
            ("http://sqs.example.com/1/q", None),
        ] {
            assert_eq!(Endpoint::of_url(url).unwrap().region().as_deref(), region, "{url}");
        }
    }

    #[test]
    fn ports_and_hosts_are_read() {
        let parts = |url: &str| {
            let endpoint = Endpoint::of_url(url).unwrap();
            (endpoint.host().to_owned(), endpoint.port(), endpoint.path.clone())
        };
        assert_eq!(parts("https://h/a/"), ("h".into(), 443, "/a".into()));
        assert_eq!(parts("http://[::1]:4580"), ("::1".into(), 4580, String::new()));
        for url in ["", "h:80", "/a", "ftp://h", "https://"] {
            assert!(Endpoint::of_url(url).is_err(), "{url}");
        }
        assert_eq!(Endpoint::of_aws("s3", "cn-north-1").unwrap().host(), "s3.cn-north-1.amazonaws.com.cn");
        let below = Endpoint::of_url("https://s3.host:1").unwrap().below("bucket").unwrap();
        assert_eq!(below.authority, "bucket.s3.host:1");
    }
}
