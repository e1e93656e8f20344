"""A disk that fills up: calls are refused before anything is lost, and taken again when there is room."""

import shutil
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest
from trails import Account, wait_for

MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 128 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(place, left):
    """Takes all room but `left` bytes."""
    with open(place / "filler", "wb") as filler:
        while (free := shutil.disk_usage(place).free) > left:
            filler.write(b"x" * min(free - left, MIB))
            filler.flush()


def metric(server, name):
    text = urllib.request.urlopen(server.endpoint + "/_cairn/metrics").read().decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))


def refused(call):
    """The error code and status of a call that is refused."""
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return None


def test_a_full_disk_refuses_calls_in_every_protocol_and_loses_nothing(own_server, small_disk):
    server = own_server(data=small_disk / "data", delivery_interval="1s")
    account = Account(server)
    trail, bucket = account.trail()
    iam, s3, cloudtrail = (account.client(name) for name in ("iam", "s3", "cloudtrail"))
    iam.create_user(UserName="before")
    assert metric(server, "cairn_disk_level") == 0

    fill(small_disk, 20 * MIB)
    wait_for("the warning", lambda: metric(server, "cairn_disk_level") == 1)
    iam.create_user(UserName="warned")
    fill(small_disk, 3 * MIB)
    wait_for("the refusal", lambda: metric(server, "cairn_disk_level") == 2)
    refusal = ("ServiceUnavailable", 503)
    assert refused(lambda: iam.create_user(UserName="refused")) == refusal
    assert refused(cloudtrail.list_trails) == refusal
    assert refused(s3.list_buckets) == refusal
    assert refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"x")) == refusal
    fill(small_disk, 0)
    time.sleep(2)

    (small_disk / "filler").unlink()
    wait_for("room", lambda: metric(server, "cairn_disk_level") == 0)
    assert server.log_path.read_text().count("the disk is filling up") == 1
    iam.create_user(UserName="after")
    assert {user["UserName"] for user in iam.list_users()["Users"]} == {"before", "warned", "after"}

    def names():
        created = [record for record in account.delivered(bucket) if record["eventName"] == "CreateUser"]
        names = [record["requestParameters"]["userName"] for record in created]
        return names if "after" in names else None
    assert sorted(wait_for("the log files", names)) == ["after", "before", "warned"]


def test_an_upload_that_would_fill_the_disk_is_broken_off(own_server, small_disk):
    server = own_server(data=small_disk / "data")
    account = Account(server)
    bucket = account.bucket()
    s3 = account.client("s3")
    # The client sees the refusal, or that the connection is closed while it is still sending.
    with pytest.raises((botocore.exceptions.ClientError, botocore.exceptions.HTTPClientError)) as error:
        s3.put_object(Bucket=bucket, Key="large", Body=b"x" * (126 * MIB))
    if isinstance(error.value, botocore.exceptions.ClientError):
        assert error.value.response["Error"]["Code"] == "ServiceUnavailable"
    wait_for("room", lambda: metric(server, "cairn_disk_level") < 2)
    s3.put_object(Bucket=bucket, Key="small", Body=b"x")
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["small"]
    assert "takes no further entry" not in server.log_path.read_text()
