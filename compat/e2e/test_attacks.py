"""Attacks on the authentication: each is refused with AWS's code, and each leaves an event that says so.

Requests are signed by botocore and then altered, so that only what the test alters is wrong.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import re
import threading
import time
import uuid

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from test_hostile import Answer
from tokens import Keys
from trails import Account, wait_for

JSON = "application/x-amz-json-1.1"
FORM = "application/x-www-form-urlencoded; charset=utf-8"
LIST_TRAILS = {"X-Amz-Target": "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.ListTrails",
               "Content-Type": JSON}
IDENTITY = b"Action=GetCallerIdentity&Version=2011-06-15"


@pytest.fixture(scope="module")
def place(server):
    host, port = server.endpoint.removeprefix("http://").split(":")
    return host, int(port)


@pytest.fixture(scope="module")
def data_trail(account):
    """A trail that takes data events."""
    trail, bucket = account.trail()
    account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=[{
        "ReadWriteType": "All", "IncludeManagementEvents": True,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]}])
    yield bucket
    account.close_trail(trail)


class Attacker:
    """Sends one altered request, and finds the event that it left."""

    def __init__(self, server, account, place):
        self.server, self.account, self.place = server, account, place
        self.credentials = account.session.get_credentials().get_frozen_credentials()
        self.marker = f"attack-{uuid.uuid4()}"

    def signed(self, service, credentials=None, region="us-east-1", method="POST", path="/", body=b"",
               headers=None, signer=None, scope=None):
        request = AWSRequest(method=method, url=self.server.endpoint + path, data=body,
                             headers={"User-Agent": self.marker, **(headers or {})})
        signer = signer or (S3SigV4Auth if service == "s3" else SigV4Auth)
        signer(credentials or self.credentials, scope or service, region).add_auth(request)
        return request

    def send(self, request, body=None):
        path = request.url.removeprefix(self.server.endpoint)
        connection = http.client.HTTPConnection(*self.place, timeout=15)
        try:
            body = request.data if body is None else body
            connection.request(request.method, path, body=body, headers=dict(request.headers.items()))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def json_call(self, **more):
        return self.signed("cloudtrail", body=b"{}", headers=LIST_TRAILS, **more)

    def query_call(self, **more):
        return self.signed("sts", body=IDENTITY, headers={"Content-Type": FORM}, **more)

    def s3_call(self, **more):
        return self.signed("s3", method="GET", **more)

    def event(self, name):
        """The event of the attack, from the history."""
        def look():
            found = self.account.client("cloudtrail").lookup_events(
                LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}], MaxResults=50)
            records = [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]
            return [record for record in records if self.marker in record.get("userAgent", "")]
        found = wait_for("the event of the attack", look)
        assert len(found) == 1
        return found[0]

    def refused(self, answer, status, code, name, error_code=None, key=None):
        assert (answer.status, answer.code) == (status, code), answer.body[:500]
        record = self.event(name)
        assert record["errorCode"] == (error_code or code)
        identity = record["userIdentity"]
        key = key or self.credentials.access_key
        assert identity == {"type": "Unknown", "accessKeyId": key}, "nobody is believed to have called"
        return record


@pytest.fixture
def attacker(server, account, place):
    return Attacker(server, account, place)


CALLS = [  # protocol, event, (status, code) of: a wrong signature, an unknown key, an expired and an invalid token
    ("json_call", "ListTrails", (400, "InvalidSignatureException"), (400, "UnrecognizedClientException"),
     (400, "ExpiredTokenException"), (400, "UnrecognizedClientException")),
    ("query_call", "GetCallerIdentity", (403, "SignatureDoesNotMatch"), (403, "InvalidClientTokenId"),
     (403, "ExpiredToken"), (403, "InvalidClientTokenId")),
    ("s3_call", "ListBuckets", (403, "SignatureDoesNotMatch"), (403, "InvalidAccessKeyId"),
     (400, "ExpiredToken"), (400, "InvalidToken")),
]
each_protocol = pytest.mark.parametrize("call,event,mismatch,unknown,expired,invalid", CALLS)


@each_protocol
def test_a_wrong_secret(attacker, call, event, mismatch, unknown, expired, invalid):
    wrong = Credentials(attacker.credentials.access_key, "x" * 40)
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=wrong)), *mismatch, event)


@each_protocol
def test_an_unknown_key(attacker, call, event, mismatch, unknown, expired, invalid):
    nobody = Credentials("AKIAIOSFODNN7EXAMPLE", "x" * 40)
    answer = attacker.send(getattr(attacker, call)(credentials=nobody))
    attacker.refused(answer, *unknown, event, key="AKIAIOSFODNN7EXAMPLE")


@each_protocol
def test_a_scope_that_says_another_region_than_was_signed_for(attacker, call, event, mismatch, unknown, expired, invalid):
    request = getattr(attacker, call)()
    text = request.headers["Authorization"].replace("/us-east-1/", "/eu-west-1/")
    del request.headers["Authorization"]
    request.headers["Authorization"] = text
    answer = attacker.send(request)
    assert (answer.status, answer.code) == mismatch


@pytest.mark.parametrize("call,scope", [("json_call", "dynamodb"), ("json_call", "kms"), ("query_call", "iam"),
                                        ("s3_call", "sts")])
def test_a_scope_of_another_service_opens_only_that_service(attacker, call, scope):
    """The scope chooses the API, so a key that was scoped for one never reaches another."""
    answer = attacker.send(getattr(attacker, call)(scope=scope))
    assert answer.status in (400, 403, 404), answer.body
    assert answer.code, "an error in the protocol of some service"


@pytest.mark.parametrize("call,event,minutes,status,code", [
    ("json_call", "ListTrails", 6, 400, "InvalidSignatureException"),
    ("query_call", "GetCallerIdentity", 6, 403, "SignatureDoesNotMatch"),
    ("s3_call", "ListBuckets", 16, 403, "RequestTimeTooSkewed"),
    ("s3_call", "ListBuckets", -16, 403, "RequestTimeTooSkewed"),
])
def test_a_replay_outside_of_the_window(attacker, monkeypatch, call, event, minutes, status, code):
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)
    with monkeypatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda remove_tzinfo=True: now.replace(tzinfo=None))
        request = getattr(attacker, call)()
    attacker.refused(attacker.send(request), status, code, event)


def test_an_altered_body(attacker):
    altered = attacker.send(attacker.json_call(), body=b'{"NextToken":"x"}')
    attacker.refused(altered, 400, "InvalidSignatureException", "ListTrails")


def test_a_body_that_is_not_the_declared_one(attacker, account, data_trail):
    request = attacker.signed("s3", method="PUT", path=f"/{data_trail}/altered", body=b"what was signed")
    answer = attacker.send(request, body=b"what was sent..")
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch"), answer.body
    delivered(account, data_trail, attacker, "PutObject", "XAmzContentSHA256Mismatch")


def delivered(account, bucket, attacker, name, code):
    """The data event of an attack, from the trail's log files."""
    def look():
        return [record for record in account.delivered(bucket)
                if record["eventName"] == name and attacker.marker in record.get("userAgent", "")]
    [record] = wait_for("the event of the attack", look)
    assert record["errorCode"] == code
    return record


