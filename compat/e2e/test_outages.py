"""Buckets that go away and come back, and data folders that cannot be used: nothing is lost, and all is said."""

import ctypes
import json
import signal
import stat
import struct
import subprocess
import zlib
from collections import Counter

from conftest import BINARY
from trails import Account, wait_for

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def call(account, calls=5):
    """Makes recorded calls; gives their request ids."""
    cloudtrail = account.client("cloudtrail")
    return {cloudtrail.list_trails()["ResponseMetadata"]["RequestId"] for _ in range(calls)}


def delivered(account, bucket):
    return Counter(record.get("requestID") for record in account.delivered(bucket))


def wait_until_delivered(account, bucket, ids, seconds=40):
    """Waits until all are in the bucket; they are there once."""
    found = wait_for("the delivery of all calls", lambda: all_of(ids, delivered(account, bucket)), seconds)
    assert {number for name, number in found.items() if name in ids} == {1}
    assert max(found.values()) == 1


def all_of(ids, found):
    return found if ids <= found.keys() else None


def wait_for_error(account, trail, code):
    cloudtrail = account.client("cloudtrail")

    def failing():
        status = cloudtrail.get_trail_status(Name=trail["TrailARN"])
        return status.get("LatestDeliveryError") == code and status
    return wait_for(f"{code} in the trail's status", failing)


def healthy(account, trail):
    cloudtrail = account.client("cloudtrail")
    return lambda: not cloudtrail.get_trail_status(Name=trail["TrailARN"]).get("LatestDeliveryError")


def test_a_revoked_bucket_policy_delays_its_trail_only(own_server):
    account = Account(own_server(delivery_interval="300ms", digest_interval="2s"))
    (trail, bucket), (other, other_bucket) = account.trail(), account.trail()
    before = call(account)
    wait_until_delivered(account, bucket, before)
    s3 = account.client("s3")
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    during = call(account)
    wait_for_error(account, trail, "AccessDenied")
    during |= call(account)
    wait_until_delivered(account, other_bucket, before | during)
    assert healthy(account, other)()
    assert not during & delivered(account, bucket).keys()
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    ids = before | during | call(account)
    wait_until_delivered(account, bucket, ids)
    wait_until_delivered(account, other_bucket, ids)
    wait_for("a healthy status", healthy(account, trail))
    wait_for("digests of all files", lambda: set(account.keys(bucket)) <= account.digested(bucket))


def test_a_bucket_that_was_deleted_and_made_anew_gets_what_waited(own_server):
    server = own_server(delivery_interval="300ms", digest_interval="2s")
    account = Account(server)
    trail, bucket = account.trail(EnableLogFileValidation=False)
    before = call(account)
    wait_until_delivered(account, bucket, before)
    s3 = account.client("s3")
    s3.delete_bucket_policy(Bucket=bucket)
    call(account)
    wait_for_error(account, trail, "AccessDenied")
    kept = delivered(account, bucket)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": item["Key"]} for item in listed]})
    s3.delete_bucket(Bucket=bucket)
    during = call(account)
    wait_for_error(account, trail, "NoSuchBucket")
    # A restart in the middle of the outage loses nothing either.
    server.stop(signal.SIGKILL)
    server.start()
    during |= call(account)
    s3 = account.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(account.delivery_policy(bucket)))
    ids = during | call(account)
    wait_until_delivered(account, bucket, ids)
    assert not kept.keys() & delivered(account, bucket).keys()
    wait_for("a healthy status", healthy(account, trail))


def test_a_log_that_cannot_be_written_stops_nothing(own_server, tmp_path):
    # Standard error often is a file on the disk that is full. To /dev/full no byte can be written.
    (tmp_path / "data0.log").symlink_to("/dev/full")
    account = Account(own_server(delivery_interval="300ms", digest_interval="2s"))
    trail, bucket = account.trail()
    s3 = account.client("s3")
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    s3.delete_bucket_policy(Bucket=bucket)
    ids = call(account)
    wait_for_error(account, trail, "AccessDenied")
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    wait_until_delivered(account, bucket, ids)


