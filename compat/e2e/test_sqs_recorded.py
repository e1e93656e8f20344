"""SQS answers as AWS answered: calls that were recorded there are made here, in both of its protocols.

A scenario is a function of the recorded scenario's name; what it answers under a label is held against what AWS answered
under that label. A recording holds the answers only; the calls are those that the names, the labels and the answers tell.
"""

import base64
import json
import re
import time
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from recorded import Comparison, recordings
from sqs_query import query_client
from trails import numbers, wait_for

RECORDED = recordings("sqs/test_sqs.snapshot.json.gz", "sqs/test_sqs_move_task.snapshot.json.gz")
MESSAGE_BYTES_MAX = 1024 * 1024
# An attribute and what it adds to a message's size.
ATTRIBUTE, ATTRIBUTE_BYTES = {"k": {"DataType": "String", "StringValue": "x"}}, len("k" + "String" + "x")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
STRINGS = {"DataType": "String"}

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


# Limits of requests


@scenario("test_send_receive_max_number_of_messages")
def receive_too_many(s):
    s.refused("send_max_number_of_messages", s.sqs.receive_message, QueueUrl=s.create(), MaxNumberOfMessages=11)


@scenario("test_send_oversized_message")
def oversized(s):
    body = "a" * (MESSAGE_BYTES_MAX - ATTRIBUTE_BYTES + 1)
    s.refused("send_oversized_message", s.send, url=s.create(), body=body, MessageAttributes=ATTRIBUTE)


@scenario("test_send_message_with_updated_maximum_message_size")
def oversized_for_its_queue(s):
    url = s.create()
    s.set(url, MaximumMessageSize="1024")
    s.send(url, "a" * 1024)
    body = "a" * (1024 - ATTRIBUTE_BYTES + 1)
    s.refused("send_oversized_message", s.send, url=url, body=body, MessageAttributes=ATTRIBUTE)


def two_entries(bytes_max):
    body = "a" * (bytes_max - ATTRIBUTE_BYTES)
    return [{"Id": "1", "MessageBody": body, "MessageAttributes": ATTRIBUTE}, {"Id": "2", "MessageBody": "a"}]


@scenario("test_send_message_batch_with_oversized_contents")
def oversized_batch(s):
    entries = two_entries(MESSAGE_BYTES_MAX)
    s.refused("send_oversized_message_batch", s.sqs.send_message_batch, QueueUrl=s.create(), Entries=entries)


@scenario("test_send_message_batch_with_oversized_contents_with_updated_maximum_message_size")
def batch_larger_than_a_message(s):
    url = s.create()
    s.set(url, MaximumMessageSize="2048")
    answer = s.sqs.send_message_batch(QueueUrl=url, Entries=two_entries(2048))
    s.note("send_oversized_message_batch", answer)


@scenario("test_send_batch_message_size")
def batch_with_one_message_too_large(s):
    entries = [{"Id": "large", "MessageBody": "a" * 1025}, {"Id": "small", "MessageBody": "a" * 1024}]
    answer = s.sqs.send_message_batch(QueueUrl=s.create(MaximumMessageSize="1024"), Entries=entries)
    s.note("send-message-batch-result", answer)


@scenario("test_send_empty_message")
def empty_message(s):
    s.refused("send_empty_message", s.send, url=s.create(), body="")


@scenario("test_too_many_entries_in_batch_request")
def too_many_entries(s):
    entries = [{"Id": f"message-{number}", "MessageBody": f"body-{number}"} for number in range(20)]
    s.refused("test_too_many_entries_in_batch_request", s.sqs.send_message_batch, QueueUrl=s.create(), Entries=entries)


@scenario("test_invalid_batch_id")
def invalid_batch_id(s):
    entries = [{"Id": "message:1", "MessageBody": "body"}]
    s.refused("test_invalid_batch_id", s.sqs.send_message_batch, QueueUrl=s.create(), Entries=entries)


@scenario("test_delete_message_batch_invalid_msg_id")
def delete_with_invalid_id(s, entry_id):
    entries = [{"Id": entry_id, "ReceiptHandle": "testHandle1"}]
    s.refused("error_response", s.sqs.delete_message_batch, QueueUrl=s.create(), Entries=entries)


