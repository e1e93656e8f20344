"""Every operation of CloudWatch, called with boto3: what test_operations judges the answers of."""

import uuid
from datetime import datetime, timedelta, timezone

from botocore.exceptions import ClientError
from trails import wait_for


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
    drive_alarms(cloudwatch, account)
    drive_dashboards(cloudwatch)


def drive_alarms(cloudwatch, account):
    own, above, namespace = name("alarm"), name("above"), name("Driven")
    topic = f"arn:aws:sns:us-east-1:{account.id}:nobody"
    tags = [{"Key": "team", "Value": "red"}]
    cloudwatch.put_metric_alarm(
        AlarmName=own, AlarmDescription="too many", Namespace=namespace, MetricName="Denied", Statistic="Sum", Period=300,
        EvaluationPeriods=2, DatapointsToAlarm=1, Threshold=5, ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="ignore", AlarmActions=[topic], ActionsEnabled=False, Tags=tags, Unit="Count",
        Dimensions=[{"Name": "Host", "Value": "a"}],
    )
    cloudwatch.put_composite_alarm(AlarmName=above, AlarmRule=f"ALARM({own})")
    shown = cloudwatch.describe_alarms(AlarmNames=[own])["MetricAlarms"][0]
    assert shown["StateValue"] == "INSUFFICIENT_DATA" and shown["StateReason"] == "Unchecked: Initial alarm creation"
    assert shown["Threshold"] == 5.0 and shown["DatapointsToAlarm"] == 1 and shown["ActionsEnabled"] is False
    assert cloudwatch.list_tags_for_resource(ResourceARN=shown["AlarmArn"])["Tags"] == tags
    cloudwatch.tag_resource(ResourceARN=shown["AlarmArn"], Tags=[{"Key": "more", "Value": ""}])
    cloudwatch.untag_resource(ResourceARN=shown["AlarmArn"], TagKeys=["team"])
    assert cloudwatch.list_tags_for_resource(ResourceARN=shown["AlarmArn"])["Tags"] == [{"Key": "more", "Value": ""}]
    cloudwatch.enable_alarm_actions(AlarmNames=[own])
    cloudwatch.disable_alarm_actions(AlarmNames=[own])
    cloudwatch.set_alarm_state(AlarmName=own, StateValue="ALARM", StateReason="by hand", StateReasonData="{}")
    wait_for("the composite alarm", lambda: cloudwatch.describe_alarms(AlarmNames=[above], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0][
        "StateValue"] == "ALARM")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(
        AlarmTypes=["MetricAlarm", "CompositeAlarm"], PaginationConfig={"PageSize": 1})
    names = [alarm["AlarmName"] for page in pages for alarm in page["CompositeAlarms"] + page["MetricAlarms"]]
    assert {own, above} <= set(names) and names == sorted(names)
    found = cloudwatch.describe_alarms_for_metric(
        Namespace=namespace, MetricName="Denied", Dimensions=[{"Name": "Host", "Value": "a"}])
    assert [alarm["AlarmName"] for alarm in found["MetricAlarms"]] == [own]
    pages = cloudwatch.get_paginator("describe_alarm_history").paginate(AlarmName=own, PaginationConfig={"PageSize": 2})
    kinds = [item["HistoryItemType"] for page in pages for item in page["AlarmHistoryItems"]]
    assert kinds == ["StateUpdate"] + ["ConfigurationUpdate"] * 3
    assert code_of(cloudwatch.set_alarm_state, AlarmName="nobody", StateValue="OK", StateReason="") == "ResourceNotFound"
    assert code_of(cloudwatch.delete_alarms, AlarmNames=[own]) == "ValidationError"
    cloudwatch.delete_alarms(AlarmNames=[own, above])
    assert cloudwatch.describe_alarms(AlarmNames=[own])["MetricAlarms"] == []


def drive_dashboards(cloudwatch):
    own = name("dashboard")
    assert cloudwatch.put_dashboard(DashboardName=own, DashboardBody='{"widgets":[]}')["DashboardValidationMessages"] == []
    assert cloudwatch.get_dashboard(DashboardName=own)["DashboardBody"] == '{"widgets":[]}'
    entries = cloudwatch.list_dashboards(DashboardNamePrefix=own)["DashboardEntries"]
    assert [(entry["DashboardName"], entry["Size"]) for entry in entries] == [(own, 14)]
    cloudwatch.delete_dashboards(DashboardNames=[own])
    assert code_of(cloudwatch.get_dashboard, DashboardName=own) == "ResourceNotFound"
    assert code_of(cloudwatch.put_dashboard, DashboardName=own, DashboardBody="[") == "InvalidParameterInput"


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
