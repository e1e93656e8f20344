"""Every operation of CloudWatch, called with boto3: what test_operations judges the answers of."""

import uuid
from datetime import datetime, timedelta, timezone

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


def drive_cloudwatch(cloudwatch, account):
    drive_metrics(cloudwatch)


def drive_metrics(cloudwatch):
    namespace, now = name("Driven"), datetime.now(timezone.utc)
    dimensions = [{"Name": "Host", "Value": "a"}]
    # Long enough for boto3 to compress it.
    data = [{"MetricName": "Latency", "Dimensions": dimensions, "Timestamp": now, "Value": float(n), "Unit": "Milliseconds"}
            for n in range(1, 1001)]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    listed = [metric for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace)
              for metric in page["Metrics"]]
    assert listed == [{"Namespace": namespace, "MetricName": "Latency", "Dimensions": dimensions}]
    span = {"StartTime": now - timedelta(minutes=5), "EndTime": now + timedelta(minutes=5)}
    found = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Latency", Dimensions=dimensions, Period=60,
        Statistics=["SampleCount", "Sum"], **span,
    )
    assert [(point["SampleCount"], point["Sum"], point["Unit"]) for point in found["Datapoints"]] == [
        (1000.0, 500500.0, "Milliseconds")]
    found = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="Latency", Dimensions=dimensions, Period=60, ExtendedStatistics=["p99"], **span,
    )
    assert 970 < found["Datapoints"][0]["ExtendedStatistics"]["p99"] <= 1000
    metric = {"Namespace": namespace, "MetricName": "Latency", "Dimensions": dimensions}
    queries = [{"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}, "ReturnData": False},
               {"Id": "e", "Expression": "m * 2", "Label": "doubled"}]
    results = cloudwatch.get_metric_data(MetricDataQueries=queries, **span)["MetricDataResults"]
    assert [(result["Id"], result["Label"], result["Values"], result["StatusCode"]) for result in results] == [
        ("e", "doubled", [1001.0], "Complete")]
    assert code_of(cloudwatch.put_metric_data, Namespace="AWS/Own", MetricData=data[:1]) == "InvalidParameterValue"
    assert code_of(cloudwatch.get_metric_data, MetricDataQueries=[{"Id": "M"}], **span) == "ValidationError"
