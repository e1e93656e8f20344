"""Metric and subscription filters as AWS was recorded to answer.

What is done otherwise than by the recorder, and what differs:

* Where more than one metric transformation is given, AWS prints the transformations as Java does
  (`[MetricTransformation(metricName=…`); here the message has no such text, the code is the same.
* A value that breaks a constraint is quoted up to 256 characters; AWS quotes all of it.
* Scenarios that need a function are not replayed: functions are off unless asked for.

No other difference is allowed: the suite fails on every member that is not as recorded.
"""

import json
import re

import pytest
from botocore.exceptions import ClientError
from filters_drivers import subscribable_stream
from logs_drivers import name
from recorded import Comparison, recordings

RECORDED = recordings(*[f"logs/test_logs_{kind}_filters.snapshot.json.gz" for kind in ("metric", "subscription")])
QUOTED_CHARS_MAX = 256
LONG = re.compile("X{%d,}" % QUOTED_CHARS_MAX)
METRIC = {"metricName": "metric", "metricNamespace": "namespace", "metricValue": "1"}


class Replay:
    """A scenario, and the answers that are to come."""

    def __init__(self, scenario, account):
        if scenario not in RECORDED:
            pytest.skip("the recording is not there")
        self.answers, self.comparison = RECORDED[scenario], Comparison(account.id)
        self.logs = account.client("logs")

    def expect(self, label, found):
        shown = json.loads(LONG.sub("X" * QUOTED_CHARS_MAX, json.dumps(self.answers[label])))
        lines = self.comparison.differences(shown, found, label)
        assert not lines, "\n".join(lines)

    def refused(self, label, call, code_alone=False, **params):
        with pytest.raises(ClientError) as refused:
            call(**params)
        found = refused.value.response
        if code_alone:
            assert found["Error"]["Code"] == self.answers[label]["Error"]["Code"]
        else:
            self.expect(label, found)

    def group(self):
        group = name("test-log-group")
        self.logs.create_log_group(logGroupName=group)
        return group


@pytest.fixture
def replay(account):
    return lambda scenario: Replay(scenario, account)


def named(prefix):
    return METRIC | {"metricName": name(f"{prefix}-metric"), "metricNamespace": name(f"{prefix}-namespace")}


@pytest.mark.parametrize("scenario,label,pattern", [
    ("test_put_metric_filter_basic", "describe-metric-filters", " "),
    ("test_put_metric_filter_json_pattern", "describe-metric-filters-json", '{$.message = "test"}'),
])
def test_put(replay, scenario, label, pattern):
    scenario = replay(f"TestMetricFilters::{scenario}")
    group, filter_name = scenario.group(), name("filter")
    transformation = named("m") | {"defaultValue": 0}
    scenario.logs.put_metric_filter(
        logGroupName=group, filterName=filter_name, filterPattern=pattern, metricTransformations=[transformation]
    )
    scenario.expect(label, scenario.logs.describe_metric_filters(logGroupName=group, filterNamePrefix=filter_name))


def test_describe_by_prefix(replay):
    scenario = replay("TestMetricFilters::test_describe_metric_filters_by_prefix")
    prefix = name("prefix")
    for number in range(2):
        scenario.logs.put_metric_filter(
            logGroupName=scenario.group(), filterName=f"{prefix}-{number}", filterPattern=f"filterPattern{number}",
            metricTransformations=[named("m") | {"metricValue": str(number)}],
        )
    scenario.expect("describe-by-prefix", scenario.logs.describe_metric_filters(filterNamePrefix=prefix))


def test_describe_by_group_and_by_metric(replay):
    scenario = replay("TestMetricFilters::test_describe_metric_filters_by_log_group")
    group = scenario.group()
    of = {"logGroupName": group, "filterName": name("filter"), "filterPattern": "pattern"}
    scenario.logs.put_metric_filter(**of, metricTransformations=[METRIC])
    scenario.expect("describe-by-log-group", scenario.logs.describe_metric_filters(logGroupName=group))

    scenario = replay("TestMetricFilters::test_describe_metric_filters_by_metric_name")
    transformation = named("m")
    of = {"logGroupName": scenario.group(), "filterName": name("filter"), "filterPattern": "pattern"}
    scenario.logs.put_metric_filter(**of, metricTransformations=[transformation])
    found = scenario.logs.describe_metric_filters(
        metricName=transformation["metricName"], metricNamespace=transformation["metricNamespace"]
    )
    scenario.expect("describe-by-metric-name", found)


