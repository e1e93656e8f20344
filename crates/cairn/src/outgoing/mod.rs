//! What the server sends to others by itself: messages of topics, by HTTP and by e-mail.
//!
//! Invariants: every step has a time limit and every answer a size limit; no redirect is followed; nothing of a user's
//! credentials gets into an error or a log.

mod authorities;
mod http;
mod smtp;

pub use authorities::public_authorities;
pub use http::{NetPost, answer_over, connect};
pub use smtp::SmtpRelay;

use cairn_services::sns::delivery::NotDelivered;

/// A failure that may go by itself.
fn transient(code: &str, reason: impl std::fmt::Display) -> NotDelivered {
    NotDelivered { is_permanent: false, code: code.to_owned(), reason: reason.to_string() }
}

/// A failure that will not.
fn permanent(code: &str, reason: impl std::fmt::Display) -> NotDelivered {
    NotDelivered { is_permanent: true, code: code.to_owned(), reason: reason.to_string() }
}