def test_an_altered_chunk(attacker, account, data_trail):
    """The head is signed and so is each chunk, but the chunk's bytes are others."""
    length, piece = 10, b"ten bytes."
    headers = {"x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "content-encoding": "aws-chunked",
               "x-amz-decoded-content-length": str(length)}

    class Chunked(S3SigV4Auth):
        def payload(self, request):
            return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

        def _should_sha256_sign_payload(self, request):
            return True
    request = attacker.signed("s3", method="PUT", path=f"/{data_trail}/chunked", headers=headers, signer=Chunked)
    seed = re.search("Signature=([0-9a-f]{64})", request.headers["Authorization"])[1]
    scope = re.search("Credential=[^/]+/([^,]+),", request.headers["Authorization"])[1]
    stamp = request.headers["X-Amz-Date"]

    def key():
        secret = ("AWS4" + attacker.credentials.secret_key).encode()
        for part in scope.split("/"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        return secret

    def chunk(previous, data):
        empty = hashlib.sha256(b"").hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", stamp, scope, previous, empty, hashlib.sha256(data).hexdigest()])
        return hmac.new(key(), text.encode(), hashlib.sha256).hexdigest()
    first = chunk(seed, piece)
    last = chunk(first, b"")

    def body(sent):
        return (f"{len(sent):x};chunk-signature={first}\r\n".encode() + sent + b"\r\n"
                + f"0;chunk-signature={last}\r\n\r\n".encode())
    answer = attacker.send(request, body=body(b"TEN BYTES!"))
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch"), answer.body
    delivered(account, data_trail, attacker, "PutObject", "SignatureDoesNotMatch")
    assert attacker.send(request, body=body(piece)).status == 200, "only the chunk was wrong"


def test_a_header_that_was_stripped_or_slipped_in(attacker):
    request = attacker.signed("sts", body=IDENTITY, headers={"Content-Type": FORM, "X-Amz-Meaning": "signed"})
    del request.headers["X-Amz-Meaning"]
    attacker.refused(attacker.send(request), 403, "SignatureDoesNotMatch", "GetCallerIdentity")
    slipped = attacker.s3_call()
    slipped.headers["x-amz-acl"] = "public-read"
    answer = attacker.send(slipped)
    assert (answer.status, answer.code) == (403, "AccessDenied"), answer.body


def test_an_expired_presigned_url(attacker):
    class Brief(S3SigV4QueryAuth):
        def __init__(self, *words):
            super().__init__(*words, expires=1)
    request = attacker.signed("s3", method="GET", signer=Brief)
    assert attacker.send(request).status == 200
    time.sleep(2.1)
    attacker.marker = f"attack-{uuid.uuid4()}"
    request.headers["User-Agent"] = attacker.marker
    attacker.refused(attacker.send(request), 403, "AccessDenied", "ListBuckets")


# ---- temporary credentials ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(account):
    made = account.client("sts").get_session_token()["Credentials"]
    return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])


