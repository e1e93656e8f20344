"""The event notifications of S3 as AWS sent and answered them: the scenarios whose messages and refusals were recorded,
played against the running server. Every difference is listed below with its reason."""

import io
import json
import time
import urllib.request

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from recorded import Comparison, recordings
from trails import Account

RECORDED = {
    name.removeprefix("TestS3NotificationsToSQS::"): answers
    for name, answers in recordings("s3/test_s3_notifications_sqs.snapshot.json.gz").items()
}
pytestmark = pytest.mark.skipif(not RECORDED, reason="CAIRN_SHARED names no folder of fixtures")
# What the recorder wrote in place of texts that differ in each run.
ANY = {"date", "sequencer", "amz-id", "amz-request-id", "version-id", "m-d5-of-body"}
# Scenarios that cannot be played: (name, why).
UNPLAYED = {
    "test_restore_object": "objects are never archived where they would have to be restored from: RestoreObject is not built",
}
# (scenario, difference): why.
DIFFERENT = {
    ("test_object_put_acl", ".receive_messages.messages: 3 items are 1"): "grants in headers and ACL documents are not built: the two "
    "changes that they would make are refused with NotImplemented, so of three events one is sent",
}
number = iter(range(10**6))


class EventComparison(Comparison):
    """With the placeholders of these recordings."""

    def stands_for(self, recorded, got):
        if isinstance(recorded, str):
            recorded = recorded.replace("<queue_id>", "<queue-id>")
        return bool(got) if recorded in ANY else super().stands_for(recorded, got)


@pytest.fixture(scope="module")
def user(account):
    """A user of the account: events name who made them happen and whose the bucket is, which for its root is one."""
    iam, name = account.client("iam"), f"recorded-{time.time_ns() % 10**9}"
    iam.create_user(UserName=name)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    user = Account(account.server, key["AccessKeyId"], key["SecretAccessKey"])
    user.id = account.id
    return user


class Scenario:
    """A bucket and a queue, and what was answered so far under the recording's names."""

    def __init__(self, account):
        self.account, self.answers = account, {}
        self.s3, self.sqs = account.client("s3"), account.client("sqs")
        self.bucket = self.new_bucket()
        self.queue, self.url, self.arn = self.new_queue()

    def new_bucket(self, **more):
        name = f"recorded-{next(number)}-{time.time_ns() % 10**9}"
        self.s3.create_bucket(Bucket=name, **more)
        return name

    def new_queue(self, sqs=None, bucket=None, name=None):
        """A queue that takes what the bucket sends."""
        sqs, name = sqs or self.sqs, name or f"my-queue-{next(number)}-{time.time_ns() % 10**9}"
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {
            "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket or self.bucket}"}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return name, url, arn

    def notify(self, *events, bucket=None, arn=None):
        queue = {"QueueArn": arn or self.arn, "Events": list(events)}
        self.configure([queue], bucket=bucket)

    def configure(self, queues, bucket=None, **more):
        return self.s3.put_bucket_notification_configuration(
            Bucket=bucket or self.bucket, NotificationConfiguration={"QueueConfigurations": queues} if queues else {},
            **more,
        )

    def refused(self, queues, **more):
        with pytest.raises(ClientError) as caught:
            self.configure(queues, **more)
        return caught.value.response

    def configuration(self):
        return self.s3.get_bucket_notification_configuration(Bucket=self.bucket)

    def events(self, wanted, sqs=None, url=None):
        """The events in the queue: at least as many as wanted, and all that come within another moment."""
        sqs, url, events = sqs or self.sqs, url or self.url, []
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            waits = 1 if len(events) < wanted else 0
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=waits, MaxNumberOfMessages=10)
            bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
            events += [event for body in bodies for event in body.get("Records", [])]
            if not bodies and len(events) >= wanted:
                break
        return events

    def put(self, key, body="something", bucket=None):
        return self.s3.put_object(Bucket=bucket or self.bucket, Key=key, Body=body)

    def copy(self, key, source):
        self.s3.copy_object(Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source})

    def received(self, wanted, sort=None, **more):
        """Answers `receive_messages`."""
        events = self.events(wanted, **more)
        self.answers["receive_messages"] = {"messages": sorted(events, key=sort) if sort else events}


def key_of(event):
    return event["s3"]["object"]["key"]


def test_object_created_put(scenario):
    scenario.notify("s3:ObjectCreated:Put")
    scenario.put("my_key_0")
    scenario.put("my_key_1", "something else")
    scenario.received(2, sort=lambda event: event["s3"]["object"]["size"])


def test_object_created_copy(scenario):
    scenario.notify("s3:ObjectCreated:Copy")
    scenario.put("source")
    scenario.copy("target", "source")
    scenario.received(1)