def serve(data, before_start=None):
    """Starts a server that is expected to end at once; gives exit code and log."""
    command = [BINARY, "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, preexec_fn=before_start)
    assert "panicked" not in done.stderr
    return done.returncode, done.stderr


def without_the_rights_of_root():
    """Lets file modes hold for root as well; changes nothing for others."""
    for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, right)


def stopped(own_server, calls=5):
    """The data folder of a server that ran for a while and was killed."""
    server = own_server(delivery_interval="300ms")
    ids = call(Account(server), calls)
    server.stop(signal.SIGKILL)
    return server, ids


def test_a_read_only_data_folder_is_said_at_start(own_server):
    server, _ = stopped(own_server)
    paths = [server.data, *server.data.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    try:
        for path in paths:
            path.chmod(modes[path] & 0o555)
        code, log = serve(server.data, without_the_rights_of_root)
    finally:
        for path in paths:
            path.chmod(modes[path])
    assert code == 1
    assert log.splitlines()[-1] == f"cairn: cannot open {server.data}/lock: Permission denied (os error 13)"
    server.start()


def last_segment(server):
    return sorted((server.data / "log").glob("*.log"))[-1]


def test_damage_inside_the_log_stops_the_start_and_names_the_place(own_server):
    server, _ = stopped(own_server)
    segment = last_segment(server)
    content = bytearray(segment.read_bytes())
    place = content.index(b'"eventVersion"') + 4
    content[place] ^= 1
    segment.write_bytes(content)
    code, log = serve(server.data)
    assert code == 1
    said = log.splitlines()[-1]
    assert f"the event log is corrupt in {segment.name} at byte " in said, log
    assert int(said.rsplit(" ", 1)[1]) <= place
    # Mended, nothing is missing.
    content[place] ^= 1
    segment.write_bytes(content)
    server.start()


def test_a_torn_write_at_the_logs_end_is_cut_and_nothing_before_it(own_server):
    server, ids = stopped(own_server)
    segment = last_segment(server)
    content = segment.read_bytes()
    end = len(content.rstrip(b"\0"))
    first = content.index(b'{"eventVersion"')
    with segment.open("r+b") as file:
        file.seek(end)
        # What a write leaves that did not get far: no sound frame.
        file.write(b"\xff" * 40 + content[first:first + 300])
    server.start()
    account = Account(server)
    ids |= call(account)

    def found():
        pages = account.client("cloudtrail").get_paginator("lookup_events").paginate()
        events = [json.loads(event["CloudTrailEvent"]) for page in pages for event in page["Events"]]
        return all_of(ids, Counter(event["requestID"] for event in events))
    assert max(wait_for("all calls in the history", found).values()) == 1


def append_undecodable(server, payload):
    """Adds a sound frame to the log whose payload is no event; gives its position."""
    segment = last_segment(server)
    content = segment.read_bytes()
    at, position = 32, int(segment.stem)
    while length := struct.unpack_from("<I", content, at)[0]:
        position = struct.unpack_from("<Q", content, at + 8)[0] + 1
        at += 32 + length
    rest = struct.pack("<QqIB3x", position, 0, 0, 1) + payload
    length = struct.pack("<I", len(payload))
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(length + struct.pack("<I", zlib.crc32(length + rest)) + rest)
    return position


def test_a_log_entry_that_cannot_be_read_is_reported_as_one_event(own_server):
    server = own_server(delivery_interval="300ms")
    trail, bucket = Account(server).trail()
    server.stop(signal.SIGKILL)
    position = append_undecodable(server, b"what no version wrote")
    for _ in range(3):
        server.start()
        account = Account(server)
        ids = call(account)
        wait_until_delivered(account, bucket, ids)

        def reports():
            found = account.client("cloudtrail").lookup_events(
                LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "UndecodableRecord"}])["Events"]
            return [json.loads(event["CloudTrailEvent"]) for event in found]
        [report] = wait_for("the report", reports)
        details = report["serviceEventDetails"]
        assert (details["logPosition"], details["sizeBytes"]) == (position, 21)
        same = lambda: [e for e in account.delivered(bucket) if e["eventID"] == report["eventID"]]  # noqa: E731
        assert wait_for("the report in a log file", same) == [report]
        server.stop(signal.SIGKILL)
    server.start()
