"""What is recorded of a call, where it can be found, and which trails take it."""

import base64
import contextlib
import gzip
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from trails import Account, numbers, wait_for

# AWS's order of a record's members; those in OPTIONAL may be missing.
ORDER = [
    "eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent",
    "errorCode", "errorMessage", "requestParameters", "responseElements", "additionalEventData", "requestID", "eventID",
    "readOnly", "resources", "eventType", "managementEvent", "recipientAccountId", "eventCategory", "tlsDetails",
]
OPTIONAL = {"userAgent", "errorCode", "errorMessage", "additionalEventData", "resources", "tlsDetails", "requestID"}
EVERYTHING = [{
    "ReadWriteType": "All", "IncludeManagementEvents": True,
    "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}],
}]


def unique(prefix):
    return f"{prefix}-{next(numbers)}-{time.time_ns() % 10**9}"


def tolerant(call, **params):
    """Makes a call whose error is wanted, and gives the error's code."""
    try:
        call(**params)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return None


def fetch(url, **more):
    """A request without a client: (status, body)."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **more)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def localhost_names():
    """Names below localhost are this machine, as browsers and many resolvers have it, and this one may not."""
    resolve = socket.getaddrinfo

    def resolved(host, *more, **named):
        return resolve("127.0.0.1" if str(host).endswith(".localhost") else host, *more, **named)
    socket.getaddrinfo = resolved
    try:
        yield
    finally:
        socket.getaddrinfo = resolve


class Recorded:
    """A server of its own with a trail that takes everything, and all calls that the tests look at."""

    def __init__(self, server):
        self.server, self.account = server, Account(server)
        self.trail, self.bucket = self.account.trail()
        self.account.client("cloudtrail").put_event_selectors(TrailName=self.trail["TrailARN"], EventSelectors=EVERYTHING)
        self.secrets = [self.account.session.get_credentials().secret_key]
        self.make_calls()
        self.account.client("iam").create_user(UserName="the-last-call")
        wait_for("the last call", lambda: any(self.named(r, "CreateUser", userName="the-last-call") for r in self.all()))
        self.records = self.all()

    def all(self):
        return self.account.delivered(self.bucket)

    @staticmethod
    def named(record, event, **parameters):
        shown = record["requestParameters"] or {}
        return record["eventName"] == event and all(shown.get(name) == value for name, value in parameters.items())

    def one(self, event, error=None, **parameters):
        """The one record of an event with these request parameters."""
        found = [r for r in self.records if self.named(r, event, **parameters) and r.get("errorCode") == error]
        assert len(found) == 1, (event, parameters, [r.get("errorCode") for r in found])
        return found[0]

    def make_calls(self):
        account, a = self.account, self.account
        iam, s3, ct = a.client("iam"), a.client("s3"), a.client("cloudtrail")
        iam.create_user(UserName="alice", Path="/ops/", Tags=[{"Key": "Team", "Value": "Red"}])
        key = iam.create_access_key(UserName="alice")["AccessKey"]
        self.alice = Account(self.server, key["AccessKeyId"], key["SecretAccessKey"])
        self.alice_key = key["AccessKeyId"]
        self.secrets.append(key["SecretAccessKey"])
        iam.get_user(UserName="alice")
        self.alice.client("sts").get_caller_identity()
        iam.list_access_keys(UserName="alice")
        tolerant(iam.get_user, UserName="nobody")
        tolerant(iam.create_user, UserName="alice")
        iam.create_account_alias(AccountAlias=unique("alias"))
        self.data = unique("data")
        s3.create_bucket(Bucket=self.data)
        s3.put_bucket_versioning(Bucket=self.data, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_tagging(Bucket=self.data, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
        s3.put_bucket_policy(Bucket=self.data, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::{a.id}:user/ops/alice"}, "Action": "s3:*",
             "Resource": [f"arn:aws:s3:::{self.data}", f"arn:aws:s3:::{self.data}/*"]},
        ]}))
        for name in ("get_bucket_policy", "get_bucket_location", "get_bucket_acl", "get_bucket_logging",
                     "get_bucket_versioning", "get_bucket_encryption", "get_bucket_policy_status",
                     "get_bucket_accelerate_configuration", "get_bucket_request_payment", "get_public_access_block"):
            getattr(s3, name)(Bucket=self.data)
        for name in ("get_bucket_cors", "get_bucket_website", "get_bucket_replication", "get_bucket_lifecycle_configuration",
                     "get_object_lock_configuration"):
            tolerant(getattr(s3, name), Bucket=self.data)
        s3.list_buckets()
        customer_key = base64.b64encode(b"K" * 32).decode()
        self.secrets.append(customer_key)
        tolerant(s3.put_object, Bucket=self.data, Key="sse-c", Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=b"K" * 32)
        s3.put_object(Bucket=self.data, Key="folder/object one", Body=b"hello", Metadata={"note": "n"})
        s3.get_object(Bucket=self.data, Key="folder/object one")
        s3.head_object(Bucket=self.data, Key="folder/object one")
        s3.list_objects_v2(Bucket=self.data, Prefix="folder/")
        s3.copy_object(Bucket=self.data, Key="copy", CopySource={"Bucket": self.data, "Key": "folder/object one"})
        s3.delete_objects(Bucket=self.data, Delete={"Objects": [{"Key": "copy"}]})
        s3.delete_object(Bucket=self.data, Key="folder/object one")
        tolerant(s3.get_object, Bucket=self.data, Key="none")
        tolerant(self.alice.client("s3").get_object, Bucket=self.data, Key="denied")
        self.strangers()
        self.trails(ct)

    def strangers(self):
        a, endpoint = self.account, self.server.endpoint
        wrong = Account(self.server, self.alice_key, "W" * 40)
        unknown = Account(self.server, "AKIAUNKNOWNUNKNOWN00", "U" * 40)
        self.codes = {
            "wrong iam": tolerant(wrong.client("iam").create_user, UserName="mallory"),
            "wrong s3": tolerant(wrong.client("s3").get_object, Bucket=self.data, Key="wrong"),
            "wrong json": tolerant(wrong.client("cloudtrail").delete_trail, Name="mallory"),
            "unknown iam": tolerant(unknown.client("iam").create_user, UserName="eve"),
            "unknown json": tolerant(unknown.client("cloudtrail").delete_trail, Name="eve-eve"),
        }
        assert fetch(f"{endpoint}/{self.data}/anonymous")[0] == 403
        s3 = a.client("s3", signature_version="s3v4")
        s3.put_object(Bucket=self.data, Key="presigned", Body=b"p")
        url = s3.generate_presigned_url("get_object", Params={"Bucket": self.data, "Key": "presigned"})
        assert fetch(url) == (200, b"p")
        self.secrets.append(re.search(r"X-Amz-Signature=(\w+)", url)[1])
        s3.put_object(Bucket=self.data, Key="old style", Body=b"o")
        url = a.client("s3").generate_presigned_url("get_object", Params={"Bucket": self.data, "Key": "old style"})
        assert "AWSAccessKeyId" in url and fetch(url) == (200, b"o")
        port = endpoint.rsplit(":", 1)[1]
        virtual = boto3.client(
            "s3", region_name="us-east-1", endpoint_url=f"http://localhost:{port}",
            aws_access_key_id=a.session.get_credentials().access_key,
            aws_secret_access_key=a.session.get_credentials().secret_key, config=Config(s3={"addressing_style": "virtual"}),
        )
        with localhost_names():
            virtual.put_object(Bucket=self.data, Key="virtual", Body=b"v")

    def trails(self, ct):
        bucket = self.account.bucket()
        self.other = unique("walk")
        ct.create_trail(Name=self.other, S3BucketName=bucket)
        ct.start_logging(Name=self.other)
        ct.put_event_selectors(TrailName=self.other, EventSelectors=[{"ReadWriteType": "All", "IncludeManagementEvents": True,
                                                                      "DataResources": []}])
        ct.describe_trails(trailNameList=[self.other])
        ct.lookup_events(MaxResults=1)
        ct.get_trail_status(Name=self.other)
        ct.get_event_selectors(TrailName=self.other)
        ct.list_tags(ResourceIdList=[self.trail["TrailARN"]])
        ct.stop_logging(Name=self.other)
        ct.delete_trail(Name=self.other)
        tolerant(ct.stop_logging, Name=self.other)
        tolerant(ct.delete_trail, Name=self.other)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    from cairn_server import Server
    from conftest import BINARY
    data = tmp_path_factory.mktemp("records") / "data"
    data.mkdir(mode=0o700)
    with Server(BINARY, data=data, delivery_interval="1s", digest_interval="5s") as server:
        yield Recorded(server)


def test_records_have_awss_members_in_awss_order(recorded):
    seen = set()
    assert len(recorded.records) > 60
    for record in recorded.records:
        places = [ORDER.index(name) for name in record]
        assert places == sorted(places), list(record)
        assert set(ORDER) - set(record) <= OPTIONAL, list(record)
        assert record["eventVersion"] == "1.11" and record["eventType"] == "AwsApiCall"
        assert record["recipientAccountId"] == recorded.account.id
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["eventTime"])
        assert record["managementEvent"] is (record["eventCategory"] == "Management")
        assert ("errorCode" in record) is ("errorMessage" in record)
        if record["readOnly"] or "errorCode" in record:
            assert record["responseElements"] is None
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", record["eventID"])
        seen.add(record["eventID"])
    assert len(seen) == len(recorded.records), "each event is delivered once"


def real_records(fixtures):
    """Records of AWS: {(source, name): [record]}."""
    found = {}
    documents = [json.loads(gzip.decompress(path.read_bytes()))["Records"] for path in fixtures.glob("events/invictus/*.gz")]
    documents += [json.loads(path.read_text()) for path in fixtures.glob("events/stratus/*.json")]
    for record in (record for document in documents for record in document):
        found.setdefault((record["eventSource"], record["eventName"]), []).append(record)
    return found


def shape(value):
    """The names in a value, of lists the names of their first element."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None if value is None else "value"


