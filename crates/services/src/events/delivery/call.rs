//! Calls of API destinations: the request that an event and a connection make, and what an answer means.
//!
//! Source: the user guide's pages on API destinations and connections.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Timestamp;
use cairn_wire::AwsError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::super::Events;
use super::super::api_destinations::ApiDestination;
use super::super::connections::{CONNECTIONS, Connection, ConnectionState};
use super::super::http::{HttpAnswer, HttpRequest};
use super::super::names::place_of;
use super::super::state::{HttpParameters, Rule, RuleTarget};
use super::attempt::Undelivered;
use crate::sinks::{SentTo, SinkFailure};
use crate::sns::delivery::NotDelivered;

/// As whom AWS calls.
const AGENT: &str = "Amazon/EventBridge/ApiDestinations";
/// The part of an answer that AWS asks for.
const RANGE: &str = "bytes=0-1048575";
/// What is written as it is in a path or a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How long a token is used whose endpoint does not say.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// So long before its end a token is not used any more.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// How long after it was made a connection is authorised: whoever made it sees it as AUTHORIZING first.
const AUTHORISED_AFTER: Duration = Duration::from_secs(2);
/// The longest between two looks at connections.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest that an answer can ask to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Tokens of OAuth, by connection.
#[derive(Default)]
pub(in crate::events) struct Tokens(Mutex<HashMap<String, (String, Timestamp)>>);

impl Tokens {
    pub(in crate::events) fn forget(&self, connection_arn: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(connection_arn);
    }

    fn of(&self, connection_arn: &str, now: Timestamp) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(connection_arn).filter(|(_, until)| now < *until).map(|(token, _)| token.clone())
    }

    fn keep(&self, connection_arn: &str, token: &str, until: Timestamp) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(connection_arn.to_owned(), (token.to_owned(), until));
    }
}

fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Keys and values of one list of a connection's HTTP parameters.
fn listed(parameters: Option<&Value>, list: &str) -> Vec<(String, String)> {
    let items = parameters.and_then(|parameters| parameters.get(list)).and_then(Value::as_array);
    let pair = |item: &Value| (member(item, "Key").to_owned(), member(item, "Value").to_owned());
    items.map(|items| items.iter().map(pair).collect()).unwrap_or_default()
}

/// Sets a name's value, in place of an earlier one.
fn set(pairs: &mut Vec<(String, String)>, name: String, value: String) {
    pairs.retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
    pairs.push((name, value));
}

fn with_query(url: String, query: &[(String, String)]) -> String {
    if query.is_empty() {
        return url;
    }
    let encoded = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
    let pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{}", pairs.join("&"))
}

/// The endpoint with the values of its stars.
fn filled(endpoint: &str, values: &[String]) -> String {
    values.iter().fold(endpoint.to_owned(), |url, value| {
        url.replacen('*', &utf8_percent_encode(value, PLAIN).to_string(), 1)
    })
}

/// The body with the connection's parameters, where it is an object.
fn with_members(input: &str, members: Vec<(String, String)>) -> String {
    if members.is_empty() {
        return input.to_owned();
    }
    let Ok(Value::Object(mut body)) = serde_json::from_str::<Value>(input) else { return input.to_owned() };
    body.extend(members.into_iter().map(|(name, value)| (name, value.into())));
    Value::Object(body).to_string()
}

