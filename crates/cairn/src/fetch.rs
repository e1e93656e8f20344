//! Fetches the documents of identity providers: small ones, over HTTP/1.1, without redirects.
//!
//! Invariants: every step has a time limit, the answer a size limit; a server is believed because a public authority
//! vouches for it, or because IAM names a certificate in its chain, as AWS does ("Obtain the thumbprint for an OpenID
//! Connect identity provider").

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use cairn_services::sts::{Fetch, FetchError};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::outgoing::{answer_over, public_authorities};

/// How long a document may take, from the connection to its last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest document, in bytes.
const DOCUMENT_SIZE_BYTES_MAX: usize = 256 * 1024;
/// Fetches over the net.
#[derive(Debug)]
pub struct NetFetch {
    authorities: Arc<RootCertStore>,
}

impl NetFetch {
    /// Believes the public authorities that the system knows.
    #[must_use]
    pub fn new() -> Self {
        Self { authorities: Arc::new(public_authorities()) }
    }

    async fn fetch(&self, url: &str, thumbprints: &[String]) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
        let authority = uri.authority().ok_or("it names no host")?.clone();
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("it is neither http nor https".to_owned()),
        };
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| error.to_string())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        if is_tls {
            let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(Arc::new(self.config(thumbprints)?));
            exchange(connector.connect(name, stream).await.map_err(|error| error.to_string())?, request).await
        } else {
            exchange(stream, request).await
        }
    }

    fn config(&self, thumbprints: &[String]) -> Result<ClientConfig, String> {
        let provider = Arc::new(provider::default_provider());
        let verifier = ByThumbprint {
            authorities: Arc::clone(&self.authorities),
            thumbprints: thumbprints.iter().map(|text| text.to_ascii_lowercase()).collect(),
            provider: Arc::clone(&provider),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(config)
    }
}

#[async_trait]
impl Fetch for NetFetch {
    async fn get(&self, url: &str, thumbprints: &[String]) -> Result<Bytes, FetchError> {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(url, thumbprints)).await;
        fetched
            .unwrap_or_else(|_| Err("it takes too long".to_owned()))
            .map_err(|reason| FetchError { url: url.to_owned(), reason })
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Bytes, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(text)?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let body = Limited::new(response.into_body(), DOCUMENT_SIZE_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
    };
    answer_over(connection, answer).await
}

/// Believes what the authorities vouch for, and what a certificate of a known thumbprint does.
#[derive(Debug)]
struct ByThumbprint {
    authorities: Arc<RootCertStore>,
    thumbprints: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl ByThumbprint {
    /// Verifies a chain up to one of `roots`.
    fn verify_up_to(
        &self,
        roots: Arc<RootCertStore>,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        facts: (&ServerName<'_>, &[u8], UnixTime),
    ) -> Result<ServerCertVerified, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| TlsError::General(error.to_string()))?;
        verifier.verify_server_cert(chain.0, chain.1, facts.0, facts.1, facts.2)
    }

    fn is_known(&self, certificate: &CertificateDer<'_>) -> bool {
        let print = hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate));
        self.thumbprints.contains(&print)
    }
}

impl ServerCertVerifier for ByThumbprint {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let (chain, facts) = ((end_entity, intermediates), (server_name, ocsp_response, now));
        if !self.authorities.is_empty()
            && let Ok(verified) = self.verify_up_to(Arc::clone(&self.authorities), chain, facts)
        {
            return Ok(verified);
        }
        let mut known = RootCertStore::empty();
        for certificate in intermediates.iter().chain([end_entity]).filter(|one| self.is_known(one)) {
            known.add(certificate.clone().into_owned())?;
        }
        if known.is_empty() {
            return Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        self.verify_up_to(Arc::new(known), chain, facts)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