def test_records_have_the_members_that_real_ones_of_the_same_event_have(recorded, shared):
    real, compared = real_records(shared), 0
    # What a transport without TLS, other clients, and calls from consoles or other services do not show.
    given = {"tlsDetails", "userAgent", "vpcEndpointId", "sessionCredentialFromConsole", "sharedEventID", "apiVersion"}
    for event in sorted({(r["eventSource"], r["eventName"]) for r in recorded.records} & set(real)):
        ours = [r for r in recorded.records if (r["eventSource"], r["eventName"]) == event]
        theirs = real[event]
        for failed in (False, True):
            mine = [r for r in ours if ("errorCode" in r) is failed and r["userIdentity"]["type"] in ("Root", "IAMUser")]
            aws = [r for r in theirs if ("errorCode" in r) is failed and r["eventType"] == "AwsApiCall"
                   and r["userIdentity"]["type"] in ("Root", "IAMUser", "AssumedRole")]
            if not mine or not aws:
                continue
            compared += 1
            sets = [set(r) - given for r in aws]
            assert set(mine[0]) - given in sets, (event, failed, set(mine[0]) - given, sets[0])
            for member in ("requestParameters", "responseElements", "resources"):
                kinds = {type(r.get(member)) for r in aws}
                assert type(mine[0].get(member)) in kinds, (event, member, mine[0].get(member), aws[0].get(member))
            if mine[0]["additionalEventData"] if "additionalEventData" in mine[0] else None:
                names = set().union(*(set(r["additionalEventData"]) for r in aws if r.get("additionalEventData")))
                assert set(mine[0]["additionalEventData"]) <= names | {"CipherSuite"}, event
    assert compared >= 25, compared


