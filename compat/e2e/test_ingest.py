"""Records that producers have already: POST /v1/events as a producer with botocore's signer sends them."""

import base64
import gzip
import hashlib
import http.client
import json
import signal
import uuid
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from trails import Account, wait_for

ACCEPTED = "accepted", "duplicates"


def post(account, body, headers=None, secret=None, service="cairn", signed=True, path="/v1/events"):
    """Sends a body: (status, answer)."""
    body = body.encode() if isinstance(body, str) else body
    environment = account.server.environment
    url = account.server.endpoint + path
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json", **(headers or {})})
    if signed:
        keys = Credentials(environment["AWS_ACCESS_KEY_ID"], secret or environment["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(keys, service, "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", path, body, dict(request.headers))
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def counts(reply):
    status, answer = reply
    refused = len(answer["refused"]) + answer["refusedOmitted"]
    return status, answer["accepted"], answer["duplicates"], refused


def record(account, **more):
    """The text of a record, in a form that no printer would make of it."""
    members = {
        "eventVersion": "1.08", "eventTime": "2026-11-20T10:00:00Z", "eventID": str(uuid.uuid4()),
        "eventSource": "billing.example.com", "eventName": "PayInvoice", "awsRegion": "us-east-1",
        "sourceIPAddress": "203.0.113.7", "readOnly": False, "managementEvent": True, "eventType": "AwsApiCall",
        "eventCategory": "Management", "recipientAccountId": account.id, **more,
    }
    text = json.dumps(members, separators=(", ", " :  "))
    return text[:-1] + r', "requestParameters":{ "odd":"\ud800 \u0000 é","n":1.0e+2,"n":2 } }'


def ids(texts):
    return [json.loads(text)["eventID"] for text in texts]


def in_history(account, event_id):
    found = account.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventId", "AttributeValue": event_id}])["Events"]
    return found[0]["CloudTrailEvent"] if found else None


def test_records_in_both_forms_are_found_and_delivered_byte_for_byte_and_once(account):
    trail, bucket = account.trail()
    texts = [record(account) for _ in range(20)]
    lines = "\n".join(texts[:10]).encode()
    document = '{"Records": [%s]}' % ",\n".join(texts[5:])
    assert counts(post(account, lines)) == (200, 10, 0, 0)
    assert counts(post(account, gzip.compress(document.encode()))) == (200, 10, 5, 0)
    assert counts(post(account, gzip.compress(lines), {"Content-Encoding": "gzip"})) == (200, 0, 10, 0)
    for text, event_id in zip(texts, ids(texts)):
        assert wait_for("the event", lambda: in_history(account, event_id)) == text

    def delivered():
        s3 = account.client("s3")
        files = [gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).decode()
                 for key in account.keys(bucket)]
        return files if all(any(text in file for file in files) for text in texts) else None
    files = wait_for("the log files", delivered)
    assert [sum(file.count(text) for file in files) for text in texts] == [1] * 20
    account.close_trail(trail)


def test_the_call_itself_leaves_one_data_event_with_its_counts(account):
    trail, bucket = account.trail()
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], AdvancedEventSelectors=[
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]},
                            {"Field": "resources.type", "Equals": ["AWS::CloudTrail::Channel"]}]},
    ])
    text = record(account)
    assert counts(post(account, text + "\n{}\n" + text)) == (200, 1, 1, 1)
    events = wait_for("the event", lambda: account.delivered(bucket))
    assert len(events) == 1
    event = events[0]
    assert (event["eventSource"], event["eventName"]) == ("cairn.amazonaws.com", "PutEvents")
    assert event["requestParameters"] == {"accepted": 1, "duplicates": 1, "refused": 1}
    assert (event["eventCategory"], event["readOnly"]) == ("Data", False)
    assert event["resources"][0]["ARN"] == f"arn:aws:cloudtrail:us-east-1:{account.id}:channel/events"
    account.close_trail(trail)


def test_each_record_that_cannot_be_taken_is_named_with_its_reason(account):
    good = record(account)
    bad = [
        (good.replace(account.id, "999999999999"), "WrongAccount"),
        (good.replace(f'"recipientAccountId" :  "{account.id}", ', ""), "MissingAccount"),
        (good.replace("2026-11-20T10:00:00Z", "yesterday"), "InvalidEventTime"),
        (good.replace("us-east-1", "US East"), "InvalidRegion"),
        (good.replace('"PayInvoice"', '""'), "MissingMember"),
        (record(account, eventID="7"), "InvalidEventID"),
        (good[:-1], "InvalidRecord"),
        ("7", "InvalidRecord"),
        (record(account, deep=json.loads("[" * 101 + "]" * 101)), "RecordTooDeep"),
        (record(account, long="x" * 10_000_000), "RecordTooLarge"),
    ]
    status, answer = post(account, "\n".join([good] + [text for text, _ in bad]))
    assert (status, answer["accepted"], answer["duplicates"], answer["refusedOmitted"]) == (200, 1, 0, 0)
    assert [(refused["index"], refused["code"]) for refused in answer["refused"]] == [
        (at + 1, code) for at, (_, code) in enumerate(bad)]
    assert f'recipientAccountId: "{account.id}"' in answer["refused"][1]["message"]
    assert answer["refused"][0]["eventID"] == json.loads(good)["eventID"]
    status, answer = post(account, "{}\n" * 500)
    assert (status, len(answer["refused"]), answer["refusedOmitted"]) == (200, 100, 400)


