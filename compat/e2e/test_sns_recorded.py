"""SNS's filter policies as AWS was recorded to refuse, show and follow them: all 23 scenarios of the recording.

What is done otherwise than by the recorder, and what differs:

* The recorder subscribed telephone numbers. Nobody here sends text messages, so HTTP endpoints are subscribed in their
  place; AWS checks filter policies before and apart from the protocol.
* The recorder's queues answered with MD5OfBody, ReceiptHandle and SenderId as placeholders: only that they are there is
  compared.
* The recorder called as an IAM user, this suite calls as root: SubscriptionPrincipal names whoever called.
* `test_filter_policy_large_complex_payload` recorded nothing, so there is nothing to compare.

No other difference is allowed: the suite fails on every member that is not as recorded.
"""

import gzip
import json
import re

import pytest
from botocore.exceptions import ClientError
from messaging_drivers import arn_of, name

FILE = "aws_recorded_responses/sns/test_sns_filter_policy.snapshot.json.gz"
# Of the errors that do not quote it: the policy, by the label of the answer.
UNQUOTED = {
    "error-condition-bad-cidr-str": {"key": [{"cidr": "bad-filter"}]},
    "error-condition-bad-cidr-str-slash": {"key": [{"cidr": "bad-filter/64"}]},
    "error-condition-bad-cidr-str-slash-2": {"key": [{"cidr": "bad-filter/bad-filter"}]},
    "error-condition-bad-cidr-v4": {"key": [{"cidr": "xx.11.xx/8"}]},
    "error-condition-bad-cidr-v6": {"key": [{"cidr": "xxxx:db8:1234:1a00::/64"}]},
    "error-complexity-in-one-condition": {"key": [f"value{n}" for n in range(151)]},
    "error-complexity-in-two-conditions": {
        "key1": [f"value{n}" for n in range(100)], "key2": [f"value{n}" for n in range(51)]
    },
    "error-complexity-too-many-fields": {f"key{n}": [f"value{n}"] for n in range(1, 7)},
    "error-complexity-or-flat": {
        "source": ["1", "2", "3", "4"],
        "$or": [
            {"metricName": ["1", "2", "3", "4", "5", "6"]},
            {"metricType": ["1", "2", "3", "4"], "$or": [{"metricId": [1, 2, 3, 4]}, {"spaceId": [1, 2, 3, 4]}]},
        ],
    },
    "error-complexity-or-nested": {
        "$or": [{"metricName": ["1", "2", "3"]}, {"namespace": ["1", "2"]}],
        "detail": {"scope": ["1", "2"], "$or": [{"source": ["1"]}, {"type": ["1", "2", "3"]}]},
    },
    "sub-filter-policy-nested-error-too-many-combinations": {
        "key_a": {"key_b": {"key_c": ["1", "2", "3", "4"]}},
        "key_d": {"key_e": ["1", "2", "3"]},
        "key_f": ["1", "2", "3"],
    },
    "sub-filter-policy-max-attr-keys": {f"key_{n}": [f"value_{n}"] for n in range(6)},
    "sub-filter-policy-nested-error": {"object": {"key": [{"prefix": "auto-"}]}},
}
ON_BODY = {"error-complexity-or-nested"}
# The recorder keeps no headers and ids of requests; `_normalized` is its own.
UNRECORDED = {"RequestId", "HTTPHeaders", "RetryAttempts", "_normalized"}
# The recorder called as a user, this suite as the account's root user.
CALLER = ("arn:<partition>:iam::111111111111:user/<resource:3>", "arn:<partition>:iam::111111111111:root")


@pytest.fixture(scope="module")
def recorded(shared):
    path = shared / FILE
    if not path.is_file():
        pytest.skip("the recording is not there")
    scenarios = json.load(gzip.open(path))
    assert len(scenarios) == 23
    return {key.split("::")[-1]: value["recorded-content"] for key, value in scenarios.items()}


