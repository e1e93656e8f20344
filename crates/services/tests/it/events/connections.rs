//! Connections, API destinations, and how they are called.

use std::time::Duration;

use bytes::Bytes;
use cairn_core::Clock;
use cairn_services::events::{HttpAnswer, HttpRequest};
use serde_json::{Value, json};

use super::{Bench, body};

async fn connection(bench: &Bench, kind: &str, auth: Value) -> String {
    let made = json!({"Name": "c", "AuthorizationType": kind, "AuthParameters": auth});
    bench.ok("CreateConnection", made).await["ConnectionArn"].as_str().unwrap().to_owned()
}

/// A rule with an API destination of the connection.
async fn destination(bench: &Bench, connection: &str, rate: u32) {
    let made = json!({"Name": "d", "ConnectionArn": connection, "HttpMethod": "POST",
                      "InvocationEndpoint": "https://example.com/in", "InvocationRateLimitPerSecond": rate});
    let made = bench.ok("CreateApiDestination", made).await;
    bench.ok("PutRule", json!({"Name": "r", "EventPattern": r#"{"source":["s"]}"#})).await;
    let role = "arn:aws:iam::111122223333:role/caller";
    let dead = json!({"Arn": super::queue_arn("dead")});
    let target = json!({"Id": "1", "Arn": made["ApiDestinationArn"], "RoleArn": role, "InputPath": "$.detail",
                        "DeadLetterConfig": dead});
    bench.target("r", target).await;
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn asked(bench: &Bench) -> Vec<HttpRequest> {
    std::mem::take(&mut *bench.http.asked.lock().unwrap())
}

fn answer(bench: &Bench, status: u16, body: &str) {
    let answer = HttpAnswer { status, retry_after: None, body: Bytes::copy_from_slice(body.as_bytes()) };
    bench.http.answers.lock().unwrap().push_back(answer);
}

#[tokio::test]
async fn an_endpoint_is_called_with_its_connections_credentials() {
    let bench = Bench::new();
    let arn =
        connection(&bench, "BASIC", json!({"BasicAuthParameters": {"Username": "u", "Password": "p"}})).await;
    destination(&bench, &arn, 300).await;
    bench.put("s", json!({"a": 1})).await;
    bench.pay().await;
    let [request] = &asked(&bench)[..] else { panic!("one call is made, not: {:?}", bench.received("dead")) };
    assert_eq!((request.url.as_str(), request.body.as_str()), ("https://example.com/in", r#"{"a":1}"#));
    assert_eq!(header(request, "Authorization"), Some("Basic dTpw"));

    let changed = json!({"ApiKeyAuthParameters": {"ApiKeyName": "x-key", "ApiKeyValue": "v"}});
    let changed = json!({"Name": "c", "AuthorizationType": "API_KEY", "AuthParameters": changed});
    bench.ok("UpdateConnection", changed).await;
    answer(&bench, 503, "");
    bench.put("s", json!({})).await;
    bench.pay().await;
    bench.world.clock.advance(Duration::from_secs(2));
    bench.pay().await;
    let requests = asked(&bench);
    assert_eq!(requests.len(), 2, "a server's fault is tried again");
    assert_eq!(header(&requests[1], "x-key"), Some("v"));

    answer(&bench, 400, "");
    let id = bench.put("s", json!({})).await;
    bench.pay().await;
    assert_eq!(body(&bench.received("dead")[0])["id"], id.as_str());
}

#[tokio::test]
async fn a_token_is_fetched_once_and_anew_when_it_is_refused() {
    let bench = Bench::new();
    let auth = json!({"OAuthParameters": {
        "ClientParameters": {"ClientID": "i", "ClientSecret": "s"}, "HttpMethod": "POST",
        "AuthorizationEndpoint": "https://example.com/token"}});
    let arn = connection(&bench, "OAUTH_CLIENT_CREDENTIALS", auth).await;
    let state =
        || async { bench.ok("DescribeConnection", json!({"Name": "c"})).await["ConnectionState"].clone() };
    assert_eq!(state().await, "AUTHORIZING");
    bench.world.clock.advance(Duration::from_secs(3));
    answer(&bench, 200, r#"{"access_token":"one","expires_in":3600}"#);
    bench.events.authorise_connections().await.unwrap();
    assert_eq!(state().await, "AUTHORIZED");
    destination(&bench, &arn, 300).await;
    asked(&bench);
    answer(&bench, 401, "");
    answer(&bench, 200, r#"{"access_token":"two","expires_in":3600}"#);
    bench.put("s", json!({})).await;
    bench.pay().await;
    bench.world.clock.advance(Duration::from_secs(2));
    bench.pay().await;
    let requests = asked(&bench);
    let tokens: Vec<_> = requests.iter().map(|request| header(request, "Authorization")).collect();
    assert_eq!(tokens, [Some("Bearer one"), None, Some("Bearer two")]);
    bench.ok("DeauthorizeConnection", json!({"Name": "c"})).await;
    assert_eq!(state().await, "DEAUTHORIZED");
    let shown = bench.ok("DescribeApiDestination", json!({"Name": "d"})).await;
    assert_eq!(shown["ApiDestinationState"], "INACTIVE");
}

#[tokio::test]
async fn an_endpoint_is_called_no_faster_than_its_limit() {
    let bench = Bench::new();
    let key = json!({"ApiKeyAuthParameters": {"ApiKeyName": "k", "ApiKeyValue": "v"}});
    let arn = connection(&bench, "API_KEY", key).await;
    destination(&bench, &arn, 2).await;
    for _ in 0..5 {
        bench.put("s", json!({})).await;
    }
    for wanted in [2, 2, 1] {
        let mut calls = 0;
        for _ in 0..3 {
            bench.pay().await;
            calls += asked(&bench).len();
        }
        assert_eq!(calls, wanted);
        bench.world.clock.advance(Duration::from_secs(1));
    }
    assert!(bench.world.clock.now().seconds() > 0);
}
