//! What replies and errors look like.

use serde_json::json;

use super::*;
use crate::{Event, Events, Reply};

fn exchange(service: &str, request: &str) -> Exchange {
    match Sent::new(service, request).call() {
        Ok((_, exchange)) => exchange,
        Err(rejection) => rejection.exchange,
    }
}

fn reply(service: &str, request: &str, result: serde_json::Value, expected: &str) {
    let reply = Reply { result, ..Reply::default() };
    assert_eq!(text(exchange(service, request).encode(reply, &request_id())), expected, "{request}");
}

fn error(service: &str, request: &str, error: &AwsError, expected: &str) {
    assert_eq!(
        text(exchange(service, request).encode_error(error, &request_id(), "/b/k")),
        expected,
        "{request}"
    );
}

fn s3_ids() -> String {
    let id = Exchange::host_id_text(&request_id());
    assert_eq!(id.len(), 64);
    format!("x-amz-request-id: 0123ABCD45674890\nx-amz-id-2: {id}\n")
}

const ID: &str = "x-amzn-requestid: 0123abcd-4567-4890-abcd-ef0123456789\n";
const LIST_TRAILS: &str = "POST /\nx-amz-target: CloudTrail_20131101.ListTrails\n\n{}";
const LIST_USERS: &str =
    "POST /\ncontent-type: application/x-www-form-urlencoded\n\nAction=ListUsers&Version=2010-05-08";

#[test]
fn json_replies_and_errors_are_compact() {
    reply(
        "cloudtrail",
        LIST_TRAILS,
        json!({"Trails": [{"Name": "t", "HomeRegion": null}], "Unknown": 1}),
        &format!(
            "200\n{ID}content-type: application/x-amz-json-1.1\ncontent-length: 25\n\n{{\"Trails\":[{{\"Name\":\"t\"}}]}}"
        ),
    );
    reply(
        "cloudtrail",
        LIST_TRAILS,
        serde_json::Value::Null,
        &format!("200\n{ID}content-type: application/x-amz-json-1.1\ncontent-length: 2\n\n{{}}"),
    );
    error(
        "cloudtrail",
        LIST_TRAILS,
        &AwsError::invalid("TrailNotFoundException", "Unknown trail: t"),
        &format!(
            "400\n{ID}content-type: application/x-amz-json-1.1\ncontent-length: 64\n\n{{\"__type\":\"TrailNotFoundException\",\"message\":\"Unknown trail: t\"}}"
        ),
    );
}

#[test]
fn query_replies_and_errors_are_wrapped() {
    reply(
        "iam",
        LIST_USERS,
        json!({"Users": [{"UserName": "a<b", "CreateDate": 1_795_281_866}], "IsTruncated": false}),
        &format!(
            "200\n{ID}content-type: text/xml\ncontent-length: 356\n\n\
             <ListUsersResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ListUsersResult><Users><member>\
             <UserName>a&lt;b</UserName><CreateDate>2026-11-21T17:24:26Z</CreateDate></member></Users>\
             <IsTruncated>false</IsTruncated></ListUsersResult><ResponseMetadata>\
             <RequestId>0123abcd-4567-4890-abcd-ef0123456789</RequestId></ResponseMetadata></ListUsersResponse>"
        ),
    );
    error(
        "iam",
        LIST_USERS,
        &AwsError::invalid("NoSuchEntity", "none"),
        &format!(
            "404\n{ID}content-type: text/xml\ncontent-length: 222\n\n\
             <ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
             <Code>NoSuchEntity</Code><Message>none</Message></Error>\
             <RequestId>0123abcd-4567-4890-abcd-ef0123456789</RequestId></ErrorResponse>"
        ),
    );
}

#[test]
fn rest_json_errors_say_their_code_in_a_header() {
    error(
        "lambda",
        "GET /2015-03-31/functions/f",
        &AwsError::invalid("ResourceNotFoundException", "none"),
        &format!(
            "404\n{ID}x-amzn-errortype: ResourceNotFoundException\ncontent-type: application/json\ncontent-length: 18\n\n{{\"Message\":\"none\"}}"
        ),
    );
}

