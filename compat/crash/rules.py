"""What a rule owes a queue: a message for each user that was made, by what CloudTrail recorded of it."""

import json
import time

from load import MARK

NAME = "crash-rule"
DRAIN_S = 60


class Rule:
    """A rule on the default bus, and the queue behind it, which is read at the end."""

    def __init__(self, account):
        config = {"connect_timeout": 2, "read_timeout": 20}
        self.sqs, events = account.client("sqs", **config), account.client("events", **config)
        self.queue = self.sqs.create_queue(QueueName=NAME)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                   "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        self.sqs.set_queue_attributes(QueueUrl=self.queue, Attributes={"Policy": policy})
        pattern = {"detail-type": ["AWS API Call via CloudTrail"], "detail": {"eventName": ["CreateUser"]}}
        events.put_rule(Name=NAME, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=NAME, Targets=[{"Id": "queue", "Arn": arn}])

    def check(self, calls):
        """What is wrong, once the queue has a message of every user whose making was acknowledged."""
        wanted = {call.mark for call in calls if call.event == "CreateUser" and call.request_id}
        found, deadline = set(), time.monotonic() + DRAIN_S
        while not wanted <= found and time.monotonic() < deadline:
            answer = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)
            messages = answer.get("Messages", [])
            for message in messages:
                found |= set(MARK.findall(message["Body"]))
            if messages:
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                self.sqs.delete_message_batch(QueueUrl=self.queue, Entries=entries)
        lost = sorted(wanted - found)
        return [f"rule: {len(lost)} of {len(wanted)} users came to no queue: {lost[:5]}"] * bool(lost)