def twenty_handles(s, url):
    entries = [{"Id": str(number), "MessageBody": "body"} for number in range(10)]
    for _ in range(2):
        s.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    handles = []
    while len(handles) < 20:
        found = s.receive(url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        handles += [message["ReceiptHandle"] for message in found["Messages"]]
    return [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(handles)]


@scenario("test_delete_message_batch_with_too_large_batch")
def delete_too_many(s):
    url = s.create()
    s.refused("error_response", s.sqs.delete_message_batch, QueueUrl=url, Entries=twenty_handles(s, url))


@scenario("test_change_message_visibility_batch_with_too_large_batch")
def change_too_many(s):
    url = s.create()
    entries = [entry | {"VisibilityTimeout": 123} for entry in twenty_handles(s, url)]
    s.refused("error_response", s.sqs.change_message_visibility_batch, QueueUrl=url, Entries=entries)


@scenario("test_send_message_to_standard_queue_with_invalid_message_group_id")
def invalid_group(s, kind):
    group = {"empty": "", "too_long": "a" * 129, "spaces": "group 123"}[kind]
    s.refused("error-response", s.send, url=s.create(), MessageGroupId=group)


@scenario("test_message_deduplication_id_invalid")
def invalid_deduplication(s, kind):
    chosen = {"empty": "", "too_long": "a" * 129, "spaces": "group 123"}[kind]
    s.refused("error-response", s.send, url=s.fifo(), MessageGroupId="test", MessageDeduplicationId=chosen)


# Queues and their attributes


@scenario("test_tag_untag_queue")
def tags(s):
    url = s.create()
    s.sqs.tag_queue(QueueUrl=url, Tags={"tag1": "value1", "tag2": "value2", "tag3": ""})
    s.note("get-tag-1", s.sqs.list_queue_tags(QueueUrl=url))
    s.sqs.untag_queue(QueueUrl=url, TagKeys=["tag1", "tag3"])
    s.note("get-tag-2", s.sqs.list_queue_tags(QueueUrl=url))
    s.sqs.untag_queue(QueueUrl=url, TagKeys=["tag2"])
    s.note("get-tag-after-untag", s.sqs.list_queue_tags(QueueUrl=url))


@scenario("test_create_fifo_queue_with_different_attributes_raises_error")
def other_fifo_queue(s):
    name = s.fifo(ContentBasedDeduplication="true").rsplit("/", 1)[1]
    s.refused("queue-already-exists", s.create, name=name, FifoQueue="true", ContentBasedDeduplication="false")


@scenario("test_create_queue_with_different_attributes_raises_exception")
def other_queue(s):
    url = s.create(ReceiveMessageWaitTimeSeconds="1", DelaySeconds="1")
    name = url.rsplit("/", 1)[1]
    assert s.create(name=name) == url
    assert s.create(name=name, DelaySeconds="1") == url
    s.refused("create_queue_01", s.create, name=name, ReceiveMessageWaitTimeSeconds="1", DelaySeconds="2")
    s.set(url, DelaySeconds="2")
    assert s.create(name=name, ReceiveMessageWaitTimeSeconds="1", DelaySeconds="2") == url
    s.refused("create_queue_02", s.create, name=name, ReceiveMessageWaitTimeSeconds="1", DelaySeconds="1")


@scenario("test_create_and_update_queue_attributes")
def updated_attributes(s):
    url = s.create(MessageRetentionPeriod="604800", ReceiveMessageWaitTimeSeconds="10", VisibilityTimeout="20")
    s.attributes(url, "get_queue_attributes")
    s.set(url, MaximumMessageSize="2048", VisibilityTimeout="69", DelaySeconds="420")
    s.attributes(url, "get_updated_queue_attributes")


@scenario("test_fifo_set_content_based_deduplication_strategy")
def updated_fifo_attributes(s):
    url = s.fifo(SqsManagedSseEnabled="true", ContentBasedDeduplication="true")
    s.attributes(url, "before-update")
    s.set(url, ContentBasedDeduplication="false")
    s.attributes(url, "after-update")


@scenario("test_set_queue_attributes_default_values")
def default_attributes(s):
    url = s.create()
    s.attributes(url, "get-queue-attributes-initial-values")
    s.set(url, KmsMasterKeyId="testKeyId", KmsDataKeyReusePeriodSeconds="6000", SqsManagedSseEnabled="false")
    s.attributes(url, "get-queue-attributes-after-update")
    s.set(url, KmsMasterKeyId="", KmsDataKeyReusePeriodSeconds="")
    s.attributes(url, "get-queue-attributes-after-set-to-defaults")


@scenario("test_sse_queue_attributes")
def encryption_attributes(s):
    names = "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"
    url = s.create()
    s.set(url, KmsMasterKeyId="testKeyId", KmsDataKeyReusePeriodSeconds="6000", SqsManagedSseEnabled="false")
    s.attributes(url, "sse_kms_attributes", *names)
    url = s.create()
    s.set(url, SqsManagedSseEnabled="true")
    s.attributes(url, "sse_sqs_attributes", *names)


@scenario("test_sse_kms_and_sqs_are_mutually_exclusive")
def two_encryptions(s):
    refusal = s.refused("error", s.set, url=s.create(), KmsMasterKeyId="testKeyId", SqsManagedSseEnabled="true")
    s.note("error", str(refusal))


@scenario("test_set_unsupported_attribute_standard")
def fifo_attribute_of_a_standard_queue(s):
    url = s.create()
    s.refused("invalid-attr-name-1", s.set, url=url, FifoQueue="true")
    s.refused("invalid-attr-name-2", s.set, url=url, FifoQueue="false")


@scenario("test_set_unsupported_attribute_fifo")
def changed_type(s):
    s.refused("invalid-attr-name-1", s.set, url=s.create(), FifoQueue="true")
    url = s.fifo()
    s.set(url, FifoQueue="true")
    s.refused("invalid-attr-name-2", s.set, url=url, FifoQueue="false")


@scenario("test_create_standard_queue_with_fifo_attribute_raises_error")
def fifo_attributes_at_creation(s):
    s.refused("invalid-attribute-fifo-queue", s.create, FifoQueue="false")
    s.refused("invalid-attribute-content-based-deduplication", s.create, ContentBasedDeduplication="false")
    s.refused("invalid-attribute-deduplication-scope", s.create, DeduplicationScope="queue")
    s.refused("invalid-attribute-throughput-limit", s.create, FifoThroughputLimit="perQueue")


@scenario("test_sqs_permission_lifecycle")
def permissions(s):
    url = s.create()

    def add(label, *accounts):
        return s.sqs.add_permission(QueueUrl=url, Label=label, AWSAccountIds=accounts, Actions=["ReceiveMessage"])

    def remove(label):
        return s.sqs.remove_permission(QueueUrl=url, Label=label)

    one, two, own = "crossaccountpermission", "crossaccountpermission2", s.account.id
    s.note("add-permission-response", add(one, own, "668614515564"))
    s.attributes(url, "get-queue-policy-attribute", "Policy")
    s.note("remove-permission-response", remove(one))
    s.attributes(url, "get-queue-policy-attribute-after-removal", "Policy")
    add(one, own)
    s.attributes(url, "get-queue-policy-attribute-first-account-same-label", "Policy")
    s.refused("get-queue-policy-attribute-second-account-same-label",
              s.sqs.add_permission, QueueUrl=url, Label=one, AWSAccountIds=["668614515564"], Actions=["ReceiveMessage"])
    add(two, own)
    s.attributes(url, "get-queue-policy-attribute-second-account-different-label", "Policy")
    remove(one)
    s.attributes(url, "get-queue-policy-attribute-delete-first-permission", "Policy")
    remove(two)
    s.attributes(url, "get-queue-policy-attribute-delete-second-permission", "Policy")
    s.refused("get-queue-policy-attribute-delete-non-existent-label", s.sqs.remove_permission, QueueUrl=url, Label=two)


@scenario("test_non_existent_queue")
def no_such_queue(s):
    s.refused("queue-does-not-exist", s.sqs.get_queue_url, QueueName="no-such-queue")
    url = f"{s.account.server.endpoint}/{s.account.id}/no-such-queue"
    s.refused("queue-does-not-exist-url", s.sqs.get_queue_attributes, QueueUrl=url)
    s.refused("queue-does-not-exist-query", query_client(s.account).get_queue_attributes, QueueUrl=url)


@scenario("test_list_queues_pagination")
def pages_of_queues(s):
    prefix = f"pages-{time.time_ns()}"
    for number in range(10):
        s.create(name=f"{prefix}-test-queue-{number}")
    s.note("list_all", s.sqs.list_queues(QueueNamePrefix=prefix))
    page = s.note("list_two_max", s.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2))
    s.note("list_remaining", s.sqs.list_queues(QueueNamePrefix=prefix, MaxResults=8, NextToken=page["NextToken"]))


