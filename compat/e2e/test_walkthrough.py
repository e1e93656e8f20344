"""What a reader of AWS's user guide types, with the stock CLI: trails, subscriptions, buckets and objects."""

import hashlib
import json
import os
import re
import subprocess
import time

import pytest

CREATED = {
    "Name", "S3BucketName", "IncludeGlobalServiceEvents", "IsMultiRegionTrail", "TrailARN", "LogFileValidationEnabled",
    "IsOrganizationTrail",
}
DESCRIBED = CREATED | {"HomeRegion", "HasCustomEventSelectors", "HasInsightSelectors"}
# The legacy members, which are there from the beginning and empty until set.
STATUS_TEXTS = {
    "LatestDeliveryAttemptTime", "LatestNotificationAttemptTime", "LatestNotificationAttemptSucceeded",
    "LatestDeliveryAttemptSucceeded", "TimeLoggingStarted", "TimeLoggingStopped",
}


@pytest.fixture
def cli(aws):
    """Runs a command that must succeed; gives its JSON, or its text where it prints none."""
    def run(*words, expect=0, **more):
        code, out, err = aws(*words, **more)
        assert code == expect, f"aws {' '.join(words)}: {code}\n{out}{err}"
        if expect:
            return err.strip()
        return json.loads(out) if out.lstrip().startswith("{") else out
    return run


def unique(prefix):
    return f"{prefix}-{time.time_ns() % 10**10}"


