//! Hands e-mails to a relay, by SMTP (RFC 5321), a connection each.
//!
//! By hand: lettre brings two dozen crates, of which these few commands need none.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_services::sns::delivery::{Email, Mail, NotDelivered};
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::http::connect;
use super::{permanent, public_authorities, transient};

/// How long an e-mail may take, from the connection to the relay's last word.
const MAIL_TIMEOUT: Duration = Duration::from_secs(60);
/// Lines of one reply, and bytes of one line.
const REPLY_LINES_MAX: usize = 64;
const REPLY_LINE_BYTES_MAX: u64 = 1024;
/// Characters of a line of base64, and bytes that make an encoded word of a header.
const BODY_LINE_CHARS: usize = 76;
const ENCODED_WORD_BYTES_MAX: usize = 45;
const PORT: u16 = 25;
const PORT_OF_TLS: u16 = 465;

/// Why a relay's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmtpRelayError {
    /// The URL is none.
    #[error("the relay is written smtp://HOST:PORT, or smtps://HOST:PORT for TLS from the first byte")]
    Url,
    /// The sender is no address.
    #[error("the sender is written name@example.com, in ASCII")]
    Sender,
}

/// A user's name and password at the relay.
struct Credentials {
    user: String,
    password: String,
}

/// A relay.
pub struct SmtpRelay {
    host: String,
    port: u16,
    /// Whether TLS comes before the first word; else it comes where the relay offers it.
    is_tls: bool,
    credentials: Option<Credentials>,
    sender: String,
    tls: Arc<ClientConfig>,
}

/// What a relay replied.
struct Reply {
    code: u16,
    text: String,
}

