"""The recorded scenarios of queues, messages and dead letters. A recording holds the answers only; the calls are those that
the names, the labels and the answers tell."""

import json
import time
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from sqs_query import query_client
from sqs_replay import scenario
from trails import wait_for

MESSAGE_BYTES_MAX = 1024 * 1024
# An attribute and what it adds to a message's size.
ATTRIBUTE, ATTRIBUTE_BYTES = {"k": {"DataType": "String", "StringValue": "x"}}, len("k" + "String" + "x")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
STRINGS = {"DataType": "String"}


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
