"""KMS, objects encrypted under its keys, and trails whose log files are: with boto3 and the AWS CLI."""

import base64
import gzip
import json
import subprocess
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cairn_server import Server
from conftest import AWS, BINARY

MARK = b"plaintext-that-must-not-be-on-disk-" * 3000


@pytest.fixture(scope="module")
def server():
    with Server(BINARY, delivery_interval="300ms", digest_interval="2s") as running:
        yield running


def make_client(environment, service):
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="module")
def clients(server):
    environment = server.environment
    return lambda service: make_client(environment, service)


@pytest.fixture(scope="module")
def account(clients):
    return clients("sts").get_caller_identity()["Account"]


def code(call, **words):
    with pytest.raises(ClientError) as refused:
        call(**words)
    return refused.value.response["Error"]["Code"]


def until(check, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come to be")


def on_disk(server, mark=MARK[:64]):
    return [path.name for path in (server.data / "blobs").rglob("*") if path.is_file() and mark in path.read_bytes()]


def test_the_cli_encrypts_and_decrypts_by_alias(server, tmp_path):
    def aws(*words):
        done = subprocess.run([AWS, *words], capture_output=True, text=True, env=server.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout
    key = json.loads(aws("kms", "create-key", "--description", "cli", "--tags", "TagKey=a,TagValue=b"))["KeyMetadata"]
    assert (key["KeySpec"], key["KeyState"], key["KeyManager"]) == ("SYMMETRIC_DEFAULT", "Enabled", "CUSTOMER")
    aws("kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", key["KeyId"])
    plain = tmp_path / "plain"
    plain.write_bytes(b"secret")
    blob = json.loads(aws("kms", "encrypt", "--key-id", "alias/cli", "--plaintext", f"fileb://{plain}",
                          "--encryption-context", "purpose=test"))["CiphertextBlob"]
    sealed = tmp_path / "sealed"
    sealed.write_bytes(base64.b64decode(blob))
    aws("kms", "rotate-key-on-demand", "--key-id", key["KeyId"])
    opened = json.loads(aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}",
                            "--encryption-context", "purpose=test"))
    assert base64.b64decode(opened["Plaintext"]) == b"secret" and opened["KeyId"] == key["Arn"]
    assert "alias/cli" in aws("kms", "list-aliases")
    assert key["Arn"] in aws("kms", "list-keys")


def test_refusals_are_awss(clients):
    kms = clients("kms")
    key = kms.create_key()["KeyMetadata"]
    blob = kms.encrypt(KeyId=key["Arn"], Plaintext=b"x")["CiphertextBlob"]
    assert code(kms.decrypt, CiphertextBlob=b"nonsense") == "InvalidCiphertextException"
    assert code(kms.decrypt, CiphertextBlob=blob, EncryptionContext={"a": "b"}) == "InvalidCiphertextException"
    assert code(kms.describe_key, KeyId="alias/none") == "NotFoundException"
    assert code(kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x" * 4097) == "ValidationException"
    assert code(kms.decrypt, CiphertextBlob=blob, DryRun=True) == "DryRunOperationException"
    assert code(kms.put_key_policy, KeyId=key["KeyId"], Policy="{}") == "MalformedPolicyDocumentException"
    assert code(kms.create_key, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY") == "UnsupportedOperationException"
    kms.disable_key(KeyId=key["KeyId"])
    assert code(kms.decrypt, CiphertextBlob=blob) == "DisabledException"
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert code(kms.decrypt, CiphertextBlob=blob) == "KMSInvalidStateException"


def test_every_object_is_encrypted_on_disk_and_reads_back_in_ranges(server, clients):
    s3 = clients("s3")
    s3.create_bucket(Bucket="sealed")
    put = s3.put_object(Bucket="sealed", Key="own", Body=MARK)
    assert put["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket="sealed", Key="own")["Body"].read() == MARK
    part = s3.get_object(Bucket="sealed", Key="own", Range="bytes=65530-65545")
    assert part["Body"].read() == MARK[65530:65546]
    assert on_disk(server) == []


def test_sse_kms_needs_the_key_to_read(server, clients):
    kms, s3 = clients("kms"), clients("s3")
    key = kms.create_key()["KeyMetadata"]
    s3.create_bucket(Bucket="kms-objects")
    put = s3.put_object(Bucket="kms-objects", Key="o", Body=MARK, ServerSideEncryption="aws:kms",
                        SSEKMSKeyId=key["KeyId"])
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])
    head = s3.head_object(Bucket="kms-objects", Key="o")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])
    assert s3.get_object(Bucket="kms-objects", Key="o")["Body"].read() == MARK
    s3.copy_object(Bucket="kms-objects", Key="copy", CopySource="kms-objects/o")
    assert s3.head_object(Bucket="kms-objects", Key="copy")["ServerSideEncryption"] == "AES256"
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]},
            "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket="kms-objects", ServerSideEncryptionConfiguration={"Rules": [rule]})
    shown = s3.get_bucket_encryption(Bucket="kms-objects")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert shown["ApplyServerSideEncryptionByDefault"] == rule["ApplyServerSideEncryptionByDefault"]
    upload = s3.create_multipart_upload(Bucket="kms-objects", Key="parts")
    assert upload["SSEKMSKeyId"] == key["Arn"]
    first = s3.upload_part(Bucket="kms-objects", Key="parts", UploadId=upload["UploadId"], PartNumber=1,
                           Body=MARK * 60)
    last = s3.upload_part(Bucket="kms-objects", Key="parts", UploadId=upload["UploadId"], PartNumber=2, Body=b"end")
    parts = [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": last["ETag"]}]
    s3.complete_multipart_upload(Bucket="kms-objects", Key="parts", UploadId=upload["UploadId"],
                                 MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket="kms-objects", Key="parts")["Body"].read() == MARK * 60 + b"end"
    assert on_disk(server) == []
    managed = s3.put_object(Bucket="sealed", Key="managed", Body=b"m", ServerSideEncryption="aws:kms")
    assert kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"] == managed["SSEKMSKeyId"]
    kms.disable_key(KeyId=key["KeyId"])
    assert code(s3.get_object, Bucket="kms-objects", Key="o") == "KMS.DisabledException"
    kms.enable_key(KeyId=key["KeyId"])
    events = clients("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateDataKey"}])["Events"]
    event = json.loads(events[0]["CloudTrailEvent"])
    assert event["eventSource"] == "kms.amazonaws.com" and event["userIdentity"]["invokedBy"] == "AWS Internal"