@scenario("test_successive_purge_calls_fail")
def purged_twice(s):
    url = s.create()
    s.sqs.purge_queue(QueueUrl=url)
    s.refused("purge_queue_error", s.sqs.purge_queue, QueueUrl=url)


# Receiving


@scenario("test_receive_empty_queue")
def nothing_to_receive(s):
    url = s.create()
    s.receive(url, "empty_short_poll_resp_no_param")
    s.receive(url, "empty_short_poll_resp", WaitTimeSeconds=0)
    s.receive(url, "empty_long_poll_resp", WaitTimeSeconds=1)


@scenario("test_send_receive_wait_time_seconds")
def wait_times(s):
    url = s.create()
    s.send(url)
    s.refused("recieve_message_error_too_large", s.sqs.receive_message, QueueUrl=url, WaitTimeSeconds=21)
    s.refused("recieve_message_error_too_small", s.sqs.receive_message, QueueUrl=url, WaitTimeSeconds=-1)
    s.receive(url, "empty_short_poll_by_default_resp")
    s.send(url)
    s.receive(url, "empty_short_poll_explicit_resp", WaitTimeSeconds=0)


@scenario("test_change_message_visibility_after_visibility_timeout_expiration")
def late_change(s):
    url = s.create(VisibilityTimeout="1")
    s.send(url)
    handle = s.handle(url)
    time.sleep(1.5)
    answer = s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=2)
    s.note("visibility_timeout_expired", answer)


