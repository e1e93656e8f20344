"""EventBridge as AWS answered it: connections, API destinations, and what targets get, held against recorded answers.
Every difference is listed below with its reason."""

import json
import re
import time

import pytest
from botocore.exceptions import ClientError
from events_drivers import allow
from messaging_drivers import arn_of
from recorded import Comparison, recordings

RECORDED = recordings(
    "events/test_api_destinations_and_connection.snapshot.json.gz", "events/test_events_inputs.snapshot.json.gz"
)
pytestmark = pytest.mark.skipif(not RECORDED, reason="CAIRN_SHARED names no folder of fixtures")
# What the recorder wrote in place of texts that differ in each run.
ANY = {"datetime", "date", "<ingestion-time>", "api-destination-arn", "connection-arn"}
# (scenario, part of a difference): why.
DIFFERENT = {
    ("TestEventBridgeConnections", "connection-secret"): "connections' secrets are sealed with them, not kept in Secrets Manager, "
    "which the server has not",
}
# Values in brackets: AWS lists those of some enums in no order, the server in the model's.
IN_ANY_ORDER = "Member must satisfy enum value set: "
DETAIL = {"command": "update-account", "payload": {"acc_id": "0a787ecb-4015", "sf_id": "baz"}}
SOURCE = "core.update-account-command"
BASIC = {"BasicAuthParameters": {"Username": "user", "Password": "pass"}}
KEY = {"ApiKeyAuthParameters": {"ApiKeyName": "ApiKey", "ApiKeyValue": "secret"}}
OAUTH = {"OAuthParameters": {
    "AuthorizationEndpoint": "https://example.com/oauth", "HttpMethod": "POST",
    "ClientParameters": {"ClientID": "client_id", "ClientSecret": "client_secret"},
}}
AUTH = {"auth0": ("BASIC", BASIC), "auth1": ("API_KEY", KEY), "auth2": ("OAUTH_CLIENT_CREDENTIALS", OAUTH)}
numbers = iter(range(10**6))


class EventComparison(Comparison):
    """With the placeholders of these recordings."""

    def stands_for(self, recorded, got):
        if recorded in ANY or str(recorded).startswith("<m-d5-of-body:"):
            return bool(got)
        if IN_ANY_ORDER in str(recorded):
            (recorded, values), (got, given) = recorded.rsplit(IN_ANY_ORDER, 1), str(got).rsplit(IN_ANY_ORDER, 1)
            return super().stands_for(recorded, got) and sorted(values) == sorted(given)
        if isinstance(recorded, str) and " time date," in recorded:
            # Each event has a time of its own.
            got = re.sub(r" time \S+Z,", " time date,", str(got))
        return super().stands_for(recorded, got)


def fresh(prefix):
    return f"{prefix}-{next(numbers)}-{time.time_ns() % 10**9}"


def answer(call, **params):
    try:
        found = call(**params)
    except ClientError as error:
        found = error.response
    return {key: value for key, value in found.items() if key != "ResponseMetadata"}


def hold(account, name, answers):
    """Compares answers with those recorded under the same labels; what is not there is listed above."""
    comparison = EventComparison(account.id)
    lines = []
    for label, recorded in RECORDED[name].items():
        if any(name.startswith(scenario) and part in label for scenario, part in DIFFERENT):
            continue
        recorded = {key: value for key, value in recorded.items() if key != "ResponseMetadata"} if isinstance(recorded, dict) else recorded
        lines += comparison.differences(recorded, answers[label], label)
    assert not lines, "\n".join(lines)


def connections(account, kind, auth, *labels):
    events, name = account.client("events"), fresh("connection")
    made = answer(events.create_connection, Name=name, AuthorizationType=kind, AuthParameters=auth)
    return events, name, dict(zip(labels, [made, answer(events.describe_connection, Name=name)]))


def test_a_connection_is_created(account):
    auth = KEY | {"InvocationHttpParameters": {}}
    _, _, answers = connections(account, "API_KEY", auth, "create-connection", "describe-connection")
    hold(account, "TestEventBridgeConnections::test_create_connection", answers)


@pytest.mark.parametrize("number,kind,auth", [(0, "BASIC", BASIC), (1, "API_KEY", KEY), (2, "OAUTH_CLIENT_CREDENTIALS", OAUTH)])
def test_a_connection_is_created_with_each_kind_of_credentials(account, number, kind, auth):
    _, _, answers = connections(account, kind, auth, "create-connection-auth", "describe-connection-auth")
    hold(account, f"TestEventBridgeConnections::test_create_connection_with_auth[auth_params{number}]", answers)
    secrets = ["basic", "api-key", "oauth"][number]
    hold(account, f"TestEventBridgeConnections::test_connection_secrets[{secrets}]", answers)


