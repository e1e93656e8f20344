"""Requests that no client of AWS's would send: each gets AWS's error in its protocol, and the server goes on.

No answer may be a 500, no connection may hang, and after each the server must still answer an ordinary call.
"""

import http.client
import json
import re
import socket
import time

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

TARGET = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."
JSON = "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded; charset=utf-8"


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The error's code, from whichever protocol it is in."""
        if self.body.lstrip().startswith(b"{"):
            value = json.loads(self.body)
            return value.get("__type") or self.headers.get("x-amzn-errortype")
        # Not parsed: a name with a character that XML does not have is shown as a reference, as S3 does.
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found and found[1].decode()


@pytest.fixture(scope="module")
def place(server):
    host, port = server.endpoint.removeprefix("http://").split(":")
    return host, int(port)


@pytest.fixture
def send(server, account, place):
    """Sends one request, signed unless told otherwise; gives the answer."""
    credentials = account.session.get_credentials().get_frozen_credentials()

    def send(method, path, body=b"", headers=None, service="cloudtrail", sign=True, region="us-east-1"):
        headers = dict(headers or {})
        request = AWSRequest(method=method, url=server.endpoint + path, data=body, headers=headers)
        if sign:
            signer = S3SigV4Auth if service == "s3" else SigV4Auth
            signer(credentials, service, region).add_auth(request)
        connection = http.client.HTTPConnection(*place, timeout=15)
        try:
            connection.request(method, path, body=body, headers=dict(request.headers.items()))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
    return send


@pytest.fixture(scope="module", autouse=True)
def log_before(server):
    """How much the server had logged before."""
    return len(server.log_path.read_text())


@pytest.fixture(autouse=True)
def still_answers(server, account):
    yield
    assert server.process.poll() is None
    account.client("sts").get_caller_identity()


def raw(place, data, seconds=15, half_close=False):
    """Sends bytes as they are; gives everything that comes back until the server closes or falls silent."""
    with socket.create_connection(place, timeout=seconds) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        received = b""
        connection.settimeout(2)
        try:
            while piece := connection.recv(65536):
                received += piece
        except OSError:
            pass
        return received


# ---- the wrong thing in the right protocol --------------------------------------------------------------------------