@scenario("test_delete_after_visibility_timeout")
def late_delete(s):
    url = s.create(VisibilityTimeout="1")
    s.send(url)
    handle = s.handle(url)
    time.sleep(1.5)
    s.delete(url, handle)
    s.receive(url, "delete_after_timeout_queue_empty")


@scenario("test_send_message_with_binary_attributes")
def binary_attribute(s):
    url = s.create()
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    s.send(url, "test", MessageAttributes={"attr1": {"DataType": "Binary", "BinaryValue": value}})
    s.receive(url, "binary-attrs-msg", MessageAttributeNames=["All"])


@scenario("test_send_message_with_empty_string_attribute")
def empty_attribute(s):
    attributes = {"ErrorDetails": STRINGS | {"StringValue": ""}}
    s.refused("empty-string-attr", s.send, url=s.create(), MessageAttributes=attributes)


@scenario("test_receive_message_message_attribute_names_filters")
def message_attribute_names(s):
    url = s.create(VisibilityTimeout="0")
    attributes = {"Help.Me": "Me", "Hello": "There", "General": "Kenobi"}
    attributes = {name: STRINGS | {"StringValue": value} for name, value in attributes.items()}
    s.note("send_message_response", s.send(url, "msg", MessageAttributes=attributes))

    def receive(*names):
        return s.receive(url, MessageAttributeNames=names, WaitTimeSeconds=5)

    s.note("empty_filter", receive())
    s.note("all_name", receive("All"))
    for label, names in [
        ("all_wildcard_asterisk", ["*"]), ("all_wildcard", [".*"]), ("only_non_existing_names", ["Foo", "Help"]),
        ("only_existing", ["Hello", "General"]), ("existing_and_non_existing", ["Foo", "Hello"]),
        ("prefix_filter", ["Hel.*"]),
    ]:
        s.note(label, receive(*names)["Messages"][0])
    s.note("illegal_name_1", receive("AWS."))
    s.note("illegal_name_2", receive("..foo"))


@scenario("test_receive_message_attribute_names_filters", "test_receive_message_message_system_attribute_names_filters")
def system_attribute_names(s, member="AttributeNames"):
    url = s.create(VisibilityTimeout="0")
    s.send(url, "msg", MessageAttributes={"Foo": STRINGS | {"StringValue": "Bar"}})
    s.receive(url, "all_attributes", **{member: ["All"]})
    s.receive(url, "all_system_and_message_attributes", **{member: ["All"]}, MessageAttributeNames=["All"])
    s.receive(url, "single_attribute", **{member: ["SenderId"]})
    s.receive(url, "multiple_attributes", **{member: ["SenderId", "SequenceNumber"]})


@scenario("test_message_system_attribute_names_with_attribute_names")
def both_names(s):
    url = s.create(VisibilityTimeout="0")
    s.send(url, "msg")
    s.receive(url, "same_values", AttributeNames=["All"], MessageSystemAttributeNames=["All"])
    s.receive(url, "different_values", AttributeNames=["SenderId"], MessageSystemAttributeNames=["All"])