def fits(recorded, found, account):
    """Whether an answer is the recorded one, whose changing parts are placeholders."""
    if isinstance(recorded, dict):
        if isinstance(found, str):
            found = json.loads(found)
        recorded, found = ({k: v for k, v in one.items() if k not in UNRECORDED} for one in (recorded, found))
        return recorded.keys() == found.keys() and all(fits(recorded[k], found[k], account) for k in recorded)
    if isinstance(recorded, list):
        return len(recorded) == len(found) and all(fits(r, f, account) for r, f in zip(recorded, found))
    if not isinstance(recorded, str):
        return recorded == found
    if recorded in ("date", "timestamp"):
        return bool(found)
    parts = re.split(r"<[a-z0-9-]+(?::\d+)?>", recorded.replace(*CALLER).replace("111111111111", account.id))
    return re.fullmatch(".+".join(re.escape(part) for part in parts), str(found), re.DOTALL) is not None


class Scenario:
    """A topic, and the answers that are to come."""

    def __init__(self, account, answers):
        self.account, self.answers = account, answers
        self.sns, self.sqs = account.client("sns"), account.client("sqs")
        self.topic = self.sns.create_topic(Name=name("topic"))["TopicArn"]

    def expect(self, label, found):
        found = found.response if isinstance(found, ClientError) else found
        assert fits(self.answers[label], found, self.account), f"{label}:\n{self.answers[label]}\n{found}"

    def subscribe(self, scope=None, policy=None, raw=False):
        """A queue that is subscribed: (its URL, the subscription)."""
        url = self.sqs.create_queue(QueueName=name("queue"))["QueueUrl"]
        arn = arn_of(self.sqs, url)
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Statement": [allowed]})})
        subscription = self.sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn)["SubscriptionArn"]
        for attribute, value in (("FilterPolicyScope", scope), ("FilterPolicy", policy and json.dumps(policy)),
                                 ("RawMessageDelivery", "true" if raw else None)):
            if value:
                self.set(subscription, attribute, value)
        return url, subscription

    def set(self, subscription, attribute, value):
        self.sns.set_subscription_attributes(
            SubscriptionArn=subscription, AttributeName=attribute, AttributeValue=value
        )

    def refused(self, label, subscription, attribute, value):
        with pytest.raises(ClientError) as refused:
            self.set(subscription, attribute, value)
        self.expect(label, refused.value)

    def shown(self, label, subscription):
        self.expect(label, self.sns.get_subscription_attributes(SubscriptionArn=subscription))

    def publish(self, message, **attributes):
        text = message if isinstance(message, str) else json.dumps(message)
        values = {key: {"DataType": kind, "StringValue": value} for key, (kind, value) in attributes.items()}
        self.sns.publish(TopicArn=self.topic, Message=text, MessageAttributes=values)

    def next(self, label, url, delete=True):
        """Expects what is in the queue."""
        answer = self.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=1)
        self.expect(label, answer)
        for message in answer.get("Messages", []) if delete else []:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def all(self, label, url, count):
        """Expects `count` messages, sorted by their bodies, with all their attributes."""
        found = []
        while len(found) < count:
            messages = self.sqs.receive_message(
                QueueUrl=url, WaitTimeSeconds=1, MaxNumberOfMessages=10, AttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            assert messages, f"{len(found)} of {count} messages came"
            found += messages
            for message in messages:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        self.expect(label, {"Messages": sorted(found, key=lambda message: message["Body"])})
        assert "Messages" not in self.sqs.receive_message(QueueUrl=url)


@pytest.fixture
def scenario(account, recorded, label):
    return Scenario(account, recorded[label])


def recording(label):
    """Names a test's scenario of the recording."""
    return pytest.mark.parametrize("label", [label], ids=[label])


@pytest.mark.parametrize("label", [
    "test_validate_policy", "test_validate_policy_string_operators", "test_validate_policy_numeric_operator",
    "test_validate_policy_exists_operator", "test_validate_policy_nested_anything_but_operator",
    "test_policy_complexity", "test_policy_complexity_with_or",
])
def test_policies_are_refused_as_recorded(scenario):
    for answer, content in scenario.answers.items():
        quoted = re.search(r'\(String\)"(.*)"; line', content["Error"]["Message"], re.DOTALL)
        policy = quoted.group(1) if quoted else json.dumps(UNQUOTED[answer])
        scope = "MessageBody" if answer in ON_BODY else "MessageAttributes"
        with pytest.raises(ClientError) as refused:
            scenario.sns.subscribe(
                TopicArn=scenario.topic, Protocol="http", Endpoint="http://127.0.0.1:9/",
                Attributes={"FilterPolicy": policy, "FilterPolicyScope": scope},
            )
        scenario.expect(answer, refused.value)


@recording("test_set_subscription_filter_policy_scope")
def test_the_scope_is_shown_with_the_policy(scenario):
    _, subscription = scenario.subscribe()
    scenario.shown("sub-attrs-default", subscription)
    scenario.set(subscription, "FilterPolicyScope", "MessageBody")
    scenario.shown("sub-attrs-filter-scope-body", subscription)
    scenario.refused("sub-attrs-filter-scope-error", subscription, "FilterPolicyScope", "RandomValue")
    scenario.set(subscription, "FilterPolicy", json.dumps({"attr": ["match-this"]}))
    scenario.shown("sub-attrs-after-setting-policy", subscription)


@recording("test_sub_filter_policy_nested_property")
def test_policies_on_bodies_alone_nest(scenario):
    _, subscription = scenario.subscribe()
    policy = json.dumps(UNQUOTED["sub-filter-policy-nested-error"])
    scenario.refused("sub-filter-policy-nested-error", subscription, "FilterPolicy", policy)
    scenario.set(subscription, "FilterPolicyScope", "MessageBody")
    scenario.set(subscription, "FilterPolicy", policy)
    scenario.shown("sub-attrs-after-setting-nested-policy", subscription)


@recording("test_sub_filter_policy_nested_property_constraints")
def test_policies_that_are_set_are_refused_without_naming_attributes(scenario):
    _, subscription = scenario.subscribe(scope="MessageBody")
    for label in ("sub-filter-policy-nested-error-too-many-combinations", "sub-filter-policy-max-attr-keys"):
        scenario.refused(label, subscription, "FilterPolicy", json.dumps(UNQUOTED[label]))
    no_list = json.dumps({"key_a": "value_one"})
    scenario.refused("sub-filter-policy-rule-no-list", subscription, "FilterPolicy", no_list)


@recording("test_filter_policy")
def test_a_policy_chooses_by_numbers(scenario):
    policy = {"attr1": [{"numeric": [">", 0, "<=", 100]}]}
    url, subscription = scenario.subscribe(policy=policy)
    scenario.shown("subscription-attributes", subscription)
    scenario.next("messages-0", url)
    scenario.publish("This is a test message", attr1=("Number", "99"))
    scenario.next("messages-1", url, delete=False)
    scenario.publish("This is another test message", attr1=("Number", "111"))
    scenario.next("messages-2", url)
    scenario.set(subscription, "FilterPolicy", json.dumps({"attr1": [None, {"anything-but": "whatever"}]}))
    scenario.shown("subscription-attributes-2", subscription)
    scenario.publish("This the test message for null")
    scenario.next("messages-3", url)
    scenario.set(subscription, "FilterPolicy", "")
    scenario.publish("This the test message for null")
    scenario.next("messages-4", url)


@recording("test_exists_filter_policy")
def test_a_policy_asks_whether_an_attribute_is_there(scenario):
    url, subscription = scenario.subscribe(policy={"store": [{"exists": True}]})
    scenario.shown("subscription-attributes-policy-1", subscription)
    scenario.next("messages-0", url)
    there = {"store": ("Number", "99"), "def": ("Number", "99")}
    scenario.publish("message-1", **there)
    scenario.next("messages-1", url, delete=False)
    scenario.publish("message-2", attr1=("Number", "111"))
    scenario.next("messages-2", url)
    scenario.set(subscription, "FilterPolicy", json.dumps({"store": [{"exists": False}]}))
    scenario.shown("subscription-attributes-policy-2", subscription)
    scenario.publish("message-3", **{"def": ("Number", "99")})
    scenario.next("messages-3", url, delete=False)
    scenario.publish("message-4", **there)
    scenario.next("messages-4", url)


@recording("test_exists_filter_policy_attributes_array")
def test_a_policy_looks_into_arrays_of_strings(scenario):
    url, subscription = scenario.subscribe("MessageAttributes", {"store": ["value1"]}, raw=True)
    scenario.shown("subscription-attributes-policy", subscription)
    scenario.next("messages-init", url)
    for label, message, store in [
        ("messages-1", "message-1", ("String", "value1")),
        ("messages-2", "message-2", ("String.Array", json.dumps(["value1", "value2"]))),
        ("messages-3", "message-3", ("String.Array", json.dumps(["value2", "value3"]))),
    ]:
        scenario.publish(message, store=store)
        scenario.next(label, url)


@pytest.mark.parametrize("raw, label", [
    (True, "test_filter_policy_on_message_body[True]"), (False, "test_filter_policy_on_message_body[False]"),
])
def test_a_policy_chooses_by_bodies(scenario, raw):
    policy = {
        "object": {"key": [{"prefix": "auto-"}, "hardcodedvalue"], "nested_key": [{"exists": False}]},
        "test": [{"exists": False}],
    }
    url, _ = scenario.subscribe("MessageBody", policy, raw)
    scenario.next("recv-init", url)
    for at, key in enumerate(["auto-test", "hardcodedvalue"]):
        scenario.publish({"object": {"key": key}})
        scenario.next(f"recv-passed-msg-{at}", url)
    for refused in [
        {"object": {"key": "test-auto"}}, {"object": {"key": "auto-test"}, "test": "just-exists"},
        {"object": {"key": "auto-test", "nested_key": "just-exists"}}, {"object": {"test": "auto-test"}},
        {"test": "auto-test"}, "Regular string message", json.dumps("Regular string message"),
    ]:
        scenario.publish(refused)
    scenario.next("recv-init", url)


@recording("test_filter_policy_for_batch")
def test_batches_are_chosen_from_entry_by_entry(scenario):
    filtered_url, filtered = scenario.subscribe(policy={"attr1": [{"numeric": [">", 0, "<=", 100]}]})
    url, subscription = scenario.subscribe()
    scenario.shown("subscription-attributes-with-filter", filtered)
    scenario.shown("subscription-attributes-no-filter", subscription)
    scenario.next("messages-no-filter-before-publish", url)
    scenario.next("messages-with-filter-before-publish", filtered_url)

    def publish(message, number):
        entry = {"Id": "1", "Message": message,
                 "MessageAttributes": {"attr1": {"DataType": "Number", "StringValue": number}}}
        scenario.sns.publish_batch(TopicArn=scenario.topic, PublishBatchRequestEntries=[entry])
    publish("This is a test message", "99")
    scenario.next("messages-no-filter-after-publish-ok", url)
    scenario.next("messages-with-filter-after-publish-ok", filtered_url)
    publish("This is another test message", "111")
    scenario.next("messages-no-filter-after-publish-ok-1", url)
    scenario.next("messages-with-filter-after-publish-filtered", filtered_url)


@recording("test_filter_policy_on_message_body_dot_attribute")
def test_dots_join_names(scenario):
    url, subscription = scenario.subscribe("MessageBody", {"object.nested": ["string.value"]})
    scenario.next("recv-init", url)
    value = "string.value"
    for at, body in enumerate([{"object": {"nested": value}}, {"object.nested": value}]):
        scenario.publish(body)
        scenario.next(f"recv-nested-msg-{at}", url)
    scenario.publish({"object": {"nested": "test-auto"}})
    scenario.next("recv-init", url)
    scenario.set(subscription, "FilterPolicy", json.dumps({"object.nested.test": [value]}))
    bodies = [{"object": {"nested": {"test": value}}}, {"object.nested.test": value},
              {"object.nested": {"test": value}}, {"object": {"nested.test": value}}]
    for at, body in enumerate(bodies):
        scenario.publish(body)
        scenario.next(f"recv-deep-nested-msg-{at}", url)
    scenario.publish({"object": {"nested": {"test": "string.notvalue"}}})
    scenario.next("recv-init", url)


@recording("test_filter_policy_on_message_body_array_attributes")
def test_one_element_of_an_array_is_enough(scenario):
    urls = [scenario.subscribe("MessageBody", {"headers": {"route-to": [f"queue{n}"]}}, raw=True)[0] for n in (1, 2)]
    for routes in (["queue3"], ["queue1"], ["queue2"], ["queue1", "queue2"]):
        scenario.publish({"headers": {"route-to": routes}})
    for at, url in enumerate(urls):
        scenario.all(f"messages-queue-{at}", url, 2)


@recording("test_filter_policy_on_message_body_array_of_object_attributes")
def test_one_object_of_an_array_must_have_it_all(scenario):
    policy = {"Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}, "eventName": [{"prefix": "ObjectCreated:"}]}}
    url, _ = scenario.subscribe("MessageBody", policy, raw=True)

    def event(event_name, key):
        return {"Records": [{
            "eventSource": "aws:s3", "eventTime": "2022-11-21T03:41:29.743Z", "eventName": event_name,
            "s3": {"bucket": {"name": "b", "arn": "arn:aws:s3:::b"}, "object": {"key": key, "size": 17}},
        }]}
    # A list in a list is looked through as well.
    nested = {"object": [[{"key": "auto-insurance-2314.xml", "size": 17}]]}
    plain = {"object": {"key": "home-insurance-2314.xml", "size": 17}}
    scenario.publish({"Records": [
        {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": nested},
        {"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete", "s3": plain},
    ]})
    scenario.publish(event("ObjectRemoved:Delete", "auto-insurance-2314.xml"))
    scenario.publish(event("ObjectCreated:Put", "home-insurance-2314.xml"))
    scenario.publish(event("ObjectCreated:Put", "auto-insurance-2314.xml"))
    scenario.all("messages", url, 2)


@recording("test_filter_policy_on_message_body_or_attribute")
def test_alternatives_combine(scenario):
    policy = {
        "$or": [{"metricName": ["CPUUtilization", "ReadLatency"]}, {"namespace": ["AWS/EC2", "AWS/ES"]}],
        "detail": {
            "scope": ["Service"],
            "$or": [{"source": ["aws.cloudwatch"]}, {"type": ["CloudWatch Alarm State Change"]}],
        },
    }
    url, _ = scenario.subscribe("MessageBody", policy, raw=True)
    source = {"scope": "Service", "source": "aws.cloudwatch"}
    alarm = {"scope": "Service", "type": "CloudWatch Alarm State Change"}
    for metric, detail in [
        ({"metricName": "CPUUtilization"}, {**alarm, "scope": "aws.cloudwatch"}),
        ({"metricName": "CPUUtilization"}, {**alarm, "type": "CPUUtilization"}),
        ({"metricName": "CPUUtilization"}, {"type": alarm["type"]}),
        ({"metricName": "CPUUtilization"}, {"scope": "Service"}),
        ({"metricName": "CPUUtilization"}, source),
        ({"metricName": "ReadLatency"}, source),
        ({"namespace": "AWS/EC2"}, source),
        ({"namespace": "AWS/ES"}, source),
        ({"metricName": "CPUUtilization"}, alarm),
        ({"metricName": "AWS/EC2"}, alarm),
        ({"namespace": "CPUUtilization"}, alarm),
    ]:
        scenario.publish({**metric, "detail": detail})
    scenario.publish({"metricName": "CPUUtilization", "scope": "Service"})
    scenario.all("messages-queue", url, 5)


@recording("test_filter_policy_empty_array_payload")
def test_empty_arrays_do_not_matter(scenario):
    url, _ = scenario.subscribe("MessageBody", {"detail": {"eventVersion": [""]}}, raw=True)
    scenario.publish({
        "version": "0", "id": "3e3c153a-8339-4e30-8c35-687ebef853fe", "detail-type": "EC2 Instance Launch Successful",
        "source": "aws.autoscaling", "account": "123456789012", "time": "2015-11-11T21:31:47Z", "region": "my-region",
        "resources": [], "detail": {"eventVersion": "", "responseElements": None},
    })
    scenario.all("messages-queue", url, 1)


@recording("test_filter_policy_ip_address_condition")
def test_addresses_are_looked_for_in_networks(scenario):
    policy = {"detail": {"$or": [
        {"sourceIPAddress": [{"cidr": "10.0.0.0/24"}]}, {"sourceIPAddressV6": [{"cidr": "2001:0db8:1234:1a00::/64"}]},
    ]}}
    url, _ = scenario.subscribe("MessageBody", policy, raw=True)
    for at, detail in enumerate([
        {"sourceIPAddress": "10.0.0.255"}, {"sourceIPAddress": "10.0.0.256"},
        {"sourceIPAddressV6": "2001:0db8:1234:1a00:0000:0000:0000:0000"},
        {"sourceIPAddressV6": "2001:0db8:123f:1a01:0000:0000:0000:0000"},
    ], start=1):
        scenario.publish({
            "id": str(at), "source": "test-source", "detail-type": "test-detail-type", "account": "123456789012",
            "region": "my-region", "time": "2022-07-13T13:48:01Z", "detail": detail,
        })
    scenario.all("messages-queue", url, 2)


def test_one_scenario_recorded_nothing(recorded):
    assert recorded["test_filter_policy_large_complex_payload"] == {}