def test_object_created_and_object_removed(scenario):
    scenario.notify("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    scenario.put("source")
    scenario.copy("target", "source")
    scenario.s3.delete_object(Bucket=scenario.bucket, Key="source")
    scenario.received(3, sort=lambda event: event["eventName"])


def test_delete_objects(scenario):
    scenario.notify("s3:ObjectRemoved:*")
    scenario.put("key")
    doomed = [{"Key": key} for key in ("key", "dummy1", "dummy2")]
    scenario.s3.delete_objects(Bucket=scenario.bucket, Delete={"Objects": doomed, "Quiet": True})
    scenario.received(3, sort=key_of)


def test_object_created_complete_multipart_upload(scenario):
    scenario.notify("s3:ObjectCreated:*")
    config = TransferConfig(multipart_threshold=5 * 1024, multipart_chunksize=1024)
    scenario.s3.upload_fileobj(io.BytesIO(b"1" * 6 * 1024), scenario.bucket, "test-key", Config=config)
    scenario.received(1)


def test_key_encoding(scenario):
    scenario.notify("s3:ObjectCreated:*")
    scenario.put("a@b")
    scenario.received(1)


def put_presigned(scenario, bucket):
    s3 = scenario.account.client("s3", signature_version="s3v4")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "key-by-hostname"})
    urllib.request.urlopen(urllib.request.Request(url, data=b"something", method="PUT")).close()


def test_object_created_put_with_presigned_url_upload(scenario):
    scenario.notify("s3:ObjectCreated:*")
    put_presigned(scenario, scenario.bucket)
    scenario.received(1)
    other = scenario.new_bucket(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    sqs = scenario.account.client("sqs", region="eu-west-1")
    _, url, arn = scenario.new_queue(sqs, other)
    scenario.notify("s3:ObjectCreated:*", bucket=other, arn=arn)
    put_presigned(scenario, other)
    scenario.answers["receive_messages_region_2"] = {"messages": scenario.events(1, sqs, url)}


def test_object_tagging_put_event(scenario):
    scenario.notify("s3:ObjectTagging:Put")
    scenario.put("key", "FooBarBlitz")
    tags = {"TagSet": [{"Key": "swallow_type", "Value": "african"}]}
    scenario.s3.put_object_tagging(Bucket=scenario.bucket, Key="key", Tagging=tags)
    scenario.received(1)


def test_object_tagging_delete_event(scenario):
    scenario.notify("s3:ObjectTagging:Delete")
    scenario.put("key", "FooBarBlitz")
    tags = {"TagSet": [{"Key": "swallow_type", "Value": "african"}]}
    scenario.s3.put_object_tagging(Bucket=scenario.bucket, Key="key", Tagging=tags)
    scenario.s3.delete_object_tagging(Bucket=scenario.bucket, Key="key")
    scenario.received(1)


def test_xray_header(scenario):
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    scenario.notify("s3:ObjectCreated:*")
    scenario.s3.meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: request.headers.__setitem__("X-Amzn-Trace-Id", trace)
    )
    scenario.put("test-data")
    messages, deadline = [], time.monotonic() + 10
    while not messages and time.monotonic() < deadline:
        answer = scenario.sqs.receive_message(
            QueueUrl=scenario.url, AttributeNames=["AWSTraceHeader"], MessageAttributeNames=["All"], WaitTimeSeconds=1
        )
        messages = [message for message in answer.get("Messages", []) if "s3:TestEvent" not in message["Body"]]
    for message in messages:
        message["Body"] = json.loads(message["Body"])
    scenario.answers["receive_messages"] = {"messages": messages}


