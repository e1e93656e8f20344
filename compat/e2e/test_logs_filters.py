"""Filters of log groups as their users see them: what the CLI finds, what metrics count, what streams get."""

import json
import signal
from datetime import datetime, timedelta, timezone

import pytest
from filters_drivers import METRIC, envelopes_of, messages_of, policy_of, role_for_logs, subscribable_stream
from logs_drivers import name, now_ms
from messaging_drivers import code_of
from trails import Account, wait_for

SIGN_IN = {"eventName": "ConsoleLogin", "userIdentity": {"type": "IAMUser"}, "responseElements": {"ConsoleLogin": "Success"}}


@pytest.fixture(scope="module")
def logs(account):
    return account.client("logs")


def group_with_stream(logs):
    group = name("/filters/test")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    return group


def put(logs, group, *lines):
    now = now_ms()
    events = [{"timestamp": now, "message": line} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)


def test_the_cli_finds_lines_by_every_form_of_pattern(logs, aws):
    group = group_with_stream(logs)
    plain = ["GET /a 200 12", "GET /b 404 7", json.dumps(SIGN_IN), json.dumps(SIGN_IN | {"errorCode": "AccessDenied"})]
    put(logs, group, *plain)
    patterns = {
        "GET -404": plain[:1],
        "?404 ?AccessDenied": [plain[1], plain[3]],
        "[..., code = 4*, size < 10]": plain[1:2],
        '{ ($.eventName = "Console*") && ($.errorCode NOT EXISTS) }': plain[2:3],
        "{ $.errorCode = %^Access% }": plain[3:],
    }
    for pattern, wanted in patterns.items():
        code, printed, error = aws(
            "logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", pattern,
            "--query", "events[].message", "--output", "json",
        )
        assert code == 0 and json.loads(printed) == wanted, (pattern, printed, error)
    code, _, error = aws("logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", "a:b")
    assert code != 0 and "Invalid character(s) in term ':'" in error


def test_matching_lines_become_a_metric(logs, account):
    group, metric = group_with_stream(logs), name("Metric")
    transformation = METRIC | {"metricName": metric}
    transformation.pop("defaultValue")
    of = {"logGroupName": group, "filterName": "f", "filterPattern": '{ $.errorCode = "Access*" }'}
    logs.put_metric_filter(**of, metricTransformations=[transformation])
    put(logs, group, *[json.dumps(SIGN_IN | {"errorCode": "AccessDenied"})] * 3, json.dumps(SIGN_IN))
    now = datetime.now(timezone.utc)
    asked = {
        "Namespace": METRIC["metricNamespace"], "MetricName": metric, "Statistics": ["Sum"], "Period": 60,
        "StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5),
    }
    counted = lambda: account.client("cloudwatch").get_metric_statistics(**asked)["Datapoints"]
    wait_for("the metric", lambda: sum(point["Sum"] for point in counted()) == 3)


def test_lines_go_to_a_stream_also_through_a_kill(own_server):
    server = own_server()
    account = Account(server)
    logs = account.client("logs")
    group = group_with_stream(logs)
    stream, role = subscribable_stream(account)
    of = {"logGroupName": group, "filterName": "f", "filterPattern": "ERROR"}
    logs.put_subscription_filter(**of, destinationArn=stream, roleArn=role)
    put(logs, group, "ERROR 0", "INFO 1")
    for number in range(20):
        put(logs, group, f"ERROR {number + 2}")
    server.stop(signal.SIGKILL)
    server = own_server(server.data)
    account = Account(server)
    put(account.client("logs"), group, "ERROR last")
    wanted = {"ERROR 0", "ERROR last"} | {f"ERROR {number + 2}" for number in range(20)}
    wait_for("all lines", lambda: set(messages_of(envelopes_of(account, stream))) == wanted)
    first = envelopes_of(account, stream)
    assert first[0]["messageType"] == "CONTROL_MESSAGE"
    assert {e["logStream"] for e in first[1:]} == {"s"} and {e["owner"] for e in first[1:]} == {account.id}


def test_a_destination_needs_a_role_that_may_write(logs, account):
    group = group_with_stream(logs)
    stream, _ = subscribable_stream(account)
    idle = role_for_logs(account, "kinesis:DescribeStream", stream)
    of = {"logGroupName": group, "filterName": "f", "filterPattern": "", "destinationArn": stream}
    assert code_of(logs.put_subscription_filter, **of, roleArn=idle) == "InvalidParameterException"
    assert logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"] == []


def test_a_destination_stands_for_a_stream(logs, account):
    group = group_with_stream(logs)
    stream, role = subscribable_stream(account)
    made = logs.put_destination(destinationName=name("d"), targetArn=stream, roleArn=role)["destination"]
    statement = {"Effect": "Allow", "Principal": {"AWS": account.id}, "Action": "logs:PutSubscriptionFilter",
                 "Resource": made["arn"]}
    logs.put_destination_policy(destinationName=made["destinationName"], accessPolicy=policy_of(statement))
    of = {"logGroupName": group, "filterName": "f", "filterPattern": ""}
    logs.put_subscription_filter(**of, destinationArn=made["arn"])
    put(logs, group, "one")
    wait_for("the line", lambda: messages_of(envelopes_of(account, stream)) == ["one"])
