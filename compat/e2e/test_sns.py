"""SNS as its clients see it: what queues get, who may publish and subscribe, what records show, what a crash leaves."""

import json
import signal
import threading
import urllib.parse
import urllib.request

import pytest
from botocore.exceptions import ClientError
from cairn_server import Server
from conftest import BINARY
from messaging_drivers import code_of, name
from sns_drivers import Hook, is_empty, open_queue, received
from test_accounts import Member
from trails import Account, wait_for

A, B = "111111111111", "222222222222"


def topic_of(account, **attributes):
    suffix = ".fifo" if attributes.get("FifoTopic") else ""
    return account.client("sns").create_topic(Name=name("topic") + suffix, Attributes=attributes)["TopicArn"]


def subscribe(account, topic, arn, **attributes):
    return account.client("sns").subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=attributes, ReturnSubscriptionArn=True
    )["SubscriptionArn"]


def test_a_queue_gets_messages_only_where_its_policy_lets_the_topic(account):
    sns, topic = account.client("sns"), topic_of(account)
    open_url, open_arn = open_queue(account, topic)
    shut_url, shut_arn = open_queue(account, "arn:aws:sns:us-east-1:111111111111:another")
    for arn in (open_arn, shut_arn):
        subscribe(account, topic, arn)
    sns.publish(TopicArn=topic, Message="m")
    assert json.loads(received(account, open_url)[0]["Body"])["Message"] == "m"
    assert is_empty(account, shut_url)


def test_raw_messages_keep_their_attributes_and_enveloped_ones_tell_them(account):
    sns, topic = account.client("sns"), topic_of(account)
    raw_url, raw_arn = open_queue(account, topic)
    url, arn = open_queue(account, topic)
    subscribe(account, topic, raw_arn, RawMessageDelivery="true")
    subscription = subscribe(account, topic, arn)
    attributes = {"n": {"DataType": "Number", "StringValue": "1.5"}, "b": {"DataType": "Binary", "BinaryValue": b"\1\2"}}
    sent = sns.publish(TopicArn=topic, Message="m", MessageAttributes=attributes)["MessageId"]
    raw = received(account, raw_url)[0]
    assert raw["Body"] == "m" and raw["MessageAttributes"] == attributes
    envelope = json.loads(received(account, url)[0]["Body"])
    assert list(envelope) == [
        "Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL",
        "UnsubscribeURL", "MessageAttributes",
    ]
    assert envelope["MessageId"] == sent and envelope["Type"] == "Notification" and envelope["TopicArn"] == topic
    assert envelope["MessageAttributes"] == {
        "n": {"Type": "Number", "Value": "1.5"}, "b": {"Type": "Binary", "Value": "AQI="}
    }
    link = urllib.parse.urlparse(envelope["UnsubscribeURL"])
    assert envelope["UnsubscribeURL"].startswith(account.server.endpoint)
    assert urllib.parse.parse_qs(link.query) == {"Action": ["Unsubscribe"], "SubscriptionArn": [subscription]}


def test_whoever_has_the_link_ends_the_subscription(account):
    sns, topic = account.client("sns"), topic_of(account)
    url, arn = open_queue(account, topic)
    subscription = subscribe(account, topic, arn)
    sns.publish(TopicArn=topic, Message="m")
    link = json.loads(received(account, url)[0]["Body"])["UnsubscribeURL"]
    assert b"<UnsubscribeResponse" in urllib.request.urlopen(link).read()
    assert code_of(sns.get_subscription_attributes, SubscriptionArn=subscription) == "NotFound"


def test_filters_choose_by_attributes_and_by_body(account):
    sns, topic = account.client("sns"), topic_of(account)
    red_url, red_arn = open_queue(account, topic)
    big_url, big_arn = open_queue(account, topic)
    subscribe(account, topic, red_arn, RawMessageDelivery="true", FilterPolicy='{"colour": ["red"]}')
    subscribe(
        account, topic, big_arn, RawMessageDelivery="true", FilterPolicyScope="MessageBody",
        FilterPolicy='{"size": [{"numeric": [">", 3]}]}',
    )
    for size, colour in [(5, "blue"), (1, "red")]:
        sns.publish(
            TopicArn=topic, Message=json.dumps({"size": size}),
            MessageAttributes={"colour": {"DataType": "String", "StringValue": colour}},
        )
    assert [json.loads(one["Body"])["size"] for one in received(account, red_url)] == [1]
    assert [json.loads(one["Body"])["size"] for one in received(account, big_url)] == [5]
    assert is_empty(account, red_url) and is_empty(account, big_url)


