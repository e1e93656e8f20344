"""The AWS CLI's own validation code as the judge of a simulated day's log files and digests, untouched and tampered with.

The code is the one behind `aws cloudtrail validate-logs`; only its clients are replaced, by ones that read the folder which
crates/trail/examples/make_trail.rs wrote.
"""

import argparse
import base64
import copy
import gzip
import io
import json
import os
import subprocess
from datetime import timezone
from pathlib import Path

import botocore.session
import jmespath
import pytest
from awscli.customizations.cloudtrail.validation import CloudTrailValidateLogs
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parents[2]
HOME, OTHER = "eu-west-1", "us-east-1"


class Folder:
    """What a day left behind, in memory, to be tampered with."""

    def __init__(self, path):
        self.trail = json.loads((path / "trail.json").read_text())
        self.keys = self.trail["Keys"]
        self.objects = {
            found["Key"]: {"body": (path / "objects" / str(found["File"])).read_bytes(), "metadata": found["Metadata"]}
            for found in self.trail["Objects"]
        }

    def named(self, folder, region):
        return sorted(key for key in self.objects if f"/{folder}/{region}/" in key)

    def digests(self, region=HOME):
        return self.named("CloudTrail-Digest", region)

    def logs(self, region=HOME):
        return self.named("CloudTrail", region)

    def digest(self, key):
        return json.loads(gzip.decompress(self.objects[key]["body"]))


class S3:
    def __init__(self, folder):
        self.folder = folder

    def get_client(self, bucket):
        assert bucket == "logs"
        return self

    def get_object(self, Bucket, Key):
        if Key not in self.folder.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "no such key"}}, "GetObject")
        found = self.folder.objects[Key]
        return {"Body": io.BytesIO(found["body"]), "Metadata": found["metadata"]}

    def get_paginator(self, operation):
        assert operation == "list_objects"
        return self

    def paginate(self, Bucket, Marker, Prefix):
        keys = [key for key in sorted(self.folder.objects) if key > Marker and key.startswith(Prefix)]
        self.page = {"Contents": [{"Key": key} for key in keys]}
        return self

    def search(self, expression):
        return jmespath.search(expression, self.page)


class CloudTrail:
    def __init__(self, folder, region):
        self.folder, self.region = folder, region

    def describe_trails(self):
        return {"trailList": [self.folder.trail]}

    def list_public_keys(self, StartTime, EndTime):
        # The service answers the keys whose validity touches the range.
        start, end = (time.replace(tzinfo=timezone.utc).timestamp() for time in (StartTime, EndTime))
        keys = self.folder.keys[self.region]
        return {
            "PublicKeyList": [
                key for key in keys if key["ValidityStartTime"] <= end and start <= key["ValidityEndTime"]
            ]
        }


class Command(CloudTrailValidateLogs):
    def __init__(self, folder, region):
        super().__init__(botocore.session.get_session())
        self.folder, self.region = folder, region

    def setup_services(self, parsed_globals):
        self._source_region = self.region
        self.s3_client_provider = S3(self.folder)
        self.cloudtrail_client = CloudTrail(self.folder, self.region)
        self.organization_client = None


@pytest.fixture(scope="session")
def day(tmp_path_factory):
    path = tmp_path_factory.mktemp("day")
    built = os.environ.get("CAIRN_TARGET")
    cargo = ["cargo", "run", "--quiet", "--package", "cairn-trail", "--example", "make_trail", "--"]
    command = [str(ROOT / built / "examples/make_trail")] if built else cargo
    subprocess.run([*command, str(path)], cwd=ROOT, check=True)
    return Folder(path)


@pytest.fixture
def folder(day):
    changed = copy.copy(day)
    changed.objects = copy.deepcopy(day.objects)
    changed.keys = copy.deepcopy(day.keys)
    return changed


@pytest.fixture
def validate(capsys):
    def run(folder, region=HOME, start="2026-11-20T09:00:00Z", end=None):
        args = argparse.Namespace(
            trail_arn=folder.trail["TrailARN"], verbose=True, s3_bucket=None, s3_prefix=None, account_id=None,
            start_time=start, end_time=end or folder.trail["End"],
        )
        code = Command(folder, region)._run_main(args, None)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_home_region_is_valid_over_empty_hours_a_restart_a_rotation_and_a_thousand_files(folder, validate):
    code, out, err = validate(folder)
    assert code == 0 and "INVALID" not in out + err
    digests, logs = len(folder.digests()), len(folder.logs())
    assert logs == 1007
    assert f"{digests}/{digests} digest files valid" in out and f"{logs}/{logs} log files valid" in out
    # Logging was stopped for three hours; the chain went on for one of them.
    assert err.count("No log files were delivered by CloudTrail between") == 1
    fingerprints = {folder.digest(key)["digestPublicKeyFingerprint"] for key in folder.digests()}
    assert len(fingerprints) == 2
    assert any(not folder.digest(key)["logFiles"] for key in folder.digests())


