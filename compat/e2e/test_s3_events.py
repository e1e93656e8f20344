"""Event notifications on the running server: none is lost to a crash, and a log file that is delivered tells of itself."""

import json
import signal
import time
import urllib.request

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from trails import Account, wait_for

# Where the server dies: before and after the transaction that owes an event, and before and after the one that settles
# what was sent.
DEATHS = [
    "before-commit:s3.event_owed", "after-commit:s3.event_owed", "before-commit:s3.event_owed@2",
    "after-commit:s3.event_owed@2", "before-commit:s3.event_owed@5", "after-commit:s3.event_owed@6",
]


class Inbox:
    """A bucket that tells a queue of what is put into it."""

    def __init__(self, account, **filters):
        self.account, self.name = account, f"inbox-{time.time_ns() % 10**12}"
        s3, sqs = account.client("s3"), account.client("sqs")
        s3.create_bucket(Bucket=self.name)
        self.url = sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:{account.id}:{self.name}"
        self.allow()
        queue = {"QueueArn": self.arn, "Events": ["s3:ObjectCreated:*"], **filters}
        s3.put_bucket_notification_configuration(
            Bucket=self.name, NotificationConfiguration={"QueueConfigurations": [queue]}
        )
        [test] = self.receive()
        assert test["Event"] == "s3:TestEvent" and test["Bucket"] == self.name

    def allow(self, effect="Allow"):
        statement = {
            "Effect": effect, "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": self.arn, "Condition": {
                "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{self.name}"},
                "StringEquals": {"aws:SourceAccount": self.account.id},
            },
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.account.client("sqs").set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    def receive(self, seconds=2):
        """The messages that are there; they are deleted."""
        sqs = self.account.client("sqs")
        messages = sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds
        ).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    def keys(self, wanted, seconds=20):
        """The keys of the events that come until those wanted have come, with how often."""
        found, deadline = [], time.monotonic() + seconds
        while not wanted <= set(found) and time.monotonic() < deadline:
            found += [body["Records"][0]["s3"]["object"]["key"] for body in self.receive()]
        return found

    def put(self, key):
        self.account.client("s3").put_object(Bucket=self.name, Key=key, Body=b"x")

    def objects(self):
        listed = self.account.client("s3").list_objects_v2(Bucket=self.name)
        return {item["Key"] for item in listed.get("Contents", [])}


def metric(server, name):
    lines = urllib.request.urlopen(server.endpoint + "/_cairn/metrics").read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name + " "))


@pytest.mark.parametrize("failpoint", DEATHS)
def test_a_crash_around_an_event_loses_none(own_server, failpoint):
    server = own_server()
    inbox = Inbox(Account(server))
    server.stop()
    server.variables = {"CAIRN_FAILPOINT": failpoint}
    server.start()
    account = Account(server)
    inbox.account = account
    for number in range(20):
        try:
            inbox.put(f"k{number}")
            # Each event is sent and settled before the next, so that the count of the failpoint is what it says.
            time.sleep(0.1)
        except (ClientError, BotoCoreError):
            break
    assert server.process.wait(10) == -signal.SIGKILL
    server.stop()
    server.variables = {}
    server.start()
    inbox.account = Account(server)
    objects = inbox.objects()
    found = inbox.keys(objects)
    assert set(found) == objects, "an object without an event, or an event of no object"
    assert len(found) <= len(objects) + 1, "only what was in the middle is sent twice"


def test_a_log_file_tells_of_itself(own_server):
    server = own_server(delivery_interval="300ms")
    account = Account(server)
    _, bucket = account.trail()
    sqs, s3 = account.client("sqs"), account.client("s3")
    url = sqs.create_queue(QueueName="log-files")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{account.id}:log-files"
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn},
    ]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    rule = {"Name": "suffix", "Value": ".json.gz"}
    queue = {"QueueArn": arn, "Events": ["s3:ObjectCreated:Put"], "Filter": {"Key": {"FilterRules": [rule]}}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}
    )

    def event():
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return next((body["Records"][0] for body in bodies if "Records" in body), None)
    found = wait_for("the event of a log file", event)
    assert found["eventName"] == "ObjectCreated:Put" and found["s3"]["bucket"]["name"] == bucket
    assert found["requestParameters"]["sourceIPAddress"] == "cloudtrail.amazonaws.com"
    head = s3.head_object(Bucket=bucket, Key=found["s3"]["object"]["key"])
    assert head["ContentLength"] == found["s3"]["object"]["size"]
    assert head["ETag"] == f'"{found["s3"]["object"]["eTag"]}"'


