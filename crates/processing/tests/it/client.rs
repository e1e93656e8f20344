//! The client against a server that is scripted: what it sends, and what it makes of the answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_processing::aws::{Client, InstanceCredentials, ProvideCredentials, Settings, StaticCredentials};
use cairn_processing::{
    AccessError, Backoff, Event, HandlerError, MessageSource, Options, Processor, PublicKeys, ReceiveRequest,
    Timestamp,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fakes::{content, file};

/// A request that came: its line, headers of interest, and body.
#[derive(Clone, Debug)]
struct Came {
    line: String,
    headers: http::HeaderMap,
    body: serde_json::Value,
}

type Answer = (u16, Vec<(&'static str, String)>, Bytes);

/// A server that gives the answers it was told, in their order, and keeps what came.
struct Script {
    url: String,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Script {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answers, came) =
            (Arc::new(Mutex::new(VecDeque::from(answers))), Arc::<Mutex<Vec<Came>>>::default());
        let kept = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, kept) = (Arc::clone(&answers), Arc::clone(&kept));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answers, kept) = (Arc::clone(&answers), Arc::clone(&kept));
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let line = format!("{} {}", parts.method, parts.uri);
                        let body = serde_json::from_slice(&body).unwrap_or_default();
                        kept.lock().unwrap().push(Came { line, headers: parts.headers, body });
                        let (status, headers, body) =
                            answers.lock().unwrap().pop_front().unwrap_or((500, vec![], Bytes::new()));
                        let mut answer = Response::builder().status(status);
                        for (name, value) in headers {
                            answer = answer.header(name, value);
                        }
                        Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, came }
    }

    fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    fn client(&self) -> Client {
        Client::new(settings(&self.url)).unwrap()
    }
}

fn settings(url: &str) -> Settings {
    let credentials = Arc::new(StaticCredentials::new("AKIDEXAMPLE", "secret", Some("token".into())));
    let mut settings = Settings::new(format!("{url}/111122223333/trail"), credentials);
    settings.region = Some("eu-west-1".to_owned());
    settings.s3_endpoint = Some(url.to_owned());
    settings.cloudtrail_endpoint = Some(url.to_owned());
    settings.read_timeout = Duration::from_secs(5);
    settings
}

fn json(body: &str) -> Answer {
    (200, vec![("content-type", "application/x-amz-json-1.0".to_owned())], Bytes::from(body.to_owned()))
}