/// The request that calls a destination.
fn request(
    destination: &ApiDestination,
    auth: &Value,
    authorization: Option<(String, String)>,
    given: &HttpParameters,
    input: &str,
) -> HttpRequest {
    let own = auth.get("InvocationHttpParameters");
    let mut headers: Vec<(String, String)> = vec![
        ("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned()),
        ("User-Agent".to_owned(), AGENT.to_owned()),
        ("Range".to_owned(), RANGE.to_owned()),
    ];
    let mut query = Vec::new();
    given.header_parameters.iter().for_each(|(name, value)| set(&mut headers, name.clone(), value.clone()));
    given
        .query_string_parameters
        .iter()
        .for_each(|(name, value)| set(&mut query, name.clone(), value.clone()));
    listed(own, "HeaderParameters").into_iter().for_each(|(name, value)| set(&mut headers, name, value));
    listed(own, "QueryStringParameters").into_iter().for_each(|(name, value)| set(&mut query, name, value));
    if let Some((name, value)) = authorization {
        set(&mut headers, name, value);
    }
    let has_body = !["GET", "HEAD"].contains(&destination.method.as_str());
    HttpRequest {
        method: destination.method.clone(),
        url: with_query(filled(&destination.endpoint, &given.path_parameter_values), &query),
        headers,
        body: if has_body { with_members(input, listed(own, "BodyParameters")) } else { String::new() },
    }
}

/// The request for a token, by the client's credentials.
fn token_request(auth: &Value) -> HttpRequest {
    let oauth = auth.get("OAuthParameters").cloned().unwrap_or_default();
    let (client, further) = (&oauth["ClientParameters"], oauth.get("OAuthHttpParameters"));
    let mut body = vec![
        ("grant_type".to_owned(), "client_credentials".to_owned()),
        ("client_id".to_owned(), member(client, "ClientID").to_owned()),
        ("client_secret".to_owned(), member(client, "ClientSecret").to_owned()),
    ];
    listed(further, "BodyParameters").into_iter().for_each(|(name, value)| set(&mut body, name, value));
    let mut headers = vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    listed(further, "HeaderParameters").into_iter().for_each(|(name, value)| set(&mut headers, name, value));
    let (method, endpoint) = (member(&oauth, "HttpMethod"), member(&oauth, "AuthorizationEndpoint"));
    let url = with_query(endpoint.to_owned(), &listed(further, "QueryStringParameters"));
    let form = with_query(String::new(), &body).trim_start_matches('?').to_owned();
    if method == "GET" {
        let url = with_query(url, &body);
        return HttpRequest { method: method.to_owned(), url, headers, body: String::new() };
    }
    HttpRequest { method: method.to_owned(), url, headers, body: form }
}

fn of_network(failure: NotDelivered) -> Undelivered {
    let message = format!("{}: {}", failure.code, failure.reason);
    match failure.code.as_str() {
        _ if failure.is_permanent => Undelivered::permanent("INVALID_PARAMETER", message),
        "Timeout" => Undelivered::transient("TIMEOUT", message),
        _ => Undelivered::transient("CONNECTION_FAILURE", message),
    }
}

/// What a status means. Refusals of credentials are tried again: a connection may be mended.
fn judged(answer: &HttpAnswer, now: Timestamp) -> Result<(), Undelivered> {
    let told = format!("the endpoint answers {}", answer.status);
    match answer.status {
        200..=299 => Ok(()),
        401 | 407 | 409 | 429 | 500.. => {
            let seconds = answer.retry_after.as_deref().and_then(|text| text.trim().parse::<u64>().ok());
            let pause = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
            let not_before = pause.map(|pause| now.plus(pause));
            Err(Undelivered { not_before, ..Undelivered::transient("API_ERROR_FROM_TARGET", told) })
        }
        _ => Err(Undelivered::permanent("API_ERROR_FROM_TARGET", told)),
    }
}

fn of_fault(error: AwsError) -> Undelivered {
    SinkFailure::from(error).into()
}

impl Events {
    /// Calls an API destination, as the target's role.
    pub(super) async fn to_api_destination(
        &self,
        rule: &Rule,
        target: &RuleTarget,
        input: &str,
    ) -> Result<(), Undelivered> {
        self.may_invoke(rule, target).await?;
        let gone = |what: &str| Undelivered::permanent("NO_RESOURCE", format!("the {what} does not exist"));
        let destination = self.destination_of(&target.arn).await;
        let destination = destination.map_err(|error| of_fault(AwsError::internal(error)))?;
        let destination = destination.ok_or_else(|| gone("api-destination"))?;
        let connection = self.connection_of(&destination.connection_arn).await;
        let connection = connection.map_err(|error| of_fault(AwsError::internal(error)))?;
        let connection = connection.ok_or_else(|| gone("connection"))?;
        if connection.state == ConnectionState::Deauthorized {
            return Err(Undelivered::transient(
                "CONNECTION_DEAUTHORIZED",
                "the connection is not authorized",
            ));
        }
        let auth = connection.auth(&self.sealer).map_err(|error| of_fault(AwsError::internal(error)))?;
        let authorization = self.authorization(&connection, &auth).await?;
        let given = target.http_parameters.clone().unwrap_or_default();
        let request = request(&destination, &auth, authorization, &given, input);
        let answer = self.http.call(&request).await.map_err(of_network)?;
        if answer.status == 401 {
            self.tokens.forget(&connection.arn);
        }
        judged(&answer, self.clock.now())
    }

    async fn may_invoke(&self, rule: &Rule, target: &RuleTarget) -> Result<(), Undelivered> {
        let sender = self.sender_of(rule, target).await?;
        let place = place_of(&target.arn).unwrap_or_else(|| rule.bus.place());
        let to = SentTo {
            action: "events:InvokeApiDestination",
            arn: &target.arn,
            owner: &place.account,
            region: &place.region,
            policy: None,
        };
        sender.check(&to, self.clock.now(), &[]).map_err(of_fault)
    }

    /// The header that says who calls.
    async fn authorization(
        &self,
        connection: &Connection,
        auth: &Value,
    ) -> Result<Option<(String, String)>, Undelivered> {
        let header = |value: String| Some(("Authorization".to_owned(), value));
        Ok(match connection.authorization_type.as_str() {
            "BASIC" => {
                let basic = &auth["BasicAuthParameters"];
                let pair = format!("{}:{}", member(basic, "Username"), member(basic, "Password"));
                header(format!("Basic {}", STANDARD.encode(pair)))
            }
            "API_KEY" => {
                let key = &auth["ApiKeyAuthParameters"];
                Some((member(key, "ApiKeyName").to_owned(), member(key, "ApiKeyValue").to_owned()))
            }
            _ => header(format!("Bearer {}", self.token(connection, auth).await?)),
        })
    }

    /// The token of a connection, asked for anew where there is none that is good.
    async fn token(&self, connection: &Connection, auth: &Value) -> Result<String, Undelivered> {
        let now = self.clock.now();
        if let Some(token) = self.tokens.of(&connection.arn, now) {
            return Ok(token);
        }
        let answer = self.http.call(&token_request(auth)).await.map_err(of_network)?;
        let refused = || Undelivered::transient("OAUTH_FAILURE", "the authorization endpoint gives no token");
        let answer: Map<String, Value> = match answer.status {
            200..=299 => serde_json::from_slice(&answer.body).map_err(|_| refused())?,
            _ => return Err(refused()),
        };
        let token = answer.get("access_token").and_then(Value::as_str).ok_or_else(refused)?;
        let life = answer.get("expires_in").and_then(Value::as_u64).map_or(TOKEN_LIFE, Duration::from_secs);
        self.tokens.keep(&connection.arn, token, now.plus(life.saturating_sub(TOKEN_MARGIN)));
        Ok(token.to_owned())
    }

    /// Asks for the tokens of new connections, whose state says then whether there are any.
    ///
    /// # Errors
    /// Where the catalog fails.
    pub async fn authorise_connections(&self) -> Result<Timestamp, AwsError> {
        let now = self.clock.now();
        let all =
            self.catalog.read(|tx| CONNECTIONS.scan_prefix(tx, &[])).await.map_err(AwsError::internal)?;
        let mut next = now.plus(PAUSE_MAX);
        for (_, connection) in all {
            if connection.state != ConnectionState::Authorizing {
                continue;
            }
            let due = connection.modified.plus(AUTHORISED_AFTER);
            if now < due {
                next = next.min(due);
                continue;
            }
            self.authorise(&connection).await?;
        }
        Ok(next)
    }

    async fn authorise(&self, connection: &Connection) -> Result<(), AwsError> {
        let Some(place) = place_of(&connection.arn) else { return Ok(()) };
        let auth = connection.auth(&self.sealer).map_err(AwsError::internal)?;
        let (outcome, now) = (self.token(connection, &auth).await, self.clock.now());
        let modified = connection.modified;
        let changed = self.change_connection(&place, &connection.name, "authorize", move |connection| {
            if connection.modified != modified || connection.state != ConnectionState::Authorizing {
                return Ok(());
            }
            match &outcome {
                Ok(_) => {
                    connection.state = ConnectionState::Authorized;
                    connection.authorized = now;
                }
                Err(failure) => {
                    connection.state = ConnectionState::Deauthorized;
                    connection.state_reason = Some(failure.message.clone());
                }
            }
            Ok(())
        });
        match changed.await {
            Ok(_) => Ok(()),
            Err(failure) => {
                let error = AwsError::from(failure);
                // It was deleted meanwhile.
                if error.status < 500 { Ok(()) } else { Err(error) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn destination(method: &str) -> ApiDestination {
        serde_json::from_value(json!({
            "name": "d", "arn": "a", "connection_arn": "c", "endpoint": "https://example.com/*/x?q=1",
            "method": method, "rate_per_second": 300, "created": 0, "modified": 0,
        }))
        .unwrap()
    }

    #[test]
    fn a_call_is_made_of_event_target_and_connection() {
        let auth = json!({"InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "X-Own", "Value": "connection"}],
            "QueryStringParameters": [{"Key": "who", "Value": "a b"}],
            "BodyParameters": [{"Key": "extra", "Value": "1"}]}});
        let given = HttpParameters {
            path_parameter_values: vec!["a/b".to_owned()],
            header_parameters: [("x-own".to_owned(), "target".to_owned())].into(),
            query_string_parameters: [("n".to_owned(), "2".to_owned())].into(),
        };
        let authorization = Some(("Authorization".to_owned(), "Basic x".to_owned()));
        let made = request(&destination("POST"), &auth, authorization.clone(), &given, r#"{"a":1}"#);
        assert_eq!(made.url, "https://example.com/a%2Fb/x?q=1&n=2&who=a%20b");
        assert_eq!(made.body, r#"{"a":1,"extra":"1"}"#);
        let own: Vec<_> =
            made.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-own")).collect();
        assert_eq!(own, [&("X-Own".to_owned(), "connection".to_owned())]);
        assert_eq!(made.headers.last(), authorization.as_ref());
        assert_eq!(request(&destination("GET"), &auth, None, &given, "{}").body, "");
    }

    #[test]
    fn answers_say_whether_to_try_again() {
        let now = Timestamp::from_seconds(100);
        let answer = |status, retry_after: Option<&str>| HttpAnswer {
            status,
            retry_after: retry_after.map(str::to_owned),
            ..HttpAnswer::default()
        };
        assert_eq!(judged(&answer(204, None), now), Ok(()));
        assert!(judged(&answer(302, None), now).unwrap_err().is_permanent);
        assert!(judged(&answer(404, None), now).unwrap_err().is_permanent);
        let later = judged(&answer(429, Some("7")), now).unwrap_err();
        assert_eq!((later.is_permanent, later.not_before), (false, Some(Timestamp::from_seconds(107))));
        assert_eq!(judged(&answer(500, None), now).unwrap_err().not_before, None);
    }

    #[test]
    fn a_token_is_asked_for_with_the_clients_credentials() {
        let auth = json!({"OAuthParameters": {
            "ClientParameters": {"ClientID": "i", "ClientSecret": "s&"}, "HttpMethod": "POST",
            "AuthorizationEndpoint": "https://example.com/token",
            "OAuthHttpParameters": {"BodyParameters": [{"Key": "scope", "Value": "all"}]}}});
        let made = token_request(&auth);
        assert_eq!(made.body, "grant_type=client_credentials&client_id=i&client_secret=s%26&scope=all");
        assert_eq!((made.method.as_str(), made.url.as_str()), ("POST", "https://example.com/token"));
    }
}
