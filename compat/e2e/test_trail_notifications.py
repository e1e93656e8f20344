"""Trails announce their log files on SNS topics: with the AWS CLI and boto3, over a queue, through refusals and deaths."""

import json
import signal
import time

import pytest
from botocore.exceptions import ClientError
from conftest import run_aws
from trails import Account, wait_for

VALIDATION = "CloudTrail validation message."


class Ear:
    """A queue that is subscribed to a topic."""

    def __init__(self, account, topic_arn):
        self.sqs = account.client("sqs")
        name = f"ear-{time.time_ns()}"
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}}}]}
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": json.dumps(policy)})
        account.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)
        self.texts = []

    def hear(self):
        """All texts that were announced so far."""
        while True:
            got = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
            if not got:
                return self.texts
            for message in got:
                envelope = json.loads(message["Body"])
                assert envelope["Type"] == "Notification" and "Subject" not in envelope
                self.texts.append(envelope["Message"])
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def keys(self, bucket):
        """The keys that were announced, in order."""
        named = [json.loads(text) for text in self.hear() if text != VALIDATION]
        for message in named:
            assert list(message) == ["s3Bucket", "s3ObjectKey"] and message["s3Bucket"] == bucket
        return [key for message in named for key in message["s3ObjectKey"]]


def topic_policy(topic_arn, **condition):
    statement = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "SNS:Publish", "Resource": topic_arn}
    if condition:
        statement["Condition"] = {"StringEquals": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def new_topic(account, **condition):
    sns = account.client("sns")
    arn = sns.create_topic(Name=f"files-{time.time_ns()}")["TopicArn"]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=topic_policy(arn, **condition))
    return arn


def every_file(account, ear, bucket, before=frozenset()):
    """Makes calls until at least two log files are there, and waits until each is announced; those from `before` the ear
    was there may not have been heard."""
    cloudtrail = account.client("cloudtrail")

    def announced():
        cloudtrail.describe_trails()
        files, told = set(account.keys(bucket)) - before, ear.keys(bucket)
        return told if len(files) >= 2 and files <= set(told) else None
    told = wait_for("the announcements", announced)
    assert set(told) <= set(account.keys(bucket)), "what is announced is there"
    return told


def test_create_subscription_of_the_cli_makes_a_trail_that_announces(server, account):
    name = f"sub-{time.time_ns()}"
    code, out, err = run_aws(server, "cloudtrail", "create-subscription", "--name", name, "--s3-new-bucket", name, "--sns-new-topic", name)
    assert code == 0, out + err
    topic_arn = f"arn:aws:sns:us-east-1:{account.id}:{name}"
    shown = account.client("cloudtrail").get_trail(Name=name)["Trail"]
    assert shown["SnsTopicARN"] == topic_arn and shown["SnsTopicName"] == name
    ear = Ear(account, topic_arn)
    every_file(account, ear, name, before=set(account.keys(name)))
    status = account.client("cloudtrail").get_trail_status(Name=name)
    assert status["LatestNotificationTime"] and "LatestNotificationError" not in status
    assert status["LatestNotificationAttemptTime"] >= status["LatestNotificationAttemptSucceeded"] != ""
    other = f"{name}-2"
    code, out, err = run_aws(server, "cloudtrail", "update-subscription", "--name", name, "--sns-new-topic", other)
    assert code == 0, out + err
    assert account.client("cloudtrail").get_trail(Name=name)["Trail"]["SnsTopicARN"].endswith(f":{other}")
    account.client("cloudtrail").delete_trail(Name=name)