fn error(status: u16, kind: &str) -> Answer {
    (status, vec![], Bytes::from(format!(r#"{{"__type":"com.amazonaws.sqs#{kind}","message":"m"}}"#)))
}

async fn receive(client: &Client) -> Result<Vec<cairn_processing::Message>, AccessError> {
    client.receive(ReceiveRequest::new(10, Duration::from_secs(1), Duration::from_secs(60))).await
}

#[tokio::test]
async fn messages_are_received_hidden_and_deleted() {
    let script = Script::start(vec![
        json(r#"{"Messages":[{"MessageId":"m","ReceiptHandle":"r","Body":"hello","MD5OfBody":"5d41402abc4b2a76b9719d911017c592","Attributes":{"ApproximateReceiveCount":"3"}}]}"#),
        json("{}"),
        json("{}"),
        json("{}"),
        json(r#"{"Successful":[{"Id":"1"}],"Failed":[{"Id":"0","Code":"ReceiptHandleIsInvalid","SenderFault":true,"Message":"m"}]}"#),
    ])
    .await;
    let client = script.client();
    let messages = receive(&client).await.unwrap();
    assert_eq!((messages.len(), messages[0].body.as_str()), (1, "hello"));
    assert_eq!(messages[0].receive_count(), Some(3));
    assert_eq!(receive(&client).await.unwrap(), []);
    client.extend("r", Duration::from_secs(30)).await.unwrap();
    assert!(client.delete(&["r".to_owned()]).await.unwrap()[0].is_ok());
    let both = client.delete(&["r".to_owned(), "s".to_owned()]).await.unwrap();
    assert_eq!(both[0].as_ref().unwrap_err().code(), Some("ReceiptHandleIsInvalid"));
    assert!(both[1].is_ok());

    let came = script.came();
    let targets: Vec<&str> = came.iter().map(|came| came.headers["x-amz-target"].to_str().unwrap()).collect();
    let expected = [
        "ReceiveMessage",
        "ReceiveMessage",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "DeleteMessageBatch",
    ];
    assert_eq!(targets, expected.map(|operation| format!("AmazonSQS.{operation}")));
    assert!(came.iter().all(|came| came.line == "POST /" && came.headers["x-amz-security-token"] == "token"));
    let authorization = came[0].headers["authorization"].to_str().unwrap();
    assert!(authorization.contains("/eu-west-1/sqs/aws4_request"), "{authorization}");
    let queue = format!("{}/111122223333/trail", script.url);
    let asked = serde_json::json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1,
                                   "VisibilityTimeout": 60, "AttributeNames": ["All"]});
    assert_eq!(came[0].body, asked);
    assert_eq!(came[4].body["Entries"][1], serde_json::json!({"Id": "1", "ReceiptHandle": "s"}));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let script = Script::start(vec![
        error(400, "QueueDoesNotExist"),
        error(403, "RequestThrottled"),
        (503, vec![], Bytes::new()),
        json(r#"{"Messages":[{"MessageId":"m","ReceiptHandle":"r","Body":"hello","MD5OfBody":"0"}]}"#),
        json("no json"),
    ])
    .await;
    let client = script.client();
    for (code, is_retryable) in [
        (Some("QueueDoesNotExist"), false),
        (Some("RequestThrottled"), true),
        (Some("503"), true),
        (None, true),
        (None, true),
    ] {
        let error = receive(&client).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), (code, is_retryable), "{error}");
    }
    let nobody = Client::new(settings("http://127.0.0.1:1")).unwrap();
    assert!(receive(&nobody).await.unwrap_err().is_retryable());
}

/// A server that cuts every answer off after some bytes, once.
async fn cutting(body: Bytes, cut_after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut is_first = true;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut buffer = [0; 4096];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let from = head.split("range: bytes=").nth(1).and_then(|rest| rest.split('-').next());
            let from: usize = from.map_or(0, |from| from.parse().unwrap());
            assert!(from == 0 || head.contains("if-match: \"e\""), "{head}");
            assert!(head.contains("x-amz-request-payer: requester"), "{head}");
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let rest = &body[from..];
            let answer = format!(
                "HTTP/1.1 {status}\r\netag: \"e\"\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                rest.len()
            );
            let sent = if is_first { &rest[..cut_after] } else { rest };
            is_first = false;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(sent).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_download_that_the_server_cuts_off_goes_on_in_the_middle() {
    use crate::fakes::{Handled, Queue, run_until_empty};

    let ids: Vec<String> = (0..3000).map(|number| format!("{number:05}")).collect();
    let body = Bytes::from(content(&ids));
    for cut_after in [0, 1, 1000, body.len() - 1] {
        let url = cutting(body.clone(), cut_after).await;
        let (queue, handled) = (Arc::<Queue>::default(), Handled::default());
        queue.announce(&file(0));
        let kept = handled.clone();
        let handler = move |events: Vec<Event>| {
            kept.take(&events);
            async { Ok::<(), HandlerError>(()) }
        };
        let backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(10) };
        let processor =
            Processor::builder(queue.clone(), Arc::new(Client::new(settings(&url)).unwrap()), handler)
                .options(Options { backoff, ..Options::default() })
                .build()
                .unwrap();
        run_until_empty(&processor, &queue, Duration::from_secs(20)).await;
        assert!(handled.ids() == ids, "cut after {cut_after}");
        assert_eq!((processor.totals().messages_received, processor.totals().failures), (1, 0));
    }
}

#[tokio::test]
async fn a_buckets_region_is_taken_from_the_answer() {
    use cairn_processing::{GetRequest, ListRequest, ObjectSource};
    use futures::StreamExt;

    let moved = "<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>";
    let listed = "<ListBucketResult><Contents><Key>a&amp;b</Key></Contents><Contents><Key>c</Key></Contents></ListBucketResult>";
    let script = Script::start(vec![
        (301, vec![("x-amz-bucket-region", "us-east-2".to_owned())], Bytes::from(moved)),
        (
            200,
            vec![("etag", "\"e\"".to_owned()), ("x-amz-meta-signature", "ab".to_owned())],
            Bytes::from("body"),
        ),
        (200, vec![], Bytes::from(listed)),
        (404, vec![], Bytes::from("<Error><Code>NoSuchKey</Code><Message>m</Message></Error>")),
    ])
    .await;
    let client = script.client();
    let mut object = client.get(GetRequest::new("logs", "a b+c")).await.unwrap();
    assert_eq!((object.etag.as_deref(), object.metadata["signature"].as_str()), (Some("\"e\""), "ab"));
    assert_eq!(object.body.next().await.unwrap().unwrap(), "body");
    assert_eq!(client.list(ListRequest::new("logs", "a/", "a/é")).await.unwrap(), ["a&b", "c"]);
    let error = client.get(GetRequest::new("logs", "x")).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Some("NoSuchKey"), false));
    let came = script.came();
    let lines: Vec<&str> = came.iter().map(|came| came.line.as_str()).collect();
    let list = "GET /logs/?list-type=2&prefix=a%2F&start-after=a%2F%C3%A9";
    assert_eq!(lines, ["GET /logs/a%20b%2Bc", "GET /logs/a%20b%2Bc", list, "GET /logs/x"]);
    let region = |came: &Came| {
        let authorization = came.headers["authorization"].to_str().unwrap();
        authorization.split('/').nth(2).unwrap().to_owned()
    };
    assert_eq!(
        came.iter().map(region).collect::<Vec<_>>(),
        ["eu-west-1", "us-east-2", "us-east-2", "us-east-2"]
    );
}

