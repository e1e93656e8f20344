//! Where a function's code can be fetched for a while by whoever has the link: `Code.Location` of GetFunction.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::Timestamp;
use cairn_store::BlobId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::Lambda;
use super::package::{Package, PackageError};
use super::state::Config;

/// How long a link leads somewhere: AWS's ten minutes.
const LIFE: Duration = Duration::from_secs(600);
/// Where the server answers such links.
pub const PATH: &str = "/_cairn/function-code/";
/// What links are sealed for.
const CONTEXT: &str = "lambda.location";

/// What a link says, sealed.
#[derive(Serialize, Deserialize)]
struct Link {
    blob: String,
    size_bytes: u64,
    until: Timestamp,
}

impl Lambda {
    /// Says under which address clients reach the server.
    pub fn reached_at(&self, endpoint: &str) {
        if self.endpoint.set(endpoint.to_owned()).is_err() {
            tracing::debug!(endpoint, "the address was known before");
        }
    }

    pub(super) fn location(&self, config: &Config, now: Timestamp) -> String {
        let link = Link {
            blob: config.code.blob.0.clone(),
            size_bytes: config.code.blob_size_bytes,
            until: now.plus(LIFE),
        };
        let text = serde_json::to_vec(&link).expect("its members are texts and numbers");
        let token = URL_SAFE_NO_PAD.encode(self.sealer.seal(CONTEXT, &text));
        format!("{}{PATH}{token}", self.endpoint.get().map_or("", String::as_str))
    }

    /// The package that a link leads to; none where the link is over, or is none of ours.
    ///
    /// # Errors
    /// Where the package cannot be read.
    pub async fn linked_package(&self, token: &str) -> Result<Option<Vec<u8>>, PackageError> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok();
        let opened = sealed.and_then(|sealed| self.sealer.open(CONTEXT, &sealed).ok());
        let link: Option<Link> = opened.and_then(|text| serde_json::from_slice(&text).ok());
        let Some(link) = link.filter(|link| self.clock.now() < link.until) else { return Ok(None) };
        let package =
            Package { sha256: String::new(), blob: BlobId(link.blob), blob_size_bytes: link.size_bytes };
        Ok(Some(self.packages.read(&package).await?))
    }
}
