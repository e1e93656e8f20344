"""Every operation of SNS, called with boto3: what test_operations judges the answers of."""

import http.server
import json
import threading

from messaging_drivers import arn_of, code_of, name
from trails import wait_for


def open_queue(account, topic, queue_name=None, **attributes):
    """A queue that takes what the topic sends: (its URL, its ARN)."""
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=queue_name or name("subscriber"), Attributes=attributes)["QueueUrl"]
    arn = arn_of(sqs, url)
    statement = {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def received(account, url, count=1):
    """The next messages of a queue; they are deleted."""
    sqs, found, empty = account.client("sqs"), [], 0
    while empty < 20:
        got = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"],
            AttributeNames=["All"],
        ).get("Messages", [])
        if got:
            handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(got)]
            sqs.delete_message_batch(QueueUrl=url, Entries=handles)
        found += got
        empty = 0 if got else empty + 1
        if len(found) >= count:
            return found
    raise AssertionError(f"{len(found)} messages came, not {count}")


def is_empty(account, url):
    return "Messages" not in account.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1)


def drive_sns(sns, account):
    drive_topics(sns, account)
    drive_subscriptions(sns, account)


def drive_topics(sns, account):
    own = name("topic")
    tag = {"Key": "team", "Value": "red & <blue>"}
    topic = sns.create_topic(Name=own, Attributes={"DisplayName": "D"}, Tags=[tag])["TopicArn"]
    assert topic == f"arn:aws:sns:us-east-1:{account.id}:{own}"
    assert sns.create_topic(Name=own)["TopicArn"] == topic
    assert code_of(sns.create_topic, Name=own, Attributes={"DisplayName": "E"}) == "InvalidParameter"
    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
    attributes = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert attributes["DisplayName"] == "D" and attributes["SignatureVersion"] == "2"
    assert json.loads(attributes["Policy"])["Id"] == "__default_policy_ID"
    listed = [t["TopicArn"] for page in sns.get_paginator("list_topics").paginate() for t in page["Topics"]]
    assert topic in listed
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "more", "Value": ""}])
    sns.untag_resource(ResourceArn=topic, TagKeys=["more"])
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == [tag]
    sns.add_permission(TopicArn=topic, Label="l", AWSAccountId=[account.id], ActionName=["Publish", "Subscribe"])
    statements = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])["Statement"]
    assert statements[1]["Sid"] == "l" and statements[1]["Action"] == ["SNS:Publish", "SNS:Subscribe"]
    sns.remove_permission(TopicArn=topic, Label="l")
    sns.delete_topic(TopicArn=topic)
    sns.delete_topic(TopicArn=topic)
    assert code_of(sns.get_topic_attributes, TopicArn=topic) == "NotFound"
    assert code_of(sns.publish, TopicArn=topic, Message="m") == "NotFound"


def drive_subscriptions(sns, account):
    topic = sns.create_topic(Name=name("published"))["TopicArn"]
    url, arn = open_queue(account, topic)
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
    assert subscription.startswith(f"{topic}:")
    assert sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"] == subscription
    attributes = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert attributes["PendingConfirmation"] == "false" and attributes["Endpoint"] == arn
    for listed in (sns.list_subscriptions_by_topic(TopicArn=topic), sns.list_subscriptions()):
        assert subscription in [one["SubscriptionArn"] for one in listed["Subscriptions"]]
    sent = sns.publish(TopicArn=topic, Message="<hello> ä", Subject="S")["MessageId"]
    envelope = json.loads(received(account, url)[0]["Body"])
    assert envelope["MessageId"] == sent and envelope["Message"] == "<hello> ä" and envelope["Subject"] == "S"
    sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    entries = [{"Id": str(n), "Message": f"m{n}"} for n in range(3)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["0", "1", "2"] and not answer["Failed"]
    assert sorted(message["Body"] for message in received(account, url, 3)) == ["m0", "m1", "m2"]
    assert code_of(sns.confirm_subscription, TopicArn=topic, Token="0" * 200) == "InvalidParameter"
    drive_confirmation(sns, account)
    sns.unsubscribe(SubscriptionArn=subscription)
    assert code_of(sns.get_subscription_attributes, SubscriptionArn=subscription) == "NotFound"
    sns.delete_topic(TopicArn=topic)


class Hook:
    """An HTTP endpoint that keeps what it is sent: bodies and headers."""

    def __init__(self):
        sent = self.sent = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                sent.append((body, {key.lower(): value for key, value in self.headers.items()}))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def next(self, kind):
        """The next message of a kind."""
        def found():
            return next((at for at, (_, headers) in enumerate(self.sent) if headers["x-amz-sns-message-type"] == kind), None)
        wait_for(f"a {kind}", lambda: found() is not None)
        return json.loads(self.sent.pop(found())[0])


def drive_confirmation(sns, account):
    """An endpoint confirms with the token that it is sent."""
    topic = sns.create_topic(Name=name("hooked"))["TopicArn"]
    with Hook() as hook:
        asked = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=hook.url)["SubscriptionArn"]
        assert asked == "pending confirmation"
        question = hook.next("SubscriptionConfirmation")
        agreed = sns.confirm_subscription(TopicArn=topic, Token=question["Token"])["SubscriptionArn"]
        assert agreed.startswith(f"{topic}:")
        sns.publish(TopicArn=topic, Message="hooked")
        assert hook.next("Notification")["Message"] == "hooked"
        sns.unsubscribe(SubscriptionArn=agreed)