def test_connections_are_listed_updated_and_deleted(account):
    events, name, answers = connections(account, "BASIC", BASIC, "create-connection", "describe")
    listed = answer(events.list_connections, NamePrefix=name)
    hold(account, "TestEventBridgeConnections::test_list_connections", {"list-connections": listed})
    deleted = {
        "create-connection-response": answers["create-connection"],
        "delete-connection": answer(events.delete_connection, Name=name),
        "describe-deleted-connection": answer(events.describe_connection, Name=name),
    }
    hold(account, "TestEventBridgeConnections::test_delete_connection", deleted)
    auth = BASIC | {"InvocationHttpParameters": {}}
    events, name, answers = connections(account, "BASIC", auth, "create-connection", "describe-created-connection")
    new = {"BasicAuthParameters": {"Username": "new_user", "Password": "new_pass"}}
    answers["update-connection"] = answer(
        events.update_connection, Name=name, AuthorizationType="BASIC", AuthParameters=new
    )
    answers["describe-updated-connection"] = answer(events.describe_connection, Name=name)
    hold(account, "TestEventBridgeConnections::test_update_connection", answers)


def test_wrong_connections_and_destinations_are_refused(account):
    events = account.client("events")
    events.meta.config.parameter_validation = False
    wrong = answer(events.create_connection, Name=fresh("c"), AuthorizationType="INVALID_AUTH_TYPE", AuthParameters={})
    hold(account, "TestEventBridgeConnections::test_create_connection_invalid_parameters",
         {"create-connection-invalid-auth-error": wrong})
    wrong = answer(events.create_connection, Name="Invalid Name With Spaces!", AuthorizationType="BASIC", AuthParameters=BASIC)
    hold(account, "TestEventBridgeConnections::test_create_connection_name_validation",
         {"create-connection-invalid-name-error": wrong})
    destination = {"InvocationEndpoint": "https://example.com/api"}
    wrong = answer(events.create_api_destination, Name=fresh("d"), ConnectionArn="invalid-connection-arn",
                   HttpMethod="INVALID_METHOD", **destination)
    hold(account, "TestEventBridgeApiDestinations::test_create_api_destination_invalid_parameters",
         {"create-api-destination-invalid-parameters-error": wrong})
    arn = f"arn:aws:events:us-east-1:{account.id}:connection/test/0c9a1b2c-0000-4000-8000-000000000000"
    wrong = answer(events.create_api_destination, Name="Invalid Name With Spaces!", ConnectionArn=arn, HttpMethod="POST", **destination)
    hold(account, "TestEventBridgeApiDestinations::test_create_api_destination_name_validation",
         {"create-api-destination-invalid-name-error": wrong})


@pytest.mark.parametrize("which", AUTH)
def test_api_destinations(account, which):
    kind, auth = AUTH[which]
    events, connection, made = connections(account, kind, auth, "made", "described")
    arn, name, answers = made["made"]["ConnectionArn"], fresh("destination"), {}
    answers["create-api-destination"] = answer(
        events.create_api_destination, Name=name, ConnectionArn=arn, HttpMethod="POST",
        InvocationEndpoint="https://example.com/api", Description="Test API destination",
    )
    answers["describe-api-destination"] = answer(events.describe_api_destination, Name=name)
    answers["list-api-destinations"] = answer(events.list_api_destinations, NamePrefix=name)
    answers["update-api-destination"] = answer(
        events.update_api_destination, Name=name, ConnectionArn=arn, HttpMethod="PUT",
        InvocationEndpoint="https://example.com/api/v2", Description="Updated API destination",
    )
    answers["describe-updated-api-destination"] = answer(events.describe_api_destination, Name=name)
    answers["delete-api-destination"] = answer(events.delete_api_destination, Name=name)
    answers["describe-api-destination-not-found-error"] = answer(events.describe_api_destination, Name=name)
    hold(account, f"TestEventBridgeApiDestinations::test_api_destinations[{which}]", answers)


class Inbox:
    """A rule for the recorder's events with a queue, on a bus of its own."""

    def __init__(self, account, **target):
        self.account, self.events, self.sqs = account, account.client("events"), account.client("sqs")
        self.name = fresh("inputs")
        self.events.create_event_bus(Name=self.name)
        pattern = json.dumps({"source": [SOURCE]})
        self.rule_arn = self.events.put_rule(Name=self.name, EventBusName=self.name, EventPattern=pattern)["RuleArn"]
        self.urls = []
        if target:
            self.put(**target)

    def put(self, **target):
        url = self.sqs.create_queue(QueueName=fresh("inbox"))["QueueUrl"]
        arn = arn_of(self.sqs, url)
        allow(self.sqs, url, arn, self.rule_arn)
        self.urls.append(url)
        targets = [{"Id": f"target-{len(self.urls)}", "Arn": arn, **target}]
        return self.events.put_targets(Rule=self.name, EventBusName=self.name, Targets=targets)

    def send(self, detail):
        entry = {"Source": SOURCE, "DetailType": SOURCE, "Detail": json.dumps(detail), "EventBusName": self.name}
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def received(self, at=0, wait_s=10):
        found = self.sqs.receive_message(QueueUrl=self.urls[at], WaitTimeSeconds=wait_s).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.urls[at], ReceiptHandle=message["ReceiptHandle"])
        return found


