"""Scenarios of recorded SQS calls: what they are registered with, and what makes their calls and keeps the answers."""

import json
import time

import pytest
from botocore.exceptions import ClientError

from sqs_query import query_client
from trails import numbers

SCENARIOS = {}


def scenario(*names):
    """Names the recorded scenarios that a function replays."""
    def register(function):
        SCENARIOS.update({name: function for name in names})
        return function
    return register


class Replay:
    """Calls of one scenario, and the answers under their labels."""

    def __init__(self, account, protocol):
        self.account = account
        # As they were recorded: queues were made with the JSON protocol in either case.
        self.json = account.client("sqs")
        self.sqs = query_client(account) if protocol == "sqs_query" else self.json
        self.answers, self.made = {}, []

    def create(self, name=None, tags=None, **attributes):
        """A new queue's URL."""
        name = name or f"recorded-{next(numbers)}-{time.time_ns() % 10**9}"
        if "FifoQueue" in attributes and not name.endswith(".fifo") and attributes["FifoQueue"] == "true":
            name += ".fifo"
        url = self.json.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.made.append(url)
        return url

    def fifo(self, **attributes):
        return self.create(FifoQueue="true", **attributes)

    def arn(self, url):
        got = self.json.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return got["Attributes"]["QueueArn"]

    def pipe(self, **attributes):
        """A queue and its dead-letter queue."""
        dead = self.create()
        policy = {"deadLetterTargetArn": self.arn(dead), "maxReceiveCount": 1}
        return self.create(RedrivePolicy=json.dumps(policy), **attributes), dead

    def note(self, label, answer):
        self.answers[label] = answer
        return answer

    def refused(self, label, call, **parameters):
        with pytest.raises(ClientError) as refusal:
            call(**parameters)
        answer = dict(refusal.value.response)
        if "QueryErrorCode" not in answer["Error"]:
            answer.pop("message", None)
        self.answers[label] = answer
        return refusal.value

    def send(self, url, body="message", **more):
        return self.sqs.send_message(QueueUrl=url, MessageBody=body, **more)

    def receive(self, url, label=None, **more):
        answer = self.sqs.receive_message(QueueUrl=url, **more)
        return self.note(label, answer) if label else answer

    def handle(self, url, **more):
        return self.receive(url, **more)["Messages"][0]["ReceiptHandle"]

    def delete(self, url, handle):
        return self.sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)

    def set(self, url, **attributes):
        return self.sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)

    def attributes(self, url, label, *names):
        return self.note(label, self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names or ["All"]))

    def close(self):
        for url in self.made:
            try:
                self.json.delete_queue(QueueUrl=url)
            except self.json.exceptions.QueueDoesNotExist:
                pass
