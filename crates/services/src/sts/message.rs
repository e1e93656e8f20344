//! DecodeAuthorizationMessage: the reasons of refusals that only who may ask for them can read.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::AccountId;
use cairn_store::seal::Sealer;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::json;

use crate::Caller;

/// What messages are sealed for: an account's messages open for that account alone.
fn context(account: &AccountId) -> String {
    format!("sts.authorization_message {account}")
}

/// A message that the account's callers can have decoded.
pub(super) fn encode(sealer: &Sealer, account: &AccountId, message: &str) -> String {
    URL_SAFE_NO_PAD.encode(sealer.seal(&context(account), message.as_bytes()))
}

/// The message in the caller's account that was sealed.
pub(super) fn decode(sealer: &Sealer, caller: &Caller, call: &Call) -> Result<Reply, AwsError> {
    let refused = || AwsError::invalid("InvalidAuthorizationMessageException", "Invalid EncodedMessage");
    let text = call.params["EncodedMessage"].as_str().unwrap_or_default();
    let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    let opened = sealer.open(&context(&caller.account), &sealed).map_err(|_| refused())?;
    let message = String::from_utf8(opened).map_err(|_| refused())?;
    Ok(Reply::of(&json!({ "DecodedMessage": message })))
}
