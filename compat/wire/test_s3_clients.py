"""What boto3's S3 client really puts on the wire, with all its own handlers: virtual-host and path style, presigned
requests, chunked bodies, the choice between operations that share a path."""

import io

import boto3
import botocore.client
import botocore.config
import pytest

from oracle import Oracle, b64, build


@pytest.fixture(scope="module")
def oracle():
    oracle = Oracle(build())
    yield oracle
    oracle.close()


class Caught(Exception):
    pass


def sent(style, method, **params):
    """The request that boto3 sends for a call."""
    caught = {}

    def catch(request, **_):
        caught["request"] = request
        raise Caught

    client = boto3.client(
        "s3",
        endpoint_url="http://s3.example.com",
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=botocore.config.Config(s3={"addressing_style": style}, retries={"max_attempts": 0}),
    )
    client.meta.events.register("before-send.s3", catch)
    with pytest.raises(Caught):
        getattr(client, method)(**params)
    return caught["request"]


def question(request):
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    host = request.url.split("/")[2]
    headers = [(k, v.decode() if isinstance(v, bytes) else str(v)) for k, v in request.headers.items()]
    return {
        "do": "decode",
        "method": request.method,
        "url": request.url,
        "headers": [*headers, ("host", host)],
        "body": b64(body if isinstance(body, bytes) else body.encode()),
        "signing": "s3",
    }


B = {"Bucket": "my-bucket"}
K = {**B, "Key": "a/b c+d/é~!'()*"}
CALLS = [
    ("list_buckets", {}, "ListBuckets", {}),
    ("create_bucket", B, "CreateBucket", B),
    ("head_bucket", B, "HeadBucket", B),
    ("delete_bucket", B, "DeleteBucket", B),
    ("get_bucket_location", B, "GetBucketLocation", B),
    ("list_objects", {**B, "Prefix": "p/"}, "ListObjects", {**B, "Prefix": "p/", "EncodingType": "url"}),
    ("list_objects_v2", {**B, "MaxKeys": 3}, "ListObjectsV2", {**B, "MaxKeys": 3, "EncodingType": "url"}),
    ("list_object_versions", B, "ListObjectVersions", {**B, "EncodingType": "url"}),
    ("get_object", {**K, "Range": "bytes=0-1"}, "GetObject", {**K, "Range": "bytes=0-1", "ChecksumMode": "ENABLED"}),
    ("head_object", K, "HeadObject", K),
    ("delete_object", {**K, "VersionId": "v"}, "DeleteObject", {**K, "VersionId": "v"}),
    ("get_object_tagging", K, "GetObjectTagging", K),
    ("get_bucket_policy", B, "GetBucketPolicy", B),
    ("put_bucket_policy", {**B, "Policy": "{}"}, "PutBucketPolicy", {**B, "Policy": "{}"}),
    (
        "copy_object",
        {**K, "CopySource": {"Bucket": "other", "Key": "x y"}},
        "CopyObject",
        {**K, "CopySource": "other/x%20y"},
    ),
    (
        "delete_objects",
        {**B, "Delete": {"Objects": [{"Key": "a"}, {"Key": "<b>"}], "Quiet": True}},
        "DeleteObjects",
        {**B, "Delete": {"Objects": [{"Key": "a"}, {"Key": "<b>"}], "Quiet": True}},
    ),
    ("create_multipart_upload", K, "CreateMultipartUpload", K),
    (
        "complete_multipart_upload",
        {**K, "UploadId": "u", "MultipartUpload": {"Parts": [{"ETag": '"e"', "PartNumber": 1}]}},
        "CompleteMultipartUpload",
        {**K, "UploadId": "u", "MultipartUpload": {"Parts": [{"ETag": '"e"', "PartNumber": 1}]}},
    ),
    ("abort_multipart_upload", {**K, "UploadId": "u"}, "AbortMultipartUpload", {**K, "UploadId": "u"}),
    ("list_parts", {**K, "UploadId": "u"}, "ListParts", {**K, "UploadId": "u"}),
    (
        "put_bucket_versioning",
        {**B, "VersioningConfiguration": {"Status": "Enabled"}},
        "PutBucketVersioning",
        {**B, "VersioningConfiguration": {"Status": "Enabled"}},
    ),
    (
        "put_object",
        {**K, "Body": b"hello", "Metadata": {"name": "value"}, "ContentType": "text/plain"},
        "PutObject",
        {**K, "Metadata": {"name": "value"}, "ContentType": "text/plain"},
    ),
    (
        "upload_part",
        {**K, "Body": io.BytesIO(b"hello"), "UploadId": "u", "PartNumber": 7},
        "UploadPart",
        {**K, "UploadId": "u", "PartNumber": 7},
    ),
]
# Members that boto3 adds on its own to keep a body's integrity.
INTEGRITY = ("Checksum", "ContentMD5", "ContentLength", "ContentEncoding")


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("method,given,operation,expected", CALLS, ids=[call[0] for call in CALLS])
def test_boto3_requests_are_the_calls_that_were_made(oracle, style, method, given, operation, expected):
    answer = oracle.ask(**question(sent(style, method, **given)))
    assert answer.get("operation") == operation, answer
    params = {k: v for k, v in answer["params"].items() if k in expected or not k.startswith(INTEGRITY)}
    assert params == expected
    assert "aws-chunked" not in answer["params"].get("ContentEncoding", "")


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_presigned_urls_are_the_calls_that_they_were_made_for(oracle, style):
    client = boto3.client(
        "s3",
        endpoint_url="http://s3.example.com",
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=botocore.config.Config(s3={"addressing_style": style}, signature_version="s3v4"),
    )
    params = {**K, "ResponseContentType": "text/plain"}
    url = client.generate_presigned_url("get_object", params)
    host = url.split("/")[2]
    answer = oracle.ask(do="decode", method="GET", url=url, headers=[("host", host)], body="", signing="s3")
    assert (answer["operation"], answer["params"]) == ("GetObject", params)
