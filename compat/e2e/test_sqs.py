"""SQS as its clients of both protocols see it, what a crash leaves of it, and what its records show."""

import json
import signal
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from botocore.awsrequest import AWSRequest
from botocore.auth import SigV4Auth
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from messaging_drivers import arn_of, code_of, drive_fifo, drive_messages, drive_move_tasks, drive_queues, name
from sqs_query import query_client
from trails import Account, wait_for


@pytest.fixture(scope="module")
def older(account):
    return query_client(account)


def test_the_older_protocol_does_what_json_does(older, account):
    assert older.meta.service_model.protocol == "query"
    drive_queues(older, account)
    drive_messages(older)
    drive_fifo(older)
    drive_move_tasks(older)


def test_errors_have_their_codes_in_both_protocols(older, account):
    missing = f"{account.server.endpoint}/{account.id}/missing"
    for client, message in [
        (account.client("sqs"), "The specified queue does not exist."),
        (older, "The specified queue does not exist for this wsdl version."),
    ]:
        with pytest.raises(ClientError) as caught:
            client.send_message(QueueUrl=missing, MessageBody="x")
        error = caught.value.response["Error"]
        assert error["Code"] == "AWS.SimpleQueueService.NonExistentQueue" and error["Message"] == message
        assert error["Type"] == "Sender"
    with pytest.raises(account.client("sqs").exceptions.QueueDoesNotExist):
        # boto3 finds the class of the error by the name that it has in JSON.
        account.client("sqs").get_queue_attributes(QueueUrl=missing)


def sent_by_hand(account, method, url, body=""):
    """A signed request of the older protocol: (status, text)."""
    headers = {"content-type": "application/x-www-form-urlencoded"} if body else {}
    request = AWSRequest(method=method, url=url, data=body, headers=headers)
    SigV4Auth(account.session.get_credentials(), "sqs", "us-east-1").add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    return answer.status_code, answer.text


def test_a_queue_is_spoken_to_at_its_url(account):
    url = account.client("sqs").create_queue(QueueName=name("by-url"))["QueueUrl"]
    status, text = sent_by_hand(account, "POST", url, "Action=SendMessage&MessageBody=a%26b&Version=2012-11-05")
    assert status == 200 and "<MD5OfMessageBody>" in text
    status, text = sent_by_hand(account, "GET", f"{url}?Action=ReceiveMessage&MaxNumberOfMessages=1")
    assert status == 200 and "<Body>a&amp;b</Body>" in text and "<ReceiveMessageResult>" in text
    status, text = sent_by_hand(account, "GET", f"{url}?Action=Nothing")
    assert status == 400 and "<Code>InvalidAction</Code>" in text and "The action Nothing is not valid" in text


def test_an_open_queue_takes_messages_of_anybody(account):
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=name("open"))["QueueUrl"]
    body = urllib.parse.urlencode({"Action": "SendMessage", "MessageBody": "hello"}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/x-www-form-urlencoded"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code in (400, 403)
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn_of(sqs, url)}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    assert urllib.request.urlopen(request).status == 200
    message = sqs.receive_message(QueueUrl=url, AttributeNames=["SenderId"])["Messages"][0]
    assert message["Body"] == "hello" and message["Attributes"]["SenderId"] == "anonymous"


def test_a_long_poll_answers_at_once_when_a_message_comes_and_in_time_when_none_does(account):
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=name("poll"))["QueueUrl"]
    began = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)
    assert 1.9 < time.monotonic() - began < 4
    sender = threading.Timer(1, lambda: account.client("sqs").send_message(QueueUrl=url, MessageBody="late"))
    sender.start()
    began = time.monotonic()
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"] == "late"
    assert time.monotonic() - began < 5
    sender.join()


def test_a_client_that_gives_up_takes_no_message_with_it(account):
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=name("given-up"))["QueueUrl"]
    impatient = account.client("sqs", read_timeout=1)
    with pytest.raises(ReadTimeoutError):
        impatient.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    time.sleep(0.5)
    sqs.send_message(QueueUrl=url, MessageBody="for another")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"][0]["Body"] == "for another"


def test_a_stop_ends_the_polls_that_wait(own_server):
    server = own_server()
    account = Account(server)
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName="waited-for")["QueueUrl"]
    answers = []
    polls = [threading.Thread(target=lambda: answers.append(account.client("sqs").receive_message(
        QueueUrl=url, WaitTimeSeconds=20))) for _ in range(3)]
    [poll.start() for poll in polls]
    time.sleep(1)
    began = time.monotonic()
    assert server.stop() == 0
    [poll.join() for poll in polls]
    assert time.monotonic() - began < 10
    assert [answer["ResponseMetadata"]["HTTPStatusCode"] for answer in answers] == [200] * 3