def test_a_region_that_came_later_is_valid_by_its_own_keys(folder, validate):
    code, out, err = validate(folder, OTHER)
    assert code == 0 and "INVALID" not in out + err
    assert "3/3 log files valid" in out


@pytest.mark.parametrize("at", [0, 3, -1])
def test_any_part_of_the_day_is_valid_by_itself(folder, validate, at):
    digest = folder.digest(folder.digests()[at])
    code, out, err = validate(folder, start=digest["digestStartTime"], end=digest["digestEndTime"])
    assert code == 0 and "INVALID" not in out + err and "digest files valid" in out


def test_objects_are_what_the_reference_says(folder):
    for key in folder.digests():
        found, digest = folder.objects[key], folder.digest(key)
        assert set(found["metadata"]) == {"signature", "signature-algorithm"}
        assert found["metadata"]["signature-algorithm"] == "SHA256withRSA"
        assert found["metadata"]["signature"] == found["metadata"]["signature"].lower()
        assert found["body"][4:8] == b"\0\0\0\0"
        assert list(digest) == [
            "awsAccountId", "digestStartTime", "digestEndTime", "digestS3Bucket", "digestS3Object",
            "digestPublicKeyFingerprint", "digestSignatureAlgorithm", "newestEventTime", "oldestEventTime",
            "previousDigestS3Bucket", "previousDigestS3Object", "previousDigestHashValue",
            "previousDigestHashAlgorithm", "previousDigestSignature", "logFiles",
        ]
    assert folder.digest(folder.digests()[0])["digestEndTime"] == "2026-11-20T10:00:07Z"
    assert all(found["metadata"] == {} for key, found in folder.objects.items() if key in folder.logs())


def lose_log(folder):
    key = folder.logs()[4]
    del folder.objects[key]
    return f"Log file\ts3://logs/{key}\tINVALID: not found"


def alter_log(folder):
    key = folder.logs()[4]
    folder.objects[key]["body"] = gzip.compress(b'{"Records":[]}')
    return f"Log file\ts3://logs/{key}\tINVALID: hash value doesn't match"


def truncate_log(folder):
    key = folder.logs()[4]
    folder.objects[key]["body"] = folder.objects[key]["body"][:-30]
    return f"Log file\ts3://logs/{key}\tINVALID: hash value doesn't match"


def spoil_log(folder):
    key = folder.logs()[4]
    folder.objects[key]["body"] = b"no gzip"
    return f"Log file\ts3://logs/{key}\tINVALID: invalid format"


def lose_digest(folder):
    key = folder.digests()[2]
    del folder.objects[key]
    return f"Digest file\ts3://logs/{key}\tINVALID: not found"


def alter_digest(folder):
    key = folder.digests()[1]
    digest = folder.digest(key)
    digest["logFiles"].pop()
    folder.objects[key]["body"] = gzip.compress(json.dumps(digest, separators=(",", ":")).encode())
    return f"Digest file\ts3://logs/{key}\tINVALID: signature verification failed"


def reprint_digest(folder):
    key = folder.digests()[1]
    folder.objects[key]["body"] = gzip.compress(json.dumps(folder.digest(key)).encode())
    return f"Digest file\ts3://logs/{key}\tINVALID: signature verification failed"


def strip_signature(folder):
    key = folder.digests()[1]
    del folder.objects[key]["metadata"]["signature"]
    return f"Digest file\ts3://logs/{key}\tINVALID: signature verification failed"


def spoil_digest(folder):
    key = folder.digests()[1]
    folder.objects[key]["body"] = b"no gzip"
    return f"Digest file\ts3://logs/{key}\tINVALID: invalid format"


def move_digest(folder):
    older, newer = folder.digests()[1:3]
    folder.objects[newer] = folder.objects[older]
    return f"Digest file\ts3://logs/{newer}\tINVALID: has been moved from its original location"


def lose_key(folder):
    key = folder.digests()[0]
    fingerprint = folder.digest(key)["digestPublicKeyFingerprint"]
    folder.keys[HOME] = [known for known in folder.keys[HOME] if known["Fingerprint"] != fingerprint]
    return f"Digest file\ts3://logs/{key}\tINVALID: public key not found in region {HOME} for fingerprint {fingerprint}"


def spoil_key(folder):
    key = folder.digests()[0]
    fingerprint = folder.digest(key)["digestPublicKeyFingerprint"]
    for known in folder.keys[HOME]:
        if known["Fingerprint"] == fingerprint:
            known["Value"] = base64.b64encode(b"a\n").decode()
    return f"Digest file\ts3://logs/{key}\tINVALID: Unable to load PKCS #1 key with fingerprint {fingerprint}"


@pytest.mark.parametrize(
    "tamper",
    [
        lose_log, alter_log, truncate_log, spoil_log, lose_digest, alter_digest, reprint_digest, strip_signature,
        spoil_digest, move_digest, lose_key, spoil_key,
    ],
)
def test_tampering_is_named(folder, validate, tamper):
    expected = tamper(folder)
    code, _, err = validate(folder)
    assert code == 1
    assert expected in err.splitlines()
