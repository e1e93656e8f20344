"""Calls that are cut short, by a crash or by a client that goes away, leave one event each."""

import json
import signal
import socket
import time
from urllib.parse import urlsplit

import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from trails import Account, wait_for

CUT = (botocore.exceptions.HTTPClientError, botocore.exceptions.EndpointConnectionError)


def restart(server, failpoint=None):
    server.variables = {"CAIRN_FAILPOINT": failpoint} if failpoint else {}
    return Account(server.start())


def killed(server):
    """Waits for the server to be dead by SIGKILL."""
    assert server.stop() == -signal.SIGKILL


def crash_in_create_user(server, failpoint, name):
    account = restart(server, failpoint)
    with pytest.raises(CUT):
        account.client("iam").create_user(UserName=name)
    killed(server)


def looked_up(account, name, count=1):
    """The CreateUser events of a user in the history."""
    def check():
        found = []
        pages = account.client("cloudtrail").get_paginator("lookup_events").paginate(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateUser"}])
        for event in (event for page in pages for event in page["Events"]):
            record = json.loads(event["CloudTrailEvent"])
            if record["requestParameters"]["userName"] == name:
                found.append(record)
        return (found,) if len(found) >= count else None
    return wait_for(f"CreateUser of {name}", check)[0]


def users(account):
    pages = account.client("iam").get_paginator("list_users").paginate()
    return {user["UserName"] for page in pages for user in page["Users"]}


@pytest.mark.parametrize(("failpoint", "happened"), [("after-intent", False), ("after-handler", True)])
def test_a_call_cut_short_by_a_crash_is_recorded_once_as_of_unknown_outcome(own_server, failpoint, happened):
    server = own_server(delivery_interval="1s")
    account = Account(server)
    trail, bucket = account.trail()
    server.stop()

    crash_in_create_user(server, failpoint, "alice")
    with pytest.raises(RuntimeError, match="ended with -9"):
        restart(server, "during-recovery")
    account = restart(server)
    assert ("alice" in users(account)) == happened
    [record] = looked_up(account, "alice")
    assert record["additionalEventData"]["recordingOutcome"] == "unknown"
    assert "stopped before the outcome" in record["additionalEventData"]["reason"]
    assert record["responseElements"] is None and "errorCode" not in record

    server.stop()
    account = restart(server)
    assert len(looked_up(account, "alice")) == 1

    def delivered():
        return [found for found in account.delivered(bucket) if found["eventID"] == record["eventID"]]
    assert wait_for("the event in a log file", delivered) == [record]
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    assert len(delivered()) == 1


def test_best_effort_writes_no_intent(own_server):
    server = own_server(recording="best-effort")
    server.stop()
    crash_in_create_user(server, "after-handler", "bob")
    account = restart(server)
    assert "bob" in users(account)
    account.client("iam").create_user(UserName="carol")
    looked_up(account, "carol")
    assert looked_up(account, "bob", count=0) == []


def send_and_leave(account, body, wait_s):
    """Sends a signed call to IAM and closes the connection without waiting for the answer."""
    url = account.server.endpoint + "/"
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": urlsplit(url).netloc}
    request = AWSRequest("POST", url, headers, body)
    SigV4Auth(account.session.get_credentials(), "iam", "us-east-1").add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        time.sleep(wait_s)


@pytest.mark.parametrize("recording", ["strict", "best-effort"])
def test_calls_of_clients_that_do_not_wait_are_carried_out_and_recorded(own_server, recording):
    server = own_server(recording=recording)
    account = Account(server)
    for number in range(100):
        body = f"Action=CreateUser&Version=2010-05-08&UserName=user-{number}"
        send_and_leave(account, body, wait_s=number / 20_000)
    # Where the server notices that the client is gone before it has begun with the call, nothing happens at all.
    account.client("iam").create_user(UserName="last")
    looked_up(account, "last")
    server.stop()
    account = restart(server)
    there = users(account)
    assert len(there) > 10
    for number in range(100):
        name = f"user-{number}"
        records = looked_up(account, name, count=0)
        assert len(records) == (name in there)
        assert all(record["responseElements"]["user"]["userName"] == name for record in records)


def put_half(account, bucket, key):
    """Begins to upload an object and sends half of it; gives the open connection."""
    url = account.client("s3").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname, place.port))
    head = f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1000\r\n\r\n"
    connection.sendall(head.encode() + b"x" * 500)
    return connection


@pytest.mark.parametrize("recording", ["strict", "best-effort"])
def test_uploads_that_are_cut_short_are_recorded_with_their_error(own_server, recording):
    server = own_server(recording=recording, delivery_interval="1s")
    account = Account(server)
    trail, bucket = account.trail()
    selector = {"ReadWriteType": "All", "DataResources": [
        {"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{bucket}/up/"]}]}
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=[selector])

    put_half(account, bucket, "up/left").close()
    kept_open = put_half(account, bucket, "up/stopped")

    def recorded(key):
        def check():
            found = [record for record in account.delivered(bucket) if record["eventName"] == "PutObject"]
            return [record for record in found if record["requestParameters"]["key"] == key]
        return wait_for(f"the record of {key}", check)
    [record] = recorded("up/left")
    assert record["errorCode"] == "IncompleteBody"

    assert server.stop() == 0
    kept_open.close()
    account = restart(server)
    [record] = recorded("up/stopped")
    assert record["errorCode"] == "IncompleteBody"
    assert "recordingOutcome" not in record["additionalEventData"]
    keys = [item["Key"] for item in account.client("s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(key.startswith("up/") for key in keys)
