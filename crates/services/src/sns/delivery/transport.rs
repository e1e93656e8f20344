//! How messages leave the server: what the stage needs of the network. The binary has it; tests hand in their own.

use async_trait::async_trait;

/// Why something was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct NotDelivered {
    /// Whether to try again is of no use.
    pub is_permanent: bool,
    /// An HTTP status, an SMTP reply code, or a word.
    pub code: String,
    /// What went wrong, for the log.
    pub reason: String,
}

/// A message for an HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// The endpoint, which may have a user and password in it.
    pub url: String,
    /// Names and values, without those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

/// HTTP endpoints.
#[async_trait]
pub trait Post: Send + Sync + 'static {
    /// Posts a message and returns the answer's status. Follows no redirects, and ends in time.
    async fn post(&self, posting: &Posting) -> Result<u16, NotDelivered>;
}

/// An e-mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The address.
    pub to: String,
    /// The sender's name.
    pub from_name: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// Made of the message's: the same whenever it is sent again.
    pub message_id: String,
    /// When the message was published: RFC 5322's form.
    pub date: String,
}

/// A relay for e-mail.
#[async_trait]
pub trait Mail: Send + Sync + 'static {
    /// Hands an e-mail to the relay, which has taken it on return.
    async fn send(&self, email: &Email) -> Result<(), NotDelivered>;
}
