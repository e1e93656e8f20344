//! Who is calling: the signature's claim, the key it names, and the check of one against the other.

use std::sync::Arc;

use cairn_core::{Principal, Region, Session, Timestamp};
use cairn_services::iam::{Credential, Iam};
use cairn_services::sts::{Found, Sessions};
use cairn_wire::front::{Front, Signing};
use cairn_wire::sigv4::{self, Claim, Limits, SignedPayload};
use cairn_wire::{AwsError, Body};
use http::request::Parts;

/// What a request's signature claims, before anything of it was checked.
pub enum Claimed {
    /// No signature.
    Nothing,
    /// A signature.
    Signature(Box<Claim>),
    /// Something that is no signature.
    Malformed(AwsError),
}

/// What is known of the caller once the key was looked up.
pub enum Identified {
    /// Nobody: the request is not signed.
    Anonymous,
    /// The holder of a key, if the signature verifies.
    Holder {
        /// The claim.
        claim: Box<Claim>,
        /// The key.
        credential: Box<Credential>,
    },
    /// A stranger: the error says why.
    Stranger {
        /// The claim, where there was one.
        claim: Option<Box<Claim>>,
        /// Why.
        error: AwsError,
    },
}

/// Reads a request's claim.
pub fn claim(parts: &Parts, front: &Front) -> Claimed {
    match Claim::parse(parts) {
        Ok(None) => Claimed::Nothing,
        Ok(Some(mut claim)) => {
            if claim.is_version_2() {
                claim.set_virtual_bucket(front.virtual_bucket(parts));
            }
            Claimed::Signature(Box::new(claim))
        }
        Err(error) => Claimed::Malformed(error),
    }
}

impl Claimed {
    /// What the signature says it is for.
    pub fn signing(&self) -> Option<Signing<'_>> {
        match self {
            Self::Signature(claim) => {
                Some(Signing { service: &claim.service, region: claim.region.as_str() })
            }
            Self::Nothing | Self::Malformed(_) => None,
        }
    }

    /// Looks up the key that the signature names, and the session of a temporary one.
    pub async fn identify(self, iam: &Iam, sessions: &Sessions, now: Timestamp) -> Identified {
        let claim = match self {
            Self::Nothing => return Identified::Anonymous,
            Self::Malformed(error) => return Identified::Stranger { claim: None, error },
            Self::Signature(claim) => claim,
        };
        let found = if Sessions::is_temporary(&claim.access_key_id) {
            sessions.find(&claim.access_key_id, claim.security_token.as_deref(), now).await
        } else {
            // A long-term key comes without a session token.
            iam.find_access_key(&claim.access_key_id).await.map(|credential| match credential {
                Some(credential) if credential.active && claim.security_token.is_none() => {
                    Found::Holder(Box::new(credential))
                }
                Some(credential) if credential.active => Found::Invalid,
                _ => Found::NoToken,
            })
        };
        let stranger = |claim: Box<Claim>, error| Identified::Stranger { claim: Some(claim), error };
        match found {
            Ok(Found::Holder(credential)) => Identified::Holder { claim, credential },
            Ok(Found::NoToken) => {
                let error = claim.unknown_access_key();
                stranger(claim, error)
            }
            Ok(Found::Invalid) => {
                let error = claim.invalid_token();
                stranger(claim, error)
            }
            Ok(Found::Expired) => {
                let error = claim.expired_token();
                stranger(claim, error)
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an access key cannot be looked up"
                );
                stranger(claim, AwsError::internal(error))
            }
        }
    }
}

impl Identified {
    /// Who calls, should the signature verify.
    pub fn principal(&self) -> Principal {
        match self {
            Self::Anonymous => Principal::Anonymous,
            Self::Holder { credential, .. } => credential.principal.clone(),
            Self::Stranger { .. } => {
                Principal::Unknown { claimed_access_key_id: self.access_key_id().map(str::to_owned) }
            }
        }
    }

