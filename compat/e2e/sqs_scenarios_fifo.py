"""The recorded scenarios of FIFO queues."""

import time

from sqs_replay import scenario


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
