"""AWS's own CloudTrail Processing Library, in Java, consumes what Cairn announces: every event once, nothing left over."""

import json
import time

import pytest

import java_library
from test_ingest import post, record
from trails import wait_for

EVENTS = 10_000
EVENTS_PER_REQUEST = 1_000
# Longer than the server's delivery interval.
REST_SECONDS = 3


@pytest.fixture(scope="module")
def library():
    try:
        return java_library.judge()
    except java_library.Missing as missing:
        pytest.skip(f"AWS's processing library cannot be run here: {missing}")


def queue(account, service, source_arn):
    """A queue that a service may send to on behalf of a source: (URL, ARN)."""
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=f"logs-{time.time_ns()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn,
                 "Condition": {"ArnLike": {"aws:SourceArn": source_arn}}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def announced_by_its_topic(account):
    """A trail whose topic has a queue as its subscriber: (trail, bucket, queue's URL)."""
    sns = account.client("sns")
    topic = sns.create_topic(Name=f"logs-{time.time_ns()}")["TopicArn"]
    statement = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "SNS:Publish",
                 "Resource": topic}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    url, arn = queue(account, "sns.amazonaws.com", topic)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return *account.trail(SnsTopicName=topic), url


def announced_by_its_bucket(account):
    """A trail whose bucket tells a queue of new objects: (trail, bucket, queue's URL)."""
    bucket = account.bucket()
    url, arn = queue(account, "s3.amazonaws.com", f"arn:aws:s3:::{bucket}")
    # Not the folder's own marker: the library leaves messages without log files in the queue.
    rules = {"prefix": f"AWSLogs/{account.id}/CloudTrail/", "suffix": ".json.gz"}
    log_files = {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules.items()]}}
    account.client("s3").put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"QueueConfigurations": [
            {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": log_files}]},
    )
    # The test event is none of S3's own notifications; the library leaves it in the queue, on AWS as well.
    sqs = account.client("sqs")
    message = wait_for("the test event", lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages"))
    assert json.loads(message[0]["Body"])["Event"] == "s3:TestEvent"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message[0]["ReceiptHandle"])
    return *account.trail(bucket=bucket), url


@pytest.mark.parametrize("announced", [announced_by_its_topic, announced_by_its_bucket])
def test_the_java_library_is_handed_every_event_once_and_leaves_no_message(library, account, tmp_path, announced):
    trail, bucket, url = announced(account)
    sent = [record(account) for _ in range(EVENTS)]
    for at in range(0, EVENTS, EVENTS_PER_REQUEST):
        status, answer = post(account, "\n".join(sent[at:at + EVENTS_PER_REQUEST]))
        assert (status, answer["accepted"]) == (200, EVENTS_PER_REQUEST)
    expected = {json.loads(text)["eventID"] for text in sent}
    wait_for("all events in log files", lambda: expected <= set(delivered_at_rest(account, bucket)), seconds=60)
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    delivered = delivered_at_rest(account, bucket)
    took, handled, said = java_library.consume(account.server, url, len(delivered), tmp_path / "ids")
    assert took["failures"] == 0, said
    assert sorted(handled) == sorted(delivered)
    assert len(set(handled)) == len(handled) >= EVENTS
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    left = account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert left == dict.fromkeys(names, "0")
    account.close_trail(trail)


def delivered_at_rest(account, bucket):
    """The eventIDs in a bucket's log files, once no more files came for a while."""
    keys = None
    while keys != (keys := account.keys(bucket)):
        time.sleep(REST_SECONDS)
    return [event["eventID"] for event in account.delivered(bucket)]
