"""boto3 with its default settings, and raw requests, against every operation of the embedded S3."""

import base64
import gzip
import hashlib
import io
import json
import urllib.error
import urllib.request
import uuid

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from trails import wait_for

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3(account):
    return account.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"b-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name)
    return name


def code(function, **params):
    """The error of a call that must fail: HTTP status and code."""
    with pytest.raises(ClientError) as raised:
        function(**params)
    response = raised.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_buckets_come_and_go(s3, bucket):
    assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    assert code(s3.delete_bucket, Bucket=bucket) == (409, "BucketNotEmpty")
    s3.delete_object(Bucket=bucket, Key="a")
    s3.delete_bucket(Bucket=bucket)
    assert code(s3.head_bucket, Bucket=bucket) == (404, "404")
    assert code(s3.list_objects_v2, Bucket=bucket) == (404, "NoSuchBucket")


def test_an_empty_body_leaves_no_trace_on_the_connection(account, bucket):
    """What `aws s3 sync` does: botocore waits for leave to send before every body, on connections that it keeps."""
    client = account.client("s3", max_pool_connections=1)
    for body in (b"", b"x" * MIB, b"", b"", b"y" * MIB):
        etag = hashlib.md5(body).hexdigest()
        assert client.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(body))["ETag"] == f'"{etag}"'


def test_a_bucket_lies_where_its_constraint_says(account, s3):
    name = f"b-{uuid.uuid4()}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "eu-west-1"
    assert code(s3.create_bucket, Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}) == (
        409,
        "BucketAlreadyOwnedByYou",
    )
    assert code(s3.create_bucket, Bucket="No_Bucket")[0] == 400


UNSET = {
    "get_bucket_tagging": "NoSuchTagSet",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
}


@pytest.mark.parametrize("operation", UNSET)
def test_what_is_not_set_has_awss_code(s3, bucket, operation):
    assert code(getattr(s3, operation), Bucket=bucket) == (404, UNSET[operation])


def test_settings_that_exist_by_default(s3, bucket):
    rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert block == dict.fromkeys(
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], True
    )
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    acl = s3.get_bucket_acl(Bucket=bucket)
    assert acl["Grants"][0]["Grantee"] == {"ID": acl["Owner"]["ID"], "Type": "CanonicalUser"}
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    for operation in ["versioning", "logging", "notification_configuration", "accelerate_configuration"]:
        reply = getattr(s3, f"get_bucket_{operation}")(Bucket=bucket)
        assert set(reply) == {"ResponseMetadata"}, operation