@each_protocol
def test_an_expired_session_token(attacker, server, session, call, event, mismatch, unknown, expired, invalid):
    keys = Keys(server.data)
    content = keys.read(session.token)
    content["session"]["expires"] = int(time.time() * 1000) - 1
    late = Credentials(session.access_key, session.secret_key, keys.token(content))
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=late)), *expired, event, key=session.access_key)
    content["session"]["expires"] += 60_000
    good = Credentials(session.access_key, session.secret_key, keys.token(content))
    assert attacker.send(getattr(attacker, call)(credentials=good)).status == 200, "only the time was wrong"


@each_protocol
def test_a_tampered_session_token(attacker, session, call, event, mismatch, unknown, expired, invalid):
    token = session.token[:100] + ("A" if session.token[100] != "A" else "B") + session.token[101:]
    tampered = Credentials(session.access_key, session.secret_key, token)
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=tampered)), *invalid, event,
                     key=session.access_key)


@each_protocol
def test_a_missing_session_token(attacker, session, call, event, mismatch, unknown, expired, invalid):
    bare = Credentials(session.access_key, session.secret_key)
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=bare)), *unknown, event, key=session.access_key)


@each_protocol
def test_somebody_elses_token(attacker, server, session, call, event, mismatch, unknown, expired, invalid):
    """Of another key; of another account under this key's id, as only another server could seal it; with a long-term key."""
    other = attacker.account.client("sts").get_federation_token(Name="mallory")["Credentials"]
    theirs = Credentials(session.access_key, session.secret_key, other["SessionToken"])
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=theirs)), *invalid, event,
                     key=session.access_key)
    attacker.marker = f"attack-{uuid.uuid4()}"
    keys = Keys(server.data)
    content = keys.read(session.token)
    content["principal"]["account"] = "999988887777"
    keys.key = bytes(32)
    forged = Credentials(session.access_key, session.secret_key, keys.token(content))
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=forged)), *invalid, event,
                     key=session.access_key)
    attacker.marker = f"attack-{uuid.uuid4()}"
    long_term = attacker.credentials
    with_token = Credentials(long_term.access_key, long_term.secret_key, session.token)
    attacker.refused(attacker.send(getattr(attacker, call)(credentials=with_token)), *invalid, event)


# ---- many of them ---------------------------------------------------------------------------------------------------

FLOOD = 5_000
FLOOD_CONNECTIONS = 8
GOOD = 60


def test_a_flood_of_bad_requests_starves_no_good_ones(own_server):
    """Bad requests from several connections, as fast as they go, while a good client keeps calling."""
    server = own_server()
    account = Account(server)
    host, port = server.endpoint.removeprefix("http://").split(":")
    attacker = Attacker(server, account, (host, int(port)))
    bad = attacker.query_call(credentials=Credentials(attacker.credentials.access_key, "x" * 40))
    headers, refused, failures = dict(bad.headers.items()), [], []

    def flood():
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        for _ in range(FLOOD // FLOOD_CONNECTIONS):
            connection.request("POST", "/", body=IDENTITY, headers=headers)
            answer = connection.getresponse()
            answer.read()
            (refused if answer.status == 403 else failures).append(answer.status)
        connection.close()
    threads = [threading.Thread(target=flood, daemon=True) for _ in range(FLOOD_CONNECTIONS)]
    for thread in threads:
        thread.start()
    sts, waits = account.client("sts"), []
    for _ in range(GOOD):
        begun = time.monotonic()
        sts.get_caller_identity()
        waits.append(time.monotonic() - begun)
    for thread in threads:
        thread.join()
    assert len(refused) == FLOOD and not failures
    assert max(waits) < 5, f"a good call waited {max(waits):.1f} s"

    def counted():
        text = http.client.HTTPConnection(host, int(port), timeout=15)
        text.request("GET", "/_cairn/metrics")
        lines = text.getresponse().read().decode()
        found = re.search(r'cairn_calls_total\{code="SignatureDoesNotMatch",[^}]*\} (\d+)', lines)
        return int(found[1])
    assert counted() == FLOOD, "a burst of this size is recorded whole"