def test_a_body_that_is_not_understood_is_400_and_says_what_was_taken(account):
    texts = [record(account) for _ in range(3)]
    document = '{"Records":[%s]}' % ",".join(texts)
    for body, taken in [
        (document[:-2], (400, 3, 0, 0)), (document[:-60], (400, 0, 2, 0)), ("[1]", (400, 0, 0, 0)),
        (gzip.compress(document.encode())[:-20], (400, 0, 0, 0)), (b"\x1f\x8b then nothing", (400, 0, 0, 0)),
    ]:
        reply = post(account, body)
        assert reply[0] == 400 and reply[1]["code"] == "MalformedBody"
        assert counts(reply)[1:] <= taken[1:] or counts(reply) == taken
    assert counts(post(account, document)) == (200, 0, 3, 0)
    assert post(account, b"x", {"Content-Encoding": "br"})[0] == 415
    bomb = gzip.compress(b" " * (64 << 20))
    assert post(account, bomb)[0] == 413
    assert counts(post(account, b"")) == (200, 0, 0, 0)


def test_nobody_else_gets_in(account):
    text = record(account)
    for reply in [
        post(account, text, signed=False),
        post(account, text, secret="x" * 40),
        post(account, text, headers={"X-Amz-Content-SHA256": "0" * 64}),
        post(account, text, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}),
    ]:
        status, answer = reply
        assert (status, answer["accepted"]) == (403, 0) and answer["code"] and answer["message"]
    assert in_history(account, json.loads(text)["eventID"]) is None
    assert counts(post(account, text)) == (200, 1, 0, 0)


def test_the_key_v1_events_of_a_bucket_in_the_hosts_name_is_still_s3s(account):
    account.client("s3").create_bucket(Bucket="still-s3s")
    s3 = account.client("s3", s3={"addressing_style": "path"})
    upload = s3.create_multipart_upload(Bucket="still-s3s", Key="v1/events")
    assert upload["Key"] == "v1/events"


def test_a_large_body_is_taken_with_little_memory(own_server):
    account = Account(own_server())

    def peak_kib():
        text = open(f"/proc/{account.server.process.pid}/status").read()
        return int(text.split("VmHWM:")[1].split()[0])
    before = peak_kib()
    filler = "x" * 200_000
    # Data events: the history, which holds the newest events in memory, leaves them out.
    data = {"managementEvent": False, "eventCategory": "Data"}
    texts = [record(account, filler=filler, **data) for _ in range(500)]
    body = "\n".join(texts).encode()
    assert len(body) > 95_000_000
    assert counts(post(account, body)) == (200, 500, 0, 0)
    # Batches under way, the newest entries of the log and what the stages read of it: not the body.
    assert peak_kib() - before < 60_000, peak_kib()
    assert not list((account.server.data / "spool").iterdir())


def test_what_was_answered_survives_sigkill_and_is_known_after_it(own_server):
    server = own_server()
    account = Account(server)
    texts = [record(account) for _ in range(3000)]
    assert counts(post(account, "\n".join(texts))) == (200, 3000, 0, 0)
    server.stop(signal.SIGKILL)
    server.start()
    again = texts + [record(account)]
    assert counts(post(account, gzip.compress("\n".join(again).encode()))) == (200, 1, 3000, 0)
    for text, event_id in list(zip(texts, ids(texts)))[::500]:
        assert wait_for("the event", lambda: in_history(account, event_id)) == text


@pytest.mark.parametrize("form", ["lines", "document"])
def test_recorded_events_of_the_real_service_are_taken_and_found(own_server, shared, form):
    account = Account(own_server())
    # The history goes back 90 days: the recorded day becomes yesterday.
    day = f"{datetime.now(timezone.utc) - timedelta(days=1):%Y-%m-%d}T"
    records = []
    for file in sorted((shared / "events/invictus").glob("*.json.gz")):
        records += json.loads(gzip.decompress(file.read_bytes()))["Records"]
    texts = [json.dumps(found).replace(found["recipientAccountId"], account.id).replace("2023-07-10T", day)
             for found in records]
    body = "\n".join(texts) if form == "lines" else '{"Records":[%s]}' % ",".join(texts)
    assert counts(post(account, body)) == (200, 1780, 0, 0)
    assert counts(post(account, body)) == (200, 0, 1780, 0)
    management = [(text, found) for text, found in zip(texts, records) if found["eventCategory"] == "Management"]
    for text, found in management[::100]:
        assert wait_for("the event", lambda: in_history(account, found["eventID"])) == text


# The API of AWS's SDKs: channels and PutAuditEvents.