def test_a_topic_must_be_there_and_let_cloudtrail_publish(account):
    cloudtrail, sns = account.client("cloudtrail"), account.client("sns")
    trail, _ = account.trail(logging=False)
    arn = trail["TrailARN"]
    bare = sns.create_topic(Name=f"bare-{time.time_ns()}")["TopicArn"]
    fifo = sns.create_topic(Name=f"order-{time.time_ns()}.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]
    other = new_topic(account, **{"aws:SourceArn": arn + "-not"})
    for topic, code in ((bare, "InsufficientSnsTopicPolicyException"), (bare + "-missing", "InsufficientSnsTopicPolicyException"),
                        ("nowhere", "InsufficientSnsTopicPolicyException"), (other, "InsufficientSnsTopicPolicyException"),
                        (fifo, "InvalidSnsTopicNameException"), ("a b", "InvalidSnsTopicNameException")):
        with pytest.raises(ClientError) as refused:
            cloudtrail.update_trail(Name=arn, SnsTopicName=topic)
        assert refused.value.response["Error"]["Code"] == code, topic
        if code.startswith("Insufficient"):
            assert refused.value.response["Error"]["Message"] == "SNS Topic does not exist or the topic policy is incorrect!"
    assert "SnsTopicARN" not in cloudtrail.get_trail(Name=arn)["Trail"]

    mine = new_topic(account, **{"aws:SourceArn": arn, "aws:SourceAccount": account.id})
    ear = Ear(account, mine)
    updated = cloudtrail.update_trail(Name=arn, SnsTopicName=mine.rsplit(":", 1)[1])
    assert (updated["SnsTopicARN"], updated["SnsTopicName"]) == (mine, mine.rsplit(":", 1)[1])
    wait_for("the validation message", lambda: ear.hear() == [VALIDATION])
    cloudtrail.start_logging(Name=arn)
    bucket = trail["S3BucketName"]
    every_file(account, ear, bucket)
    cleared = cloudtrail.update_trail(Name=arn, SnsTopicName="")
    assert "SnsTopicARN" not in cleared and "SnsTopicName" not in cleared
    account.close_trail(trail)


def test_a_revoked_policy_shows_in_the_status_and_what_waits_follows(own_server):
    account = Account(own_server(delivery_interval="1s", digest_interval="1h"))
    cloudtrail, sns = account.client("cloudtrail"), account.client("sns")
    topic_arn = new_topic(account)
    ear = Ear(account, topic_arn)
    trail, bucket = account.trail(SnsTopicName=topic_arn)
    before = every_file(account, ear, bucket)
    sns.set_topic_attributes(TopicArn=topic_arn, AttributeName="Policy", AttributeValue=topic_policy(topic_arn, **{"aws:SourceAccount": "000000000000"}))

    def refused():
        status = cloudtrail.get_trail_status(Name=trail["TrailARN"])
        return status.get("LatestNotificationError") and len(account.keys(bucket)) > len(before) + 2 and status
    status = wait_for("the refusal", refused)
    assert "LatestDeliveryError" not in status, "delivery goes on"
    assert status["LatestNotificationAttemptTime"] > status["LatestNotificationAttemptSucceeded"]
    assert set(ear.keys(bucket)) < set(account.keys(bucket))
    sns.set_topic_attributes(TopicArn=topic_arn, AttributeName="Policy", AttributeValue=topic_policy(topic_arn))
    every_file(account, ear, bucket)
    assert "LatestNotificationError" not in cloudtrail.get_trail_status(Name=trail["TrailARN"])


@pytest.mark.parametrize("point, again", [
    # Committed and not yet announced; announced and not yet struck out.
    ("after-commit:trail.announcement", False),
    ("before-commit:trail.announcement@2", True),
])
def test_a_death_between_commit_and_announcement_loses_no_announcement(own_server, tmp_path, point, again):
    data = tmp_path / "data"
    server = own_server(data=data, delivery_interval="1s")
    account = Account(server)
    topic_arn = new_topic(account)
    ear = Ear(account, topic_arn)
    trail, bucket = account.trail(SnsTopicName=topic_arn, logging=False)
    server.stop()
    server = own_server(data=data, delivery_interval="1s", variables={"CAIRN_FAILPOINT": point})
    account = Account(server)
    account.client("cloudtrail").start_logging(Name=trail["TrailARN"])
    assert server.process.wait(timeout=30) == -signal.SIGKILL
    server = own_server(data=data, delivery_interval="1s")
    account = Account(server)
    ear.sqs = account.client("sqs")
    ear.url = ear.sqs.get_queue_url(QueueName=ear.url.rsplit("/", 1)[1])["QueueUrl"]
    told = every_file(account, ear, bucket)
    if again:
        assert len(told) > len(set(told)), "at least once"
