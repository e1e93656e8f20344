//! Which call a request is.

use super::*;

/// `service operation params` of the call, or `code status service operation` of the rejection.
fn check(service: &str, request: &str, expected: &str) {
    let found = match Sent::new(service, request).call() {
        Ok((call, exchange)) => {
            assert_eq!(exchange.operation(), Some(&*call.operation));
            format!("{} {} {}", call.service, call.operation, call.params)
        }
        Err(rejection) => {
            let exchange = &rejection.exchange;
            let (service, operation) =
                (exchange.service().unwrap_or("-"), exchange.operation().unwrap_or("-"));
            format!("{} {} {service} {operation}", rejection.error.code, rejection.error.status)
        }
    };
    assert_eq!(found, expected, "{request}");
}

const JSON: &str = "content-type: application/x-amz-json-1.1";
const FORM: &str = "content-type: application/x-www-form-urlencoded; charset=utf-8";
const TARGET: &str = "x-amz-target: com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101";

#[test]
fn json_calls_are_named_by_their_target() {
    check(
        "cloudtrail",
        &format!(
            "POST /\n{JSON}\n{TARGET}.LookupEvents\n\n{{\"StartTime\":1.5,\"MaxResults\":5,\"x\":1,\"EndTime\":null}}"
        ),
        r#"cloudtrail LookupEvents {"StartTime":1.5,"MaxResults":5}"#,
    );
    check(
        "cloudtrail",
        "POST /\nx-amz-target: CloudTrail_20131101.ListTrails\n\n",
        "cloudtrail ListTrails {}",
    );
    check("", &format!("POST /\n{TARGET}.ListTrails\n\n{{}}"), "cloudtrail ListTrails {}");
    check(
        "cloudtrail",
        &format!("POST /\n{TARGET}.NoSuch\n\n{{}}"),
        "UnknownOperationException 400 cloudtrail NoSuch",
    );
    check(
        "cloudtrail",
        "POST /\nx-amz-target: X.ListTrails\n\n{}",
        "UnknownOperationException 400 cloudtrail ListTrails",
    );
    check(
        "cloudtrail",
        "POST /\nx-amz-target: ListTrails\n\n{}",
        "UnknownOperationException 400 cloudtrail ListTrails",
    );
    check("cloudtrail", "POST /\n\n{}", "UnknownOperationException 400 cloudtrail -");
    check(
        "cloudtrail",
        &format!("POST /\ncontent-type: text/plain\n{TARGET}.ListTrails\n\n{{}}"),
        "UnsupportedMediaTypeException 415 cloudtrail ListTrails",
    );
}

#[test]
fn a_signature_for_one_service_is_no_good_for_another() {
    check(
        "kms",
        &format!("POST /\n{JSON}\n{TARGET}.DeleteTrail\n\n{{}}"),
        "InvalidSignatureException 403 kms DeleteTrail",
    );
    // A presigned S3 request stays one, whatever unsigned headers are added to it.
    check(
        "s3",
        &format!("GET /b/k\n{JSON}\n{TARGET}.DeleteTrail\n\n"),
        r#"s3 GetObject {"Bucket":"b","Key":"k"}"#,
    );
    check(
        "s3",
        &format!("GET /b/k?Action=DeleteUser&Version=2010-05-08\n{FORM}\n\n"),
        r#"s3 GetObject {"Bucket":"b","Key":"k"}"#,
    );
    check("no-such-service", "GET /", "UnknownOperationException 404 - -");
}

#[test]
fn query_calls_are_named_by_their_action() {
    check(
        "iam",
        &format!(
            "POST /\n{FORM}\n\nAction=CreateUser&Version=2010-05-08&UserName=a+b&Tags.member.2.Key=k2&Tags.member.1.Key=k1&Tags.member.1.Value="
        ),
        r#"iam CreateUser {"UserName":"a b","Tags":[{"Key":"k1","Value":""},{"Key":"k2"}]}"#,
    );
    check("sts", "GET /?Action=GetCallerIdentity&Version=2011-06-15", "sts GetCallerIdentity {}");
    check(
        "elasticloadbalancing",
        "GET /?Action=DescribeLoadBalancers&Version=2015-12-01",
        "elbv2 DescribeLoadBalancers {}",
    );
    check(
        "elasticloadbalancing",
        &format!("POST /\n{FORM}\n\nAction=DescribeLoadBalancers&Version=2012-06-01"),
        "elb DescribeLoadBalancers {}",
    );
    check(
        "",
        &format!(
            "POST /\nhost: localhost:4566\n{FORM}\n\nAction=AssumeRoleWithSAML&Version=2011-06-15&RoleArn=r"
        ),
        r#"sts AssumeRoleWithSAML {"RoleArn":"r"}"#,
    );
    check(
        "",
        "GET /?Action=ConfirmSubscription&TopicArn=t&Token=x&Version=2010-03-31",
        r#"sns ConfirmSubscription {"TopicArn":"t","Token":"x"}"#,
    );
    check(
        "iam",
        &format!("POST /\n{FORM}\n\nAction=NoSuch&Version=2010-05-08"),
        "InvalidAction 400 iam NoSuch",
    );
    check("iam", &format!("POST /\n{FORM}\n\nUserName=x"), "MissingAction 400 iam -");
    check("iam", "POST /\ncontent-type: application/json\n\nAction=ListUsers", "MissingAction 400 iam -");
    check(
        "iam",
        &format!("POST /\n{FORM}\n\nAction=ListUsers&MaxItems=x"),
        "MalformedInput 400 iam ListUsers",
    );
}

