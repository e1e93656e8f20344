"""Messages that must arrive: sent to a queue and published to a topic before it, received and deleted all the while.

What was acknowledged is received at least once. What was deleted, and acknowledged so, does not come back.
"""

import itertools
import json
import threading
import time

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

NAME = "crash"
VISIBILITY_S = 2
DRAIN_S = 60
GONE = (ClientError, HTTPClientError, BotoCoreError, OSError)


class Messages:
    """A topic, a queue behind it, and threads that send, publish and receive until they are told to stop."""

    def __init__(self, account, seed):
        self.seed = seed
        config = {"connect_timeout": 2, "read_timeout": 20}
        self.sqs, self.sns = account.client("sqs", **config), account.client("sns", **config)
        self.topic = self.sns.create_topic(Name=NAME)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=NAME)["QueueUrl"]
        arn = self.topic.replace(":sns:", ":sqs:")
        allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                   "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": self.topic}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        attributes = {"Policy": policy, "VisibilityTimeout": str(VISIBILITY_S)}
        self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes=attributes)
        self.sns.subscribe(
            TopicArn=self.topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
        self.sent, self.received, self.deleted = set(), set(), set()
        self.failures = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.produce, self.consume)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def produce(self):
        for number in itertools.count():
            if self.done.is_set():
                return
            body = f"{self.seed}/{number}"
            try:
                if number % 2:
                    self.sns.publish(TopicArn=self.topic, Message=body)
                else:
                    self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
                self.sent.add(body)
            except GONE:
                self.done.wait(0.01)

    def consume(self):
        while not self.done.is_set():
            try:
                self.take(wait_s=1)
            except GONE:
                self.done.wait(0.01)

    def take(self, wait_s):
        """Receives and deletes some; says how many."""
        deleted = frozenset(self.deleted)
        found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        messages = found.get("Messages", [])
        for message in messages:
            self.received.add(message["Body"])
            if message["MessageId"] in deleted:
                self.failures.append(f"messages: {message['Body']} came back after it was deleted")
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            self.deleted.add(message["MessageId"])
        return len(messages)

    def check(self):
        """What is wrong, once the queue has given all that it has."""
        deadline = time.monotonic() + DRAIN_S
        while self.take(wait_s=2 * VISIBILITY_S) or self.sent - self.received:
            if time.monotonic() > deadline:
                break
        lost = sorted(self.sent - self.received)
        return self.failures + [f"messages: {len(lost)} are lost: {lost[:5]}"] * bool(lost)