def key_policy(account, trail, with_cloudtrail=True):
    statements = [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*",
                   "Resource": "*"}]
    if with_cloudtrail:
        statements.append({
            "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": "kms:GenerateDataKey*", "Resource": "*",
            "Condition": {
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": f"arn:aws:cloudtrail:*:{account}:trail/*"},
            },
        })
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def test_a_trails_log_files_are_encrypted_under_its_key(server, clients, account):
    kms, s3, cloudtrail = clients("kms"), clients("s3"), clients("cloudtrail")
    trail = f"arn:aws:cloudtrail:us-east-1:{account}:trail/sealed"
    service = {"Service": "cloudtrail.amazonaws.com"}
    s3.create_bucket(Bucket="kms-logs")
    s3.put_bucket_policy(Bucket="kms-logs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": service, "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::kms-logs"},
        {"Effect": "Allow", "Principal": service, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::kms-logs/*"},
    ]}))
    key = kms.create_key(Policy=key_policy(account, trail, with_cloudtrail=False))["KeyMetadata"]
    kms.create_alias(AliasName="alias/logs", TargetKeyId=key["KeyId"])
    words = {"Name": "sealed", "S3BucketName": "kms-logs", "EnableLogFileValidation": True}
    unknown = "12345678-1234-1234-1234-123456789012"
    assert code(cloudtrail.create_trail, KmsKeyId=unknown, **words) == "InsufficientEncryptionPolicyException"
    assert code(cloudtrail.create_trail, KmsKeyId="alias/logs", **words) == "InsufficientEncryptionPolicyException"
    kms.put_key_policy(KeyId=key["KeyId"], Policy=key_policy(account, trail))
    kms.disable_key(KeyId=key["KeyId"])
    assert code(cloudtrail.create_trail, KmsKeyId="alias/logs", **words) == "KmsException"
    kms.enable_key(KeyId=key["KeyId"])
    assert cloudtrail.create_trail(KmsKeyId="alias/logs", **words)["KmsKeyId"] == key["Arn"]
    cloudtrail.start_logging(Name="sealed")

    def files(kind):
        listed = s3.list_objects_v2(Bucket="kms-logs").get("Contents", [])
        return [one["Key"] for one in listed if f"/{kind}/" in one["Key"] and one["Key"].endswith(".json.gz")]

    log = until(lambda: files("CloudTrail"))[0]
    head = s3.head_object(Bucket="kms-logs", Key=log)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])
    assert json.loads(gzip.decompress(s3.get_object(Bucket="kms-logs", Key=log)["Body"].read()))["Records"]
    digest = until(lambda: files("CloudTrail-Digest"))[0]
    assert s3.head_object(Bucket="kms-logs", Key=digest)["ServerSideEncryption"] == "AES256"

    def latest_error():
        return cloudtrail.get_trail_status(Name="sealed").get("LatestDeliveryError")

    kms.disable_key(KeyId=key["KeyId"])
    until(lambda: latest_error() == "KMS.DisabledException")
    kms.enable_key(KeyId=key["KeyId"])
    until(lambda: not latest_error(), seconds=60)
    kms.put_key_policy(KeyId=key["KeyId"], Policy=key_policy(account, trail, with_cloudtrail=False))
    until(lambda: latest_error() == "AccessDenied")
    kms.put_key_policy(KeyId=key["KeyId"], Policy=key_policy(account, trail))
    until(lambda: not latest_error(), seconds=60)
    cloudtrail.stop_logging(Name="sealed")


def test_key_material_is_nowhere_in_clear(server, clients):
    kms = clients("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    data = kms.generate_data_key(KeyId=key, KeySpec="AES_256")
    forms = (data["Plaintext"], base64.b64encode(data["Plaintext"]), data["Plaintext"].hex().encode())
    for path in server.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(form in content for form in forms), path
