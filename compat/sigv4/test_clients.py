"""Whole requests of real clients: boto3's, stopped before they leave, and curl's, caught on a socket."""

import hashlib
import io
import shutil
import socket
import subprocess
import threading
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from requests_by_chance import NOW_TEXT, SECRET

PAYLOAD = bytes(range(256)) * 9000


class Caught(Exception):
    pass


def caught(service, call, scheme="https", **config):
    """What boto3 would send for `call(client)`."""
    client = boto3.client(
        service, region_name="us-east-1", endpoint_url=f"{scheme}://localhost:4566", aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET, config=Config(retries={"total_max_attempts": 1}, **config),
    )
    seen = []

    def before_send(request, **_):
        url = urlsplit(request.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = [[k, v.decode() if isinstance(v, bytes) else str(v)] for k, v in request.headers.items()]
        if not any(name.lower() == "host" for name, _ in headers):
            headers.append(["Host", url.netloc])
        body = request.body or b""
        body = body.read() if hasattr(body, "read") else body
        seen.append((request.method, target, headers, body.encode() if isinstance(body, str) else body))
        raise Caught

    client.meta.events.register("before-send", before_send)
    with pytest.raises(Caught):
        call(client)
    return seen[0]


def put(client, **more):
    client.put_object(Bucket="bucket", Key="dir/ü +&key", Body=io.BytesIO(PAYLOAD), Metadata={"a": "b  c"}, **more)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256", None])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("anonymous", [False, True])
def test_uploads_of_boto3_are_read_and_tampered_ones_are_not(oracle, algorithm, scheme, anonymous):
    more = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    config = {"signature_version": UNSIGNED} if anonymous else {}
    method, target, headers, body = caught("s3", lambda client: put(client, **more), scheme, **config)
    ask = lambda body: oracle.ask("verify", method, target, headers, body, secret=SECRET, now=NOW_TEXT, piece_bytes=4000)
    answer = ask(body)
    assert answer["ok"], (answer, headers)
    assert answer["signed"] != anonymous
    assert answer["payload"] == PAYLOAD
    names = {name.lower() for name, _ in headers}
    assert bool(answer["trailers"]) == ("x-amz-trailer" in names)
    for at in [20_000, len(body) - 12]:
        assert not ask(body[:at] + bytes([body[at] ^ 1]) + body[at + 1:])["ok"]
    assert not ask(body[:-1])["ok"]


CALLS = {
    "s3": [
        lambda s3: s3.list_objects_v2(Bucket="b", Prefix="a b+c/ü", Delimiter="/", StartAfter="~"),
        lambda s3: s3.delete_objects(Bucket="b", Delete={"Objects": [{"Key": "a b"}]}),
        lambda s3: s3.get_object(Bucket="b", Key="a//b/../c", Range="bytes=0-9"),
        lambda s3: s3.copy_object(Bucket="b", Key="k", CopySource="b/ü"),
        lambda s3: s3.complete_multipart_upload(
            Bucket="b", Key="k", UploadId="u", ChecksumCRC32="AAAAAA==",
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "e"}]},
        ),
        lambda s3: s3.put_bucket_policy(Bucket="b", Policy="{}"),
    ],
    "cloudtrail": [lambda trail: trail.lookup_events(MaxResults=5)],
    "iam": [lambda iam: iam.get_user(UserName="ü+a b")],
    "sts": [lambda sts: sts.get_caller_identity()],
    "lambda": [lambda fn: fn.get_function(FunctionName="arn:aws:lambda:us-east-1:111122223333:function:f")],
    "sqs": [lambda sqs: sqs.send_message(QueueUrl="https://localhost:4566/1/q", MessageBody="ü")],
    "logs": [lambda logs: logs.describe_log_groups()],
    "cloudwatch": [lambda watch: watch.list_metrics()],
}


@pytest.mark.parametrize("service", CALLS)
def test_calls_of_boto3_verify(oracle, service):
    for call in CALLS[service]:
        method, target, headers, body = caught(service, call)
        more = {"secret": SECRET, "now": NOW_TEXT, "whole": service != "s3"}
        answer = oracle.ask("verify", method, target, headers, body, **more)
        assert answer["ok"], (answer, target, headers)
        assert not oracle.ask("verify", method, target + "&x", headers, body + b" ", **more)["ok"]


def test_presigned_urls_of_boto3_verify(oracle):
    client = boto3.client(
        "s3", region_name="us-east-1", endpoint_url="https://localhost:4566", aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=SECRET, config=Config(signature_version="s3v4"),
    )
    for operation in ["get_object", "put_object"]:
        url = client.generate_presigned_url(operation, Params={"Bucket": "b", "Key": "a b/ü+c"}, ExpiresIn=300)
        split = urlsplit(url)
        method = "GET" if operation == "get_object" else "PUT"
        answer = oracle.ask(
            "verify", method, f"{split.path}?{split.query}", [["Host", split.netloc]], b"anything", secret=SECRET,
            now=NOW_TEXT,
        )
        assert answer["ok"] and answer["presigned"], answer


def curl(service, method, path, body=b""):
    """What curl sends, read off a socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    seen = []

    def serve():
        connection, _ = listener.accept()
        raw = b""
        while b"\r\n\r\n" not in raw or len(raw.split(b"\r\n\r\n", 1)[1]) < len(body):
            raw += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()
        seen.append(raw)

    thread = threading.Thread(target=serve)
    thread.start()
    command = [
        "curl", "--silent", "--path-as-is", "--user", f"AKIDEXAMPLE:{SECRET}", "--aws-sigv4", f"aws:amz:us-east-1:{service}",
        "--request", method, f"http://127.0.0.1:{port}{path}", "--header", "content-type: application/x-amz-json-1.1",
    ]
    command += ["--data-binary", "@-"] if body else []
    if service == "s3":
        # S3 insists on this header, and curl sends it of its own accord from 8.0 on only.
        command += ["--header", f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}"]
    subprocess.run(command, input=body, check=True, timeout=10)
    thread.join(timeout=10)
    listener.close()
    head, _, sent = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    target = lines[0].split(" ")[1]
    return target, [line.split(": ", 1) for line in lines[1:]], sent


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
@pytest.mark.parametrize("service,method,path,body", [
    ("cloudtrail", "POST", "/", b'{"MaxResults": 1}'),
    ("sts", "GET", "/?Action=GetCallerIdentity&Version=2011-06-15", b""),
    ("s3", "GET", "/bucket/a//b/../key", b""),
    ("s3", "GET", "/bucket/a%20b(1)%2fc", b""),
    ("s3", "PUT", "/bucket/key", b"body"),
    ("s3", "GET", "/bucket?list-type=2&prefix=a", b""),
])
def test_requests_of_curl_verify(oracle, service, method, path, body):
    target, headers, sent = curl(service, method, path, body)
    assert sent == body
    now = next(value for name, value in headers if name.lower() == "x-amz-date")
    answer = oracle.ask("verify", method, target, headers, body, secret=SECRET, now=now, whole=service != "s3")
    assert answer["ok"], (answer, target, headers)
    assert not oracle.ask("verify", method, target, headers, body + b"x", secret=SECRET, now=now, whole=service != "s3")["ok"]
