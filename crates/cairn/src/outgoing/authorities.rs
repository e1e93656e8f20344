//! The public authorities whose certificates are believed: those that the system knows.

use std::path::{Path, PathBuf};

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// Names another file than the system's, as for OpenSSL.
const AUTHORITIES_VARIABLE: &str = "SSL_CERT_FILE";
/// Where systems keep the certificates of public authorities; the first that is there counts.
const AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The authorities of the system, or of the file that the environment names.
#[must_use]
pub fn public_authorities() -> RootCertStore {
    let mut authorities = RootCertStore::empty();
    let named = std::env::var_os(AUTHORITIES_VARIABLE).map(PathBuf::from);
    let of_system = AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
    match named.or(of_system).map(|path| CertificateDer::pem_file_iter(&path)) {
        Some(Ok(certificates)) => {
            authorities.add_parsable_certificates(certificates.filter_map(Result::ok));
        }
        Some(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the authorities cannot be read");
        }
        None => tracing::debug!("the system keeps no certificates of authorities"),
    }
    authorities
}