#[test]
fn s3_requests_of_both_styles_are_the_same_call() {
    let expected = r#"s3 GetObject {"Bucket":"b","Key":"a/b c+d","VersionId":"v"}"#;
    check("s3", "GET /b/a/b%20c+d?versionId=v\nhost: localhost:4566", expected);
    check("s3", "GET /a/b%20c+d?versionId=v\nhost: b.localhost:4566", expected);
    check("s3", "GET /a/b%20c+d?versionId=v\nhost: b.s3.example.com", expected);
    check("s3", "GET /\nhost: b.localhost", r#"s3 ListObjects {"Bucket":"b"}"#);
    check(
        "s3",
        "GET /?list-type=2&max-keys=3\nhost: b.localhost",
        r#"s3 ListObjectsV2 {"Bucket":"b","MaxKeys":3}"#,
    );
    check("s3", "PUT /\nhost: b.localhost", r#"s3 CreateBucket {"Bucket":"b"}"#);
    check("", "GET /b/k\nhost: 127.0.0.1:4566", r#"s3 GetObject {"Bucket":"b","Key":"k"}"#);
    check("", "GET /\nhost: 127.0.0.1:4566", "s3 ListBuckets {}");
    let form = format!("PUT /b/k\nhost: 127.0.0.1:4566\n{FORM}");
    let content_type = "application/x-www-form-urlencoded; charset=utf-8";
    check("", &form, &format!(r#"s3 PutObject {{"Bucket":"b","ContentType":"{content_type}","Key":"k"}}"#));
    check("s3", "POST /b/k", "MethodNotAllowed 405 s3 -");
    check("s3", "GET /b?max-keys=x", "InvalidArgument 400 s3 ListObjects");
}

#[test]
fn s3_bodies_and_headers_become_members() {
    check(
        "s3",
        "PUT /b?policy\n\n{\"Version\":\"2012-10-17\"}",
        r#"s3 PutBucketPolicy {"Bucket":"b","Policy":"{\"Version\":\"2012-10-17\"}"}"#,
    );
    check(
        "s3",
        "PUT /b\n\n<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
        r#"s3 CreateBucket {"Bucket":"b","CreateBucketConfiguration":{"LocationConstraint":"eu-west-1"}}"#,
    );
    check(
        "s3",
        "POST /b/k?uploadId=u\n\n<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&quot;e&quot;</ETag></Part></CompleteMultipartUpload>",
        r#"s3 CompleteMultipartUpload {"Bucket":"b","Key":"k","UploadId":"u","MultipartUpload":{"Parts":[{"ETag":"\"e\"","PartNumber":1}]}}"#,
    );
    check(
        "s3",
        "PUT /b/k\ncontent-encoding: aws-chunked,gzip\nx-amz-decoded-content-length: 5\nx-amz-meta-a: 1\nx-amz-meta-b: 2\nexpires: never\n\nhello",
        r#"s3 PutObject {"Bucket":"b","ContentEncoding":"gzip","ContentLength":5,"Key":"k","Metadata":{"a":"1","b":"2"}}"#,
    );
    check(
        "s3",
        "PUT /b?versioning\n\n<VersioningConfiguration><Status>",
        "MalformedXML 400 s3 PutBucketVersioning",
    );
    check("s3", "PUT /b?versioning\n\n<Other/>", "MalformedXML 400 s3 PutBucketVersioning");
}

#[test]
fn facts_of_the_request_leave_out_the_signature() {
    let sent = Sent::new(
        "s3",
        "GET /b/k?X-Amz-Signature=s&X-Amz-Credential=c&versionId=v&x-amz-acl=private\nHost: LOCALHOST:1\nUser-Agent: me\nRange: bytes=0-1\nAuthorization: secret\nx-amz-security-token: secret",
    );
    let facts = sent.call().unwrap().0.request;
    assert_eq!((&*facts.host, facts.user_agent.as_deref()), ("localhost:1", Some("me")));
    assert_eq!(facts.query, [("versionId".into(), "v".into()), ("x-amz-acl".into(), "private".into())]);
    assert_eq!(facts.headers, [("range".into(), "bytes=0-1".into()), ("x-amz-acl".into(), "private".into())]);
}

#[test]
fn only_streams_of_s3_are_read_as_streams() {
    let need = |service, request| {
        let sent = Sent::new(service, request);
        front().open(&sent.parts, Some(Signing { service, region: "r" })).unwrap().body()
    };
    let buffered = BodyNeed::Buffered { limit_bytes: LIMIT_BYTES };
    assert_eq!(need("s3", "PUT /b/k"), BodyNeed::Streaming);
    assert_eq!(need("s3", "PUT /b/k?partNumber=1&uploadId=u"), BodyNeed::Streaming);
    assert_eq!(need("s3", "PUT /b/k?tagging"), buffered);
    assert_eq!(need("s3", "GET /b/k"), buffered);
    assert_eq!(need("lambda", "POST /2015-03-31/functions/f/invocations"), buffered);
}

#[test]
fn sqs_is_also_spoken_to_in_forms_and_at_its_queues_urls() {
    let send = "Action=SendMessage&MessageBody=b&MessageAttribute.1.Name=a&MessageAttribute.1.Value.DataType=String\
                &MessageAttribute.1.Value.StringValue=v";
    let message = r#""MessageBody":"b","MessageAttributes":{"a":{"StringValue":"v","DataType":"String"}}"#;
    check(
        "sqs",
        &format!("POST /111122223333/q\n{FORM}\nhost: h:1\n\n{send}&Version=2012-11-05"),
        &format!(r#"sqs SendMessage {{{message},"QueueUrl":"http://h:1/111122223333/q"}}"#),
    );
    check(
        "sqs",
        &format!("POST /\n{FORM}\n\n{send}&QueueUrl=u"),
        &format!(r#"sqs SendMessage {{"QueueUrl":"u",{message}}}"#),
    );
    check(
        "",
        &format!("POST /111122223333/q\n{FORM}\nhost: h\n\nAction=ReceiveMessage&AttributeName.1=All"),
        r#"sqs ReceiveMessage {"AttributeNames":["All"],"QueueUrl":"http://h/111122223333/q"}"#,
    );
    check(
        "sqs",
        "GET /?Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=1&Tag.1.Key=k&Tag.1.Value=v",
        r#"sqs CreateQueue {"QueueName":"q","Attributes":{"DelaySeconds":"1"},"tags":{"k":"v"}}"#,
    );
    check(
        "sqs",
        &format!(
            "POST /\n{FORM}\n\nAction=SendMessageBatch&QueueUrl=u&SendMessageBatchRequestEntry.1.Id=1\
             &SendMessageBatchRequestEntry.1.MessageBody=b"
        ),
        r#"sqs SendMessageBatch {"QueueUrl":"u","Entries":[{"Id":"1","MessageBody":"b"}]}"#,
    );
    check(
        "sqs",
        &format!(
            "POST /111122223333/q\n{JSON}\nx-amz-target: AmazonSQS.ReceiveMessage\n\n{{\"QueueUrl\":\"u\"}}"
        ),
        r#"sqs ReceiveMessage {"QueueUrl":"u"}"#,
    );
}

#[test]
fn compressed_bodies_are_unpacked_up_to_the_limit() {
    let gzip = |text: &str| {
        let mut packed = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut packed, &mut bytes).unwrap();
        Bytes::from(bytes)
    };
    let found = |body: Bytes| {
        let head = format!("POST /\n{JSON}\n{TARGET}.LookupEvents\ncontent-encoding: gzip\n\n");
        let sent = Sent { body, ..Sent::new("cloudtrail", &head) };
        match sent.call() {
            Ok((call, _)) => call.params.to_string(),
            Err(rejection) => rejection.error.to_string(),
        }
    };
    let call = r#"{"MaxResults":5}"#;
    assert_eq!(found(gzip(call)), call);
    assert!(found(Bytes::from_static(call.as_bytes())).starts_with("SerializationException"));
    assert!(found(gzip(call).slice(..20)).starts_with("SerializationException"));
    let large = format!(r#"{{"NextToken":"{}"}}"#, "x".repeat(LIMIT_BYTES));
    assert!(found(gzip(&large)).starts_with("RequestEntityTooLarge"));
}
