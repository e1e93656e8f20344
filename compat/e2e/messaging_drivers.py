"""Every operation of SQS, called with boto3: what test_operations judges the answers of."""

import json
import uuid

from botocore.exceptions import ClientError


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def code_of(call, **params):
    """The code of the error that a call answers."""
    try:
        call(**params)
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("the call succeeded")


def arn_of(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def drive_sqs(sqs, account):
    drive_queues(sqs, account)
    drive_messages(sqs)
    drive_fifo(sqs)
    drive_move_tasks(sqs)


def drive_queues(sqs, account):
    own, prefix = name("queue"), name("listed")
    url = sqs.create_queue(QueueName=own, Attributes={"VisibilityTimeout": "20"}, tags={"team": "red"})["QueueUrl"]
    assert url == f"{account.server.endpoint}/{account.id}/{own}"
    assert sqs.get_queue_url(QueueName=own)["QueueUrl"] == url
    assert code_of(sqs.create_queue, QueueName=own, Attributes={"VisibilityTimeout": "21"}) == "QueueAlreadyExists"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "1"})
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["DelaySeconds"] == "1" and attributes["VisibilityTimeout"] == "20"
    assert attributes["MaximumMessageSize"] == "1048576" and attributes["SqsManagedSseEnabled"] == "true"
    sqs.tag_queue(QueueUrl=url, Tags={"more": ""})
    sqs.untag_queue(QueueUrl=url, TagKeys=["team"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"more": ""}
    sqs.add_permission(QueueUrl=url, Label="l", AWSAccountIds=[account.id], Actions=["SendMessage"])
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert json.loads(policy)["Statement"][0]["Sid"] == "l"
    sqs.remove_permission(QueueUrl=url, Label="l")
    made = [sqs.create_queue(QueueName=f"{prefix}-{n}")["QueueUrl"] for n in range(3)]
    pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 2})
    assert [u for page in pages for u in page["QueueUrls"]] == made
    sqs.delete_queue(QueueUrl=url)
    assert code_of(sqs.get_queue_attributes, QueueUrl=url) == "AWS.SimpleQueueService.NonExistentQueue"
    assert code_of(sqs.get_queue_url, QueueName=own) == "AWS.SimpleQueueService.NonExistentQueue"
    assert code_of(sqs.create_queue, QueueName=own) == "AWS.SimpleQueueService.QueueDeletedRecently"


def drive_messages(sqs):
    url = sqs.create_queue(QueueName=name("messages"))["QueueUrl"]
    attributes = {"a": {"DataType": "String", "StringValue": "ä"}, "b": {"DataType": "Binary", "BinaryValue": b"\0\1"}}
    # boto3 itself checks the digests of what it sends and receives.
    sqs.send_message(QueueUrl=url, MessageBody="<ü>\n", MessageAttributes=attributes)
    got = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"], AttributeNames=["All"])
    message = got["Messages"][0]
    assert message["Body"] == "<ü>\n" and message["MessageAttributes"] == attributes
    handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.change_message_visibility(**handle, VisibilityTimeout=60)
    sqs.delete_message(**handle)
    sent = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(n), "MessageBody": f"m{n}"} for n in range(3)])
    assert [entry["Id"] for entry in sent["Successful"]] == ["0", "1", "2"]
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(got)]
    changed = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[{**e, "VisibilityTimeout": 9} for e in entries])
    assert len(changed["Successful"]) == 3
    deleted = sqs.delete_message_batch(QueueUrl=url, Entries=[*entries, {"Id": "x", "ReceiptHandle": "none"}])
    assert len(deleted["Successful"]) == 3 and deleted["Failed"][0]["Code"] == "ReceiptHandleIsInvalid"
    sqs.purge_queue(QueueUrl=url)
    assert code_of(sqs.purge_queue, QueueUrl=url) == "AWS.SimpleQueueService.PurgeQueueInProgress"
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def drive_fifo(sqs):
    kind = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName=name("ordered") + ".fifo", Attributes=kind)["QueueUrl"]
    numbers = [sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g")["SequenceNumber"] for body in "abca"]
    assert numbers[:3] == sorted(numbers[:3]) and numbers[3] == numbers[0]
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, ReceiveRequestAttemptId="1")["Messages"]
    assert [message["Body"] for message in got] == ["a", "b", "c"]
    assert sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, ReceiveRequestAttemptId="1")["Messages"] == got
    assert code_of(sqs.send_message, QueueUrl=url, MessageBody="x") == "MissingParameter"


def drive_move_tasks(sqs):
    dead = sqs.create_queue(QueueName=name("dead"))["QueueUrl"]
    target = {"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": 1}
    source = sqs.create_queue(
        QueueName=name("source"), Attributes={"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(target)}
    )["QueueUrl"]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [source]
    sqs.send_message(QueueUrl=source, MessageBody="letter")
    sqs.receive_message(QueueUrl=source)
    assert "Messages" not in sqs.receive_message(QueueUrl=source)
    started = sqs.start_message_move_task(SourceArn=arn_of(sqs, dead), MaxNumberOfMessagesPerSecond=1)
    assert started["TaskHandle"]
    moved = sqs.receive_message(QueueUrl=source, WaitTimeSeconds=10)["Messages"][0]
    assert moved["Body"] == "letter"
    task = sqs.list_message_move_tasks(SourceArn=arn_of(sqs, dead))["Results"][0]
    assert task["Status"] in ("RUNNING", "COMPLETED") and task["ApproximateNumberOfMessagesToMove"] == 1
    unused = sqs.create_queue(QueueName=name("elsewhere"))["QueueUrl"]
    other = {"deadLetterTargetArn": arn_of(sqs, unused), "maxReceiveCount": 1}
    sqs.set_queue_attributes(QueueUrl=source, Attributes={"RedrivePolicy": json.dumps(other)})
    for _ in range(3):
        sqs.send_message(QueueUrl=unused, MessageBody="waits", DelaySeconds=0)
    task = sqs.start_message_move_task(
        SourceArn=arn_of(sqs, unused), DestinationArn=arn_of(sqs, dead), MaxNumberOfMessagesPerSecond=1
    )
    assert sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])["ApproximateNumberOfMessagesMoved"] <= 2