def event_data(account, **more):
    return json.dumps({
        "version": "1.0", "userIdentity": {"type": "CustomUser", "principalId": "alice", "details": {"team": "a"}},
        "eventSource": "billing.example.com", "eventName": "PayInvoice", "eventTime": "2026-11-20T10:00:00Z",
        "UID": "4f9c", "requestParameters": {"invoice": "\u00e9"}, "recipientAccountId": account.id, **more})


@pytest.fixture
def channel(account):
    cloudtrail = account.client("cloudtrail")
    store = f"arn:aws:cloudtrail:us-east-1:{account.id}:eventdatastore/event-history"
    destinations = [{"Type": "EVENT_DATA_STORE", "Location": store}]
    made = cloudtrail.create_channel(Name=f"c-{uuid.uuid4()}", Source="Custom", Destinations=destinations)
    assert made["Destinations"] == destinations
    yield made["ChannelArn"]
    cloudtrail.delete_channel(Channel=made["ChannelArn"])


def error_code(call, **params):
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"]


def test_channels_are_made_shown_renamed_listed_and_removed(account, channel):
    cloudtrail = account.client("cloudtrail")
    assert cloudtrail.get_channel(Channel=channel)["Source"] == "Custom"
    name = f"renamed-{uuid.uuid4()}"
    assert cloudtrail.update_channel(Channel=channel, Name=name)["Name"] == name
    pages, token = [], {}
    while True:
        page = cloudtrail.list_channels(MaxResults=1, **token)
        pages += page["Channels"]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert {"ChannelArn": channel, "Name": name} in pages
    other = [{"Type": "EVENT_DATA_STORE", "Location": f"arn:aws:cloudtrail:us-east-1:{account.id}:eventdatastore/x"}]
    own = cloudtrail.get_channel(Channel=channel)["Destinations"]
    create = cloudtrail.create_channel
    assert error_code(create, Name="abc", Source="Custom", Destinations=other) == "EventDataStoreNotFoundException"
    assert error_code(create, Name="abc", Source="Okta", Destinations=own) == "InvalidSourceException"
    assert error_code(create, Name=name, Source="Custom", Destinations=own) == "ChannelAlreadyExistsException"
    missing = channel[:-4] + "0000"
    assert error_code(cloudtrail.get_channel, Channel=missing) == "ChannelNotFoundException"
    assert error_code(cloudtrail.get_channel, Channel="nothing") == "ChannelARNInvalidException"


def test_audit_events_become_records_once(account, channel):
    data = account.client("cloudtrail-data")
    text = event_data(account)
    checksum = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    events = [{"id": str(uuid.uuid4()), "eventData": text, "eventDataChecksum": checksum}] + [
        {"id": str(uuid.uuid4()), "eventData": event_data(account)} for _ in range(99)]
    first = data.put_audit_events(channelArn=channel, auditEvents=events)
    assert first["failed"] == [] and [done["id"] for done in first["successful"]] == [e["id"] for e in events]
    again = data.put_audit_events(channelArn=channel, auditEvents=events)
    assert again["successful"] == first["successful"]
    event_id = first["successful"][0]["eventID"]
    found = json.loads(wait_for("the event", lambda: in_history(account, event_id)))
    assert found["eventName"] == "PayInvoice" and found["requestParameters"] == {"invoice": "\u00e9"}
    assert found["userIdentity"] == {
        "type": "CustomUser", "principalId": "alice", "accountId": account.id, "details": {"team": "a"}}
    assert (found["eventCategory"], found["eventType"]) == ("ActivityAuditLog", "ActivityLog")
    assert found["metadata"]["channelARN"] == channel and found["requestID"] == "4f9c"


def test_audit_events_that_cannot_be_taken_are_named_with_awss_codes(account, channel):
    data = account.client("cloudtrail-data")
    cases = {
        "a": (event_data(account)[:-1], "InvalidData"),
        "b": (event_data(account, eventName=""), "FieldNotFound"),
        "c": (event_data(account, UID="x" * 1025), "FieldTooLong"),
        "d": (event_data(account, recipientAccountId="999999999999"), "InvalidRecipient"),
        "e": (event_data(account, eventTime="yesterday"), "InvalidData"),
    }
    events = [{"id": name, "eventData": text} for name, (text, _) in cases.items()]
    events.append({"id": "f", "eventData": event_data(account), "eventDataChecksum": "AAAA"})
    answer = data.put_audit_events(channelArn=channel, auditEvents=events)
    assert answer["successful"] == []
    assert {failed["id"]: failed["errorCode"] for failed in answer["failed"]} == {
        **{name: code for name, (_, code) in cases.items()}, "f": "InvalidChecksum"}
    good = {"id": "g", "eventData": event_data(account)}
    put = data.put_audit_events
    assert error_code(put, channelArn=channel, auditEvents=[good, good]) == "DuplicatedAuditEventId"
    assert error_code(put, channelArn="arn:x", auditEvents=[good]) == "InvalidChannelARN"
    assert error_code(put, channelArn=channel[:-4] + "0000", auditEvents=[good]) == "ChannelNotFound"
    other = channel.replace(account.id, "999999999999")
    assert error_code(put, channelArn=other, auditEvents=[good]) == "ChannelInsufficientPermission"
