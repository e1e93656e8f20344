//! The built-in client of SQS, S3 and CloudTrail: of AWS, and of servers that speak like it, such as Cairn.
//!
//! It makes the seven calls that this library needs, over hyper, rustls and Signature Version 4, so that a program that
//! consumes log files compiles in seconds. The official SDK does far more and takes minutes to compile; where a program has
//! it anyway, it can be plugged in: see [the crate's documentation](crate#another-client).

mod cloudtrail;
mod connection;
mod credentials;
mod endpoint;
mod request;
mod s3;
mod sqs;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use cairn_core::Clock;

use crate::system::SystemClock;
use connection::Connections;

pub use credentials::{
    Chain, ContainerCredentials, Credentials, CredentialsError, EnvironmentCredentials, InstanceCredentials,
    ProfileCredentials, ProvideCredentials, StaticCredentials,
};
pub use endpoint::{Endpoint, EndpointError};

/// How a client is set up.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cairn_processing::aws::{Client, Settings};
///
/// let settings = Settings::from_environment("https://sqs.eu-west-1.amazonaws.com/111122223333/trail");
/// let client = Client::new(settings)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Settings {
    /// The queue's URL.
    pub queue_url: String,
    /// The region of queue, bucket and trail; taken from the queue's URL where none is set.
    pub region: Option<String>,
    /// The bucket's region, where it is another one. A wrong one is corrected by S3's first answer.
    pub s3_region: Option<String>,
    /// Who calls.
    pub credentials: Arc<dyn ProvideCredentials>,
    /// Where SQS is; at the queue's URL where none is set.
    pub sqs_endpoint: Option<String>,
    /// Where S3 is; AWS's endpoint of the region where none is set.
    pub s3_endpoint: Option<String>,
    /// Where CloudTrail is, for the keys of digests; AWS's endpoint of the region where none is set.
    pub cloudtrail_endpoint: Option<String>,
    /// Whether the bucket stands in the path or in the host's name. Where nothing is set: in the path for an endpoint that
    /// was set and for names with dots, otherwise in the host's name.
    pub s3_path_style: Option<bool>,
    /// Certificates of further authorities, as a PEM file; the system's where none is set.
    pub ca_bundle: Option<std::path::PathBuf>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long nothing may come before a call counts as failed; added to the wait of a poll.
    pub read_timeout: Duration,
    /// The clock by which calls are signed.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("queue_url", &self.queue_url)
            .field("region", &self.region)
            .field("sqs_endpoint", &self.sqs_endpoint)
            .field("s3_endpoint", &self.s3_endpoint)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Settings for a queue, with credentials of your own and nothing from the environment.
    #[must_use]
    pub fn new(queue_url: impl Into<String>, credentials: Arc<dyn ProvideCredentials>) -> Self {
        Self {
            queue_url: queue_url.into(),
            region: None,
            s3_region: None,
            credentials,
            sqs_endpoint: None,
            s3_endpoint: None,
            cloudtrail_endpoint: None,
            s3_path_style: None,
            ca_bundle: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(20),
            clock: Arc::new(SystemClock),
        }
    }

    /// Settings for a queue as AWS's own tools take them from the environment: `AWS_REGION`, `AWS_DEFAULT_REGION`,
    /// `AWS_ENDPOINT_URL` and with `_SQS`, `_S3`, `_CLOUDTRAIL` behind it, `AWS_CA_BUNDLE`, and [`Chain`] for the
    /// credentials.
    #[must_use]
    pub fn from_environment(queue_url: impl Into<String>) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let endpoint = |service: &str| {
            variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL"))
        };
        Self {
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            sqs_endpoint: endpoint("SQS"),
            s3_endpoint: endpoint("S3"),
            cloudtrail_endpoint: endpoint("CLOUDTRAIL"),
            ca_bundle: variable("AWS_CA_BUNDLE").map(Into::into),
            ..Self::new(queue_url, Arc::new(Chain::of_environment()))
        }
    }
}

/// A client that cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An endpoint or the queue's URL is none.
    #[error("the endpoint cannot be used")]
    Endpoint(#[from] EndpointError),
    /// No region is set, and the queue's URL names none.
    #[error("no region is set, and the queue's url names none")]
    NoRegion,
    /// The authorities' certificates cannot be read.
    #[error("the certificates of authorities cannot be read")]
    Authorities(#[source] std::io::Error),
    /// TLS cannot be set up.
    #[error("tls cannot be set up")]
    Tls(#[source] tokio_rustls::rustls::Error),
}

/// A client of one queue, of the buckets that its messages name, and of the keys of their digests. It is all of
/// [`MessageSource`](crate::MessageSource), [`ObjectSource`](crate::ObjectSource) and
/// [`PublicKeys`](crate::PublicKeys).
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    region: String,
    sqs: Endpoint,
    s3: s3::Buckets,
    cloudtrail: Endpoint,
    connections: Connections,
}

impl Client {
    /// A client. Nothing is called yet.
    ///
    /// # Errors
    /// Where a setting cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let queue = Endpoint::of_url(&settings.queue_url)?;
        let region = settings.region.clone().or_else(|| queue.region()).ok_or(ClientError::NoRegion)?;
        let sqs = settings.sqs_endpoint.as_deref().map_or_else(|| Ok(queue.at_root()), Endpoint::of_url)?;
        let cloudtrail = match &settings.cloudtrail_endpoint {
            Some(url) => Endpoint::of_url(url)?,
            None => Endpoint::of_aws("cloudtrail", &region)?,
        };
        let s3 = s3::Buckets::new(&settings, &region)?;
        let connections =
            Connections::new(tls::connector(settings.ca_bundle.as_deref())?, settings.connect_timeout);
        Ok(Self { settings, region, sqs, s3, cloudtrail, connections })
    }

    /// A client for a queue as AWS's own tools would set it up: see [`Settings::from_environment`].
    ///
    /// # Errors
    /// Where a setting cannot be used.
    pub fn from_environment(queue_url: impl Into<String>) -> Result<Self, ClientError> {
        Self::new(Settings::from_environment(queue_url))
    }
}
