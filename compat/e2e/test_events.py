"""EventBridge on the running server: what rules take reaches queues, topics and dead letters, also over a crash."""

import json
import signal
import time

import pytest
from events_drivers import allow, name
from messaging_drivers import arn_of
from trails import Account, wait_for


class Target:
    """A rule for a pattern, with a queue that it sends to."""

    def __init__(self, account, pattern, state="ENABLED", **target):
        self.account, self.rule = account, name("rule")
        self.events, self.sqs = account.client("events"), account.client("sqs")
        self.url = self.sqs.create_queue(QueueName=self.rule)["QueueUrl"]
        self.arn = arn_of(self.sqs, self.url)
        self.rule_arn = self.events.put_rule(Name=self.rule, EventPattern=json.dumps(pattern), State=state)["RuleArn"]
        allow(self.sqs, self.url, self.arn, self.rule_arn)
        put = self.events.put_targets(Rule=self.rule, Targets=[{"Id": "1", "Arn": self.arn, **target}])
        assert put["FailedEntryCount"] == 0

    def receive(self, seconds=1):
        """The events that are there; they are deleted."""
        return [json.loads(message["Body"]) for message in self.messages(seconds)]

    def messages(self, seconds=1):
        sqs = self.account.client("sqs")
        found = sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds, MessageAttributeNames=["All"]
        ).get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def all(self, wanted, seconds=20):
        """The events that come until there are as many as wanted."""
        found, deadline = [], time.monotonic() + seconds
        while len(found) < wanted and time.monotonic() < deadline:
            found += self.receive()
        return found


def put(account, source, *details):
    entries = [{"Source": source, "DetailType": "t", "Detail": json.dumps(detail)} for detail in details]
    answer = account.client("events").put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 0
    return [entry["EventId"] for entry in answer["Entries"]]


def test_a_call_comes_to_a_rule_with_its_own_record(account):
    writes = Target(account, {"source": ["aws.iam"], "detail": {"eventName": ["CreateUser", "ListUsers"]}})
    every = Target(
        account, {"source": ["aws.iam"], "detail": {"eventName": ["ListUsers"]}},
        state="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
    )
    user, iam = name("user"), account.client("iam")
    began = time.monotonic()
    iam.create_user(UserName=user)
    iam.list_users()
    [event] = writes.all(1)
    took_s = time.monotonic() - began
    assert event["detail-type"] == "AWS API Call via CloudTrail" and event["source"] == "aws.iam"
    assert event["detail"]["requestParameters"] == {"userName": user} and event["account"] == account.id
    assert took_s < 5
    [read] = every.all(1)
    assert read["detail"]["readOnly"] is True
    assert writes.receive() == []
    lookup = [{"AttributeKey": "EventId", "AttributeValue": event["id"]}]
    trails = account.client("cloudtrail")
    found = wait_for("the event", lambda: trails.lookup_events(LookupAttributes=lookup)["Events"])
    assert json.loads(found[0]["CloudTrailEvent"]) == event["detail"]


def test_a_topic_is_a_target_under_its_policy(account):
    source, sns = name("source"), account.client("sns")
    target = Target(account, {"source": [source]})
    topic = sns.create_topic(Name=source)["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    inbox = account.client("sqs").create_queue(QueueName=source)["QueueUrl"]
    arn = arn_of(account.client("sqs"), inbox)
    allow(account.client("sqs"), inbox, arn, topic)
    allowed = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}]})
    account.client("sqs").set_queue_attributes(QueueUrl=inbox, Attributes={"Policy": allowed})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    target.events.put_targets(Rule=target.rule, Targets=[{"Id": "topic", "Arn": topic}])
    [event_id] = put(account, source, {"a": 1})
    [message] = account.client("sqs").receive_message(QueueUrl=inbox, WaitTimeSeconds=10)["Messages"]
    assert json.loads(json.loads(message["Body"])["Message"])["id"] == event_id
    assert [event["id"] for event in target.all(1)] == [event_id]


def test_what_a_target_refuses_goes_to_its_dead_letter_queue(account):
    source = name("source")
    dead = Target(account, {"source": ["nobody"]})
    target = Target(account, {"source": [source]}, DeadLetterConfig={"Arn": dead.arn})
    allow(dead.sqs, dead.url, dead.arn, target.rule_arn)
    target.sqs.set_queue_attributes(QueueUrl=target.url, Attributes={"Policy": ""})
    [event_id] = put(account, source, {})
    [message] = wait_for("the dead letter", dead.messages)
    assert json.loads(message["Body"])["id"] == event_id
    told = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert told["RULE_ARN"] == target.rule_arn and told["TARGET_ARN"] == target.arn
    assert told["ERROR_CODE"] == "NO_PERMISSIONS" and told["RETRY_ATTEMPTS"] == "0"


def test_a_bucket_tells_the_event_bus(account):
    bucket, s3 = name("told"), account.client("s3")
    target = Target(account, {"source": ["aws.s3"], "detail-type": [{"prefix": "Object "}], "detail": {"bucket": {"name": [bucket]}}})
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert s3.get_bucket_notification_configuration(Bucket=bucket)["EventBridgeConfiguration"] == {}
    s3.put_object(Bucket=bucket, Key="a b", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="a b")
    found = {event["detail-type"]: event["detail"] for event in target.all(2)}
    assert set(found) == {"Object Created", "Object Deleted"}
    assert found["Object Created"]["object"]["key"] == "a b" and found["Object Created"]["reason"] == "PutObject"
    assert found["Object Deleted"]["deletion-type"] == "Permanently Deleted"


@pytest.mark.parametrize("moment", ["acknowledged", "recorded"])
def test_a_kill_loses_no_event(own_server, moment):
    server = own_server()
    account = Account(server)
    source = name("source")
    pattern = {"source": [source]} if moment == "acknowledged" else {"detail": {"eventName": ["CreateUser"]}}
    target = Target(account, pattern)
    wanted = set()
    for round_ in range(3):
        for n in range(20):
            if moment == "acknowledged":
                wanted |= set(put(account, source, {"n": n}))
            else:
                user = f"{source}-{round_}-{n}"
                account.client("iam").create_user(UserName=user)
                wanted.add(user)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        server = own_server(data=server.data)
        account = target.account = Account(server)
    key = (lambda event: event["id"]) if moment == "acknowledged" else (
        lambda event: event["detail"]["requestParameters"]["userName"])
    found, deadline = [], time.monotonic() + 30
    while not wanted <= set(found) and time.monotonic() < deadline:
        found += [key(event) for event in target.receive()]
    assert wanted <= set(found), f"{len(wanted - set(found))} of {len(wanted)} are lost"
