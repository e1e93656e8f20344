"""What topics send to HTTP endpoints and e-mail addresses: signed, tried again, durable, and no further than allowed."""

import json
import re
import signal
import time
import urllib.error
import urllib.request

import pytest
from endpoints import Endpoint, Relay, is_signed, verify
from messaging_drivers import name
from sns_drivers import open_queue, received
from trails import Account, wait_for

# Tried again after a second, three times.
IMPATIENT = json.dumps({"healthyRetryPolicy": {"numRetries": 3, "minDelayTarget": 1, "maxDelayTarget": 1}})


def topic_of(account, **attributes):
    return account.client("sns").create_topic(Name=name("told"), Attributes=attributes)["TopicArn"]


def subscribe(account, topic, endpoint, **attributes):
    """Subscribes an endpoint that confirms at once; gives the subscription's ARN."""
    account.client("sns").subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes=attributes)
    return endpoint.confirm()


def metric(server, line):
    text = urllib.request.urlopen(server.endpoint + "/_cairn/metrics").read().decode()
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.M)
    return float(found.group(1)) if found else 0.0


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_endpoint_confirms_and_verifies_what_it_gets(account, version):
    sns, topic = account.client("sns"), topic_of(account, SignatureVersion=version)
    with Endpoint() as endpoint:
        arn = subscribe(account, topic, endpoint)
        headers, body = endpoint.first("SubscriptionConfirmation")
        question = json.loads(body)
        assert question["SignatureVersion"] == version and len(question["Token"]) >= 100
        assert list(question) == [
            "Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion",
            "Signature", "SigningCertURL",
        ]
        verify(question)
        assert headers["x-amz-sns-message-id"] == question["MessageId"]
        assert headers["x-amz-sns-topic-arn"] == topic and "x-amz-sns-subscription-arn" not in headers
        assert headers["content-type"] == "text/plain; charset=UTF-8"
        assert headers["user-agent"] == "Amazon Simple Notification Service Agent"

        attributes = {"a": {"DataType": "String", "StringValue": "v"}}
        sent = sns.publish(TopicArn=topic, Message="hello\nä", Subject="S", MessageAttributes=attributes)["MessageId"]
        headers, body = endpoint.first("Notification")
        message = json.loads(body)
        assert (message["MessageId"], message["Message"], message["Subject"]) == (sent, "hello\nä", "S")
        assert message["MessageAttributes"] == {"a": {"Type": "String", "Value": "v"}}
        assert headers["x-amz-sns-subscription-arn"] == arn and "x-amz-sns-rawdelivery" not in headers
        verify(message)
        assert not is_signed({**message, "Message": "hallo\nä"})

        urllib.request.urlopen(message["UnsubscribeURL"]).read()
        farewell = json.loads(endpoint.first("UnsubscribeConfirmation")[1])
        verify(farewell)
        # Whoever regrets it has the subscription back.
        assert arn.encode() in urllib.request.urlopen(farewell["SubscribeURL"]).read()


def test_raw_delivery_sends_the_message_alone(account):
    topic = topic_of(account)
    with Endpoint() as endpoint:
        subscribe(account, topic, endpoint, RawMessageDelivery="true")
        account.client("sns").publish(TopicArn=topic, Message='{"bare": 1}')
        headers, body = endpoint.first("Notification")
        assert body == '{"bare": 1}' and headers["x-amz-sns-rawdelivery"] == "true"


def test_an_endpoint_that_fails_is_tried_again_as_its_policy_says(account):
    topic = topic_of(account)
    with Endpoint() as endpoint:
        subscribe(account, topic, endpoint, DeliveryPolicy=IMPATIENT)
        endpoint.statuses += [503, 429]
        before = metric(account.server, 'cairn_sns_attempts_total{outcome="failed",protocol="http"}')
        account.client("sns").publish(TopicArn=topic, Message="m")
        wait_for("three attempts", lambda: len(endpoint.of_kind("Notification")) == 3)
        bodies = {body for _, body in endpoint.of_kind("Notification")}
        assert len(bodies) == 1, "each attempt says the same"
        assert metric(account.server, 'cairn_sns_attempts_total{outcome="failed",protocol="http"}') == before + 2
        time.sleep(1.5)
        assert len(endpoint.of_kind("Notification")) == 3


def test_what_an_endpoint_refuses_goes_to_the_dead_letters(account):
    sns, topic = account.client("sns"), topic_of(account)
    dead_url, dead_arn = open_queue(account, topic)
    with Endpoint() as endpoint:
        redrive = json.dumps({"deadLetterTargetArn": dead_arn})
        subscribe(account, topic, endpoint, RedrivePolicy=redrive, DeliveryPolicy=IMPATIENT)
        endpoint.statuses += [404]
        sns.publish(TopicArn=topic, Message="refused")
        envelope = json.loads(received(account, dead_url)[0]["Body"])
        assert envelope["Message"] == "refused" and len(endpoint.of_kind("Notification")) == 1
        verify(envelope)
        endpoint.statuses += [500] * 4
        sns.publish(TopicArn=topic, Message="failed")
        assert json.loads(received(account, dead_url)[0]["Body"])["Message"] == "failed"
        assert len(endpoint.of_kind("Notification")) == 5