def test_refused_metric_filters(replay):
    validation = lambda scenario: replay(f"TestMetricFiltersValidation::{scenario}")
    scenario = validation("test_put_metric_filter_invalid_filter_name")
    logs, group = scenario.logs, scenario.group()
    of = {"logGroupName": group, "filterPattern": "p", "metricTransformations": [METRIC]}
    scenario.refused("error-invalid-filter-name", logs.put_metric_filter, **of, filterName="X" * 513)

    scenario = validation("test_put_metric_filter_invalid_filter_pattern")
    too_long = of | {"filterPattern": "X" * 1025}
    scenario.refused("error-invalid-filter-pattern", logs.put_metric_filter, **too_long, filterName="f")

    scenario = validation("test_put_metric_filter_too_many_transformations")
    two = of | {"metricTransformations": [METRIC, METRIC]}
    scenario.refused("error-too-many-transformations", logs.put_metric_filter, code_alone=True, **two, filterName="f")

    scenario = validation("test_delete_metric_filter_invalid_filter_name")
    too_long = {"logGroupName": group, "filterName": "X" * 513}
    scenario.refused("error-invalid-filter-name", logs.delete_metric_filter, **too_long)

    scenario = validation("test_delete_metric_filter_invalid_log_group_name")
    too_long = {"logGroupName": "X" * 513, "filterName": "f"}
    scenario.refused("error-invalid-log-group-name", logs.delete_metric_filter, **too_long)

    scenario = validation("test_describe_metric_filters_invalid_parameters")
    scenario.refused("error-invalid-filter-prefix", logs.describe_metric_filters, filterNamePrefix="X" * 513)
    scenario.refused("error-invalid-metric-name", logs.describe_metric_filters, metricName="X" * 256, metricNamespace="n")


def test_subscription_filters(replay, account):
    scenario = replay("TestSubscriptionFilters::test_describe_subscription_filters_empty")
    logs, group = scenario.logs, scenario.group()
    scenario.expect("describe-subscription-filters-empty", logs.describe_subscription_filters(logGroupName=group))

    scenario = replay("TestSubscriptionFilters::test_describe_subscription_filters_log_group_not_found")
    missing = {"logGroupName": name("none")}
    scenario.refused("error-log-group-not-found", logs.describe_subscription_filters, **missing)

    scenario = replay("TestSubscriptionFilterUpdates::test_put_subscription_filter_limit_exceeded")
    stream, role = subscribable_stream(account)
    to = {"logGroupName": group, "filterPattern": "", "destinationArn": stream, "roleArn": role}
    for number in range(2):
        logs.put_subscription_filter(**to, filterName=f"test-{number}")
    scenario.refused("error-limit-exceeded", logs.put_subscription_filter, **to, filterName="test-2")


def test_refused_subscription_filters(replay, account):
    scenario = replay("TestSubscriptionFilterUpdates::test_delete_subscription_filter_errors")
    logs, group = scenario.logs, scenario.group()
    missing = {"logGroupName": name("none"), "filterName": "f"}
    scenario.refused("error-log-group-not-found", logs.delete_subscription_filter, **missing)
    missing = {"logGroupName": group, "filterName": "f"}
    scenario.refused("error-filter-not-found", logs.delete_subscription_filter, **missing)

    scenario = replay("TestSubscriptionFilterUpdates::test_put_subscription_filter_errors")
    other = "arn:aws:lambda:us-east-1:123456789012:function:f"
    of = {"filterName": "f", "filterPattern": ""}
    absent = {"logGroupName": name("none"), "destinationArn": other}
    scenario.refused("error-log-group-not-found", logs.put_subscription_filter, **of, **absent)
    scenario.refused("error-lambda-not-found", logs.put_subscription_filter, **of, logGroupName=group, destinationArn=other)
    stream = {"logGroupName": group, "destinationArn": f"arn:aws:kinesis:us-east-1:{account.id}:stream/none"}
    scenario.refused("error-kinesis-not-found", logs.put_subscription_filter, **of, **stream)