def test_input_paths(account):
    prefix = "TestInputPath::test_put_events_with_input_path"
    inbox = Inbox(account, InputPath="$.detail")
    inbox.put()
    inbox.send(DETAIL)
    first, second = inbox.received(), inbox.received(1)
    hold(account, prefix, {"message": first})
    hold(account, f"{prefix}_multiple_targets", {"message-queue-1": first, "message-queue-2": second})
    inbox = Inbox(account, InputPath="$.detail.payload")
    for number, payload in enumerate([
        {"acc_id": "0a787ecb-4015", "sf_id": "baz"}, {"acc_id": "0a787ecb-4015", "payload": {"message": "baz", "id": "123"}},
    ]):
        inbox.send({"command": "update-account", "payload": payload})
        hold(account, f"{prefix}_nested[event_detail{number}]", {"message": inbox.received()})
    inbox = Inbox(account, InputPath="$.detail.payload.sf_id")
    inbox.send(DETAIL)
    hold(account, f"{prefix}_max_level_depth", {"message": inbox.received()})


PATHS = {"detail-type": "$.detail-type", "timestamp": "$.time", "command": "$.detail.command"}
NESTED = {
    "userId": "$.detail.payload.acc_id", "payload": "$.detail.payload", "systemstring": "$.detail.awsAccountId",
    "listsingle": "$.detail.listsingle", "listmulti": "$.detail.listmulti", "valid": "$.detail.valid",
}
TRANSFORMS = "TestInputTransformer::"


def named(start):
    """The recorded scenarios of a name, with their templates."""
    return [name for name in RECORDED if name.startswith(TRANSFORMS + start)]


def template_of(name):
    return name[name.index("[") + 1:-1].replace("\\n", "\n")


@pytest.mark.parametrize("name", named("test_put_events_with_input_transformer_input_template_"))
def test_templates(account, name):
    if "[" in name:
        template = template_of(name)
    elif name.endswith("_json"):
        template = '{"detailType": <detail-type>, "time": <timestamp>, "command": <command>}'
    else:
        template = '"Event of <detail-type> type, at time <timestamp>, info extracted from detail <command>"'
    inbox = Inbox(account, InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})
    inbox.send(DETAIL)
    answers = {"custom-variables-match-all": inbox.received()}
    inbox.send({"payload": DETAIL["payload"]})
    answers["custom-variables-not-match-all"] = inbox.received()
    hold(account, name, answers)


@pytest.mark.parametrize("name", named("test_input_transformer_nested_keys_replacement"))
def test_templates_of_nested_keys(account, name):
    inbox = Inbox(account, InputTransformer={"InputPathsMap": NESTED, "InputTemplate": template_of(name)})
    inbox.send(DETAIL | {"listsingle": ["HIGH"], "listmulti": ["ACTIVE", "INACTIVE"], "valid": True})
    if RECORDED[name]:
        hold(account, name, {"input-transformed-messages": inbox.received()})
    else:
        assert inbox.received(wait_s=1) == []


@pytest.mark.parametrize("name", named("test_input_transformer_predefined_variables"))
def test_templates_of_awss_own_variables(account, name):
    inbox = Inbox(account, InputTransformer={"InputPathsMap": {}, "InputTemplate": template_of(name)})
    comparison = EventComparison(account.id)
    comparison.known |= {"<bus-name>": inbox.name}
    inbox.send(DETAIL)
    [got], [recorded] = inbox.received(), RECORDED[name]["messages"]
    body = recorded["Body"]
    if isinstance(body, str):
        body = body.replace("<bus-name>", inbox.name).replace("<rule-name>", inbox.name)
        expected = comparison.here(body).rsplit(" ", 1)[0]
        assert got["Body"].startswith(expected), got["Body"]
    else:
        assert comparison.differences(body, got["Body"]) == []


def test_inputs_that_are_refused(account):
    inbox = Inbox(account)
    cases = {
        TRANSFORMS + "test_put_events_with_input_transformer_missing_keys": {
            "InputTransformer": {"InputPathsMap": {"a": "$.detail"}, "InputTemplate": '{"a": <a>, "b": <notdefinedkey>}'}},
        "test_put_event_input_path_and_input_transformer": {
            "InputPath": "$.detail", "InputTransformer": {"InputPathsMap": {}, "InputTemplate": '"x"'}},
    }
    for name, target in cases.items():
        with pytest.raises(ClientError) as caught:
            inbox.put(**target)
        [(label, recorded)] = RECORDED[name].items()
        got = {"Error": caught.value.response["Error"]}
        assert EventComparison(account.id).differences({"Error": recorded["Error"]}, got) == [], label
