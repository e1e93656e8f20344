//! TLS as a client: a server is believed because a public authority vouches for it, or one that was named.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::ClientError;

/// Where systems keep the certificates of public authorities; the first that is there counts.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// A connector that believes the authorities of `ca_bundle`, or those that the system knows.
pub(super) fn connector(ca_bundle: Option<&Path>) -> Result<TlsConnector, ClientError> {
    let unreadable = |error| ClientError::Authorities(std::io::Error::other(error));
    let mut authorities = RootCertStore::empty();
    let file = ca_bundle.or_else(|| AUTHORITIES.iter().map(Path::new).find(|path| path.exists()));
    if let Some(file) = file {
        let certificates = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
        authorities.add_parsable_certificates(certificates.filter_map(Result::ok));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