impl SmtpRelay {
    /// A relay by its URL, with the address that e-mails come from, and a user's name and password where it wants them.
    ///
    /// # Errors
    /// Where the URL or the address is none.
    pub fn new(
        url: &str,
        sender: &str,
        credentials: Option<(String, String)>,
    ) -> Result<Self, SmtpRelayError> {
        let (is_tls, rest) = match (url.strip_prefix("smtps://"), url.strip_prefix("smtp://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(SmtpRelayError::Url),
        };
        let authority: ::http::uri::Authority =
            rest.trim_end_matches('/').parse().map_err(|_| SmtpRelayError::Url)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(SmtpRelayError::Url);
        }
        if !is_address(sender) {
            return Err(SmtpRelayError::Sender);
        }
        let config =
            ClientConfig::builder().with_root_certificates(public_authorities()).with_no_client_auth();
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if is_tls { PORT_OF_TLS } else { PORT }),
            is_tls,
            credentials: credentials.map(|(user, password)| Credentials { user, password }),
            sender: sender.to_owned(),
            tls: Arc::new(config),
        })
    }

    async fn hand_over(&self, email: &Email) -> Result<(), NotDelivered> {
        if !is_address(&email.to) {
            return Err(permanent("InvalidAddress", "the address is none that the relay could take"));
        }
        let stream = connect(&self.host, self.port).await?;
        if self.is_tls {
            let mut session = BufStream::new(self.encrypted(stream).await?);
            greeted(&mut session).await?;
            return self.converse(&mut session, email, true).await;
        }
        let mut session = BufStream::new(stream);
        greeted(&mut session).await?;
        let offers = hello(&mut session).await?;
        if !offers.lines().any(|offer| offer.trim().eq_ignore_ascii_case("STARTTLS")) {
            return self.converse(&mut session, email, false).await;
        }
        command(&mut session, "STARTTLS", 220).await?;
        let mut session = BufStream::new(self.encrypted(session.into_inner()).await?);
        self.converse(&mut session, email, true).await
    }

    async fn encrypted(
        &self,
        stream: tokio::net::TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, NotDelivered> {
        let name = ServerName::try_from(self.host.clone()).map_err(|error| transient("Relay", error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, stream).await.map_err(|error| transient("Relay", error))
    }

    /// Everything behind the greeting and the change to TLS.
    async fn converse(
        &self,
        session: &mut BufStream<impl AsyncRead + AsyncWrite + Unpin + Send>,
        email: &Email,
        is_encrypted: bool,
    ) -> Result<(), NotDelivered> {
        hello(session).await?;
        if let Some(Credentials { user, password }) = &self.credentials {
            let is_local = self.host == "localhost"
                || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
            if !is_encrypted && !is_local {
                return Err(transient("Relay", "it offers no TLS, and credentials are not sent without"));
            }
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            command(session, &format!("AUTH PLAIN {secret}"), 235).await?;
        }
        command(session, &format!("MAIL FROM:<{}>", self.sender), 250).await?;
        of_recipient(command(session, &format!("RCPT TO:<{}>", email.to), 250).await)?;
        command(session, "DATA", 354).await?;
        say(session, &format!("{}\r\n.", self.rendered(email))).await?;
        of_recipient(expect(session, 250).await)?;
        // The relay has it: what it says to a farewell does not matter.
        if let Err(failure) = command(session, "QUIT", 221).await {
            tracing::debug!(%failure, "the relay did not take leave");
        }
        Ok(())
    }

    /// The e-mail in RFC 5322's form. All in base64: no line begins with a dot, or is too long.
    fn rendered(&self, email: &Email) -> String {
        let encoded = STANDARD.encode(&email.text);
        let lines: Vec<&str> = encoded
            .as_bytes()
            .chunks(BODY_LINE_CHARS)
            .map(|line| std::str::from_utf8(line).unwrap_or_default())
            .collect();
        let host = self.sender.rsplit('@').next().unwrap_or("localhost");
        let id = email.message_id.rsplit_once('@').map_or(email.message_id.as_str(), |(id, _)| id);
        let headers = [
            format!("From: {} <{}>", encoded_words(&email.from_name), self.sender),
            format!("To: <{}>", email.to),
            format!("Subject: {}", encoded_words(&email.subject)),
            format!("Date: {}", email.date),
            format!("Message-ID: <{id}@{host}>"),
            "Auto-Submitted: auto-generated".to_owned(),
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: text/plain; charset=UTF-8".to_owned(),
            "Content-Transfer-Encoding: base64".to_owned(),
        ];
        format!("{}\r\n\r\n{}", headers.join("\r\n"), lines.join("\r\n"))
    }
}

#[async_trait]
impl Mail for SmtpRelay {
    async fn send(&self, email: &Email) -> Result<(), NotDelivered> {
        let sent = tokio::time::timeout(MAIL_TIMEOUT, self.hand_over(email)).await;
        sent.unwrap_or_else(|_| Err(transient("Timeout", "the relay takes too long")))
    }
}

/// Whether a text can stand between the angle brackets of a command.
fn is_address(text: &str) -> bool {
    let is_sign =
        |sign: char| sign.is_ascii_graphic() && !matches!(sign, '<' | '>' | '"' | '\\' | '(' | ')' | ',');
    let parts: Vec<&str> = text.split('@').collect();
    matches!(parts[..], [name, host] if !name.is_empty() && !host.is_empty()) && text.chars().all(is_sign)
}

/// A header's text, as encoded words of RFC 2047.
fn encoded_words(text: &str) -> String {
    let mut words = vec![String::new()];
    for sign in text.chars() {
        if words.last().is_some_and(|word| word.len() + sign.len_utf8() > ENCODED_WORD_BYTES_MAX) {
            words.push(String::new());
        }
        words.last_mut().expect("there is one from the beginning").push(sign);
    }
    let words: Vec<String> =
        words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\r\n ")
}

/// What the relay says of the recipient or the e-mail may be final; what it says else is about the server's settings.
fn of_recipient(result: Result<(), NotDelivered>) -> Result<(), NotDelivered> {
    result.map_err(|failure| NotDelivered { is_permanent: failure.code.starts_with('5'), ..failure })
}

async fn greeted(session: &mut (impl AsyncBufRead + Unpin)) -> Result<(), NotDelivered> {
    expect(session, 220).await
}

/// Says who this is; gives what the relay offers.
async fn hello(
    session: &mut BufStream<impl AsyncRead + AsyncWrite + Unpin + Send>,
) -> Result<String, NotDelivered> {
    say(session, "EHLO cairn").await?;
    let reply = read_reply(session).await?;
    check(&reply, 250).map(|()| reply.text)
}

async fn command(
    session: &mut BufStream<impl AsyncRead + AsyncWrite + Unpin + Send>,
    line: &str,
    expected: u16,
) -> Result<(), NotDelivered> {
    say(session, line).await?;
    expect(session, expected).await
}

async fn say(
    session: &mut BufStream<impl AsyncRead + AsyncWrite + Unpin + Send>,
    line: &str,
) -> Result<(), NotDelivered> {
    let said = async {
        session.write_all(line.as_bytes()).await?;
        session.write_all(b"\r\n").await?;
        session.flush().await
    };
    said.await.map_err(|error| transient("Relay", error))
}

async fn expect(session: &mut (impl AsyncBufRead + Unpin), expected: u16) -> Result<(), NotDelivered> {
    check(&read_reply(session).await?, expected)
}

fn check(reply: &Reply, expected: u16) -> Result<(), NotDelivered> {
    // Any success is: 251 means that the relay forwards.
    if reply.code / 100 == expected / 100 {
        return Ok(());
    }
    Err(transient(&reply.code.to_string(), reply.text.trim()))
}

/// Reads a reply: lines of which all but the last have a hyphen behind the code.
async fn read_reply(session: &mut (impl AsyncBufRead + Unpin)) -> Result<Reply, NotDelivered> {
    let mut text = String::new();
    for _ in 0..REPLY_LINES_MAX {
        let mut line = String::new();
        let read = (&mut *session).take(REPLY_LINE_BYTES_MAX).read_line(&mut line).await;
        read.map_err(|error| transient("Relay", error))?;
        let code = line.get(..3).and_then(|code| code.parse().ok());
        let (Some(code), true) = (code, line.ends_with('\n')) else {
            return Err(transient("Relay", "it broke off, or does not speak SMTP"));
        };
        text.push_str(line.get(4..).unwrap_or_default());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(Reply { code, text });
        }
    }
    Err(transient("Relay", "its reply does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(credentials: Option<(String, String)>) -> SmtpRelay {
        SmtpRelay::new("smtp://relay.example.com", "news@example.com", credentials).unwrap()
    }

    fn email() -> Email {
        Email {
            to: "a@example.com".to_owned(),
            from_name: "Grüße".to_owned(),
            subject: "x".repeat(60),
            text: ".\r\nhello\n".to_owned(),
            message_id: "m-s@sns".to_owned(),
            date: "Sat, 21 Nov 2026 17:24:26 +0000".to_owned(),
        }
    }

    /// Runs a conversation with a relay that gives these replies; gives the outcome and what it heard.
    async fn converse(relay: &SmtpRelay, replies: &str) -> (Result<(), NotDelivered>, String) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(replies.as_bytes()).await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut session = BufStream::new(ours);
        let outcome = relay.converse(&mut session, &email(), false).await;
        drop(session);
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        (outcome, heard)
    }

    #[tokio::test]
    async fn an_email_is_handed_over() {
        let replies =
            "250-relay\r\n250 8BITMIME\r\n250 ok\r\n251 forwarded\r\n354 go\r\n250 queued\r\n221 bye\r\n";
        let (outcome, heard) = converse(&relay(None), replies).await;
        outcome.unwrap();
        let expected = "EHLO cairn\r\nMAIL FROM:<news@example.com>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n\
             From: =?UTF-8?B?R3LDvMOfZQ==?= <news@example.com>\r\nTo: <a@example.com>\r\n\
             Subject: =?UTF-8?B?eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4?=\r\n =?UTF-8?B?eHh4eHh4eHh4eHh4eHh4?=\r\n\
             Date: Sat, 21 Nov 2026 17:24:26 +0000\r\nMessage-ID: <m-s@example.com>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             Lg0KaGVsbG8K\r\n.\r\nQUIT\r\n";
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn only_what_is_said_of_the_recipient_is_final() {
        let refused = "250 relay\r\n250 ok\r\n550 no such user\r\n";
        let (outcome, _) = converse(&relay(None), refused).await;
        let failure = outcome.unwrap_err();
        assert_eq!(
            (failure.is_permanent, failure.code.as_str(), failure.reason.as_str()),
            (true, "550", "no such user")
        );
        for later in [
            "250 relay\r\n550 we do not know you\r\n",
            "250 relay\r\n250 ok\r\n450 later\r\n",
            "250 relay\r\n250",
            "nonsense\r\n",
        ] {
            let (outcome, _) = converse(&relay(None), later).await;
            assert!(!outcome.unwrap_err().is_permanent, "{later}");
        }
    }

    #[tokio::test]
    async fn credentials_are_not_sent_in_clear() {
        let relay = relay(Some(("user".to_owned(), "secret".to_owned())));
        let (outcome, heard) = converse(&relay, "250 relay\r\n235 ok\r\n").await;
        assert!(outcome.is_err());
        assert_eq!(heard, "EHLO cairn\r\n");
    }

    #[test]
    fn addresses_that_could_end_a_command_are_none() {
        for wrong in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b>", "a@b\r\nDATA", "ä@b"] {
            assert!(!is_address(wrong), "{wrong}");
        }
        assert!(is_address("a.b+c@example.com"));
        assert!(SmtpRelay::new("relay:25", "a@b", None).is_err());
        assert!(SmtpRelay::new("smtp://user:password@relay", "a@b", None).is_err());
        assert_eq!(SmtpRelay::new("smtps://relay", "a@b", None).unwrap().port, PORT_OF_TLS);
    }
}