#[tokio::test]
async fn public_keys_are_looked_for_on_every_page() {
    let script = Script::start(vec![
        json(r#"{"PublicKeyList":[{"Value":"AQID","Fingerprint":"a"}],"NextToken":"n"}"#),
        json(r#"{"PublicKeyList":[{"Value":"BAUG","Fingerprint":"b"}]}"#),
        json(r#"{"PublicKeyList":[]}"#),
    ])
    .await;
    let client = script.client();
    let time = Timestamp::from_seconds(1_795_195_466);
    assert_eq!(client.public_key("b", time).await.unwrap(), Some(vec![4, 5, 6]));
    assert_eq!(client.public_key("b", time).await.unwrap(), None);
    let came = script.came();
    assert_eq!(came[1].body["NextToken"], "n");
    assert_eq!(came[2].body, serde_json::json!({"StartTime": 1_795_195_466, "EndTime": 1_795_195_466}));
}

#[tokio::test]
async fn an_instances_credentials_are_fetched_with_a_session_and_kept() {
    let document = r#"{"Code":"Success","AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}"#;
    let script = Script::start(vec![json("session"), json("role\n"), json(document)]).await;
    let instance = InstanceCredentials::at(script.url.clone());
    for _ in 0..2 {
        let credentials = instance.credentials().await.unwrap();
        assert_eq!(credentials.expires_at(), Timestamp::parse_iso("2999-01-01T00:00:00Z"));
    }
    let came = script.came();
    let lines: Vec<&str> = came.iter().map(|came| came.line.as_str()).collect();
    let roles = "GET /latest/meta-data/iam/security-credentials/";
    assert_eq!(lines, ["PUT /latest/api/token", roles, &format!("{roles}role")]);
    assert_eq!(came[2].headers["x-aws-ec2-metadata-token"], "session");
}
