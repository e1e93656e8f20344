"""Lifecycle rules with boto3 and the AWS CLI: stored as S3 does, executed with short days, recorded, told to trails."""

import json
import signal
import time

import pytest
from botocore.exceptions import ClientError
from conftest import run_aws
from trails import Account, wait_for

DAY_S = 2


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A server whose lifecycle days last two seconds."""
    from cairn_server import Server
    from conftest import BINARY

    with Server(BINARY, delivery_interval="1s", digest_interval="1h", lifecycle_day=f"{DAY_S}s") as running:
        yield running


@pytest.fixture
def account(quick):
    return Account(quick)


@pytest.fixture
def s3(account):
    return account.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"rules-{time.time_ns()}"
    s3.create_bucket(Bucket=name)
    return name


def put(s3, bucket, *rules, **more):
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **more)


def rule(**members):
    return {"ID": "the rule", "Filter": {"Prefix": ""}, "Status": "Enabled", **members}


def keys(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_terraform_polls_rules_until_they_are_as_it_put_them(s3, bucket):
    """aws_s3_bucket_lifecycle_configuration compares rules and the header for small objects."""
    rules = [
        {"ID": "archive", "Status": "Enabled", "Filter": {"Prefix": "AWSLogs/"},
         "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}],
         "Expiration": {"Days": 365},
         "NoncurrentVersionTransitions": [{"NoncurrentDays": 30, "StorageClass": "STANDARD_IA", "NewerNoncurrentVersions": 2}],
         "NoncurrentVersionExpiration": {"NoncurrentDays": 90, "NewerNoncurrentVersions": 3}},
        {"ID": "uploads", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        {"ID": "tagged", "Status": "Disabled", "Expiration": {"Days": 1},
         "Filter": {"And": {"Prefix": "x", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}],
                            "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 500}}},
    ]
    for size in ("all_storage_classes_128K", "varies_by_storage_class"):
        answer = put(s3, bucket, *rules, TransitionDefaultMinimumObjectSize=size)
        assert answer["TransitionDefaultMinimumObjectSize"] == size
        for _ in range(3):
            shown = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
            assert shown["Rules"] == rules and shown["TransitionDefaultMinimumObjectSize"] == size
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)


def test_the_cli_puts_rules_and_sees_when_an_object_expires(quick, bucket):
    rules = {"Rules": [{"ID": "dated", "Status": "Enabled", "Filter": {"Prefix": "d/"}, "Expiration": {"Date": "2099-01-01T00:00:00Z"}}]}
    code, out, err = run_aws(quick, "s3api", "put-bucket-lifecycle-configuration", "--bucket", bucket,
                             "--lifecycle-configuration", json.dumps(rules))
    assert code == 0, err
    code, out, err = run_aws(quick, "s3api", "put-object", "--bucket", bucket, "--key", "d/x")
    assert code == 0, err
    assert json.loads(out)["Expiration"] == 'expiry-date="Thu, 01 Jan 2099 00:00:00 GMT", rule-id="dated"'
    code, out, err = run_aws(quick, "s3api", "get-bucket-lifecycle-configuration", "--bucket", bucket)
    assert json.loads(out)["Rules"][0]["Expiration"]["Date"].startswith("2099-01-01T00:00:00")


@pytest.mark.parametrize("members, code, message", [
    ({"Expiration": {"Days": 0}}, "InvalidArgument", "'Days' for Expiration action must be a positive integer"),
    ({}, "InvalidRequest", "At least one action needs to be specified in a rule"),
    ({"Filter": {"Prefix": "a", "ObjectSizeLessThan": 5}, "Expiration": {"Days": 1}}, "MalformedXML", "well-formed"),
    ({"Status": "on", "Expiration": {"Days": 1}}, "MalformedXML", "well-formed"),
    ({"Expiration": {"Date": "2030-01-01T00:00:01Z"}}, "InvalidArgument", "'Date' must be at midnight GMT"),
])
def test_rules_are_refused_with_s3s_words(s3, bucket, members, code, message):
    with pytest.raises(ClientError) as refused:
        put(s3, bucket, rule(**members))
    assert refused.value.response["Error"]["Code"] == code
    assert message in refused.value.response["Error"]["Message"]


def test_objects_expire_by_the_clock_and_a_trail_tells_of_it(account, s3, bucket):
    trail, logs = account.trail()
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=[{
        "ReadWriteType": "WriteOnly", "IncludeManagementEvents": False,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{bucket}/"]}],
    }])
    for key in ("old/a", "old/b", "new/c"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    put(s3, bucket, rule(Filter={"Prefix": "old/"}, Expiration={"Days": 1}))
    wait_for("the expiration", lambda: keys(s3, bucket) == ["new/c"], 20)

    def told():
        found = [event for event in account.delivered(logs) if event["eventName"] == "DeleteObject"]
        return found if len(found) >= 2 else None
    events = wait_for("the records", told)
    assert sorted(event["requestParameters"]["key"] for event in events) == ["old/a", "old/b"]
    for event in events:
        assert event["userIdentity"] == {"type": "AWSService", "invokedBy": "s3.amazonaws.com"}
        assert event["eventSource"] == event["sourceIPAddress"] == "s3.amazonaws.com"
        assert event["additionalEventData"] == {"lifecycleRuleId": "the rule"}
        assert event["eventCategory"] == "Data" and event["readOnly"] is False
        assert event["resources"][0]["ARN"] == f"arn:aws:s3:::{bucket}/{event['requestParameters']['key']}"


def test_versions_markers_uploads_and_classes(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"one", b"two", b"three"):
        s3.put_object(Bucket=bucket, Key="k", Body=body)
    s3.put_object(Bucket=bucket, Key="large", Body=b"x" * 200_000)
    s3.put_object(Bucket=bucket, Key="gone", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="gone")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="never")
    put(s3, bucket, rule(
        Expiration={"ExpiredObjectDeleteMarker": True},
        NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 1},
        AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}),
        {"ID": "move", "Filter": {"Prefix": "large"}, "Status": "Enabled",
         "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]},
        {"ID": "clean", "Filter": {"Prefix": "gone"}, "Status": "Enabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})

    def settled():
        listed = s3.list_object_versions(Bucket=bucket)
        versions = sorted((v["Key"], v["StorageClass"]) for v in listed.get("Versions", []))
        return versions == [("k", "STANDARD"), ("k", "STANDARD"), ("large", "GLACIER")] and "DeleteMarkers" not in listed
    wait_for("all that is due", settled, 20)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with pytest.raises(ClientError, match="NoSuchUpload"):
        s3.list_parts(Bucket=bucket, Key="never", UploadId=upload["UploadId"])
    got = s3.get_object(Bucket=bucket, Key="large")
    assert got["StorageClass"] == "GLACIER" and len(got["Body"].read()) == 200_000
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"three"


def test_what_is_held_outlives_the_rules(account, s3):
    bucket = f"held-{time.time_ns()}"
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    put(s3, bucket, rule(NoncurrentVersionExpiration={"NoncurrentDays": 1}, Expiration={"Days": 1}))
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"evidence")["VersionId"]
    s3.put_object_legal_hold(Bucket=bucket, Key="k", VersionId=version, LegalHold={"Status": "ON"})
    wait_for("the marker", lambda: "DeleteMarkers" in s3.list_object_versions(Bucket=bucket), 20)
    time.sleep(3 * DAY_S)
    assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == b"evidence"
    s3.put_object_legal_hold(Bucket=bucket, Key="k", VersionId=version, LegalHold={"Status": "OFF"})
    wait_for("the end of it", lambda: set(s3.list_object_versions(Bucket=bucket)) & {"Versions", "DeleteMarkers"} == set(), 20)


@pytest.mark.parametrize("point", ["before-commit:s3.lifecycle_record", "after-commit:s3.lifecycle_record"])
def test_a_death_between_action_and_record_leaves_one_record(own_server, tmp_path, point):
    data = tmp_path / "data"
    server = own_server(data=data, delivery_interval="1s", lifecycle_day="1s")
    account = Account(server)
    s3, bucket = account.client("s3"), f"dies-{time.time_ns()}"
    s3.create_bucket(Bucket=bucket)
    trail, logs = account.trail()
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=[{
        "ReadWriteType": "WriteOnly", "IncludeManagementEvents": False,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{bucket}/"]}],
    }])
    for at in range(3):
        s3.put_object(Bucket=bucket, Key=f"k{at}", Body=b"x")
    server.stop()
    server = own_server(data=data, delivery_interval="1s", lifecycle_day="1s", variables={"CAIRN_FAILPOINT": point})
    account = Account(server)
    try:
        put(account.client("s3"), bucket, rule(Expiration={"Days": 1}))
    except Exception:  # the server may be gone before it has answered
        pass
    assert server.process.wait(timeout=30) == -signal.SIGKILL
    server = own_server(data=data, delivery_interval="1s", lifecycle_day="1s")
    account = Account(server)
    s3 = account.client("s3")
    wait_for("the expiration", lambda: keys(s3, bucket) == [], 20)

    def told():
        found = [event for event in account.delivered(logs) if event["eventName"] == "DeleteObject"]
        return found if len(found) >= 3 else None
    wait_for("the records", told)
    time.sleep(2.5)
    events = [event for event in account.delivered(logs) if event["eventName"] == "DeleteObject"]
    assert sorted(event["requestParameters"]["key"] for event in events) == ["k0", "k1", "k2"]
    assert len({event["eventID"] for event in events}) == 3