def test_fifo_topics_keep_order_and_send_each_message_once(account):
    sns, topic = account.client("sns"), topic_of(account, FifoTopic="true", ContentBasedDeduplication="true")
    url, arn = open_queue(account, topic, queue_name=name("ordered") + ".fifo", FifoQueue="true")
    subscribe(account, topic, arn, RawMessageDelivery="true")
    numbers = []
    for text in ("a", "b", "a", "c"):
        sent = sns.publish(TopicArn=topic, Message=text, MessageGroupId="g")
        numbers.append(sent["SequenceNumber"])
    assert numbers[0] == numbers[2] and numbers[0] < numbers[1] < numbers[3]
    assert [message["Body"] for message in received(account, url, 3)] == ["a", "b", "c"]
    entries = [{"Id": str(n), "Message": f"m{n}", "MessageGroupId": "g"} for n in range(5)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)["Successful"]
    assert [entry["SequenceNumber"] for entry in answer] == sorted(entry["SequenceNumber"] for entry in answer)
    assert [message["Body"] for message in received(account, url, 5)] == [f"m{n}" for n in range(5)]
    refused = code_of(sns.publish, TopicArn=topic, Message="m")
    assert refused == "InvalidParameter"


def test_what_a_queue_refuses_goes_to_the_dead_letters(account):
    sns, sqs, topic = account.client("sns"), account.client("sqs"), topic_of(account)
    url, arn = open_queue(account, topic)
    dead_url, dead_arn = open_queue(account, topic)
    redrive = json.dumps({"deadLetterTargetArn": dead_arn})
    subscribe(account, topic, arn, RawMessageDelivery="true", RedrivePolicy=redrive)
    sqs.delete_queue(QueueUrl=url)
    sns.publish(TopicArn=topic, Message="letter")
    assert received(account, dead_url)[0]["Body"] == "letter"


def test_a_topics_policy_decides_across_accounts(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    with Server(BINARY, data=data, account=f"{A},{B}") as server:
        across_accounts(Member(server, A), Member(server, B))


def across_accounts(owner, other):
    topic = topic_of(owner)
    theirs = other.client("sns")
    url, arn = open_queue(other, topic)
    for call, params in [
        (theirs.publish, {"TopicArn": topic, "Message": "m"}),
        (theirs.subscribe, {"TopicArn": topic, "Protocol": "sqs", "Endpoint": arn}),
        (theirs.get_topic_attributes, {"TopicArn": topic}),
    ]:
        assert code_of(call, **params) == "AuthorizationError"
    owner.client("sns").add_permission(
        TopicArn=topic, Label="partner", AWSAccountId=[other.id], ActionName=["Publish", "Subscribe"]
    )
    # Their own queue is theirs to subscribe; somebody else's has to agree.
    subscription = subscribe(other, topic, arn)
    attributes = theirs.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert attributes["Owner"] == other.id and attributes["PendingConfirmation"] == "false"
    theirs.publish(TopicArn=topic, Message="across")
    assert json.loads(received(other, url)[0]["Body"])["Message"] == "across"
    own_url, own_arn = open_queue(owner, topic)
    pending = subscribe(other, topic, own_arn)
    question = json.loads(received(owner, own_url)[0]["Body"])
    assert question["Type"] == "SubscriptionConfirmation"
    agreed = owner.client("sns").confirm_subscription(TopicArn=topic, Token=question["Token"])["SubscriptionArn"]
    assert agreed == pending
    owner.client("sns").publish(TopicArn=topic, Message="agreed")
    assert json.loads(received(owner, own_url)[0]["Body"])["Message"] == "agreed"


def test_records_show_publishes_as_data_events_without_what_was_said(account):
    cloudtrail, sns, topic = account.client("cloudtrail"), account.client("sns"), topic_of(account)
    trail, bucket = account.trail()
    selector = {"Name": "topics", "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::SNS::Topic"]}]}
    management = {"Name": "rest", "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}
    cloudtrail.put_event_selectors(TrailName=trail["TrailARN"], AdvancedEventSelectors=[selector, management])
    sent = sns.publish(TopicArn=topic, Message="secret words", Subject="secret subject")["MessageId"]
    sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[{"Id": "1", "Message": "secret words"}])
    sns.set_topic_attributes(TopicArn=topic, AttributeName="DisplayName", AttributeValue="shown")

    def of_topic():
        found = {
            record["eventName"]: record for record in account.delivered(bucket)
            if record["eventSource"] == "sns.amazonaws.com" and topic in json.dumps(record)
        }
        return found if {"Publish", "PublishBatch", "SetTopicAttributes"} <= set(found) else None

    records = wait_for("the records", of_topic)
    hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"
    one = records["Publish"]
    assert one["requestParameters"] == {"topicArn": topic, "message": hidden, "subject": hidden}
    assert one["responseElements"] == {"messageId": sent} and one["eventCategory"] == "Data"
    assert one["managementEvent"] is False and one["readOnly"] is False
    assert one["resources"] == [{"accountId": account.id, "type": "AWS::SNS::Topic", "ARN": topic}]
    batch = records["PublishBatch"]
    assert batch["requestParameters"]["publishBatchRequestEntries"] == [{"id": "1", "message": hidden}]
    assert batch["responseElements"]["successful"][0]["id"] == "1"
    change = records["SetTopicAttributes"]
    assert change["requestParameters"]["attributeValue"] == "shown" and change["managementEvent"] is True
    assert "secret" not in json.dumps(records)
    account.close_trail(trail)


