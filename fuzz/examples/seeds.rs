//! Writes the seeds: `cargo run -p cairn-fuzz --example seeds`, in this crate's folder. The digest's key is made anew
//! and forgotten; its public half goes to `keys`.

use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use bytes::Bytes;
use cairn_core::Timestamp;
use cairn_core::digest::{Digest, DigestFrame, DigestKey, DigestedFile, RsaSigner, Signer};
use cairn_core::logfile::sha256_hex;
use cairn_fuzz::chunked::{MODES, PAYLOAD, request};
use cairn_fuzz::decode::SERVICES;
use cairn_store::log::{LogSettings, SegmentLog};
use cairn_store::{Entry, EntryKind, EventLog};
use cairn_wire::model::Models;
use prometheus::Registry;

const EVENT: &str = r#"{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA:bob","arn":"arn:aws:sts::123456789012:assumed-role/Admin/bob","accountId":"123456789012"},"eventTime":"2026-07-10T12:00:23Z","eventSource":"s3.amazonaws.com","eventName":"PutObject","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.7","userAgent":"x","requestParameters":{"bucketName":"one","key":"\u00e9"},"responseElements":null,"eventID":"68c99c97-c191-4329-b210-82ca8631066d","readOnly":false,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::one/k"},{"accountId":"123456789012","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::one"}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"123456789012","eventCategory":"Data"}"#;
const CREATE_TRAIL: &str = r#"{"eventTime":"2026-07-10T12:00:23Z","eventID":"68c99c97-c191-4329-b210-82ca8631066e","eventSource":"cloudtrail.amazonaws.com","eventName":"CreateTrail","awsRegion":"us-east-1","userIdentity":{"type":"IAMUser","accountId":"123456789012","userName":"alice"},"requestParameters":{"name":"t","s3BucketName":"b"},"responseElements":{"trailARN":"arn:aws:cloudtrail:us-east-1:123456789012:trail/t"},"readOnly":false,"managementEvent":true}"#;

fn write(target: &str, name: &str, content: impl AsRef<[u8]>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be written");
    fs::write(folder.join(name), content).expect("the corpus can be written");
}

fn main() {
    decode();
    sigv4();
    chunked();
    log();
    digest();
    texts();
    filter_patterns();
    filter_policies();
}

/// An input of `decode`: the operation's head made, with `lines`, or written out.
fn decode_input(service: Option<&str>, operation: &str, rest: &[u8]) -> Vec<u8> {
    let at = SERVICES.iter().position(|(name, _)| *name == service).expect("a service of the target");
    let choice = u8::try_from(at).expect("few services");
    let name = service.unwrap_or("s3");
    let models = Models::embedded();
    let model = models.service(name).unwrap_or_else(|| models.by_signing_name(name)[0]);
    let operation = model.operations().iter().position(|known| &*known.name == operation);
    let head = match operation.and_then(|at| u16::try_from(at).ok()) {
        Some(at) => [choice, at.to_le_bytes()[0], at.to_le_bytes()[1]],
        None => [choice | 0x80, 0, 0],
    };
    [&head, rest].concat()
}