def test_the_life_of_a_single_region_trail(cli, account):
    bucket, trail = account.bucket(), unique("walk")
    made = cli("cloudtrail", "create-trail", "--name", trail, "--s3-bucket-name", bucket)
    assert set(made) == CREATED
    assert made["IsMultiRegionTrail"] is False and made["IncludeGlobalServiceEvents"] is True
    assert made["LogFileValidationEnabled"] is False
    arn = f"arn:aws:cloudtrail:us-east-1:{account.id}:trail/{trail}"
    assert made["TrailARN"] == arn
    try:
        described = cli("cloudtrail", "describe-trails", "--trail-name-list", trail)["trailList"][0]
        assert set(described) == DESCRIBED and described["HomeRegion"] == "us-east-1"
        assert {name: described[name] for name in CREATED} == made
        status = cli("cloudtrail", "get-trail-status", "--name", trail)
        assert status == {"IsLogging": False, **dict.fromkeys(STATUS_TEXTS, "")}
        assert cli("cloudtrail", "start-logging", "--name", trail) == ""
        status = cli("cloudtrail", "get-trail-status", "--name", trail)
        assert status["IsLogging"] is True and set(status) >= STATUS_TEXTS | {"StartLoggingTime"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", status["TimeLoggingStarted"])
        updated = cli("cloudtrail", "update-trail", "--name", trail, "--enable-log-file-validation")
        assert set(updated) == CREATED and updated["LogFileValidationEnabled"] is True
        error = cli("cloudtrail", "update-trail", "--name", trail, "--s3-key-prefix", "closed", expect=255)
        assert f"Incorrect S3 bucket policy is detected for bucket: {bucket}" in error
        # A failed update changes nothing.
        error = cli("cloudtrail", "update-trail", "--name", trail, "--s3-bucket-name", "no-such-bucket-" + bucket,
                    expect=255)
        assert "(S3BucketDoesNotExistException) when calling the UpdateTrail operation" in error
        again = cli("cloudtrail", "get-trail", "--name", arn)["Trail"]
        assert {name: again[name] for name in updated} == updated
        error = cli("cloudtrail", "create-trail", "--name", trail, "--s3-bucket-name", bucket, expect=255)
        assert f"Trail {trail} already exists for customer: {account.id}" in error
        cli("cloudtrail", "stop-logging", "--name", trail)
        status = cli("cloudtrail", "get-trail-status", "--name", trail)
        assert status["IsLogging"] is False and status["TimeLoggingStopped"]
    finally:
        assert cli("cloudtrail", "delete-trail", "--name", trail) == ""
    error = cli("cloudtrail", "get-trail-status", "--name", trail, expect=255)
    assert f"Unknown trail: {arn} for the user: {account.id}" in error


def test_the_life_of_a_multi_region_trail(cli, account):
    bucket, trail = account.bucket(), unique("everywhere")
    made = cli("cloudtrail", "create-trail", "--name", trail, "--s3-bucket-name", bucket, "--is-multi-region-trail",
               "--enable-log-file-validation", region="eu-central-1")
    assert made["IsMultiRegionTrail"] is True and ":eu-central-1:" in made["TrailARN"]
    arn = made["TrailARN"]
    try:
        shadows = cli("cloudtrail", "describe-trails", region="ap-southeast-2")["trailList"]
        shadow = next(found for found in shadows if found["TrailARN"] == arn)
        assert shadow["HomeRegion"] == "eu-central-1"
        own = cli("cloudtrail", "describe-trails", "--no-include-shadow-trails", region="ap-southeast-2")["trailList"]
        assert arn not in [found["TrailARN"] for found in own]
        error = cli("cloudtrail", "stop-logging", "--name", arn, region="ap-southeast-2", expect=255)
        assert "(InvalidHomeRegionException)" in error
        cli("cloudtrail", "start-logging", "--name", trail, region="eu-central-1")
        assert cli("cloudtrail", "get-trail-status", "--name", arn, region="ap-southeast-2")["IsLogging"] is True
        single = cli("cloudtrail", "update-trail", "--name", trail, "--no-is-multi-region-trail",
                     region="eu-central-1")
        assert single["IsMultiRegionTrail"] is False
        shadows = cli("cloudtrail", "describe-trails", region="ap-southeast-2")["trailList"]
        assert arn not in [found["TrailARN"] for found in shadows]
    finally:
        cli("cloudtrail", "delete-trail", "--name", trail, region="eu-central-1")


def test_create_subscription_makes_bucket_policy_and_trail(cli, account):
    bucket, trail = unique("subscribed"), unique("sub")
    printed = cli("cloudtrail", "create-subscription", "--name", trail, "--s3-new-bucket", bucket,
                  "--s3-prefix", "here")
    try:
        assert f"Setting up new S3 bucket {bucket}..." in printed
        assert "Creating/updating CloudTrail configuration..." in printed
        assert "Starting CloudTrail service..." in printed and f"Logs will be delivered to {bucket}:here" in printed
        assert cli("cloudtrail", "get-trail-status", "--name", trail)["IsLogging"] is True
        policy = json.loads(cli("s3api", "get-bucket-policy", "--bucket", bucket)["Policy"])
        resources = json.dumps([statement["Resource"] for statement in policy["Statement"]])
        assert f"arn:aws:s3:::{bucket}/here/AWSLogs/{account.id}/*" in resources and "<" not in json.dumps(policy)
        other = unique("moved")
        printed = cli("cloudtrail", "update-subscription", "--name", trail, "--s3-new-bucket", other)
        assert f"Setting up new S3 bucket {other}..." in printed
        found = cli("cloudtrail", "describe-trails", "--trail-name-list", trail)["trailList"][0]
        assert found["S3BucketName"] == other
    finally:
        cli("cloudtrail", "delete-trail", "--name", trail)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_s3_copies_lists_syncs_and_presigns(cli, tmp_path):
    bucket = unique("files")
    assert cli("s3", "mb", f"s3://{bucket}").strip() == f"make_bucket: {bucket}"
    large = tmp_path / "large file.bin"
    large.write_bytes(os.urandom(20 * 1024 * 1024))
    # Over 8 MB the CLI sends parts.
    assert "upload:" in cli("s3", "cp", str(large), f"s3://{bucket}/up/")
    back = tmp_path / "back.bin"
    cli("s3", "cp", f"s3://{bucket}/up/large file.bin", str(back))
    assert digest(back) == digest(large)
    head = cli("s3api", "head-object", "--bucket", bucket, "--key", "up/large file.bin")
    assert head["ContentLength"] == 20 * 1024 * 1024 and head["ETag"].endswith('-3"')
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    names = ["a.txt", "sub/b & c.txt", "sub/ü+%.txt"]
    for name in names:
        (tree / name).write_text(name)
        # The CLI holds a file's time against S3's whole seconds: one written within the second of its upload looks new.
        os.utime(tree / name, (time.time() - 60, time.time() - 60))
    assert cli("s3", "sync", str(tree), f"s3://{bucket}/tree").count("upload:") == 3
    assert cli("s3", "sync", str(tree), f"s3://{bucket}/tree") == ""
    (tree / "a.txt").unlink()
    assert "delete:" in cli("s3", "sync", "--delete", str(tree), f"s3://{bucket}/tree")
    fresh = tmp_path / "fresh"
    cli("s3", "sync", f"s3://{bucket}/tree", str(fresh))
    assert sorted(str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file()) == names[1:]
    listing = cli("s3", "ls", "--recursive", f"s3://{bucket}/tree/")
    assert [line.split(maxsplit=3)[3] for line in listing.splitlines()] == ["tree/" + name for name in names[1:]]
    assert "PRE tree/" in cli("s3", "ls", f"s3://{bucket}/") and bucket in cli("s3", "ls")
    cli("s3", "mv", f"s3://{bucket}/tree/sub/b & c.txt", f"s3://{bucket}/moved.txt")
    url = cli("s3", "presign", f"s3://{bucket}/moved.txt", "--expires-in", "60").strip()
    fetched = subprocess.run(["curl", "-sS", "--fail", url], capture_output=True, text=True, check=True)
    assert fetched.stdout == "sub/b & c.txt"
    tampered = subprocess.run(
        ["curl", "-sS", "-w", "%{http_code}", url.replace("moved", "other")], capture_output=True, text=True, check=True
    )
    assert "SignatureDoesNotMatch" in tampered.stdout and tampered.stdout.endswith("403")
    assert "BucketNotEmpty" in cli("s3", "rb", f"s3://{bucket}", expect=1)
    cli("s3", "rb", "--force", f"s3://{bucket}")
    error = cli("s3", "ls", f"s3://{bucket}", expect=255)
    assert "(NoSuchBucket) when calling the ListObjectsV2 operation" in error


def test_s3api_keeps_versions_conditions_and_ranges(cli, tmp_path):
    bucket, body = unique("versions"), tmp_path / "body"
    cli("s3api", "create-bucket", "--bucket", bucket)
    cli("s3api", "put-bucket-versioning", "--bucket", bucket, "--versioning-configuration", "Status=Enabled")
    body.write_text("0123456789")
    of = ("--bucket", bucket, "--key", "k")
    first = cli("s3api", "put-object", *of, "--body", str(body))
    error = cli("s3api", "put-object", *of, "--body", str(body), "--if-none-match", "*", expect=255)
    assert "(PreconditionFailed)" in error
    got = cli("s3api", "get-object", *of, "--range", "bytes=2-4", str(tmp_path / "out"))
    assert got["ContentRange"] == "bytes 2-4/10" and (tmp_path / "out").read_text() == "234"
    assert "(InvalidRange)" in cli("s3api", "get-object", *of, "--range", "bytes=90-", str(tmp_path / "o"), expect=255)
    assert "(304)" in cli("s3api", "get-object", *of, "--if-none-match", first["ETag"], str(tmp_path / "o"), expect=255)
    error = cli("s3api", "get-object", *of, "--if-match", '"00"', str(tmp_path / "o"), expect=255)
    assert "(PreconditionFailed)" in error
    marker = cli("s3api", "delete-object", *of)
    assert marker["DeleteMarker"] is True
    assert "(NoSuchKey)" in cli("s3api", "get-object", *of, str(tmp_path / "o"), expect=255)
    cli("s3api", "get-object", *of, "--version-id", first["VersionId"], str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "0123456789"
    cli("s3api", "delete-object", *of, "--version-id", marker["VersionId"])
    assert cli("s3api", "get-object", *of, str(tmp_path / "out"))["VersionId"] == first["VersionId"]