@pytest.mark.parametrize("headers,body,status,code", [
    ({"X-Amz-Target": TARGET + "NoSuchOperation"}, b"{}", 400, "UnknownOperationException"),
    ({"X-Amz-Target": "Nonsense"}, b"{}", 400, "UnknownOperationException"),
    ({"X-Amz-Target": "DynamoDB_20120810.ListTables"}, b"{}", 403, "InvalidSignatureException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b"{", 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b"[]", 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b'"text"', 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b'{"NextToken": "\xff\xfe"}', 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b"\x00", 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "CreateTrail"}, b'{"Name": 5, "S3BucketName": []}', 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b"[" * 100_000, 400, "SerializationException"),
    ({"X-Amz-Target": TARGET + "ListTrails"}, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "SerializationException"),
    ({}, b"{}", 400, "UnknownOperationException"),
])
def test_json_that_is_wrong(send, headers, body, status, code):
    answer = send("POST", "/", body, {"Content-Type": JSON, **headers})
    assert (answer.status, answer.code) == (status, code), answer.body[:300]
    assert answer.headers["Content-Type"] == JSON and answer.headers["x-amzn-RequestId"]


def test_members_that_the_model_does_not_have_are_passed_over(send):
    body = json.dumps({"NoSuchMember": {"deep": [1, 2, {"er": None}]}}).encode()
    answer = send("POST", "/", body, {"Content-Type": JSON, "X-Amz-Target": TARGET + "ListTrails"})
    assert answer.status == 200 and b"Trails" in answer.body


@pytest.mark.parametrize("body,status,code", [
    (b"Action=NoSuchAction&Version=2010-05-08", 400, "InvalidAction"),
    (b"Version=2010-05-08", 400, "MissingAction"),
    (b"", 400, "MissingAction"),
    (b"Action=CreateUser&Version=2010-05-08", 400, "ValidationError"),
    (b"Action=CreateUser&Version=2010-05-08&UserName=" + b"a" * 70, 400, "ValidationError"),
    (b"Action=CreateUser&Version=2010-05-08&UserName=%ff%fe", 400, "MalformedInput"),
    (b"Action=CreateUser&Version=2010-05-08&UserName=a&Tags.member.99999999999.Key=a", 400, None),
    (b"Action=ListUsers&Version=2010-05-08&MaxItems=many", 400, "MalformedInput"),
    (b"&&&=&==&%&%zz=%", 400, None),
])
def test_query_that_is_wrong(send, body, status, code):
    answer = send("POST", "/", body, {"Content-Type": FORM}, service="iam")
    assert answer.status == status, answer.body[:300]
    assert answer.code == code if code else answer.code
    assert answer.headers["Content-Type"] == "text/xml" and b"<RequestId>" in answer.body


@pytest.fixture(scope="module")
def bucket(account):
    return account.bucket(policy=False)


@pytest.mark.parametrize("query,body,code", [
    ("versioning", b"<VersioningConfiguration><Status>Enabled</Status>", "MalformedXML"),
    ("versioning", b"not xml", "MalformedXML"),
    ("versioning", b"\xff\xfe<a/>", "MalformedXML"),
    ("versioning", b"<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>", "MalformedXML"),
    ("tagging", b"<a>" * 50_000 + b"</a>" * 50_000, "MalformedXML"),
    ("tagging", b'<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><Tagging>&y;</Tagging>', "MalformedXML"),
    ("tagging", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Tagging><TagSet><Tag><Key>&x;</Key>'
                b"<Value>v</Value></Tag></TagSet></Tagging>", "MalformedXML"),
    ("policy", b"{", "MalformedPolicy"),
])
def test_documents_that_are_wrong(send, bucket, query, body, code):
    answer = send("PUT", f"/{bucket}?{query}", body, {"Content-Type": "application/xml"}, service="s3")
    assert (answer.status, answer.code) == (400, code), answer.body[:300]
    assert answer.headers["Content-Type"] == "application/xml" and b"<HostId>" in answer.body
    assert b"root:" not in answer.body


def test_a_body_over_the_limit_is_refused_before_it_is_all_there(place, send):
    answer = send("PUT", "/any-bucket?policy", b"x" * (9 * 1024 * 1024), service="s3")
    assert (answer.status, answer.code) == (400, "MaxMessageLengthExceeded")
    endless = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + JSON.encode() + b"\r\nX-Amz-Target: " + TARGET.encode()
    received = raw(place, endless + b"ListTrails\r\nContent-Length: 999999999999\r\n\r\n" + b" " * (9 * 1024 * 1024))
    assert b" 500 " not in received[:20] and (not received or b"RequestEntityTooLarge" in received)


def test_wrong_content_types(send):
    answer = send("POST", "/", b"<a/>", {"Content-Type": "text/xml", "X-Amz-Target": TARGET + "ListTrails"})
    assert 400 <= answer.status < 500 and answer.code
    answer = send("POST", "/", b"{}", {"Content-Type": JSON}, service="iam")
    assert 400 <= answer.status < 500 and answer.code


def test_services_that_do_not_exist(send):
    for service in ("nonsense", "s4", "a" * 100):
        answer = send("POST", "/", b"{}", {"Content-Type": JSON, "X-Amz-Target": "A.B"}, service=service)
        assert 400 <= answer.status < 500 and answer.code, answer.body


# ---- who is not who they say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [
    "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=", "Basic dXNlcjpwYXNz", "Bearer x", "AWS a:b",
    "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/cloudtrail/aws4_request, SignedHeaders=host, Signature=" + "0" * 64,
    "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=zz", "\xe9" * 5, "A" * 5000,
    "AWS4-HMAC-SHA256 Credential=A/20260101/../cloudtrail/aws4_request, SignedHeaders=host, Signature=0",
])
def test_authorisations_that_are_none(send, authorization):
    headers = {"Content-Type": JSON, "X-Amz-Target": TARGET + "ListTrails", "Authorization": authorization,
               "X-Amz-Date": "20260101T000000Z"}
    answer = send("POST", "/", b"{}", headers, sign=False)
    assert 400 <= answer.status < 500 and answer.code, answer.body
    answer = send("GET", "/a-bucket/key", headers={"Authorization": authorization}, sign=False)
    assert 400 <= answer.status < 500 and answer.code, answer.body


def test_expired_early_and_altered_presigned_urls(account, bucket, server, send):
    s3 = account.client("s3", signature_version="s3v4")
    s3.put_object(Bucket=bucket, Key="signed", Body=b"secret")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "signed"}, ExpiresIn=1)
    path = url.removeprefix(server.endpoint)
    assert send("GET", path, sign=False).body == b"secret"
    altered = send("GET", path.replace("signed?", "other?"), sign=False)
    assert (altered.status, altered.code) == (403, "SignatureDoesNotMatch")
    longer = send("GET", path.replace("X-Amz-Expires=1&", "X-Amz-Expires=600000&"), sign=False)
    assert (longer.status, longer.code) == (403, "SignatureDoesNotMatch")
    for expires in ("0", "-1", "999999999999999999999", "604801", "soon", ""):
        answer = send("GET", path.replace("X-Amz-Expires=1&", f"X-Amz-Expires={expires}&"), sign=False)
        assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError")
    time.sleep(2.1)
    late = send("GET", path, sign=False)
    assert (late.status, late.code) == (403, "AccessDenied") and b"Request has expired" in late.body
    old = account.client("s3").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "signed"}, ExpiresIn=1)
    assert "AWSAccessKeyId=" in old
    time.sleep(2.1)
    late = send("GET", old.removeprefix(server.endpoint), sign=False)
    assert (late.status, late.code) == (403, "AccessDenied") and b"Request has expired" in late.body