def test_settings_that_can_be_set(s3, bucket):
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "k", "Value": "v"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "s3:GetBucketAcl",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    s3.delete_bucket_policy(Bucket=bucket)
    assert code(s3.put_bucket_policy, Bucket=bucket, Policy="{") == (400, "MalformedPolicy")
    s3.delete_public_access_block(Bucket=bucket)
    assert code(s3.get_public_access_block, Bucket=bucket) == (404, "NoSuchPublicAccessBlockConfiguration")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    block = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert (block["BlockPublicAcls"], block["BlockPublicPolicy"]) == (True, False)
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    s3.delete_bucket_encryption(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert code(s3.put_bucket_acl, Bucket=bucket, ACL="public-read") == (400, "AccessControlListNotSupported")
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    assert code(s3.get_bucket_ownership_controls, Bucket=bucket) == (404, "OwnershipControlsNotFoundError")
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [rule]


@pytest.mark.parametrize("key", ["plain", "a/b/c", "sp ace+plus", "ünï/日本", "q?x=1&y", "percent%20", "./dot/../dot", "//two"])
def test_keys_of_all_kinds(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", Metadata={"note": "here"})
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["Body"].read(), got["Metadata"]) == (b"x", {"note": "here"})
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "copy"}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_objects_of_every_checksum(s3, bucket, algorithm, size):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    try:
        put = s3.put_object(Bucket=bucket, Key="a", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
    except Exception as error:
        if "botocore[crt]" in str(error):
            pytest.skip("this boto3 cannot compute it")
        raise
    member = f"Checksum{algorithm}"
    got = s3.get_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert got[member] == put[member] and got["ChecksumType"] == "FULL_OBJECT"
    assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    if algorithm == "SHA256":
        assert got[member] == base64.b64encode(hashlib.sha256(body).digest()).decode()


def test_headers_ranges_and_conditions(s3, bucket):
    s3.put_object(
        Bucket=bucket, Key="a", Body=gzip.compress(b"hello", mtime=0), ContentType="application/json",
        ContentEncoding="gzip", CacheControl="no-store", Tagging="a=1&b=2", ACL="bucket-owner-full-control",
        ServerSideEncryption="AES256",
    )
    head = s3.head_object(Bucket=bucket, Key="a")
    assert (head["ContentType"], head["ContentEncoding"], head["CacheControl"], head["TagCount"]) == (
        "application/json", "gzip", "no-store", 2,
    )
    assert head["ServerSideEncryption"] == "AES256" and head["AcceptRanges"] == "bytes"
    s3.put_object(Bucket=bucket, Key="r", Body=b"0123456789")
    part = s3.get_object(Bucket=bucket, Key="r", Range="bytes=2-4")
    assert part["Body"].read() == b"234" and part["ContentRange"] == "bytes 2-4/10"
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert code(s3.get_object, Bucket=bucket, Key="r", Range="bytes=10-") == (416, "InvalidRange")
    etag = s3.head_object(Bucket=bucket, Key="r")["ETag"]
    assert code(s3.get_object, Bucket=bucket, Key="r", IfNoneMatch=etag) == (304, "304")
    assert code(s3.get_object, Bucket=bucket, Key="r", IfMatch='"x"') == (412, "PreconditionFailed")
    assert code(s3.put_object, Bucket=bucket, Key="r", Body=b"", IfNoneMatch="*") == (412, "PreconditionFailed")
    last_modified = s3.head_object(Bucket=bucket, Key="r")["LastModified"]
    assert code(s3.get_object, Bucket=bucket, Key="r", IfModifiedSince=last_modified) == (304, "304")
    assert code(s3.get_object, Bucket=bucket, Key="none") == (404, "NoSuchKey")
    assert code(s3.head_object, Bucket=bucket, Key="none") == (404, "404")
    assert s3.put_object(Bucket=bucket, Key="k", ServerSideEncryption="aws:kms")["SSEKMSKeyId"].startswith("arn:aws:kms:")
    assert code(s3.put_object, Bucket=bucket, Key="k", ServerSideEncryption="aws:kms:dsse") == (501, "NotImplemented")
    assert code(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "x" * 2048}) == (400, "MetadataTooLarge")


def test_copies_tags_and_attributes(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello", Metadata={"m": "1"}, Tagging="t=1")
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    assert s3.head_object(Bucket=bucket, Key="b")["Metadata"] == {"m": "1"}
    assert s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(
        Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"}, MetadataDirective="REPLACE",
        Metadata={"n": "2"}, ContentType="text/plain",
    )
    head = s3.head_object(Bucket=bucket, Key="b")
    assert (head["Metadata"], head["ContentType"]) == ({"n": "2"}, "text/plain")
    assert code(s3.copy_object, Bucket=bucket, Key="a", CopySource=f"{bucket}/a") == (400, "InvalidRequest")
    s3.put_object_tagging(Bucket=bucket, Key="b", Tagging={"TagSet": []})
    assert s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == []
    s3.delete_object_tagging(Bucket=bucket, Key="b")
    assert s3.get_object_acl(Bucket=bucket, Key="b")["Grants"][0]["Permission"] == "FULL_CONTROL"
    attributes = s3.get_object_attributes(
        Bucket=bucket, Key="b", ObjectAttributes=["ETag", "ObjectSize", "Checksum", "StorageClass"]
    )
    assert (attributes["ObjectSize"], attributes["StorageClass"]) == (5, "STANDARD")
    assert attributes["ETag"] == hashlib.md5(b"hello").hexdigest()
    assert attributes["Checksum"]["ChecksumType"] == "FULL_OBJECT"


def test_versions(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    marker = s3.delete_object(Bucket=bucket, Key="a")
    assert marker["DeleteMarker"] is True
    assert code(s3.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")
    assert s3.get_object(Bucket=bucket, Key="a", VersionId=first)["Body"].read() == b"1"
    listed = s3.list_object_versions(Bucket=bucket)
    assert len(listed["Versions"]) == 2 and listed["DeleteMarkers"][0]["IsLatest"] is True
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    objects = [
        {"Key": version["Key"], "VersionId": version["VersionId"]}
        for page in pages
        for version in page.get("Versions", []) + page.get("DeleteMarkers", [])
    ]
    assert len(objects) == 3
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})["Deleted"]
    assert len(deleted) == 3
    s3.delete_bucket(Bucket=bucket)


def test_listings_in_pages(s3, bucket):
    keys = sorted(f"{folder}/{n:02}" for folder in ("a", "b") for n in range(7)) + ["top"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for operation in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 4}))
        assert [o["Key"] for page in pages for o in page.get("Contents", [])] == keys
        assert len(pages) == 4
        pages = s3.get_paginator(operation).paginate(
            Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
        )
        found = [
            (p.get("CommonPrefixes") or [{}])[0].get("Prefix") or p["Contents"][0]["Key"] for p in pages
        ]
        assert found == ["a/", "b/", "top"]
    assert s3.list_objects_v2(Bucket=bucket, StartAfter="b/06")["KeyCount"] == 1
    owned = s3.list_objects_v2(Bucket=bucket, FetchOwner=True, MaxKeys=1)["Contents"][0]["Owner"]["ID"]
    assert len(owned) == 64