#[test]
fn s3_documents_have_their_own_roots_and_times_with_millis() {
    let ids = s3_ids();
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    let namespace = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    let document = format!(
        "{head}<ListBucketResult {namespace}><Contents><Key>k</Key>\
         <LastModified>2026-11-21T17:24:26.000Z</LastModified></Contents><Contents><Key>l</Key></Contents>\
         <KeyCount>2</KeyCount></ListBucketResult>"
    );
    reply(
        "s3",
        "GET /b?list-type=2",
        json!({"KeyCount": 2, "Contents": [{"Key": "k", "LastModified": 1_795_281_866}, {"Key": "l"}]}),
        &format!("200\n{ids}content-type: application/xml\ncontent-length: {}\n\n{document}", document.len()),
    );
    let document = format!("{head}<LocationConstraint {namespace}>eu-west-1</LocationConstraint>");
    reply(
        "s3",
        "GET /b?location",
        json!({"LocationConstraint": "eu-west-1"}),
        &format!("200\n{ids}content-type: application/xml\ncontent-length: {}\n\n{document}", document.len()),
    );
    reply(
        "s3",
        "GET /b?policy",
        json!({"Policy": "{}"}),
        &format!("200\n{ids}content-type: application/json\ncontent-length: 2\n\n{{}}"),
    );
}

#[test]
fn s3_errors_name_what_they_are_about() {
    let ids = s3_ids();
    let host_id = Exchange::host_id_text(&request_id());
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>none</Message><Key>k</Key>\
         <RequestId>0123ABCD45674890</RequestId><HostId>{host_id}</HostId></Error>"
    );
    error(
        "s3",
        "GET /b/k",
        &AwsError::with_status(404, "NoSuchKey", "none").with_member("Key", "k"),
        &format!("404\n{ids}content-type: application/xml\ncontent-length: {}\n\n{document}", document.len()),
    );
    let internal =
        text(exchange("s3", "GET /b/k").encode_error(&AwsError::internal("secret"), &request_id(), "/b/k"));
    assert!(internal.starts_with("500\n") && internal.contains("<Code>InternalError</Code>"), "{internal}");
    assert!(internal.contains("<Resource>/b/k</Resource>") && !internal.contains("secret"), "{internal}");
}

#[test]
fn replies_without_body_have_none() {
    let ids = s3_ids();
    reply(
        "s3",
        "HEAD /b/k",
        json!({"ContentLength": 5, "ETag": "\"e\"", "LastModified": 1_795_281_866, "Metadata": {"a": "é"}}),
        &format!(
            "200\n{ids}last-modified: Sat, 21 Nov 2026 17:24:26 GMT\ncontent-length: 5\netag: \"e\"\nx-amz-meta-a: é\n\n"
        ),
    );
    error(
        "s3",
        "HEAD /b/k",
        &AwsError::with_status(404, "NoSuchKey", "none"),
        &format!("404\n{ids}content-type: application/xml\n\n"),
    );
    error("s3", "GET /b/k", &AwsError::with_status(304, "NotModified", ""), &format!("304\n{ids}\n"));
    reply("s3", "DELETE /b/k", json!({"VersionId": "v"}), &format!("204\n{ids}x-amz-version-id: v\n\n"));
}

#[test]
fn objects_are_streamed_with_their_length_and_type() {
    let ids = s3_ids();
    let stream = |status, result| {
        let reply = Reply {
            result,
            status,
            body: Some(Body::from_bytes(Bytes::from_static(b"hello"))),
            ..Reply::default()
        };
        text(exchange("s3", "GET /b/k").encode(reply, &request_id()))
    };
    assert_eq!(
        stream(
            Some(206),
            json!({"ContentType": "text/plain", "ContentRange": "bytes 0-4/9", "ContentLength": 5})
        ),
        format!(
            "206\n{ids}content-length: 5\ncontent-range: bytes 0-4/9\ncontent-type: text/plain\n\nstream of Some(5)"
        )
    );
    assert_eq!(
        stream(None, json!({})),
        format!("200\n{ids}content-length: 5\ncontent-type: binary/octet-stream\n\nstream of Some(5)")
    );
}

#[test]
fn what_is_not_built_here_answers_each_protocols_error() {
    let code = |service, request| {
        let error = exchange(service, request).unsupported();
        format!("{} {}", error.status, error.code)
    };
    assert_eq!(code("cloudtrail", LIST_TRAILS), "400 UnsupportedOperationException");
    assert_eq!(code("iam", LIST_USERS), "400 InvalidAction");
    assert_eq!(code("s3", "GET /b?cors"), "501 NotImplemented");
    assert_eq!(code("lambda", "GET /2015-03-31/functions/f"), "400 UnsupportedOperationException");
    assert_eq!(exchange("s3", "PUT /b?tagging").too_large().code, "MaxMessageLengthExceeded");
    assert_eq!(exchange("cloudtrail", LIST_TRAILS).too_large().status, 413);
}