def test_a_request_from_another_time_is_refused(server, account, place, send, monkeypatch):
    import datetime
    import botocore.auth

    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: past.replace(tzinfo=None))
    answer = send("GET", "/", service="s3")
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed"), answer.body
    answer = send("POST", "/", b"{}", {"Content-Type": JSON, "X-Amz-Target": TARGET + "ListTrails"})
    assert (answer.status, answer.code) == (400, "InvalidSignatureException"), answer.body


def chunks(payload, trailer=b""):
    return b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(payload), payload, trailer)


@pytest.mark.parametrize("name,body,codes", [
    ("good", chunks(b"hello", b"x-amz-checksum-crc32:NhCmhg==\r\n"), None),
    ("altered", chunks(b"hellO", b"x-amz-checksum-crc32:NhCmhg==\r\n"), {"BadDigest"}),
    ("no trailer", chunks(b"hello"), {"MalformedTrailerError"}),
    ("another trailer", chunks(b"hello", b"x-amz-checksum-sha1:AAAA\r\n"), {"MalformedTrailerError"}),
    ("a length that is a lie", b"ffffffff\r\nhello\r\n0\r\n\r\n", {"IncompleteBody", "InvalidChunkSizeError"}),
    ("a length that is none", b"xyz\r\nhello\r\n0\r\n\r\n", {"InvalidChunkSizeError", "IncompleteBody", "InvalidRequest"}),
    ("an endless length", b"1" * 10_000 + b"\r\n", {"InvalidChunkSizeError", "IncompleteBody", "InvalidRequest"}),
    ("nothing", b"", {"IncompleteBody", "MalformedTrailerError"}),
    ("too much", chunks(b"hello" * 10, b"x-amz-checksum-crc32:NhCmhg==\r\n"), {"IncompleteBody", "BadDigest"}),
])
def test_chunks_that_were_tampered_with(send, account, bucket, name, body, codes):
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": "5", "Content-Encoding": "aws-chunked", "X-Amz-Sdk-Checksum-Algorithm": "CRC32",
    }
    request_key = "chunk-" + re.sub(r"\W", "-", name)
    credentials = account.session.get_credentials().get_frozen_credentials()
    request = AWSRequest("PUT", account.server.endpoint + f"/{bucket}/{request_key}", headers=headers, data=body)
    # The header that says how the body is signed is taken as it stands.
    request.context["payload_signing_enabled"] = True
    signer = S3SigV4Auth(credentials, "s3", "us-east-1")
    signer.payload = lambda _: "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    signer.add_auth(request)
    answer = send("PUT", f"/{bucket}/{request_key}", body, dict(request.headers.items()), sign=False)
    keys = {o["Key"] for o in account.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])}
    if codes is None:
        assert answer.status == 200, answer.body
        assert request_key in keys
    else:
        assert answer.status == 400 and answer.code in codes, (answer.status, answer.body)
        assert request_key not in keys


# ---- paths and keys -------------------------------------------------------------------------------------------------


KEYS = [
    "../../etc/passwd", "a/../b", "./a", "a//b", "//", "a/", "%2e%2e/x", "a%00b", "..", ".", " ", "a?b#c&d=e+f", "\\..\\x",
    "con\tline\nbreak", "ü/漢字/🙂", "x" * 1024,
]


def test_keys_are_only_names(account, bucket, server):
    s3 = account.client("s3")
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in KEYS:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode(), key
    listed = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
              for o in page.get("Contents", [])]
    assert set(KEYS) <= set(listed)
    assert listed == sorted(listed, key=str.encode)
    for key in KEYS:
        s3.delete_object(Bucket=bucket, Key=key)
    outside = server.data.parent / "etc"
    assert not outside.exists()


