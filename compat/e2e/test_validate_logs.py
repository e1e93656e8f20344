"""The stock `aws cloudtrail validate-logs` as the judge of log files and digests, untouched and tampered with."""

import gzip
import json
import time
from datetime import datetime, timedelta, timezone

import pytest
from conftest import run_aws
from trails import Account, wait_for


def validate(server, trail, region=None, start=None, verbose=True, flags=()):
    start = start or (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = ["cloudtrail", "validate-logs", "--trail-arn", trail["TrailARN"], "--start-time", start, *flags]
    if verbose:
        words.append("--verbose")
    if region:
        words += ["--region", region]
    code, out, err = run_aws(server, *words)
    return code, out + err


def all_digested(account, bucket, files):
    """Waits until there are `files` log files and digests list all of them; gives the keys."""
    def check():
        keys = account.keys(bucket)
        return keys if len(keys) >= files and set(keys) <= account.digested(bucket) else None
    return wait_for(f"{files} digested log files", check, 60)


def noise(account, region="us-east-1", calls=3):
    for _ in range(calls):
        account.client("cloudtrail", region).list_trails()


def test_two_regions_and_a_prefix_validate_each_under_its_own_region(server, account):
    trail, bucket = account.trail(prefix="deep/er", IsMultiRegionTrail=True)
    noise(account)
    noise(account, "eu-west-1")

    def both():
        keys = account.keys(bucket)
        regions = [region for region in ("us-east-1", "eu-west-1") if any(f"/{region}/" in key for key in keys)]
        return len(regions) == 2 and set(keys) <= account.digested(bucket)
    wait_for("digested files of two regions", both, 60)
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    assert all(key.startswith(f"deep/er/AWSLogs/{account.id}/CloudTrail/") for key in account.keys(bucket))
    for region in ("us-east-1", "eu-west-1"):
        code, output = validate(server, trail, region)
        assert code == 0, output
        assert "INVALID" not in output and "No log files were delivered" not in output
        assert f"_{region}_" in output and "digest files valid" in output
    account.close_trail(trail)


def test_empty_hours_are_digested_and_the_chain_goes_over_them(server, account):
    trail, bucket = account.trail()
    noise(account)
    all_digested(account, bucket, 1)
    # Reading a bucket makes data events only, which this trail does not take: these digests stay empty.
    time.sleep(10)
    noise(account)
    all_digested(account, bucket, 2)
    digests = [account.read(bucket, key) for key in sorted(account.keys(bucket, "CloudTrail-Digest"))]
    empty = [digest for digest in digests if not digest["logFiles"]]
    assert empty and all(digest["newestEventTime"] is None for digest in empty)
    ends = [(digest["digestStartTime"], digest["digestEndTime"]) for digest in digests]
    assert all(before[1] == after[0] for before, after in zip(ends, ends[1:])), ends
    code, output = validate(server, trail)
    assert code == 0 and "INVALID" not in output, output
    account.close_trail(trail)


def test_a_restart_and_a_key_rotation_stay_in_one_chain(own_server, tmp_path):
    server = own_server(data=tmp_path / "kept", delivery_interval="1s", digest_interval="3s", key_rotation_interval="8s")
    account = Account(server)
    trail, bucket = account.trail()
    noise(account)
    all_digested(account, bucket, 1)
    assert server.stop() == 0
    server = own_server(
        data=tmp_path / "kept", delivery_interval="1s", digest_interval="3s", key_rotation_interval="8s"
    )
    account = Account(server)

    def rotated():
        noise(account, calls=1)
        digests = [account.read(bucket, key) for key in account.keys(bucket, "CloudTrail-Digest")]
        return len({digest["digestPublicKeyFingerprint"] for digest in digests}) >= 2
    wait_for("a digest signed with a second key", rotated, 60)
    all_digested(account, bucket, 2)
    code, output = validate(server, trail)
    assert code == 0 and "INVALID" not in output, output
    starting = [
        key for key in account.keys(bucket, "CloudTrail-Digest")
        if account.read(bucket, key)["previousDigestS3Object"] is None
    ]
    assert len(starting) == 1, "the chain was begun once"


def test_turning_validation_off_and_on_begins_a_new_chain(server, account):
    trail, bucket = account.trail()
    cloudtrail = account.client("cloudtrail")
    noise(account)
    all_digested(account, bucket, 1)
    cloudtrail.update_trail(Name=trail["TrailARN"], EnableLogFileValidation=False)
    time.sleep(6)
    before = account.keys(bucket, "CloudTrail-Digest")
    cloudtrail.update_trail(Name=trail["TrailARN"], EnableLogFileValidation=True)

    def begun_again():
        digests = [account.read(bucket, key) for key in account.keys(bucket, "CloudTrail-Digest")]
        return len([d for d in digests if d["previousDigestS3Object"] is None]) == 2
    wait_for("a second starting digest", begun_again, 30)
    assert set(before) < set(account.keys(bucket, "CloudTrail-Digest"))
    code, output = validate(server, trail)
    assert code == 0 and "INVALID" not in output, output
    account.close_trail(trail)


def replaced(account, bucket, key, change):
    """Puts an object anew with its bytes changed by `change`, everything else kept."""
    s3 = account.client("s3")
    old = s3.get_object(Bucket=bucket, Key=key)
    s3.put_object(
        Bucket=bucket, Key=key, Body=change(old["Body"].read()), Metadata=old["Metadata"],
        ContentType=old["ContentType"], ContentEncoding=old["ContentEncoding"],
    )


def altered_json(member):
    def change(body):
        value = json.loads(gzip.decompress(body))
        if member in value:
            value[member] = "2001-01-01T00:00:00Z"
        else:
            value["Records"][0][member] = "somebody else"
        return gzip.compress(json.dumps(value).encode(), mtime=0)
    return change


@pytest.fixture(scope="module")
def three_digests(server, account):
    """A trail at rest with at least three digests that list files: copied for each tampering."""
    trail, bucket = account.trail()
    for _ in range(3):
        noise(account)
        files = len(account.keys(bucket))
        all_digested(account, bucket, files + 1)
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    time.sleep(6)
    yield trail, bucket
    account.close_trail(trail)


def digest_with_files(account, bucket):
    """A digest in the middle of the chain that lists files, and one of the files."""
    for key in sorted(account.keys(bucket, "CloudTrail-Digest"))[1:-1]:
        files = account.read(bucket, key)["logFiles"]
        if files:
            return key, files[0]["s3Object"]
    raise AssertionError("no digest in the middle lists files")


def without_signature(account, bucket, key):
    s3 = account.client("s3")
    old = s3.get_object(Bucket=bucket, Key=key)
    s3.put_object(Bucket=bucket, Key=key, Body=old["Body"].read(), Metadata={}, ContentEncoding="gzip")


def moved(account, bucket, key, to):
    account.client("s3").copy_object(Bucket=bucket, Key=to, CopySource={"Bucket": bucket, "Key": key})
    return to


TAMPERINGS = {
    "a deleted log file": ("log", lambda a, b, k: a.client("s3").delete_object(Bucket=b, Key=k), "INVALID: not found"),
    "an altered log file": (
        "log", lambda a, b, k: replaced(a, b, k, altered_json("sourceIPAddress")), "INVALID: hash value doesn't match",
    ),
    "a truncated log file": (
        "log", lambda a, b, k: replaced(a, b, k, lambda body: body[: len(body) // 2]),
        "INVALID: hash value doesn't match",
    ),
    "a log file that is not gzip": (
        "log", lambda a, b, k: replaced(a, b, k, gzip.decompress), "INVALID: invalid format",
    ),
    "a deleted digest": (
        "digest", lambda a, b, k: a.client("s3").delete_object(Bucket=b, Key=k), "INVALID: not found",
    ),
    "an altered digest": (
        "digest", lambda a, b, k: replaced(a, b, k, altered_json("oldestEventTime")),
        "INVALID: signature verification failed",
    ),
    "a digest without its signature": ("digest", without_signature, "INVALID: signature verification failed"),
    "a digest that is not gzip": (
        "digest", lambda a, b, k: replaced(a, b, k, gzip.decompress), "INVALID: invalid format",
    ),
    "a digest that is not JSON": (
        "digest", lambda a, b, k: replaced(a, b, k, lambda body: gzip.compress(b"{", mtime=0)),
        "INVALID: invalid format",
    ),
    "a digest in another's place": (
        "digest",
        lambda a, b, k: moved(a, b, sorted(a.keys(b, "CloudTrail-Digest"))[0], k),
        "INVALID: has been moved from its original location",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_named(name, server, account, three_digests):
    kind, tamper, line = TAMPERINGS[name]
    trail, bucket = three_digests
    digest, log = digest_with_files(account, bucket)
    key = log if kind == "log" else digest
    label = "Log file" if kind == "log" else "Digest file"
    s3 = account.client("s3")
    kept = s3.get_object(Bucket=bucket, Key=key)
    original = {"Body": kept["Body"].read(), "Metadata": kept["Metadata"]}
    try:
        tamper(account, bucket, key)
        code, output = validate(server, trail)
        assert code == 1, output
        assert f"{label}\ts3://{bucket}/{key}\t{line}" in output, output
    finally:
        s3.put_object(
            Bucket=bucket, Key=key, ContentType="application/json", ContentEncoding="gzip", **original
        )


def test_a_signature_by_a_key_that_nobody_lists_is_named(server, account, three_digests):
    trail, bucket = three_digests
    key, _ = digest_with_files(account, bucket)
    s3 = account.client("s3")
    kept = s3.get_object(Bucket=bucket, Key=key)
    original = {"Body": kept["Body"].read(), "Metadata": kept["Metadata"]}

    def other_key(body):
        value = json.loads(gzip.decompress(body))
        value["digestPublicKeyFingerprint"] = "0" * 32
        return gzip.compress(json.dumps(value).encode(), mtime=0)
    try:
        replaced(account, bucket, key, other_key)
        code, output = validate(server, trail)
        assert code == 1
        wanted = f"{key}\tINVALID: public key not found in region us-east-1 for fingerprint {'0' * 32}"
        assert wanted in output, output
    finally:
        s3.put_object(Bucket=bucket, Key=key, ContentEncoding="gzip", **original)
    code, output = validate(server, trail)
    assert code == 0, output