fn decode() {
    let seeds: [(&str, Option<&str>, &str, &[u8]); 16] = [
        ("json", Some("cloudtrail"), "PutEventSelectors", br#"{"TrailName":"t","EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}]}"#),
        ("json-times", Some("cloudtrail"), "LookupEvents", br#"{"StartTime":1.7e9,"EndTime":1700000000.5,"MaxResults":5.0}"#),
        ("json-document", Some("dynamodb"), "PutItem", br#"{"TableName":"t","Item":{"a":{"S":"x"},"b":{"B":"aGk="},"c":{"L":[{"N":"1"},{"M":{}}]}}}"#),
        ("cbor", Some("monitoring"), "PutMetricData", b"\xa2\x69Namespace\x61n\x6aMetricData\x81\xa3\x6aMetricName\x61m\x65Value\xfb\x3f\xf0\0\0\0\0\0\0\x69Timestamp\xc1\x1a\x65\x53\xf1\0"),
        ("cbor-open", Some("monitoring"), "PutMetricData", b"\xbf\x69Namespace\x7f\x61n\x61m\xff\x6aMetricData\x9f\xff\xff"),
        ("query", Some("iam"), "CreateUser", b"UserName=u&Tags.member.1.Key=k&Tags.member.1.Value=%C3%A9&Path=%2f"),
        ("query-sts", Some("sts"), "GetSessionToken", b"DurationSeconds=900"),
        ("ec2", Some("ec2"), "RunInstances", b"ImageId=ami-1&MinCount=1&MaxCount=2&TagSpecification.1.Tag.1.Key=k&UserData=aGk="),
        ("rest-json", Some("lambda"), "CreateFunction", b"?a=b\nx-amz-meta-a: b\n\n{\"FunctionName\":\"f\",\"Role\":\"r\",\"Code\":{\"ZipFile\":\"aGk=\"},\"Environment\":{\"Variables\":{\"a\":\"b\"}}}"),
        ("rest-xml", Some("s3"), "DeleteObjects", b"?x-id=DeleteObjects\ncontent-md5: DKUvxWSdTXANBpFR0qdexw==\n\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a&amp;b</Key></Object><Quiet>true</Quiet></Delete>"),
        ("rest-xml-lifecycle", Some("s3"), "PutBucketLifecycleConfiguration", b"<LifecycleConfiguration><Rule><ID>1</ID><Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"),
        ("rest-xml-route53", Some("route53"), "CreateHostedZone", b"<CreateHostedZoneRequest><Name>a.</Name><CallerReference>r</CallerReference></CreateHostedZoneRequest>"),
        ("rest-stream", Some("s3"), "PutObject", b"x-amz-meta-a: b\nexpires: Wed, 21 Oct 2026 07:28:00 GMT\n\nbytes"),
        ("written-out-s3", Some("s3"), "", b"GET /b/%C3%A9?versionId=1&prefix=%2F\nhost: b.localhost\nrange: bytes=0-1\nif-modified-since: Wed, 21 Oct 2026 07:28:00 GMT\n\n"),
        ("written-out-unsigned", None, "", b"POST /?Action=AssumeRoleWithWebIdentity\nhost: sts.us-east-1.amazonaws.com\n\nRoleArn=r"),
        ("unsigned", None, "GetObject", b"?response-content-type=a\n\n"),
    ];
    for (name, service, operation, rest) in seeds {
        write("decode", name, decode_input(service, operation, rest));
    }
}

fn sigv4() {
    let scope = "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    write(
        "sigv4",
        "header",
        format!(
            "GET /test.txt\nhost: examplebucket.s3.amazonaws.com\nrange: bytes=0-9\nx-amz-date: 20130524T000000Z\nx-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nauthorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature={signature}"
        ),
    );
    write(
        "sigv4",
        "query",
        format!(
            "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-{}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}\nhost: localhost",
            scope.replace('/', "%2F")
        ),
    );
    write(
        "sigv4",
        "version-2",
        "GET /b/k?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1369353600&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&response-content-type=a\nhost: localhost\ncontent-md5: x\nx-amz-meta-a: b",
    );
    write(
        "sigv4",
        "unsigned",
        "PUT /b/%C3%A9%20a//../c?b=2&a=%2B&a&=\nhost: localhost:4566\nx-amz-meta-a:   two  words \ncontent-type: text/plain",
    );
    write(
        "sigv4",
        "token",
        format!(
            "POST /\nhost: localhost\ndate: Fri, 24 May 2013 00:00:00 GMT\nx-amz-security-token: t\nauthorization: AWS4-HMAC-SHA256 {scope},SignedHeaders=host;x-amz-date,Signature={signature}"
        ),
    );
}

fn hmac_hex(key: &hmac::Key, text: &str) -> String {
    hex::encode(hmac::sign(key, text.as_bytes()))
}

/// The raw body of `mode`, signed where it is.
fn frames(mode: &'static str) -> Vec<u8> {
    let parts = request(mode);
    let authorization = parts.headers["authorization"].to_str().expect("ASCII");
    let mut previous = authorization.rsplit('=').next().expect("a signature").to_owned();
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
    for part in ["20130524", "us-east-1", "s3", "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    let scope = "20130524T000000Z\n20130524/us-east-1/s3/aws4_request";
    let (is_signed, has_trailer) = (mode != MODES[0], mode.ends_with("TRAILER"));
    let mut raw = Vec::new();
    for chunk in [&PAYLOAD[..7], &PAYLOAD[7..], b""] {
        raw.extend(format!("{:x}", chunk.len()).into_bytes());
        if is_signed {
            let (empty, hash) = (sha256_hex(b""), sha256_hex(chunk));
            let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{scope}\n{previous}\n{empty}\n{hash}");
            previous = hmac_hex(&key, &text);
            raw.extend(format!(";chunk-signature={previous}").into_bytes());
        }
        raw.extend([b"\r\n", chunk].concat());
        if !chunk.is_empty() {
            raw.extend(b"\r\n");
        }
    }
    if has_trailer {
        let trailer = "x-amz-checksum-crc32:XT19kg==";
        raw.extend(format!("{trailer}\r\n").into_bytes());
        if is_signed {
            let hash = sha256_hex(format!("{trailer}\n").as_bytes());
            let text = format!("AWS4-HMAC-SHA256-TRAILER\n{scope}\n{previous}\n{hash}");
            raw.extend(format!("x-amz-trailer-signature:{}\r\n", hmac_hex(&key, &text)).into_bytes());
        }
    }
    raw.extend(b"\r\n");
    raw
}

fn chunked() {
    for (at, mode) in (0_u8..).zip(MODES) {
        write("chunked", mode, [&[at, 6, 40], frames(mode).as_slice()].concat());
    }
}

fn log() {
    let settings =
        || LogSettings { segment_size_bytes: 1024, entry_size_bytes_max: 2048, recent_size_bytes_max: 512 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (name, appends, flags) in [("one-segment", 2, 0), ("three-segments", 11, 2), ("made-right", 7, 0x81)]
    {
        let dir = tempfile::tempdir().expect("a folder");
        let log = SegmentLog::open(dir.path(), settings(), &Registry::new()).expect("an empty log opens");
        for number in 0..appends {
            let entry = |kind| Entry {
                kind,
                recorded_at: Timestamp::from_millis(1_795_000_000_000),
                payload: Bytes::from(format!("{{\"entry\":\"number {number} of {name}\"}}")),
            };
            let entries = vec![entry(EntryKind::Intent), entry(EntryKind::Event), entry(EntryKind::Ingested)];
            runtime.block_on(log.append(entries)).expect("the log takes entries");
        }
        drop(log);
        let mut paths: Vec<_> = fs::read_dir(dir.path())
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        paths.sort();
        let mut input = vec![flags];
        for path in paths {
            let base: u64 =
                path.file_stem().and_then(|name| name.to_str()).expect("a name").parse().expect("a number");
            let mut bytes = fs::read(&path).expect("the segment is there");
            bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
            input.push(u8::try_from(base).expect("few entries"));
            input.extend(u16::try_from(bytes.len()).expect("a small segment").to_le_bytes());
            input.extend(bytes);
        }
        write("log", name, input);
    }
}

fn digest() {
    let der: Pkcs8V1Der<'static> =
        KeyPair::generate(KeySize::Rsa2048).and_then(|pair| pair.as_der()).expect("a key");
    let signer = RsaSigner::from_pkcs8(der.as_ref()).expect("a key");
    let public = Path::new(env!("CARGO_MANIFEST_DIR")).join("keys/digest.der");
    fs::write(public, signer.public_key_der()).expect("the key can be written");
    let time = |text: &str| Timestamp::parse_iso(text).expect("a time");
    let mut lines: Vec<String> = Vec::new();
    let mut previous = None;
    for (start, end) in
        [("2026-08-17T01:00:00Z", "2026-08-17T02:00:00Z"), ("2026-08-17T02:00:00Z", "2026-08-17T03:00:00Z")]
    {
        let key = DigestKey {
            prefix: Some("p".into()),
            organization: None,
            account: "123456789012".parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
            trail_name: "t".into(),
            home_region: "us-east-1".parse().expect("a region"),
            end: time(end),
        };
        let frame = DigestFrame {
            account: key.account.clone(),
            start: time(start),
            end: time(end),
            bucket: "b".into(),
            object: key.to_string(),
            previous: previous.take(),
        };
        let file = DigestedFile {
            s3_bucket: "b".into(),
            s3_object: "p/AWSLogs/123456789012/CloudTrail/us-east-1/2026/08/17/123456789012_CloudTrail_us-east-1_20260817T0105Z_0123456789abcdef.json.gz".into(),
            hash_value: sha256_hex(b"file"),
            hash_algorithm: "SHA-256".into(),
            newest_event_time: time(start),
            oldest_event_time: time(start),
        };
        let object = file.s3_object.clone();
        let signed =
            Digest::new(frame, vec![file], signer.fingerprint()).sign(&signer).expect("the key signs");
        if lines.is_empty() {
            lines.push(signed.link.signature.clone());
        }
        lines.push(String::from_utf8(signed.json).expect("JSON is text"));
        if lines.len() == 2 {
            write("digest", "one", lines.join("\n"));
            write("digest", "keys", format!("\n{}\n{object}", key));
        }
        previous = Some(signed.link);
    }
    write("digest", "chain", lines.join("\n"));
}

fn texts() {
    write("announcement", "event", EVENT);
    write(
        "announcement",
        "trail",
        r#"{"Type":"Notification","Message":"{\"s3Bucket\":\"b\",\"s3ObjectKey\":[\"AWSLogs/1/CloudTrail/r/2026/11/20/1_CloudTrail_r_20261120T1720Z_a.json.gz\"]}"}"#,
    );
    write(
        "announcement",
        "bucket",
        r#"{"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Fc"}}}]}"#,
    );
    write("record", "data-event", EVENT);
    write("record", "management-event", CREATE_TRAIL);
    write("split", "lines", format!("\x03\x20{CREATE_TRAIL}\n\r\n{{\"a\":[\"\\\"}}\"]}}\n"));
    write(
        "split",
        "document",
        format!("\x03\x20{{ \"Records\" : [{CREATE_TRAIL}, {{\"a\":{{}}}} ]}}\n{{\"Records\":[]}}"),
    );
    write("split", "strange", "\x01\x01{\"Records\":[1,\"a\\\\\",[{}],null,{}]}");
    write(
        "selectors",
        "basic",
        r#"{"EventSelectors":[{"ReadWriteType":"WriteOnly","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::one/"]},{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]}],"ExcludeManagementEventSources":["kms.amazonaws.com"]},{}]}"#,
    );
    write(
        "selectors",
        "advanced",
        r#"{"AdvancedEventSelectors":[{"Name":"objects","FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]},{"Field":"resources.ARN","StartsWith":["arn:aws:s3:::one/"],"NotEndsWith":["g"]},{"Field":"eventName","NotEquals":["GetObject"]}]},{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["false"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]}]}]}"#,
    );
    write(
        "selectors",
        "network",
        r#"{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["NetworkActivity"]},{"Field":"eventSource","Equals":["s3.amazonaws.com"]},{"Field":"errorCode","Equals":["VpceAccessDenied"]}]}]}"#,
    );
    write(
        "policy",
        "bucket",
        r#"{"Version":"2012-10-17","Id":"i","Statement":[{"Sid":"AclCheck","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["s3:GetBucketAcl","s3:Put*"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":["arn:aws:cloudtrail:us-east-1:111122223333:trail/t"]}}},{"Effect":"Deny","NotPrincipal":{"AWS":["111122223333","arn:aws:iam::111122223333:user/alice"]},"NotAction":"s3:Get?bject","NotResource":"arn:aws:s3:::b/${aws:username}/*"}]}"#,
    );
    write(
        "policy",
        "conditions",
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","2001:db8::/32"]},"DateLessThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"},"NumericLessThanEquals":{"s3:max-keys":"10"},"Bool":{"aws:SecureTransport":true},"ForAnyValue:StringLike":{"aws:username":["a*e","${aws:username}","${*}"]},"ArnLike":{"aws:SourceArn":"arn:*:cloudtrail:*:111122223333:trail/*"},"Null":{"aws:TokenIssueTime":"true"},"StringNotEqualsIfExists":{"k:k":"v"}}}}"#,
    );
}

fn filter_patterns() {
    let record =
        r#"{"eventName":"ConsoleLogin","n":[1,{"a":"x\\u0041"}],"o":{"b":null,"c":true,"d":-1.5e3}}"#;
    let on_json = r#"{ ($.eventName = "Console*" && $.n[*].a != x) || ($.n[0] >= 1e0) && $.o.b IS NULL || $.o['c'] IS TRUE || $.q NOT EXISTS || $.eventName = %^C.*n$% }"#;
    write("filter_pattern", "json", format!("{on_json}\n{record}"));
    let on_fields =
        "[ip, user = f* || user != \"x\", ..., request = %GET|PUT%, status >= 400 && status < 500,]";
    let fields = "127.0.0.1 frank [10/Oct/2000 -0700] \"GET / HTTP/1.0\" 404 12";
    write("filter_pattern", "fields", format!("{on_fields}\n{fields}"));
    write("filter_pattern", "terms", "ERROR -\"a b\" %[0-9]{2}\\.x% ?WARN\nERROR 10.x");
}

fn filter_policies() {
    let on_attributes = r#"{"a": ["x", {"anything-but": ["y", "z"]}, {"prefix": "p"}, {"suffix": "s"}, {"equals-ignore-case": "E"}], "b": [{"exists": false}, null, true, 1.5], "c": [{"numeric": [">", 0, "<=", 5e2]}, {"cidr": "10.0.0.0/8"}]}"#;
    write("filter_policy", "attributes", format!("{on_attributes}\n[\"x\", \"y\", 1]"));
    let on_body = r#"{"Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}, "$or": [{"a.b": [1]}, {"c": [{"anything-but": {"prefix": "n"}}]}]}}"#;
    let body = r#"{"Records": [{"s3": {"object": [[{"key": "auto-1"}]]}, "a": {"b": 1.0}}, {"c": "m"}]}"#;
    write("filter_policy", "body", format!("{on_body}\n{body}"));
    event_patterns();
}

fn event_patterns() {
    let pattern = r#"{"source": ["aws.s3", {"prefix": {"equals-ignore-case": "A"}}], "detail": {"a": [{"wildcard": "x*y"}, {"anything-but": {"suffix": ["s", "t"]}}], "$or": [{"b": [{"numeric": ["=", 1e0]}]}, {"c": [{"exists": false}]}]}}"#;
    let event = r#"{"source": "aws.s3", "detail": {"a": [["x-y"], {"b": 1.0}], "b": [1]}}"#;
    write("event_pattern", "pattern", format!("{pattern}\n{event}"));
    write("event_pattern", "cron", "cron(0/15 8-17 ? JAN-MAR MON#2,6L 2026-2030)\n{}");
    write("event_pattern", "template", "$.a[0].b\n{\"x\": \"say \\\"<a>\\\"\", \"y\": <aws.events.event>}");
}