def test_events_go_through_a_topic_to_its_queue(account):
    s3, sns, sqs = account.client("s3"), account.client("sns"), account.client("sqs")
    name = f"fan-out-{time.time_ns() % 10**12}"
    s3.create_bucket(Bucket=name)
    topic = sns.create_topic(Name=name)["TopicArn"]
    refused = {"Bucket": name, "NotificationConfiguration": {
        "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectRemoved:*"]}],
    }}
    with pytest.raises(ClientError) as caught:
        s3.put_bucket_notification_configuration(**refused)
    error = caught.value.response["Error"]
    assert error["Message"] == "Unable to validate the following destination configurations"
    assert error["ArgumentName1"] == topic and "do not allow S3 to publish" in error["ArgumentValue1"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{account.id}:{name}"
    for client, service, action, target in [(sns, "s3", "SNS:Publish", topic), (sqs, "sns", "sqs:SendMessage", queue)]:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": action, "Resource": target},
        ]})
        if client is sns:
            sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        else:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    s3.put_bucket_notification_configuration(**refused)
    s3.put_object(Bucket=name, Key="a b", Body=b"x")
    s3.delete_object(Bucket=name, Key="a b")
    envelopes = []

    def received():
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        envelopes.extend(json.loads(message["Body"]) for message in answer.get("Messages", []))
        return len(envelopes) == 2
    wait_for("the test event and the event", received)
    assert {envelope["Subject"] for envelope in envelopes} == {"Amazon S3 Notification"}
    messages = [json.loads(envelope["Message"]) for envelope in envelopes]
    [event] = [message["Records"][0] for message in messages if "Records" in message]
    assert event["eventName"] == "ObjectRemoved:Delete" and event["s3"]["object"]["key"] == "a+b"
    assert [message["Event"] for message in messages if "Records" not in message] == ["s3:TestEvent"]


def test_a_revoked_policy_delays_events_and_shows_in_the_metrics(own_server):
    server = own_server()
    inbox, other = Inbox(Account(server)), Inbox(Account(server))
    inbox.allow("Deny")
    for key in ("1", "2", "3"):
        inbox.put(key)
        other.put(key)
    assert other.keys({"1", "2", "3"}) == ["1", "2", "3"]
    assert wait_for("a failure", lambda: metric(server, "cairn_s3_event_failures_total")) >= 1
    assert metric(server, "cairn_s3_events_owed") >= 1 and inbox.receive(0) == []
    inbox.allow()
    assert inbox.keys({"1", "2", "3"}) == ["1", "2", "3"]
    wait_for("all to be paid", lambda: metric(server, "cairn_s3_events_sent_total") == 6)


def test_an_event_comes_within_moments(own_server):
    inbox = Inbox(Account(own_server()))
    began = time.monotonic()
    for number in range(20):
        inbox.put(f"k{number}")
        assert len(inbox.receive(5)) == 1
    # No timer is waited for: the stage looks at its debts every 30 seconds where nothing wakes it.
    assert time.monotonic() - began < 20


def test_the_configuration_is_recorded_as_the_xml_that_was_sent(account):
    s3 = account.client("s3")
    bucket = account.bucket(policy=False)
    arn = f"arn:aws:sqs:us-east-1:{account.id}:not-there"
    rule = {"Name": "prefix", "Value": "a/"}
    queue = {"Id": "i", "QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [rule]}}}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}, SkipDestinationValidation=True
    )

    def record():
        attributes = [{"AttributeKey": "ResourceName", "AttributeValue": bucket}]
        events = account.client("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
        return next((e for e in events if e["EventName"] == "PutBucketNotification"), None)
    event = json.loads(wait_for("the record", record)["CloudTrailEvent"])
    shown = event["requestParameters"]
    assert shown["NotificationConfiguration"]["QueueConfiguration"] == {
        "Id": "i", "Queue": arn, "Event": "s3:ObjectCreated:*", "Filter": {"S3Key": {"FilterRule": rule}},
    }
    assert shown["notification"] == "" and shown["bucketName"] == bucket and event["readOnly"] is False