def test_what_was_acknowledged_is_in_the_queue_after_a_crash(own_server):
    server = own_server()
    account = Account(server)
    topic = topic_of(account)
    url, arn = open_queue(account, topic)
    subscribe(account, topic, arn, RawMessageDelivery="true")
    acknowledged, stop = [], threading.Event()

    def publish(worker):
        sns = account.client("sns")
        for number in range(10_000):
            try:
                sns.publish(TopicArn=topic, Message=f"{worker}-{number}")
            except Exception:
                return
            acknowledged.append(f"{worker}-{number}")
            if stop.is_set():
                return

    workers = [threading.Thread(target=publish, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    wait_for("some publishes", lambda: len(acknowledged) > 100)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    stop.set()
    for worker in workers:
        worker.join()
    restarted = own_server(data=server.data)
    account = Account(restarted)
    path = urllib.parse.urlparse(url).path
    got = {message["Body"] for message in received(account, restarted.endpoint + path, len(acknowledged))}
    assert set(acknowledged) <= got


def test_an_endpoint_that_was_asked_confirms_by_the_link(account):
    sns, topic = account.client("sns"), topic_of(account)
    with Hook() as hook:
        asked = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=hook.url, ReturnSubscriptionArn=True)
        arn = asked["SubscriptionArn"]
        assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] == "true"
        sns.publish(TopicArn=topic, Message="too early")
        question = hook.next("SubscriptionConfirmation")
        assert arn.encode() in urllib.request.urlopen(question["SubscribeURL"]).read()
        shown = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        assert shown["PendingConfirmation"] == "false" and shown["ConfirmationWasAuthenticated"] == "false"
        sns.publish(TopicArn=topic, Message="in time")
        assert hook.next("Notification")["Message"] == "in time"
        broken = question["SubscribeURL"].replace(question["Token"], "0" * 200)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(broken)
        assert refused.value.code == 400 and b"Invalid parameter: Token" in refused.value.read()


def test_terraforms_reads_get_the_codes_that_it_waits_for(account):
    sns, topic = account.client("sns"), topic_of(account)
    for attribute, value in [
        ("HTTPSuccessFeedbackSampleRate", "0"), ("SQSSuccessFeedbackSampleRate", "100"), ("DisplayName", ""),
        ("TracingConfig", "PassThrough"), ("SignatureVersion", "1"), ("KmsMasterKeyId", ""),
    ]:
        sns.set_topic_attributes(TopicArn=topic, AttributeName=attribute, AttributeValue=value)
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert shown["SQSSuccessFeedbackSampleRate"] == "100" and "KmsMasterKeyId" not in shown
    assert sns.list_tags_for_resource(ResourceArn=topic)["Tags"] == []
    _, arn = open_queue(account, topic)
    subscription = subscribe(account, topic, arn)
    sns.unsubscribe(SubscriptionArn=subscription)
    with pytest.raises(ClientError) as gone:
        sns.get_subscription_attributes(SubscriptionArn=subscription)
    error = gone.value.response
    assert error["Error"]["Code"] == "NotFound" and error["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    sns.delete_topic(TopicArn=topic)
    with pytest.raises(sns.exceptions.NotFoundException):
        sns.get_topic_attributes(TopicArn=topic)


def test_the_cli_publishes(aws, account):
    topic = topic_of(account)
    url, arn = open_queue(account, topic)
    subscribe(account, topic, arn, RawMessageDelivery="true")
    endpoint = ("--endpoint-url", account.server.endpoint)
    code, out, errors = aws("sns", "publish", "--topic-arn", topic, "--message", "by hand", *endpoint)
    assert code == 0 and "MessageId" in out, errors
    assert received(account, url)[0]["Body"] == "by hand"
    code, _, errors = aws("sns", "check-if-phone-number-is-opted-out", "--phone-number", "+4912345678", *endpoint)
    assert code != 0 and "InvalidAction" in errors