@pytest.mark.parametrize("path,codes", [
    ("/{bucket}/a%00b", {"", "InvalidArgument"}), ("/{bucket}/%ff%fe", {"", "InvalidURI", "InvalidArgument"}),
    ("/{bucket}/" + "x" * 1025, {"KeyTooLongError"}), ("/%2e%2e/x", {"InvalidBucketName", "NoSuchBucket"}),
    ("/..%2f..%2fetc/passwd", {"InvalidBucketName", "NoSuchBucket"}), ("/{bucket}%00/x", {"InvalidBucketName", "NoSuchBucket"}),
    ("/UPPER/x", {"InvalidBucketName", "NoSuchBucket"}), ("/a/x", {"InvalidBucketName", "NoSuchBucket"}),
])
def test_paths_that_are_tricks(send, bucket, path, codes):
    for method in ("PUT", "GET"):
        answer = send(method, path.format(bucket=bucket), b"", service="s3")
        code = "" if answer.status == 200 else answer.code
        assert answer.status in (200, 400, 404) and (code in codes or code == "NoSuchKey"), (method, answer.body)


@pytest.mark.parametrize("name", [
    "ab", "a" * 64, "Upper", "under_score", "dot..dot", "-start", "end-", "192.168.0.1", "xn--a", "a-s3alias", "..",
])
def test_buckets_with_names_that_are_none(send, name):
    answer = send("PUT", f"/{name}", b"", service="s3")
    assert (answer.status, answer.code) == (400, "InvalidBucketName"), answer.body


# ---- HTTP that is not quite -----------------------------------------------------------------------------------------


def test_raw_nonsense_ends_the_connection(place):
    for data in (b"\x00\xff" * 2000, b"GET\r\n\r\n", b"\r\n" * 5000, b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01",
                 b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                 b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /"):
        received = raw(place, data, half_close=True)
        assert not received.startswith(b"HTTP/1.1 5") and not received.startswith(b"HTTP/1.1 200")


def test_huge_heads_are_refused(place):
    received = raw(place, b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 2_000_000 + b"\r\n\r\n")
    assert received == b"" or received.startswith(b"HTTP/1.1 4")
    many = b"".join(b"X-%d: a\r\n" % n for n in range(5000))
    received = raw(place, b"GET / HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n")
    assert received == b"" or received.startswith(b"HTTP/1.1 4")
    received = raw(place, b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert received == b"" or received.startswith(b"HTTP/1.1 4")


def test_http_1_0_and_requests_without_a_host_are_answered(place):
    received = raw(place, b"GET /_cairn/health HTTP/1.0\r\n\r\n")
    assert received.startswith(b"HTTP/1.0 200") or received.startswith(b"HTTP/1.1 200")
    received = raw(place, b"GET /some-bucket/key HTTP/1.0\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 4\d\d ", received) and b"<Code>" in received


def test_pipelined_requests_are_answered_in_order_and_garbage_after_them_ends_it(place):
    one = b"GET /_cairn/health HTTP/1.1\r\nHost: a\r\n\r\n"
    received = raw(place, one * 3 + b"\x00garbage\r\n\r\n", half_close=True)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_half_sent_body_is_no_object(place, account, bucket, server):
    s3 = account.client("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "half"})
    path = url.removeprefix(server.endpoint)
    head = f"PUT {path} HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\nContent-Length: 1000\r\n\r\n".encode()
    received = raw(place, head + b"only a part", half_close=True)
    assert not received.startswith(b"HTTP/1.1 5") and not received.startswith(b"HTTP/1.1 200")
    keys = {o["Key"] for o in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
    assert "half" not in keys


def test_slow_bodies_do_not_hold_others_up(place, account, bucket, server):
    s3 = account.client("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "slow"})
    head = (f"PUT {url.removeprefix(server.endpoint)} HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\n"
            "Content-Length: 50\r\n\r\n").encode()
    slow = [socket.create_connection(place, timeout=15) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(head + b"1")
        begun = time.monotonic()
        account.client("iam").list_users()
        assert time.monotonic() - begun < 3
        slow[0].sendall(b"2" * 49)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()
    assert s3.get_object(Bucket=bucket, Key="slow")["Body"].read() == b"1" + b"2" * 49


def test_methods_that_s3_does_not_have(send, bucket):
    for method in ("PATCH", "TRACE", "PROPFIND", "OPTIONS"):
        answer = send(method, f"/{bucket}/key", service="s3")
        assert 400 <= answer.status < 500, (method, answer.status)
    assert (answer.status, answer.code) in ((400, "BadRequest"), (403, "AccessForbidden"), (405, "MethodNotAllowed"))


def test_nothing_of_this_was_the_servers_fault(server, log_before):
    log = server.log_path.read_text()[log_before:]
    assert "panicked" not in log
    assert "by the server's fault" not in log, [line for line in log.splitlines() if "fault" in line][:5]