def test_what_was_acknowledged_is_there_after_a_kill(own_server, tmp_path):
    server = own_server()
    sqs = Account(server).client("sqs")
    kept = sqs.create_queue(QueueName="kept", Attributes={"VisibilityTimeout": "1"}, tags={"a": "b"})["QueueUrl"]
    ordered = sqs.create_queue(
        QueueName="ordered.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    )["QueueUrl"]
    for n in range(20):
        sqs.send_message(QueueUrl=kept, MessageBody=str(n))
        sqs.send_message(QueueUrl=ordered, MessageBody=str(n), MessageGroupId="g")
    first = sqs.receive_message(QueueUrl=kept)["Messages"][0]
    sqs.delete_message(QueueUrl=kept, ReceiptHandle=first["ReceiptHandle"])
    sqs.receive_message(QueueUrl=kept)
    data = server.data
    server.stop(signal.SIGKILL)
    server = own_server(data=data)
    sqs = Account(server).client("sqs")
    kept, ordered = (f"{server.endpoint}/{'/'.join(url.rsplit('/', 2)[1:])}" for url in (kept, ordered))
    assert sqs.list_queue_tags(QueueUrl=kept)["Tags"] == {"a": "b"}
    seen = set()

    def all_seen():
        for message in sqs.receive_message(QueueUrl=kept, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", []):
            seen.add(message["Body"])
            sqs.delete_message(QueueUrl=kept, ReceiptHandle=message["ReceiptHandle"])
        return len(seen) == 19
    wait_for("every message", all_seen)
    assert first["Body"] not in seen
    sqs.send_message(QueueUrl=ordered, MessageBody="7", MessageGroupId="g")
    got = []
    while messages := sqs.receive_message(QueueUrl=ordered, MaxNumberOfMessages=10).get("Messages"):
        got += [message["Body"] for message in messages]
        sqs.delete_message_batch(QueueUrl=ordered, Entries=[
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)])
    assert got == [str(n) for n in range(20)]


def test_messages_are_unreadable_on_disk(own_server):
    server = own_server()
    sqs = Account(server).client("sqs")
    url = sqs.create_queue(QueueName="secret")["QueueUrl"]
    attribute = {"DataType": "String", "StringValue": "an attribute of it"}
    sqs.send_message(QueueUrl=url, MessageBody="the plan of the message", MessageAttributes={"a": attribute})
    server.stop()
    for file in (path for path in server.data.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert b"the plan of the message" not in content and b"an attribute of it" not in content, file


def test_a_queue_under_a_key_of_kms_needs_the_key(account):
    sqs, kms = account.client("sqs"), account.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = sqs.create_queue(QueueName=name("sealed"), Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    arn = arn_of(sqs, url)
    sqs.send_message(QueueUrl=url, MessageBody="sealed")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "sealed"

    def used():
        attributes = [{"AttributeKey": "EventSource", "AttributeValue": "kms.amazonaws.com"}]
        events = account.client("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
        records = [json.loads(event["CloudTrailEvent"]) for event in events]
        names = {r["eventName"] for r in records if arn in json.dumps(r.get("requestParameters"))}
        return {"GenerateDataKey", "Decrypt"} <= names
    wait_for("the events of the key's use", used)
    other = sqs.create_queue(QueueName=name("sealed"), Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    kms.disable_key(KeyId=key)
    assert code_of(sqs.send_message, QueueUrl=other, MessageBody="x") == "KMS.DisabledException"
    managed = sqs.create_queue(QueueName=name("managed"), Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message(QueueUrl=managed, MessageBody="under the managed key")
    assert sqs.receive_message(QueueUrl=managed)["Messages"][0]["Body"] == "under the managed key"


def test_records_show_the_calls_and_not_the_messages(account):
    sqs, cloudtrail = account.client("sqs"), account.client("cloudtrail")
    trail, bucket = account.trail()
    cloudtrail.put_event_selectors(TrailName=trail["TrailARN"], AdvancedEventSelectors=[
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]},
        {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]},
                            {"Field": "resources.type", "Equals": ["AWS::SQS::Queue"]}]},
    ])
    url = sqs.create_queue(QueueName=name("recorded"))["QueueUrl"]
    arn = arn_of(sqs, url)
    attribute = {"DataType": "String", "StringValue": "hidden attribute"}
    sqs.send_message(QueueUrl=url, MessageBody="hidden body", MessageAttributes={"a": attribute})
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "hidden entry"}])
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert code_of(sqs.delete_message, QueueUrl=url, ReceiptHandle="none") == "ReceiptHandleIsInvalid"
    sqs.delete_queue(QueueUrl=url)

    def recorded():
        records = [r for r in account.delivered(bucket) if r["eventSource"] == "sqs.amazonaws.com"
                   and url in json.dumps(r)]
        return records if any(r["eventName"] == "DeleteQueue" for r in records) else None
    records = wait_for("the records of SQS", recorded)
    assert "hidden body" not in json.dumps(records) and "hidden attribute" not in json.dumps(records)
    by_name = {record["eventName"]: record for record in records}
    sent = by_name["SendMessage"]
    assert sent["eventCategory"] == "Data" and sent["readOnly"] is False and sent["managementEvent"] is False
    assert sent["resources"] == [{"accountId": account.id, "type": "AWS::SQS::Queue", "ARN": arn}]
    assert sent["requestParameters"] == {
        "queueUrl": url, "messageBody": "HIDDEN_DUE_TO_SECURITY_REASONS",
        "messageAttributes": "HIDDEN_DUE_TO_SECURITY_REASONS",
    }
    assert {"mD5OfMessageBody", "mD5OfMessageAttributes", "messageId"} == set(sent["responseElements"])
    assert by_name["SendMessageBatch"]["requestParameters"]["entries"] == [
        {"id": "1", "messageBody": "HIDDEN_DUE_TO_SECURITY_REASONS"}]
    received = by_name["ReceiveMessage"]
    assert received["readOnly"] is True and received.get("responseElements") is None
    made = by_name["CreateQueue"]
    assert made["eventCategory"] == "Management" and made["responseElements"] == {"queueUrl": url}
    account.close_trail(trail)
