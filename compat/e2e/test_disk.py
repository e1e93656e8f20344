"""A disk that fills up: calls are refused before anything is lost, and taken again when there is room."""

import gzip
import random
import shutil
import subprocess
import threading
import time
import urllib.request
from collections import Counter

import botocore.exceptions
import pytest
from test_ingest import counts, ids, post, record
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


RECORDS_OF_A_BODY = 1500


def body_of(account, chance):
    """About 2 MB of records; gives the text and the eventIDs."""
    texts = [record(account, filler="%x" % chance.getrandbits(3200)) for _ in range(RECORDS_OF_A_BODY)]
    return "\n".join(texts), ids(texts)


def test_ingest_and_calls_until_the_disk_is_full_lose_and_double_nothing(own_server, small_disk):
    with open(small_disk / "filler", "wb") as filler:
        filler.write(b"x" * (64 * MIB))
    server = own_server(data=small_disk / "data", delivery_interval="300ms", digest_interval="2s")
    account = Account(server)
    trail, bucket = account.trail()
    made, full = [], threading.Event()

    def call():
        iam = account.client("iam")
        while not full.is_set():
            name = f"user-{len(made)}"
            if refused(lambda: iam.create_user(UserName=name)) is None:
                made.append(name)
    caller = threading.Thread(target=call)
    caller.start()
    chance = random.Random(5)
    taken, kept = [], []
    while len(taken) < 100:
        text, event_ids = body_of(account, chance)
        reply = post(account, gzip.compress(text.encode(), 1), {"Content-Encoding": "gzip"})
        if reply[0] != 200:
            kept.append((text, event_ids))
            break
        assert counts(reply) == (200, len(event_ids), 0, 0)
        taken += [(text, event_ids)]
    status, answer = reply
    assert (status, answer["code"], answer["refused"]) == (503, "ServiceUnavailable", [])
    full.set()
    caller.join()
    assert len(taken) > 3 and made

    (small_disk / "filler").unlink()
    wait_for("room", lambda: metric(server, "cairn_disk_level") < 2)
    for text, event_ids in kept:
        status, accepted, duplicates, wrong = counts(post(account, text))
        assert (status, accepted + duplicates, wrong) == (200, len(event_ids), 0)
    for text, event_ids in taken + kept:
        assert counts(post(account, text)) == (200, 0, len(event_ids), 0)
    sent = {event_id for _, event_ids in taken + kept for event_id in event_ids}
    read, found = set(), Counter()

    def delivered():
        for key in set(account.keys(bucket)) - read:
            read.add(key)
            for event in account.read(bucket, key)["Records"]:
                found[event["eventID"]] += 1
                if event["eventName"] == "CreateUser" and not event.get("errorCode"):
                    found[event["requestParameters"]["userName"]] += 1
        return found if sent <= found.keys() and set(made) <= found.keys() else None
    wait_for("everything in the log files", delivered)
    assert set(found.values()) == {1}
    assert {user["UserName"] for user in account.client("iam").list_users(MaxItems=1000)["Users"]} >= set(made[:900])
    assert "takes no further entry" not in server.log_path.read_text()


def test_a_body_of_more_records_than_there_is_room_for_is_broken_off_above_the_reserve(own_server, small_disk):
    server = own_server(data=small_disk / "data")
    account = Account(server)
    chance = random.Random(9)
    # Compressed it is a small body: nothing but its records takes room on the disk.
    filler = "".join("%x" % chance.getrandbits(3200) for _ in range(5))
    texts = [record(account, filler=filler) for _ in range(14_000)]
    fill(small_disk, 50 * MIB)
    body = gzip.compress("\n".join(texts).encode())
    assert len(body) < 4 * MIB
    status, answer = post(account, body, {"Content-Encoding": "gzip"})
    assert (status, answer["code"], answer["refused"]) == (503, "ServiceUnavailable", [])
    taken = answer["accepted"]
    assert 500 < taken < len(texts)
    assert shutil.disk_usage(small_disk).free > 4 * MIB
    (small_disk / "filler").unlink()
    wait_for("room", lambda: metric(server, "cairn_disk_level") < 2)
    rest = "\n".join(texts[:taken + 100])
    assert counts(post(account, rest)) == (200, 100, taken, 0)


def test_a_log_whose_disk_is_full_to_the_last_byte_starts_and_takes_entries_when_there_is_room(own_server, small_disk):
    server = own_server(data=small_disk / "data", log_segment_size="4MiB", delivery_interval="300ms")
    account = Account(server)
    trail, bucket = account.trail()
    text, event_ids = body_of(account, random.Random(6))
    assert counts(post(account, text)) == (200, len(event_ids), 0, 0)
    # Within the second in which nobody has looked yet, it is the log itself that finds no room.
    fill(small_disk, 0)
    more = [body_of(account, random.Random(number)) for number in (7, 8)]
    whole = "\n".join(text for text, _ in more)
    status, answer = post(account, whole)
    assert (status, answer["code"]) == (503, "ServiceUnavailable")
    server.stop()
    (small_disk / "filler").unlink()
    server.start()
    account = Account(server)
    status, accepted, duplicates, wrong = counts(post(account, whole))
    assert (status, accepted + duplicates, wrong) == (200, 2 * RECORDS_OF_A_BODY, 0)
    assert counts(post(account, whole)) == (200, 0, 2 * RECORDS_OF_A_BODY, 0)
    sent = {*event_ids, *more[0][1], *more[1][1]}

    def delivered():
        found = Counter(event["eventID"] for event in account.delivered(bucket))
        return found if sent <= found.keys() else None
    assert set(wait_for("everything in the log files", delivered).values()) == {1}