def test_notifications_with_filter(scenario):
    rules = [{"Name": "Prefix", "Value": "testupload/"}, {"Name": "Suffix", "Value": "testfile.txt"}]
    filtered = {"QueueArn": scenario.arn, "Filter": {"Key": {"FilterRules": rules}}}
    scenario.configure([
        {"Id": "id0001", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"], **filtered},
        {"Id": "id0002", "Events": ["s3:ObjectTagging:*"], **filtered},
    ])
    scenario.answers["config"] = scenario.configuration()
    scenario.put("/testdata", b'{"test": "bucket_notification1"}')
    scenario.put("testupload/dir1/testfile.txt", b'{"test": "bucket_notification2"}')
    events = scenario.events(1)
    assert len(events) == 1
    scenario.answers["message"] = events[0]
    scenario.configure([])
    scenario.answers["config_empty"] = scenario.configuration()
    queue = {"Id": "id123456", "QueueArn": scenario.arn, "Events": ["s3:ObjectCreated:*"]}
    scenario.configure([queue])
    scenario.answers["config_updated"] = scenario.configuration()
    scenario.configure([{**queue, "Filter": {"Key": {"FilterRules": rules[:1]}}}])
    scenario.answers["config_updated_filter"] = scenario.configuration()


def filtered_configuration(scenario, rules):
    queue = {"QueueArn": scenario.arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": rules}}}
    scenario.configure([queue], SkipDestinationValidation=True)
    scenario.answers["bucket_notification_configuration"] = scenario.configuration()


def test_filter_rules_case_insensitive(scenario):
    filtered_configuration(scenario, [{"Name": "suffix", "Value": ".txt"}, {"Name": "PREFIX", "Value": "notif-"}])


def test_filter_rules_empty_value(scenario):
    filtered_configuration(scenario, [{"Name": "suffix", "Value": ""}])


def missing(scenario, name):
    return f"arn:aws:sqs:us-east-1:{scenario.account.id}:{name}"


def test_invalid_sqs_arn(scenario):
    queue = {"Id": "id123", "Events": ["s3:ObjectCreated:*"]}
    invalid, absent = {**queue, "QueueArn": "invalid-queue"}, {**queue, "QueueArn": missing(scenario, "my-queue")}
    scenario.answers["invalid_not_skip"] = scenario.refused([invalid], SkipDestinationValidation=False)
    scenario.answers["invalid_skip"] = scenario.refused([invalid], SkipDestinationValidation=True)
    scenario.answers["queue-does-not-exist"] = scenario.refused([absent])
    scenario.configure([absent], SkipDestinationValidation=True)
    scenario.answers["skip_destination_validation"] = scenario.configuration()


def test_multiple_invalid_sqs_arns(scenario):
    first, second = {"Id": "id1", "Events": ["s3:ObjectCreated:*"]}, {"Id": "id2", "Events": ["s3:ObjectRemoved:*"]}
    for answer, arns in [
        ("two-queue-arns-invalid", ("invalid_arn", "invalid_arn_2")),
        ("one-queue-invalid-one-not-existent", (missing(scenario, "my-queue"), "invalid_arn_2")),
        ("multiple-queues-do-not-exist", (missing(scenario, "my-queue"), missing(scenario, "my-queue-2"))),
    ]:
        queues = [{**queue, "QueueArn": arn} for queue, arn in zip((first, second), arns)]
        scenario.answers[answer] = scenario.refused(queues)


def test_object_put_acl(scenario):
    s3, bucket, key = scenario.s3, scenario.bucket, "my_key_acl"
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    scenario.notify("s3:ObjectAcl:Put")
    scenario.put(key)
    # What is so already makes no event.
    s3.put_object_acl(Bucket=bucket, Key=key, ACL="private")
    s3.put_object_acl(Bucket=bucket, Key=key, ACL="public-read")
    with pytest.raises(ClientError, match="NotImplemented"):
        s3.put_object_acl(Bucket=bucket, Key=key, GrantRead='uri="http://acs.amazonaws.com/groups/s3/LogDelivery"')
    scenario.received(1, sort=lambda event: event["eventTime"])


def test_object_created_put_versioned(scenario):
    s3, at = scenario.s3, {"Bucket": scenario.bucket, "Key": "test-key"}
    scenario.notify("s3:ObjectCreated:*", "s3:ObjectRemoved:*")

    def set_versioning(status):
        s3.put_bucket_versioning(Bucket=scenario.bucket, VersioningConfiguration={"Status": status})

    def sorted_events(wanted):
        return sorted(
            scenario.events(wanted), key=lambda event: (event["eventName"], event["s3"]["object"].get("eTag", ""))
        )
    answers = scenario.answers
    set_versioning("Enabled")
    answers["obj-ver1"] = scenario.put("test-key", "data")
    answers["obj-ver2"] = scenario.put("test-key", "data-version2")
    answers["delete-marker"] = s3.delete_object(**at)
    answers["delete-version"] = s3.delete_object(**at, VersionId=answers["obj-ver1"]["VersionId"])
    answers["message-versioning-active"] = sorted_events(4)
    set_versioning("Suspended")
    answers["add-null-version"] = scenario.put("test-key", "data-version3")
    answers["del-delete-marker"] = s3.delete_object(**at, VersionId=answers["delete-marker"]["VersionId"])
    answers["message-versioning-suspended"] = sorted_events(2)


@pytest.fixture
def scenario(request, user):
    """Plays the scenario of the test's name; its answers are held against the recorded ones when it is over."""
    name = request.node.name
    running = Scenario(user)
    yield running
    wrong = EventComparison(user.id).differences(RECORDED[name], running.answers)
    assert wrong == [line for scenario, line in DIFFERENT if scenario == name]


def test_every_recorded_scenario_is_played_or_excused():
    played = {name for name in globals() if name.startswith("test_")} - {
        "test_every_recorded_scenario_is_played_or_excused"
    }
    assert set(RECORDED) == played | set(UNPLAYED) and not played & set(UNPLAYED)
    assert len(RECORDED) == 18
