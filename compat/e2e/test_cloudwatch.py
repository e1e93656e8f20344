"""Metrics and alarms in each protocol that CloudWatch has spoken, and what alarms set off."""

import copy
import json
import time
import uuid
from datetime import datetime, timedelta, timezone

import botocore.awsrequest
import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from test_operations import default_client
from trails import wait_for

PROTOCOLS = ["smithy-rpc-v2-cbor", "json", "query"]


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def client_in(account, protocol):
    """boto3's client of CloudWatch in another protocol than the one it prefers."""
    loader = account.session._session.get_component("data_loader")
    loads = loader.load_service_model

    def load(service, kind, **version):
        model = loads(service, kind, **version)
        if (service, kind) == ("cloudwatch", "service-2"):
            model = copy.deepcopy(model)
            model["metadata"].update(protocol=protocol, protocols=[protocol])
            if protocol == "query":
                model["metadata"].pop("awsQueryCompatible", None)
        return model

    loader.load_service_model = load
    try:
        return account.client("cloudwatch")
    finally:
        loader.load_service_model = loads


def code_of(call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["ResponseMetadata"]["HTTPStatusCode"], caught.value.response["Error"]["Code"]


@pytest.fixture(scope="module", params=PROTOCOLS)
def cloudwatch(request, account):
    return client_in(account, request.param)


def test_data_and_alarms_are_the_same_in_each_protocol(cloudwatch):
    namespace, own, now = name("Protocol"), name("alarm"), datetime.now(timezone.utc)
    dimensions = [{"Name": "Host", "Value": "ä & <b>"}]
    data = [{"MetricName": "m", "Dimensions": dimensions, "Values": [1.5, 2.5], "Counts": [2, 1], "Timestamp": now,
             "Unit": "Count"}]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)
    assert cloudwatch.list_metrics(Namespace=namespace)["Metrics"] == [
        {"Namespace": namespace, "MetricName": "m", "Dimensions": dimensions}]
    span = {"StartTime": now - timedelta(minutes=2), "EndTime": now + timedelta(minutes=2)}
    point = cloudwatch.get_metric_statistics(
        Namespace=namespace, MetricName="m", Dimensions=dimensions, Period=60, Statistics=["Sum", "SampleCount"], **span,
    )["Datapoints"][0]
    assert (point["Sum"], point["SampleCount"], point["Unit"]) == (5.5, 3.0, "Count")
    assert point["Timestamp"].replace(second=0, microsecond=0) == point["Timestamp"] and point["Timestamp"].tzinfo
    metric = {"Namespace": namespace, "MetricName": "m", "Dimensions": dimensions}
    queries = [{"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "p50"}},
               {"Id": "e1", "Expression": "m1 + 1"}]
    results = cloudwatch.get_metric_data(MetricDataQueries=queries, **span)["MetricDataResults"]
    assert [(result["Id"], result["Values"]) for result in results] == [("m1", [1.5]), ("e1", [2.5])]
    cloudwatch.put_metric_alarm(
        AlarmName=own, EvaluationPeriods=1, Threshold=100.5, ComparisonOperator="LessThanThreshold",
        Metrics=[{"Id": "e1", "Expression": "m1 * 2"}, {**queries[0], "ReturnData": False}], Tags=[{"Key": "k", "Value": "v"}],
    )
    shown = cloudwatch.describe_alarms(AlarmNames=[own])["MetricAlarms"][0]
    assert (shown["Threshold"], shown["Metrics"][1]["MetricStat"]["Metric"]) == (100.5, metric)
    assert cloudwatch.list_tags_for_resource(ResourceARN=shown["AlarmArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    assert cloudwatch.describe_alarm_history(AlarmName=own, HistoryItemType="ConfigurationUpdate")["AlarmHistoryItems"]
    cloudwatch.delete_alarms(AlarmNames=[own])


def test_refusals_have_the_same_codes_in_each_protocol(cloudwatch):
    arn = "arn:aws:cloudwatch:us-east-1:111122223333:alarm:nobody"
    put = cloudwatch.put_metric_data
    assert code_of(put, Namespace="AWS/x", MetricData=[{"MetricName": "m", "Value": 1}]) == (400, "InvalidParameterValue")
    twice = [{"MetricName": "m", "Value": 1, "Values": [1]}]
    assert code_of(put, Namespace="x", MetricData=twice) == (400, "InvalidParameterCombination")
    assert code_of(put, Namespace="x", MetricData=[{"MetricName": "m"}]) == (400, "MissingParameter")
    assert code_of(cloudwatch.describe_alarms, StateValue="BAD") == (400, "ValidationError")
    assert code_of(cloudwatch.describe_alarms, NextToken="%") == (400, "InvalidNextToken")
    assert code_of(cloudwatch.list_tags_for_resource, ResourceARN=arn) == (404, "ResourceNotFoundException")
    assert code_of(cloudwatch.set_alarm_state, AlarmName="nobody", StateValue="OK", StateReason="r") == (
        404, "ResourceNotFound")
    data = {"AlarmName": "nobody", "StateValue": "OK", "StateReason": "r", "StateReasonData": "{"}
    assert code_of(cloudwatch.set_alarm_state, **data) == (400, "InvalidFormat")


def test_a_raw_form_is_answered_with_xml(account):
    """What clients without any model send, as old agents do."""
    found = account.session.get_credentials()
    credentials = Credentials(found.access_key, found.secret_key)
    form = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": name("Raw"),
            "MetricData.member.1.MetricName": "m", "MetricData.member.1.Value": "3",
            "MetricData.member.1.Dimensions.member.1.Name": "a", "MetricData.member.1.Dimensions.member.1.Value": "b"}
    request = botocore.awsrequest.AWSRequest("POST", account.server.endpoint + "/", data=form)
    SigV4Auth(credentials, "monitoring", "us-east-1").add_auth(request)
    prepared = request.prepare()
    answer = requests.post(prepared.url, data=prepared.body, headers=dict(prepared.headers))
    assert answer.status_code == 200 and "<PutMetricDataResponse" in answer.text, answer.text


@pytest.fixture(scope="module")
def pager(account):
    """A topic with a queue that listens to it."""
    sns, sqs = account.client("sns"), account.client("sqs")
    topic = sns.create_topic(Name=name("pager"))["TopicArn"]
    url = sqs.create_queue(QueueName=name("pager"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def next_message():
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2).get("Messages", []):
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            return json.loads(message["Body"])
    return topic, next_message


def test_an_alarm_tells_its_topic_within_seconds_and_returns_by_itself(account, pager):
    topic, next_message = pager
    cloudwatch, namespace, own = account.client("cloudwatch"), name("Denied"), name("unauthorized-calls")
    cloudwatch.put_metric_alarm(
        AlarmName=own, Namespace=namespace, MetricName="Denied", Statistic="Sum", Period=10, EvaluationPeriods=1, Threshold=5,
        ComparisonOperator="GreaterThanOrEqualToThreshold", TreatMissingData="notBreaching", AlarmActions=[topic],
        OKActions=[topic],
    )
    message = json.loads(wait_for("the first state", next_message)["Message"])
    assert (message["OldStateValue"], message["NewStateValue"]) == ("INSUFFICIENT_DATA", "OK")
    begun = time.monotonic()
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[
        {"MetricName": "Denied", "Value": 1, "StorageResolution": 1} for _ in range(5)])
    envelope = wait_for("the alarm", next_message)
    assert time.monotonic() - begun < 5
    message = json.loads(envelope["Message"])
    assert envelope["Subject"] == f'ALARM: "{own}" in US East (N. Virginia)'
    assert message["NewStateValue"] == "ALARM" and message["Trigger"]["Statistic"] == "SUM"
    assert message["NewStateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [5.0 (")
    back = json.loads(wait_for("the return", next_message, seconds=50)["Message"])
    assert (back["OldStateValue"], back["NewStateValue"]) == ("ALARM", "OK")
    items = cloudwatch.describe_alarm_history(AlarmName=own, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert [item["HistorySummary"] for item in items] == [
        "Alarm updated from ALARM to OK", "Alarm updated from OK to ALARM", "Alarm updated from INSUFFICIENT_DATA to OK"]
    data = json.loads(items[1]["HistoryData"])
    assert data["newState"]["stateReasonData"]["recentDatapoints"] == [5.0]


def test_calls_are_recorded_as_aws_records_them(account):
    cloudtrail, cloudwatch, own = account.client("cloudtrail"), account.client("cloudwatch"), name("recorded")
    cloudwatch.put_metric_alarm(
        AlarmName=own, Namespace="n", MetricName="m", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.put_metric_data(Namespace=own, MetricData=[{"MetricName": "m", "Value": 1}])

    def event():
        found = cloudtrail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "PutMetricAlarm"}])
        records = [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]
        return next((record for record in records if record["requestParameters"].get("alarmName") == own), None)

    record = wait_for("the record", event)
    assert (record["eventSource"], record["readOnly"], record["managementEvent"]) == ("monitoring.amazonaws.com", False, True)
    found = cloudtrail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "PutMetricData"}])
    assert found["Events"] == [], "data events are not in the event history"