@pytest.mark.parametrize("event,error,parameters,expected", [
    ("CreateUser", None, {"userName": "alice"}, {
        "requestParameters": {"path": "/ops/", "userName": "alice", "tags": [{"key": "Team", "value": "Red"}]},
        "readOnly": False, "eventSource": "iam.amazonaws.com", "awsRegion": "us-east-1",
    }),
    ("CreateAccessKey", None, {}, {"requestParameters": {"userName": "alice"}}),
    ("CreateUser", "EntityAlreadyExistsException", {"userName": "alice"}, {"responseElements": None}),
    ("GetUser", "NoSuchEntityException", {"userName": "nobody"}, {"readOnly": True}),
    ("ListBuckets", None, {}, {"eventCategory": "Management", "readOnly": True}),
    ("GetBucketCors", "NoSuchCORSConfiguration", {}, {"errorMessage": "The CORS configuration does not exist"}),
])
def test_parameters_and_outcomes_are_shown_as_aws_shows_them(recorded, event, error, parameters, expected):
    record = recorded.one(event, error, **parameters)
    assert {name: record.get(name) for name in expected} == expected


def test_what_iam_made_is_shown_without_secrets(recorded):
    made = recorded.one("CreateUser", userName="alice")["responseElements"]["user"]
    assert set(made) == {"path", "userName", "userId", "arn", "createDate", "tags"}
    assert re.fullmatch(r"[A-Z][a-z]{2} \d{1,2}, \d{4} \d{1,2}:\d\d:\d\d [AP]M", made["createDate"])
    key = recorded.one("CreateAccessKey")["responseElements"]["accessKey"]
    assert key["accessKeyId"] == recorded.alice_key and key["status"] == "Active"
    assert key.get("secretAccessKey", "HIDDEN_DUE_TO_SECURITY_REASONS") == "HIDDEN_DUE_TO_SECURITY_REASONS"


