//! Requests as they go over the wire, signed ahead.

use std::time::SystemTime;

use cairn_core::Timestamp;
use cairn_wire::sigv4::{Credentials, PayloadToSign, Secret, SigningScope, sign};

use super::Failure;

/// Signs for one account at one server.
pub(super) struct Signer {
    /// Where the server is: `127.0.0.1:4587`.
    pub(super) place: String,
    credentials: Credentials,
}

/// The present time.
#[allow(clippy::disallowed_methods, reason = "signs for the real time")]
pub(super) fn present() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| format!("the variable {name} is not set").into())
}

impl Signer {
    /// With what `cairn env` prints.
    pub(super) fn of_environment() -> Result<Self, Failure> {
        let endpoint = variable("AWS_ENDPOINT_URL")?;
        let credentials = Credentials {
            access_key_id: variable("AWS_ACCESS_KEY_ID")?,
            secret: Secret::new(variable("AWS_SECRET_ACCESS_KEY")?),
            session_token: None,
        };
        let place = endpoint.strip_prefix("http://").ok_or("the endpoint is not http://")?;
        Ok(Self { place: place.trim_end_matches('/').to_owned(), credentials })
    }

    /// A whole POST request.
    pub(super) fn post(
        &self,
        path: &str,
        service: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let mut builder = http::Request::post(path).header("host", &self.place);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (mut parts, ()) = builder.body(())?.into_parts();
        let scope = SigningScope { region: "us-east-1", service, time: present() };
        sign(&mut parts, &self.credentials, &scope, PayloadToSign::Bytes(body))?;
        let mut request = format!("POST {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len()).into_bytes();
        for (name, value) in &parts.headers {
            request.extend_from_slice(name.as_str().as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        Ok(request)
    }

    /// A call of the query protocol.
    pub(super) fn query(&self, service: &str, form: &str) -> Result<Vec<u8>, Failure> {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.post("/", service, &headers, form.as_bytes())
    }

    /// LookupEvents for one event.
    pub(super) fn lookup(&self, event_id: &str) -> Result<Vec<u8>, Failure> {
        let target = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents";
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let attribute = format!(r#"{{"AttributeKey":"EventId","AttributeValue":"{event_id}"}}"#);
        let body = format!(r#"{{"LookupAttributes":[{attribute}]}}"#);
        self.post("/", "cloudtrail", &headers, body.as_bytes())
    }
}