def test_the_cli_and_terraforms_questions_are_answered(account, aws):
    """What Terraform's provider asks of an alarm: again and again the same, and nothing once it is gone."""
    own = name("terraform")
    assert aws("cloudwatch", "put-metric-alarm", "--alarm-name", own, "--namespace", "n", "--metric-name", "m",
               "--statistic", "Sum", "--period", "300", "--evaluation-periods", "1", "--threshold", "1",
               "--comparison-operator", "GreaterThanOrEqualToThreshold")[0] == 0
    answers = {aws("cloudwatch", "describe-alarms", "--alarm-names", own, "--query",
                   "MetricAlarms[0].[AlarmName,Period,Threshold,Statistic,ActionsEnabled]", "--output", "text")[1]
               for _ in range(2)}
    assert answers == {f"{own}\t300\t1.0\tSum\tTrue\n"}
    arn = f"arn:aws:cloudwatch:us-east-1:{account.id}:alarm:{own}"
    assert json.loads(aws("cloudwatch", "list-tags-for-resource", "--resource-arn", arn)[1]) == {"Tags": []}
    assert aws("cloudwatch", "delete-alarms", "--alarm-names", own)[0] == 0
    shown = default_client(account, "cloudwatch").describe_alarms(AlarmNames=[own], AlarmTypes=["MetricAlarm"])
    assert shown["MetricAlarms"] == [] and shown["CompositeAlarms"] == []