def test_an_endpoint_that_hangs_keeps_nobody_else_waiting(account):
    sns, topic = account.client("sns"), topic_of(account)
    with Endpoint() as hanging, Endpoint() as well:
        for endpoint in (hanging, well):
            subscribe(account, topic, endpoint)
        hanging.hanging.set()
        began = time.monotonic()
        for number in range(40):
            sns.publish(TopicArn=topic, Message=str(number))
        wait_for("all messages", lambda: len(well.of_kind("Notification")) == 40)
        assert time.monotonic() - began < 15, "no attempt was over by then"
        assert len(hanging.of_kind("Notification")) == 16


def test_what_is_owed_outlives_a_killed_server(own_server):
    server = own_server()
    account = Account(server)
    topic = topic_of(account)
    patient = json.dumps({"healthyRetryPolicy": {"numRetries": 100, "minDelayTarget": 1, "maxDelayTarget": 1}})
    with Endpoint() as endpoint:
        subscribe(account, topic, endpoint, DeliveryPolicy=patient)
        port = endpoint.port
    # Nobody listens now.
    sent = [account.client("sns").publish(TopicArn=topic, Message=str(n))["MessageId"] for n in range(20)]
    server.stop(signal.SIGKILL)
    with Endpoint(port=port) as endpoint:
        server.start()
        wait_for("all messages", lambda: len(endpoint.of_kind("Notification")) >= 20, seconds=60)
        messages = [json.loads(body) for _, body in endpoint.of_kind("Notification")]
        assert {message["MessageId"] for message in messages} == set(sent)
    wait_for("nothing is owed", lambda: metric(server, "cairn_sns_owed") == 0, seconds=30)


def test_the_certificate_is_the_only_file_of_its_kind(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/SimpleNotificationService-{'0' * 32}.pem")
    assert refused.value.code == 404


def test_nobody_makes_the_server_ask_where_clouds_keep_credentials(account):
    refused = 'cairn_sns_attempts_total{outcome="refused",protocol="http"}'
    before = metric(account.server, refused)
    account.client("sns").subscribe(
        TopicArn=topic_of(account), Protocol="http", Endpoint="http://169.254.169.254/latest/meta-data/"
    )
    wait_for("a refusal", lambda: metric(account.server, refused) == before + 1)


def test_links_lead_to_the_public_address(own_server):
    account = Account(own_server(public_url="https://cairn.example.com"))
    with Endpoint() as endpoint:
        account.client("sns").subscribe(TopicArn=topic_of(account), Protocol="http", Endpoint=endpoint.url)
        question = json.loads(endpoint.first("SubscriptionConfirmation")[1])
        for link in ("SubscribeURL", "SigningCertURL"):
            assert question[link].startswith("https://cairn.example.com/")


def test_addresses_confirm_and_get_mail(own_server):
    with Relay() as relay:
        account = Account(own_server(smtp_relay=relay.url, smtp_sender="news@example.com"))
        sns, topic = account.client("sns"), topic_of(account, DisplayName="Grüße")
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="reader@example.com")
        mail = relay.next()
        assert mail["to"] == "reader@example.com" and mail["from"] == "Grüße <news@example.com>"
        link = re.search(r"^http\S+", mail.get_content(), re.M).group()
        assert b"ConfirmSubscriptionResult" in urllib.request.urlopen(link).read()

        sns.publish(TopicArn=topic, Subject="News ä", Message="line\n.\nlast")
        mail = relay.next()
        assert mail["subject"] == "News ä" and mail.get_content().startswith("line\n.\nlast\n\n--\n")
        assert mail["date"] and mail["message-id"].endswith("@example.com>")

        sns.subscribe(TopicArn=topic, Protocol="email-json", Endpoint="robot@example.com")
        question = json.loads(relay.next().get_content())
        assert question["Type"] == "SubscriptionConfirmation"
        verify(question)


def test_an_address_that_the_relay_does_not_know_gets_nothing(own_server):
    with Relay() as relay:
        server = own_server(smtp_relay=relay.url, smtp_sender="news@example.com")
        account = Account(server)
        account.client("sns").subscribe(TopicArn=topic_of(account), Protocol="email", Endpoint="nobody@example.com")
        given_up = 'cairn_sns_given_up_total{protocol="email"}'
        wait_for("a refusal", lambda: metric(server, given_up) == 1)
        assert not relay.mails