@scenario("test_aws_trace_header_propagation")
def trace_header(s):
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"

    def add(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace

    s.sqs.meta.events.register("before-sign.sqs.SendMessage", add)
    url = s.create()
    s.send(url, "test", MessageAttributes={"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}})
    names = ["SentTimestamp", "AWSTraceHeader"]
    message = s.receive(url, AttributeNames=names, MessageAttributeNames=["All"])["Messages"][0]
    # The recording hides all that is called a timestamp.
    assert message["MessageAttributes"]["timestamp"]["StringValue"] == "1493147359900"
    s.note("xray-msg", message | {"MessageAttributes": {"timestamp": "timestamp"}})


@scenario("test_fair_queue_with_message_group_id")
def fair_queue(s):
    url = s.create()
    s.note("send_message", s.send(url, MessageGroupId="test"))
    s.receive(url, "get-message-with-deduplication-id", AttributeNames=["All"])


@scenario("test_send_message_via_queue_url_with_json_protocol")
def json_at_the_queues_url(s):
    url = s.create()
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"}
    request = AWSRequest("POST", url, data=json.dumps({"QueueUrl": url}), headers=headers)
    SigV4Auth(s.account.session.get_credentials(), "sqs", "us-east-1").add_auth(request)
    sent = urllib.request.Request(url, request.data.encode(), dict(request.headers.items()))
    with urllib.request.urlopen(sent) as answer:
        found = {"ResponseMetadata": {"HTTPStatusCode": answer.status}}
        s.note("receive-json-on-queue-url", json.loads(answer.read()) | found)


# Dead-letter queues


@scenario("test_dead_letter_queue_message_attributes")
def dead_letters(s):
    url, dead = s.pipe(VisibilityTimeout="1")
    s.note("dlq-arn", s.arn(dead))
    s.note("sourcen-arn", s.arn(url))
    s.send(url, "message-1", MessageAttributes={"MyAttribute": STRINGS | {"StringValue": "foobar"}},
           MessageSystemAttributes={"AWSTraceHeader": STRINGS | {"StringValue": TRACE}})
    s.send(url, "message-2")
    names = ["ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount", "SentTimestamp", "AWSTraceHeader",
             "DeadLetterQueueSourceArn"]

    def two(place):
        found = []

        def receive():
            s.receive(url)
            more = s.receive(place, AttributeNames=names, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
            found.extend(more.get("Messages", []))
            return len(found) >= 2
        wait_for("both messages", receive)
        return sorted(found, key=lambda message: message["Body"])

    first = s.receive(url, AttributeNames=names, MessageAttributeNames=["All"], MaxNumberOfMessages=10)["Messages"]
    s.note("rec-pre-dlq", sorted(first, key=lambda message: message["Body"]))
    s.note("dlq-messages", two(dead))


# FIFO queues


def group(s, url, body, group="group-1", deduplication=None):
    more = {"MessageDeduplicationId": deduplication} if deduplication else {}
    return s.send(url, body, MessageGroupId=group, **more)


@scenario("test_fifo_empty_message_groups_added_back_to_queue")
def group_comes_back(s):
    url = s.fifo(ContentBasedDeduplication="true")
    group(s, url, "Message 1")
    found = s.receive(url, "inital-fifo-receive")
    s.delete(url, found["Messages"][0]["ReceiptHandle"])
    s.receive(url, "empty-fifo-receive")
    group(s, url, "Message 2")
    s.receive(url, "final-fifo-receive", WaitTimeSeconds=2)


@scenario("test_fifo_queue_send_message_with_delay_seconds_fails")
def delay_of_a_fifo_message(s):
    url = s.fifo(ContentBasedDeduplication="true")
    s.refused("send_message", s.send, url=url, MessageGroupId="1", DelaySeconds=2)


@scenario("test_fifo_queue_send_message_with_zero_delay_defaults_to_queue_delay")
def no_delay_of_a_fifo_message(s):
    url = s.fifo(ContentBasedDeduplication="true", DelaySeconds="2")
    s.note("send_message_result", s.send(url, "message-1", MessageGroupId="1", DelaySeconds=0))
    s.receive(url, "receive_message_initial_result")
    s.receive(url, "receive_message_after_delay_result", WaitTimeSeconds=5)


@scenario("test_fifo_message_attributes")
def fifo_attributes(s):
    url = s.fifo(ContentBasedDeduplication="true", VisibilityTimeout="0", DeduplicationScope="messageGroup",
                 FifoThroughputLimit="perMessageGroupId")
    s.note("send_message", group(s, url, "message-body-1", deduplication="dedup-1"))
    s.receive(url, "receive_message_0", AttributeNames=["All"], WaitTimeSeconds=10)
    s.receive(url, "receive_message_1", AttributeNames=["All"], WaitTimeSeconds=10)


def batch_of_two(*missing):
    entries = [{"Id": f"message-{number}", "MessageBody": "messageBody", "MessageGroupId": "test-group",
                "MessageDeduplicationId": f"dedup-{number}"} for number in range(2)]
    for member in missing:
        del entries[1][member]
    return entries


@scenario("test_send_batch_missing_deduplication_id_for_fifo_queue")
def batch_without_deduplication(s):
    url, entries = s.fifo(ContentBasedDeduplication="false"), batch_of_two("MessageDeduplicationId")
    s.refused("test_missing_deduplication_id_for_fifo_queue", s.sqs.send_message_batch, QueueUrl=url, Entries=entries)


@scenario("test_send_batch_missing_message_group_id_for_fifo_queue")
def batch_without_group(s):
    url, entries = s.fifo(ContentBasedDeduplication="false"), batch_of_two("MessageGroupId")
    s.refused("test_missing_message_group_id_for_fifo_queue", s.sqs.send_message_batch, QueueUrl=url, Entries=entries)


@scenario("test_posting_to_fifo_requires_deduplicationid_group_id")
def group_and_deduplication_are_required(s):
    url = s.fifo()
    for client, suffix in [(s.sqs, ""), (s.json, "-query")]:
        send = {"call": client.send_message, "QueueUrl": url, "MessageBody": "body"}
        s.refused(f"invalid-parameter-value{suffix}", **send, MessageGroupId="group")
        s.refused(f"missing-parameter{suffix}", **send, MessageDeduplicationId="dedup")


def chosen(content_based):
    return {"ContentBasedDeduplication": "true"} if content_based == "True" else {}


@scenario("test_fifo_deduplication_arrives_once_after_delete")
def duplicate_of_a_deleted_message(s, content_based):
    url = s.fifo(**chosen(content_based))
    deduplication = None if content_based == "True" else "dedup1"
    group(s, url, '{"foo": "bar"}', deduplication=deduplication)
    found = s.receive(url, "get-messages", WaitTimeSeconds=3)
    s.delete(url, found["Messages"][0]["ReceiptHandle"])
    group(s, url, '{"foo": "bar"}', deduplication=deduplication)
    s.receive(url, "get-messages-duplicate", WaitTimeSeconds=1)


@scenario("test_fifo_deduplication_not_on_message_group_id")
def duplicate_in_another_group(s, content_based):
    url = s.fifo(**chosen(content_based))
    deduplication = None if content_based == "True" else "dedup1"
    group(s, url, '{"foo": "bar"}', "group-1", deduplication)
    group(s, url, '{"foo": "bar"}', "group-2", deduplication)
    s.receive(url, "get-messages", WaitTimeSeconds=2)
    s.receive(url, "get-dedup-messages", WaitTimeSeconds=1)


THROUGHPUT = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}


def two_groups(s, url, *bodies):
    """Two messages with one deduplication ID, each of a group, and what two calls receive."""
    for number, body in enumerate(bodies):
        group(s, url, body, f"group-{number}", "dedup1")
    for number in range(2):
        found = s.receive(url, f"same-dedup-different-grp-{number + 1}", WaitTimeSeconds=1)
        for message in found.get("Messages", []):
            s.delete(url, message["ReceiptHandle"])


@scenario("test_sqs_fifo_same_dedup_id_different_message_groups")
def queue_scope(s):
    two_groups(s, s.fifo(), "Test", "Test")


@scenario("test_sqs_fifo_message_group_scope_no_throughput_setting")
def group_scope(s):
    two_groups(s, s.fifo(DeduplicationScope="messageGroup"), "Test", "Test")


@scenario("test_fifo_high_throughput_ordering")
def high_throughput(s):
    two_groups(s, s.fifo(**THROUGHPUT), "Test1", "Test2")


@scenario("test_fifo_change_to_high_throughput_after_creation")
def to_high_throughput(s):
    url = s.fifo()
    two_groups(s, url, "Test1", "Test2")
    s.set(url, **THROUGHPUT)
    s.attributes(url, "set-to-high-throughput")
    group(s, url, "Test3", "group-0", "dedup1")
    s.receive(url, "same-dedup-different-grp-high-throughput", WaitTimeSeconds=1)
    s.receive(url, "same-dedup-different-grp-high-throughput-2", WaitTimeSeconds=1)
    group(s, url, "Test4", "group-0", "dedup2")
    found = s.receive(url, "new-dedup2-high-throughput", WaitTimeSeconds=1)
    s.delete(url, found["Messages"][0]["ReceiptHandle"])
    group(s, url, "Test5", "group-0", "dedup2")
    s.receive(url, "same-dedup2-high-throughput", WaitTimeSeconds=1)


@scenario("test_fifo_change_to_regular_throughput_after_creation")
def to_regular_throughput(s):
    url = s.fifo(**THROUGHPUT)
    two_groups(s, url, "Test1", "Test2")
    s.set(url, DeduplicationScope="queue", FifoThroughputLimit="perQueue")
    s.attributes(url, "set-to-regular-throughput")
    group(s, url, "Test3", "group-2", "dedup1")
    s.receive(url, "same-dedup-different-grp-regular-throughput", WaitTimeSeconds=1)


@scenario("test_fifo_delete_after_visibility_timeout")
def late_delete_of_a_fifo_message(s):
    url = s.fifo(ContentBasedDeduplication="true", VisibilityTimeout="1")
    group(s, url, "foobar")
    found = s.receive(url, "received_sqs_message")
    time.sleep(1.5)
    s.refused("delete_after_timeout_fifo", s.delete, url=url, handle=found["Messages"][0]["ReceiptHandle"])


@scenario("test_fifo_delete_after_visibility_timeout_extended")
def extended_delete_of_a_fifo_message(s):
    url = s.fifo(ContentBasedDeduplication="true", VisibilityTimeout="1")
    group(s, url, "foobar")
    handle = s.receive(url, "received_sqs_message")["Messages"][0]["ReceiptHandle"]
    s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)
    time.sleep(1.5)
    s.note("delete_after_timeout_fifo_extended", s.delete(url, handle))


@scenario("test_fifo_group_visibility_extends_with_change_message_visibility")
def visibility_within_a_group(s, kind):
    visible = {"all-invisible": 0, "1-invisible": 1, "no-invisible": 2}.get(kind)
    visible = int(kind[0]) if visible is None else visible
    url = s.fifo(ContentBasedDeduplication="true", VisibilityTimeout="2")
    for body in "foo", "bar", "baz":
        group(s, url, body)
    found = s.receive(url, "receive_all_messages", MaxNumberOfMessages=10)
    for message in found["Messages"][visible:]:
        handle = message["ReceiptHandle"]
        s.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=20)
    time.sleep(2.5)
    s.receive(url, "some-messages-invisible", MaxNumberOfMessages=10)


# Message move tasks


def moved(s, bodies, limit=None, destination=True):
    """Messages in a dead-letter queue: its ARN, the destination's URL and ARN, and the call that moves them."""
    url, dead = s.pipe(VisibilityTimeout="0")
    for body in bodies:
        s.send(url, body)
    wait_for("all dead letters", lambda: s.receive(url, VisibilityTimeout=0) and waiting(s, dead) == len(bodies))
    place = s.create()
    more = {"DestinationArn": s.arn(place)} if destination else {}
    more |= {"MaxNumberOfMessagesPerSecond": limit} if limit else {}
    return s.arn(dead), place, lambda: s.sqs.start_message_move_task(SourceArn=s.arn(dead), **more)


def waiting(s, url):
    got = s.json.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(got["Attributes"]["ApproximateNumberOfMessages"])


def task_that_is(s, arn, *statuses):
    def ended():
        listed = s.sqs.list_message_move_tasks(SourceArn=arn)
        return listed if listed["Results"][0]["Status"] in statuses else None
    return wait_for(f"a task that is {statuses}", ended)


def error(s, call, **parameters):
    s.refused("error", call, **parameters)


@scenario("test_basic_move_task_workflow")
def move(s):
    arn, place, start = moved(s, ["message-1", "message-2"])
    s.note("start-message-move-task-response", start())
    s.note("list-message-move-task-response", task_that_is(s, arn, "COMPLETED"))
    assert waiting(s, place) == 2


@scenario("test_move_task_workflow_with_default_destination")
def move_back(s):
    url, dead = s.pipe()
    s.note("source-arn", s.arn(dead))
    s.note("original-source", s.arn(url))
    move_all_back(s, dead, [url])


@scenario("test_move_task_workflow_with_multiple_sources_as_default_destination")
def move_back_to_several(s):
    dead = s.create()
    policy = json.dumps({"deadLetterTargetArn": s.arn(dead), "maxReceiveCount": 1})
    urls = [s.create(RedrivePolicy=policy) for _ in range(2)]
    s.note("source-arn", s.arn(dead))
    for number, url in enumerate(urls):
        s.note(f"original-source-{number + 1}", s.arn(url))
    move_all_back(s, dead, urls)


def move_all_back(s, dead, urls):
    for url in urls:
        s.send(url, "message-1")
        s.send(url, "message-2")
    expected = 2 * len(urls)
    wait_for("all dead letters", lambda: [s.receive(url, VisibilityTimeout=0) for url in urls]
             and waiting(s, dead) == expected)
    s.note("start-message-move-task-response", s.sqs.start_message_move_task(SourceArn=s.arn(dead)))
    s.note("list-message-move-task-response", task_that_is(s, s.arn(dead), "COMPLETED"))
    assert [waiting(s, url) for url in urls] == [2] * len(urls)


@scenario("test_move_task_with_throughput_limit")
def move_slowly(s):
    arn, _, start = moved(s, [f"message-{number}" for number in range(4)], limit=1)
    begun = time.monotonic()
    s.note("start-message-move-task-response", start())
    task_that_is(s, arn, "COMPLETED")
    assert time.monotonic() - begun >= 3


@scenario("test_move_task_cancel")
def cancel(s):
    arn, place, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    handle = start()["TaskHandle"]
    wait_for("two messages", lambda: waiting(s, place) >= 2)
    s.note("list-while", s.sqs.list_message_move_tasks(SourceArn=arn))
    s.note("cancel", s.sqs.cancel_message_move_task(TaskHandle=handle))
    s.note("list-after", task_that_is(s, arn, "CANCELLED"))


@scenario("test_move_task_delete_destination_queue_while_running")
def destination_goes_away(s):
    arn, place, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    start()
    s.json.delete_queue(QueueUrl=place)
    s.note("list", task_that_is(s, arn, "FAILED"))


@scenario("test_start_multiple_move_tasks")
def start_twice(s):
    _, _, start = moved(s, [f"message-{number}" for number in range(10)], limit=1)
    start()
    error(s, start)


@scenario("test_source_needs_redrive_policy")
def no_dead_letter_queue(s):
    error(s, s.sqs.start_message_move_task, SourceArn=s.arn(s.create()), DestinationArn=s.arn(s.create()))


@scenario("test_destination_needs_to_exist")
def no_destination(s):
    _, dead = s.pipe()
    error(s, s.sqs.start_message_move_task, SourceArn=s.arn(dead), DestinationArn=s.arn(s.create()) + "doesntexist")


@scenario("test_cancel_with_invalid_task_handle")
def strange_handle(s):
    error(s, s.sqs.cancel_message_move_task, TaskHandle="foobared")


def task_handle(task, arn):
    return base64.b64encode(json.dumps({"taskId": task, "sourceArn": arn}).encode()).decode()


@scenario("test_cancel_with_invalid_source_arn_in_task_handle")
def handle_of_no_queue(s):
    arn = f"arn:aws:sqs:us-east-1:{s.account.id}:test-queue-doesnt-exist-123456"
    error(s, s.sqs.cancel_message_move_task, TaskHandle=task_handle("10f57157-fc38-4da9-a113-4de7e12d05dd", arn))


@scenario("test_cancel_with_invalid_task_id_in_task_handle")
def handle_of_no_task(s):
    handle = task_handle("10f57157-fc38-4da9-a113-4de7e12d05aa", s.arn(s.create()))
    error(s, s.sqs.cancel_message_move_task, TaskHandle=handle)


# What differs: a pattern of the line that says it, and why.
DIFFERENCES = [
    (r"^test_(delete_message_batch|change_message_visibility_batch)_\w+\[sqs_query\] .*\.Error\.Detail: None is too much",
     "the recordings of these left the empty Detail out, which AWS's query protocol answers and the others show"),
    (r"^test_sqs_permission_lifecycle.* get-queue-policy-attribute\.Attributes\.Policy\.Statement\[0\]\.Principal\.AWS\[",
     "AWS gives several principals in no order; here it is that of the call"),
    (r"^test_message_system_attribute_names_with_attribute_names\[sqs_query\] different_values\.",
     "AWS gives what both members ask for in the JSON protocol, and lets AttributeNames win in the query protocol; here"
     " both protocols give all that was asked for"),
    (r"^test_list_queues_pagination.* (list_all|list_two_max|list_remaining)\.(QueueUrls\[\d\]|NextToken):",
     "recorded of an emulator: its URLs, and a token that is a URL; how many there are on each page is compared"),
    (r"^test_move_task_cancel.* list-after\.Results\[0\]\.ApproximateNumberOfMessagesMoved",
     "AWS goes on moving for some seconds after it took the cancellation; here no message is moved afterwards"),
    (r"^test_move_task_delete_destination_queue_while_running.*\.ApproximateNumberOfMessagesMoved",
     "how many messages a task moves until AWS notices that its destination is gone depends on its timing"),
]


def parts_of(name):
    """A recorded name's scenario, protocol and choices: test_x[sqs_query-True]."""
    found = re.fullmatch(r"(?:\w+::)?(\w+)(?:\[(.*)\])?", name)
    function, choice = found[1], found[2]
    if choice is None:
        return function, "sqs", []
    protocol = re.match(r"(sqs_query|sqs)(?:-|$)", choice)
    if not protocol:
        return function, "sqs", [choice]
    rest = choice[len(protocol[1]):]
    return function, protocol[1], [rest[1:]] if rest else []


def test_every_recorded_scenario_is_replayed():
    if not RECORDED:
        pytest.skip("CAIRN_SHARED names no folder of fixtures")
    assert {parts_of(name)[0] for name, recorded in RECORDED.items() if recorded} == SCENARIOS.keys()


@pytest.mark.parametrize("name", [name for name, recorded in RECORDED.items() if recorded])
def test_sqs_answers_as_recorded(name, account):
    function, protocol, choices = parts_of(name)
    replay, comparison = Replay(account, protocol), Comparison(account.id)
    if function == "test_receive_message_message_system_attribute_names_filters":
        choices = ["MessageSystemAttributeNames"]
    try:
        SCENARIOS[function](replay, *choices)
    finally:
        replay.close()
    recorded = RECORDED[name]
    assert recorded.keys() == replay.answers.keys()
    lines = [line for label in recorded for line in
             comparison.differences(recorded[label], replay.answers[label], f"{function}[{protocol}] {label}")]
    unexpected = [line for line in lines if not any(re.search(pattern, line) for pattern, _ in DIFFERENCES)]
    assert not unexpected, "\n".join(unexpected)