@pytest.mark.parametrize("algorithm", [None, "CRC32", "CRC64NVME", "SHA256"])
def test_multipart_uploads(s3, bucket, algorithm):
    chosen = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    try:
        upload = s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={"a": "1"}, **chosen)["UploadId"]
        parts = []
        for number, body in ((1, b"x" * 5 * MIB), (3, b"end")):
            part = s3.upload_part(
                Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=body, **chosen
            )
            checksums = {k: v for k, v in part.items() if k.startswith("Checksum") and k != "ChecksumType"}
            parts.append({"PartNumber": number, "ETag": part["ETag"], **(checksums if algorithm else {})})
    except Exception as error:
        if "botocore[crt]" in str(error):
            pytest.skip("this boto3 cannot compute it")
        raise
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == upload
    assert [p["PartNumber"] for p in s3.list_parts(Bucket=bucket, Key="big", UploadId=upload)["Parts"]] == [1, 3]
    done = s3.complete_multipart_upload(
        Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    digests = b"".join(bytes.fromhex(p["ETag"].strip('"')) for p in parts)
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    got = s3.get_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"x" * 5 * MIB + b"end" and got["Metadata"] == {"a": "1"}
    assert s3.get_object(Bucket=bucket, Key="big", PartNumber=2)["Body"].read() == b"end"
    assert code(s3.list_parts, Bucket=bucket, Key="big", UploadId=upload) == (404, "NoSuchUpload")


def test_uploads_are_given_up_and_parts_copied(s3, bucket):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    part = s3.upload_part_copy(
        Bucket=bucket, Key="copy", UploadId=upload, PartNumber=1, CopySource=f"{bucket}/source",
        CopySourceRange="bytes=3-5",
    )["CopyPartResult"]
    s3.complete_multipart_upload(
        Bucket=bucket, Key="copy", UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"345"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=upload)
    assert code(s3.upload_part, Bucket=bucket, Key="never", UploadId=upload, PartNumber=1, Body=b"") == (
        404, "NoSuchUpload",
    )


def test_the_transfer_manager(s3, bucket, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * (20 * MIB // 256))
    config = TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=6 * MIB)
    s3.upload_file(str(source), bucket, "big", Config=config, ExtraArgs={"Metadata": {"a": "1"}})
    s3.download_file(bucket, "big", str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-4"')
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copied", Config=config)
    assert s3.head_object(Bucket=bucket, Key="copied")["ContentLength"] == 20 * MIB


def test_presigned_urls(account, bucket):
    s3 = account.client("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b"})
    request = urllib.request.Request(url, data=b"by url", method="PUT")
    assert urllib.request.urlopen(request).status == 200
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a b", "ResponseContentType": "text/x"}
    )
    with urllib.request.urlopen(url) as reply:
        assert (reply.read(), reply.headers["content-type"]) == (b"by url", "text/x")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(url.replace("a%20b", "other"))
    assert raised.value.code == 403


def test_a_chunked_upload_whose_trailer_lies_is_refused(s3, bucket):
    """botocore sends trailers only over TLS, so a wrong header stands in for a wrong trailer here."""
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=b"hello", ChecksumCRC32="AAAAAA==") == (400, "BadDigest")
    assert code(s3.put_object, Bucket=bucket, Key="a", Body=b"hello", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==") == (
        400, "BadDigest",
    )
    assert code(s3.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")


def test_the_policy_templates(account):
    s3 = account.client("s3")
    key = "policy/S3/AWSCloudTrail-S3BucketPolicy-2014-12-17.json"
    body = s3.get_object(Bucket="awscloudtrail-policy-us-east-1", Key=key)["Body"].read()
    assert json.loads(body)["Statement"][0]["Principal"] == {"Service": "cloudtrail.amazonaws.com"}
    assert code(s3.put_object, Bucket="awscloudtrail-policy-us-east-1", Key=key) == (403, "AccessDenied")


def test_records_of_s3(account, s3, bucket):
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
    cloudtrail = account.client("cloudtrail")
    found = cloudtrail.lookup_events(
        LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": bucket}]
    )["Events"]
    records = {event["EventName"]: json.loads(event["CloudTrailEvent"]) for event in found}
    created = records["CreateBucket"]
    assert created["requestParameters"]["bucketName"] == bucket
    assert created["responseElements"] is None and created["readOnly"] is False
    tagged = records["PutBucketTagging"]
    assert tagged["requestParameters"]["Tagging"]["TagSet"] == {"Tag": {"Key": "k", "Value": "v"}}
    assert tagged["requestParameters"]["tagging"] == ""
    assert tagged["resources"][0]["ARN"] == f"arn:aws:s3:::{bucket}"
    assert tagged["additionalEventData"]["AuthenticationMethod"] == "AuthHeader"


def test_object_calls_are_data_events(account, s3):
    """A trail with data events delivers them with the resources that AWS shows."""
    bucket = account.bucket(policy=False)
    trail, logs = account.trail(logging=False, EnableLogFileValidation=False)
    cloudtrail = account.client("cloudtrail")
    objects = {"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{bucket}/"]}
    selector = {"ReadWriteType": "All", "IncludeManagementEvents": False, "DataResources": [objects]}
    cloudtrail.put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=[selector])
    cloudtrail.start_logging(Name=trail["TrailARN"])
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"hello", Metadata={"m": "1"})
    s3.get_object(Bucket=bucket, Key="a/b")
    s3.list_objects_v2(Bucket=bucket, Prefix="a/")
    s3.head_bucket(Bucket=bucket)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a/b"}]})
    assert code(s3.get_object, Bucket=bucket, Key="a/b") == (404, "NoSuchKey")
    records = wait_for("six records", lambda: [r for r in [account.delivered(logs)] if len(r) == 6])[0]
    assert {r["eventCategory"] for r in records} == {"Data"}
    assert [r["eventName"] for r in sorted(records, key=lambda r: r["eventTime"])].count("GetObject") == 2
    by_name = {r["eventName"]: r for r in records if "errorCode" not in r}
    owner = {"accountId": account.id, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}
    put = by_name["PutObject"]
    assert put["resources"] == [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/a/b"}, owner]
    assert put["requestParameters"]["key"] == "a/b"
    assert put["responseElements"]["x-amz-server-side-encryption"] == "AES256"
    assert put["additionalEventData"]["bytesTransferredIn"] == 5
    for name in ("ListObjects", "HeadBucket", "DeleteObjects"):
        prefix = {"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/"}
        assert by_name[name]["resources"] == [prefix, owner]
    assert by_name["ListObjects"]["requestParameters"]["list-type"] == "2"
    failed = next(r for r in records if "errorCode" in r)
    assert (failed["eventName"], failed["errorCode"]) == ("GetObject", "NoSuchKey")
    account.close_trail(trail)


def test_the_command_line(bucket, tmp_path, aws):
    def run(*words):
        code, output, errors = aws(*words)
        assert code == 0, errors
        return output

    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "one").write_text("1")
    (tmp_path / "dir" / "big").write_bytes(b"b" * 9 * MIB)
    run("s3", "cp", "--recursive", str(tmp_path / "dir"), f"s3://{bucket}/dir/")
    assert "dir/" in run("s3", "ls", f"s3://{bucket}")
    run("s3", "sync", f"s3://{bucket}/dir/", str(tmp_path / "back"))
    assert (tmp_path / "back" / "big").read_bytes() == b"b" * 9 * MIB
    run("s3", "mv", f"s3://{bucket}/dir/one", f"s3://{bucket}/moved")
    assert run("s3", "cp", f"s3://{bucket}/moved", "-") == "1"
    run("s3", "rb", "--force", f"s3://{bucket}")