def test_callers_are_shown_as_what_they_are(recorded):
    account = recorded.account.id
    root = recorded.one("CreateUser", userName="alice")["userIdentity"]
    assert list(root)[:5] == ["type", "principalId", "arn", "accountId", "accessKeyId"] and root["type"] == "Root"
    alice = recorded.one("GetObject", "AccessDenied", key="denied")["userIdentity"]
    assert list(alice) == ["type", "principalId", "arn", "accountId", "accessKeyId", "userName"]
    assert alice["arn"] == f"arn:aws:iam::{account}:user/ops/alice" and alice["accessKeyId"] == recorded.alice_key
    anonymous = recorded.one("GetObject", "AccessDenied", key="anonymous")["userIdentity"]
    assert anonymous == {"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}


def test_refused_signatures_are_recorded_as_somebody_unknown(recorded):
    assert recorded.codes == {
        "wrong iam": "SignatureDoesNotMatch", "wrong s3": "SignatureDoesNotMatch", "wrong json": "InvalidSignatureException",
        "unknown iam": "InvalidClientTokenId", "unknown json": "UnrecognizedClientException",
    }
    by_wrong = {"type": "Unknown", "accessKeyId": recorded.alice_key}
    by_unknown = {"type": "Unknown", "accessKeyId": "AKIAUNKNOWNUNKNOWN00"}
    for who, event, error, parameters in [
        (by_wrong, "CreateUser", "SignatureDoesNotMatch", {"userName": "mallory"}),
        (by_wrong, "GetObject", "SignatureDoesNotMatch", {"key": "wrong", "bucketName": recorded.data}),
        (by_wrong, "DeleteTrail", "InvalidSignatureException", {"name": "mallory"}),
        (by_unknown, "CreateUser", "InvalidClientTokenId", {"userName": "eve"}),
        (by_unknown, "DeleteTrail", "UnrecognizedClientException", {"name": "eve-eve"}),
    ]:
        record = recorded.one(event, error, **parameters)
        assert record["userIdentity"] == who
        assert record["eventCategory"] == ("Data" if event == "GetObject" else "Management")
    wrong = recorded.one("GetObject", "SignatureDoesNotMatch", key="wrong")
    assert wrong["resources"][0]["ARN"] == f"arn:aws:s3:::{recorded.data}/wrong"
    assert wrong["recipientAccountId"] == recorded.account.id


def test_object_calls_are_data_events_with_their_objects(recorded):
    bucket = recorded.data
    bucket_shown = {"accountId": recorded.account.id, "type": "AWS::S3::Bucket", "ARN": f"arn:aws:s3:::{bucket}"}
    put = recorded.one("PutObject", key="folder/object one")
    assert put["eventCategory"] == "Data" and put["readOnly"] is False
    assert put["resources"] == [
        {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/folder/object one"}, bucket_shown,
    ]
    assert put["requestParameters"]["bucketName"] == bucket and put["requestParameters"]["x-amz-meta-note"] == "n"
    assert put["responseElements"]["x-amz-server-side-encryption"] == "AES256"
    assert put["responseElements"]["x-amz-version-id"]
    assert put["additionalEventData"]["bytesTransferredIn"] == 5
    assert put["userAgent"].startswith("[Boto3/")
    got = recorded.one("GetObject", key="folder/object one")
    assert got["additionalEventData"]["bytesTransferredOut"] == 5 and got["responseElements"] is None
    listed = recorded.one("ListObjects", prefix="folder/")
    assert listed["resources"] == [{"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{bucket}/"}, bucket_shown]
    assert listed["requestParameters"]["list-type"] == "2" and listed["additionalEventData"]["bytesTransferredOut"] > 300
    copied = recorded.one("CopyObject", key="copy")
    assert copied["requestParameters"]["x-amz-copy-source"].startswith(bucket)
    assert recorded.one("HeadObject", key="folder/object one")["readOnly"] is True
    deleted = recorded.one("DeleteObjects", bucketName=bucket)
    assert deleted["resources"][0]["ARNPrefix"] == f"arn:aws:s3:::{bucket}/"


def test_how_a_call_was_signed_and_addressed_is_shown(recorded):
    def data(key):
        return recorded.one("GetObject", key=key)["additionalEventData"]
    assert (data("presigned")["SignatureVersion"], data("presigned")["AuthenticationMethod"]) == ("SigV4", "QueryString")
    assert (data("old style")["SignatureVersion"], data("old style")["AuthenticationMethod"]) == ("SigV2", "QueryString")
    assert data("folder/object one")["AuthenticationMethod"] == "AuthHeader"
    anonymous = recorded.one("GetObject", "AccessDenied", key="anonymous")["additionalEventData"]
    assert "SignatureVersion" not in anonymous and "AuthenticationMethod" not in anonymous
    virtual = recorded.one("PutObject", key="virtual")
    assert virtual["requestParameters"]["Host"].startswith(f"{recorded.data}.localhost:")
    assert virtual["requestParameters"]["bucketName"] == recorded.data
    assert virtual["tlsDetails"]["clientProvidedHostHeader"] == virtual["requestParameters"]["Host"]


def test_no_secret_is_in_any_record_history_or_log(recorded):
    history = json.dumps([
        event["CloudTrailEvent"]
        for page in recorded.account.client("cloudtrail").get_paginator("lookup_events").paginate()
        for event in page["Events"]
    ])
    texts = {
        "records": json.dumps(recorded.records), "history": history, "log": recorded.server.log_path.read_text(),
    }
    for place, text in texts.items():
        for secret in recorded.secrets:
            assert secret not in text and secret[4:-4] not in text, place


def test_own_deliveries_are_not_recorded(recorded):
    recorded.account.client("s3").list_objects_v2(Bucket=recorded.bucket)
    time.sleep(4)
    written = [r for r in recorded.all() if r["eventName"] == "PutObject" and
               r["requestParameters"]["bucketName"] == recorded.bucket]
    assert written == []


# ---- the event history ----------------------------------------------------------------------------------------------


def looked_up(account, region="us-east-1", **attributes):
    wanted = [{"AttributeKey": name, "AttributeValue": value} for name, value in attributes.items()]
    pages = account.client("cloudtrail", region).get_paginator("lookup_events").paginate(LookupAttributes=wanted)
    return [event for page in pages for event in page["Events"]]


def test_events_are_found_by_every_attribute(recorded):
    account, alice_key = recorded.account, recorded.alice_key
    made = recorded.one("CreateUser", userName="alice")

    def ids(**attributes):
        return {event["EventId"] for event in looked_up(account, **attributes)}
    assert ids(EventId=made["eventID"]) == {made["eventID"]}
    assert made["eventID"] in ids(EventName="CreateUser")
    assert made["eventID"] in ids(EventSource="iam.amazonaws.com")
    assert made["eventID"] in ids(ResourceName="alice") and made["eventID"] in ids(ResourceType="AWS::IAM::User")
    assert made["eventID"] in ids(ReadOnly="false") and made["eventID"] not in ids(ReadOnly="true")
    by_key = looked_up(account, AccessKeyId=alice_key)
    assert {e["EventName"] for e in by_key} >= {"GetCallerIdentity"} and all(e["AccessKeyId"] == alice_key for e in by_key)
    assert {e["EventName"] for e in looked_up(account, Username="alice")} >= {"GetCallerIdentity"}
    found = looked_up(account, EventId=made["eventID"])[0]
    assert json.loads(found["CloudTrailEvent"]) == made and list(json.loads(found["CloudTrailEvent"])) == list(made)
    assert {(r["ResourceType"], r["ResourceName"]) for r in found["Resources"]} >= {("AWS::IAM::User", "alice")}
    assert found["ReadOnly"] == "false" and found["Username"] in ("root", made["userIdentity"].get("userName"))


def test_data_events_are_not_in_the_history(recorded):
    assert looked_up(recorded.account, EventName="PutObject") == []
    assert looked_up(recorded.account, EventName="HeadObject") == []


def test_pages_stay_whole_while_events_come_in(recorded):
    account, stop = recorded.account, threading.Event()

    def write():
        client = account.client("sts")
        while not stop.is_set():
            client.get_caller_identity()
    before = {e["EventId"] for e in looked_up(account, EventSource="iam.amazonaws.com")}
    writer = threading.Thread(target=write)
    writer.start()
    try:
        client, token, seen, times = account.client("cloudtrail"), {}, [], []
        while True:
            page = client.lookup_events(MaxResults=7, **token)
            seen += [e["EventId"] for e in page["Events"]]
            times += [e["EventTime"] for e in page["Events"]]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
            time.sleep(0.005)
    finally:
        stop.set()
        writer.join()
    assert len(seen) == len(set(seen)), "no event twice"
    assert before <= set(seen), "no event missing"
    assert times == sorted(times, reverse=True), "newest first"


# ---- which trails take what -----------------------------------------------------------------------------------------


def basic(read_write="All", management=True, values=(), excluded=()):
    data = [{"Type": "AWS::S3::Object", "Values": list(values)}] if values else []
    return {"EventSelectors": [{"ReadWriteType": read_write, "IncludeManagementEvents": management, "DataResources": data,
                                "ExcludeManagementEventSources": list(excluded)}]}


def advanced(*selectors):
    return {"AdvancedEventSelectors": [
        {"FieldSelectors": [{"Field": field, **condition} for field, condition in selector.items()]} for selector in selectors
    ]}


def test_each_trail_takes_what_its_selectors_say(own_server):
    server = own_server(delivery_interval="1s", digest_interval="5s")
    account = Account(server)
    s3, iam, ct = account.client("s3"), account.client("iam"), account.client("cloudtrail")
    one, two = unique("one"), unique("two")
    for bucket in (one, two):
        s3.create_bucket(Bucket=bucket)
    data = {"Equals": ["Data"]}
    objects = {"Equals": ["AWS::S3::Object"]}
    selectors = {
        "writes": basic("WriteOnly"),
        "reads of one": basic("ReadOnly", False, [f"arn:aws:s3:::{one}/a/"]),
        "no kms": basic("All", True, excluded=["kms.amazonaws.com"]),
        "puts below a": advanced({
            "eventCategory": data, "resources.type": objects, "eventName": {"Equals": ["PutObject"]},
            "resources.ARN": {"StartsWith": [f"arn:aws:s3:::{one}/a/"]},
        }),
        "all but one": advanced(
            {"eventCategory": {"Equals": ["Management"]}, "readOnly": {"Equals": ["false"]}},
            {"eventCategory": data, "resources.type": objects, "resources.ARN": {"NotStartsWith": [f"arn:aws:s3:::{one}/"]}},
        ),
    }
    trails = {}
    for name, chosen in selectors.items():
        trail, bucket = account.trail()
        ct.put_event_selectors(TrailName=trail["TrailARN"], **chosen)
        trails[name] = (trail, bucket)
    user = unique("selected")
    iam.create_user(UserName=user)
    iam.get_user(UserName=user)
    tolerant(account.client("kms").list_keys)
    for bucket in (one, two):
        for key in ("a/1", "b/1"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
            s3.get_object(Bucket=bucket, Key=key)
    account.client("sts").get_caller_identity()
    iam.delete_user(UserName=user)
    wanted = {"CreateUser", "GetUser", "ListKeys", "PutObject", "GetObject", "GetCallerIdentity", "DeleteUser"}

    def taken(name):
        def told(record):
            parameters = record["requestParameters"] or {}
            where = parameters.get("bucketName")
            return record["eventName"] + (f" {'one' if where == one else 'two'}/{parameters['key']}" if "key" in parameters else "")
        def is_ours(record):
            return (record["requestParameters"] or {}).get("key", "a/1") in ("a/1", "b/1")
        return sorted(told(r) for r in account.delivered(trails[name][1]) if r["eventName"] in wanted and is_ours(r))
    in_two = ["GetObject two/a/1", "GetObject two/b/1", "PutObject two/a/1", "PutObject two/b/1"]
    expected = {
        "writes": ["CreateUser", "DeleteUser"],
        "reads of one": ["GetObject one/a/1"],
        "no kms": ["CreateUser", "DeleteUser", "GetCallerIdentity", "GetUser"],
        "puts below a": ["PutObject one/a/1"],
        "all but one": ["CreateUser", "DeleteUser", *in_two],
    }
    wait_for("the last event", lambda: "DeleteUser" in taken("writes") and "DeleteUser" in taken("all but one")
             and "DeleteUser" in taken("no kms"))
    time.sleep(2)
    assert {name: taken(name) for name in selectors} == expected
    with pytest.raises(ClientError) as sixth:
        account.trail()
    assert sixth.value.response["Error"]["Code"] == "MaximumNumberOfTrailsExceededException"
    # Of another region, where there is none yet, single-region trails may be five again.
    account.trail(region="eu-west-2")


def test_a_bucket_that_goes_and_comes_back_loses_nothing(own_server):
    server = own_server(delivery_interval="1s", digest_interval="2s")
    account = Account(server)
    ct, s3 = account.client("cloudtrail"), account.client("s3")
    trail, bucket = account.trail()
    arn = trail["TrailARN"]
    made = []

    def write(count=3):
        for _ in range(count):
            made.append(unique("kept"))
            account.client("iam").create_user(UserName=made[-1])
    write()

    def names():
        return [r["requestParameters"]["userName"] for r in account.delivered(bucket) if r["eventName"] == "CreateUser"]
    wait_for("a delivery", lambda: set(made) <= set(names()))
    wait_for("a digest", lambda: "LatestDigestDeliveryTime" in ct.get_trail_status(Name=arn))
    status = ct.get_trail_status(Name=arn)
    assert status["LatestDeliveryAttemptSucceeded"] and status["LatestDeliveryAttemptTime"] and not status.get("LatestDeliveryError")
    ct.update_trail(Name=arn, EnableLogFileValidation=False)
    before = {r["eventID"] for r in account.delivered(bucket)}

    def empty():
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
            s3.delete_object(Bucket=bucket, Key=key)
        try:
            s3.delete_bucket(Bucket=bucket)
            return True
        except ClientError:
            return False
    wait_for("an empty bucket that can be deleted", empty)
    write()
    wait_for("NoSuchBucket", lambda: ct.get_trail_status(Name=arn).get("LatestDeliveryError") == "NoSuchBucket")
    assert ct.get_trail_status(Name=arn)["IsLogging"] is True
    write()
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(account.delivery_policy(bucket)))

    wait_for("what was written meanwhile", lambda: set(made[3:]) <= set(names()), 60)
    wait_for("a status without error", lambda: not ct.get_trail_status(Name=arn).get("LatestDeliveryError"), 30)
    assert sorted(names()) == sorted(made[3:]), "each event once, and none that was delivered before"
    after = [r["eventID"] for r in account.delivered(bucket)]
    assert len(after) == len(set(after)) and not before & set(after)