    /// The session of temporary credentials, should the signature verify.
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Self::Holder { credential, .. } => credential.session.as_ref(),
            Self::Anonymous | Self::Stranger { .. } => None,
        }
    }

    /// The key id that the request names.
    pub fn access_key_id(&self) -> Option<&str> {
        self.claim().map(|claim| claim.access_key_id.as_str())
    }

    /// The region that the request was signed for.
    pub fn region(&self) -> Option<Region> {
        self.claim().map(|claim| claim.region.clone())
    }

    /// Notes that a known key, or the role behind a session, was used.
    pub fn note_use(&self, iam: &Iam, now: Timestamp) {
        let Self::Holder { claim, credential } = self else { return };
        let region = claim.region.as_str();
        if credential.session.is_some() {
            iam.note_role_use(&credential.principal, region, now);
        } else {
            iam.note_use(&claim.access_key_id, &claim.service, region, now);
        }
    }

    /// The claim of a known key's holder.
    pub fn proven(&self) -> Option<&Claim> {
        match self {
            Self::Holder { claim, .. } => Some(claim),
            Self::Anonymous | Self::Stranger { .. } => None,
        }
    }

    fn claim(&self) -> Option<&Claim> {
        match self {
            Self::Anonymous => None,
            Self::Holder { claim, .. } => Some(claim),
            Self::Stranger { claim, .. } => claim.as_deref(),
        }
    }

    /// Verifies the signature over a body that is all there.
    pub fn verify_whole(&self, parts: &Parts, body: &[u8], now: Timestamp) -> Result<(), AwsError> {
        match self {
            Self::Anonymous => Ok(()),
            Self::Stranger { error, .. } => Err(again(error)),
            Self::Holder { claim, credential } => claim
                .verify(parts, &credential.secret, SignedPayload::Whole(body), now, &Limits::default())
                .map(drop),
        }
    }

    /// Verifies the signature over a body that was put aside, whose SHA-256 in hex is `hash`.
    pub fn verify_hashed(&self, parts: &Parts, hash: &str, now: Timestamp) -> Result<(), AwsError> {
        match self {
            Self::Anonymous => Ok(()),
            Self::Stranger { error, .. } => Err(again(error)),
            Self::Holder { claim, credential } => claim
                .verify(parts, &credential.secret, SignedPayload::Hashed(hash), now, &Limits::default())
                .map(drop),
        }
    }

    /// Verifies the signature over the head; the body that is returned verifies itself as it is read.
    pub fn verify_stream(&self, parts: &Parts, body: Body, now: Timestamp) -> Result<Body, AwsError> {
        match self {
            Self::Anonymous => sigv4::plain_body(parts, body),
            Self::Stranger { error, .. } => Err(again(error)),
            Self::Holder { claim, credential } => claim
                .verify(parts, &credential.secret, SignedPayload::Declared, now, &Limits::default())?
                .body(body),
        }
    }
}

/// The same error once more: a stranger's error is needed at most once, but its holder is only borrowed.
fn again(error: &AwsError) -> AwsError {
    let mut again = AwsError::with_status(error.status, error.code.clone(), error.message.clone());
    again.members.clone_from(&error.members);
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_error_keeps_its_members() {
        let error =
            AwsError::with_status(403, "InvalidAccessKeyId", "x").with_member("AWSAccessKeyId", "AKIAX");
        let stranger = Identified::Stranger { claim: None, error };
        let (parts, ()) = http::Request::builder().uri("/").body(()).expect("a request").into_parts();
        let refused = stranger.verify_whole(&parts, b"", Timestamp::from_seconds(0)).unwrap_err();
        assert_eq!((refused.status, &*refused.code), (403, "InvalidAccessKeyId"));
        assert_eq!(refused.members, [("AWSAccessKeyId".into(), "AKIAX".to_owned())]);
    }
}
