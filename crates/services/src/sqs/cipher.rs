//! Messages at rest: sealed one by one ([`AtRest`]), under the server's key or under a data key of the queue's KMS key.
//!
//! A message is bound to its id; it keeps its key when it moves to another queue. Its plaintext is its head, with the
//! head's length before it, and its body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_wire::AwsError;

use super::error::{Failure, internal};
use super::message::Head;
use super::state::Queue;
use crate::at_rest::{AtRest, SealingKey, put_part, tag_bytes, take_part};
use crate::kms::{Asker, DATA_KEY_BYTES, DataKeys};

/// For how long an opened data key is used again where the message's queue says nothing of it.
const REUSE_DEFAULT: Duration = Duration::from_secs(300);

/// Seals and opens messages.
pub(super) struct Cipher(AtRest);

impl Cipher {
    pub(super) fn new(server_key: [u8; DATA_KEY_BYTES], data_keys: Arc<dyn DataKeys>) -> Self {
        Self(AtRest::new("aws:sqs:arn", server_key, data_keys))
    }

    /// The key for messages that are sent now.
    pub(super) async fn sealing_key(&self, queue: &Queue, asker: &Asker) -> Result<SealingKey, Failure> {
        let key = queue.settings.kms.as_ref().map(|kms| kms.key.as_str());
        let sealing = self.0.sealing_key(asker, &queue.name.arn(), key, reuse(queue)).await;
        Ok(sealing.map_err(of_kms)?)
    }

    /// Opens a message that was received.
    pub(super) async fn open(
        &self,
        queue: &Queue,
        asker: &Asker,
        id: &str,
        sealed: &[u8],
    ) -> Result<(Head, String), Failure> {
        let plaintext = self.0.open(asker, id.as_bytes(), sealed, reuse(queue)).await.map_err(of_kms)?;
        let (head, body) = take_part(&plaintext)?;
        let head = serde_json::from_slice(head).map_err(internal)?;
        let body = String::from_utf8(body.to_vec()).map_err(internal)?;
        Ok((head, body))
    }
}

/// Seals a message.
pub(super) fn seal(key: &SealingKey, id: &str, head: &Head, body: &str) -> Result<Bytes, Failure> {
    let head = serde_json::to_vec(head).map_err(internal)?;
    let mut plaintext = Vec::with_capacity(4 + head.len() + body.len() + tag_bytes());
    put_part(&mut plaintext, &head)?;
    plaintext.extend_from_slice(body.as_bytes());
    Ok(key.seal(id.as_bytes(), plaintext)?)
}

fn reuse(queue: &Queue) -> Duration {
    queue.settings.kms.as_ref().map_or(REUSE_DEFAULT, |kms| Duration::from_secs(kms.reuse_s.into()))
}

/// KMS's errors as SQS tells them.
fn of_kms(error: AwsError) -> AwsError {
    let code = match error.code.as_ref() {
        _ if error.status >= 500 => return error,
        "AccessDeniedException" => "KmsAccessDenied",
        "DisabledException" => "KmsDisabled",
        "KMSInvalidStateException" => "KmsInvalidState",
        "InvalidKeyUsageException" => "KmsInvalidKeyUsage",
        "ThrottlingException" => "KmsThrottled",
        _ => "KmsNotFound",
    };
    AwsError::invalid(code, error.message)
}