#[test]
fn sqs_answers_in_the_protocol_that_it_was_asked_in() {
    let json = "POST /\nx-amz-target: AmazonSQS.ReceiveMessage\n\n{}";
    let form = "POST /\ncontent-type: application/x-www-form-urlencoded\n\nAction=ReceiveMessage";
    let message = json!({"Body": "b", "Attributes": {"SenderId": "s"}, "MessageAttributes": {"a": {"DataType": "String",
        "StringValue": "v"}}});
    let xml = "<ReceiveMessageResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><ReceiveMessageResult>\
               <Message><Body>b</Body><Attribute><Name>SenderId</Name><Value>s</Value></Attribute>\
               <MessageAttribute><Name>a</Name><Value><StringValue>v</StringValue><DataType>String</DataType></Value>\
               </MessageAttribute></Message></ReceiveMessageResult><ResponseMetadata>\
               <RequestId>0123abcd-4567-4890-abcd-ef0123456789</RequestId></ResponseMetadata></ReceiveMessageResponse>";
    reply(
        "sqs",
        form,
        json!({ "Messages": [message] }),
        &format!("200\n{ID}content-type: text/xml\ncontent-length: {}\n\n{xml}", xml.len()),
    );
    let missing = AwsError::invalid("QueueDoesNotExist", "The specified queue does not exist.");
    let body = r#"{"__type":"QueueDoesNotExist","message":"The specified queue does not exist."}"#;
    error(
        "sqs",
        json,
        &missing,
        &format!(
            "400\n{ID}x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender\ncontent-type: \
             application/x-amz-json-1.0\ncontent-length: {}\n\n{body}",
            body.len()
        ),
    );
    let xml = "<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>Sender</Type>\
               <Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for this \
               wsdl version.</Message><Detail></Detail></Error><RequestId>0123abcd-4567-4890-abcd-ef0123456789\
               </RequestId></ErrorResponse>";
    error(
        "sqs",
        form,
        &missing,
        &format!("400\n{ID}content-type: text/xml\ncontent-length: {}\n\n{xml}", xml.len()),
    );
}

/// Gives what it holds, the last first.
struct Given(Vec<Result<Event, AwsError>>);

#[async_trait::async_trait]
impl Events for Given {
    async fn next(&mut self) -> Option<Result<Event, AwsError>> {
        self.0.pop()
    }
}

/// The payloads of a body's frames, each after what its headers say in their order.
fn frames(response: http::Response<ReplyBody>) -> Vec<String> {
    let ReplyBody::Stream(mut body) = response.into_parts().1 else { panic!("the reply has ended") };
    let (runtime, mut said) = (tokio::runtime::Builder::new_current_thread().build().unwrap(), Vec::new());
    while let Some(frame) = runtime.block_on(body.next()) {
        let frame = frame.unwrap();
        let headers_end = 12 + u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
        let (mut headers, mut texts) = (&frame[12..headers_end], Vec::new());
        while !headers.is_empty() {
            let name_end = 1 + usize::from(headers[0]);
            let value = name_end + 3;
            let length = usize::from(u16::from_be_bytes([headers[name_end + 1], headers[name_end + 2]]));
            texts.push(String::from_utf8_lossy(&headers[value..value + length]).into_owned());
            headers = &headers[value + length..];
        }
        let payload = String::from_utf8_lossy(&frame[headers_end..frame.len() - 4]);
        said.push(format!("{} {payload}", texts.join(" ")));
    }
    said
}

#[test]
fn events_are_framed_one_after_the_other_and_end_with_their_exception() {
    let request = "POST /\nx-amz-target: Logs_20140328.StartLiveTail\n\n{\"logGroupIdentifiers\":[\"a\"]}";
    let update = json!({"sessionResults": [{"message": "m", "timestamp": 5}], "unknown": 1});
    let tail = |last| {
        let events = Given(vec![Err(last), Ok(Event { name: "sessionUpdate", value: update.clone() })]);
        let reply = Reply { events: Some(Box::new(events)), ..Reply::default() };
        let response = exchange("logs", request).encode(reply, &request_id());
        assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
        frames(response)
    };
    let json = "application/x-amz-json-1.1";
    let begun = [
        format!("event initial-response {json} {{}}"),
        format!("event sessionUpdate {json} {{\"sessionResults\":[{{\"message\":\"m\",\"timestamp\":5}}]}}"),
    ];
    let ended = tail(AwsError::invalid("SessionTimeoutException", "over"));
    assert_eq!(ended[..2], begun);
    assert_eq!(ended[2..], [format!("exception SessionTimeoutException {json} {{\"message\":\"over\"}}")]);
    let failed = tail(AwsError::invalid("Unheard", "of"));
    assert_eq!(failed[2..], ["error Unheard of ".to_owned()]);
}
