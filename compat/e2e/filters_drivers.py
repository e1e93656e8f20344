"""Metric and subscription filters, called with boto3: what test_operations judges the answers of, and subscribed streams."""

import gzip
import json

from messaging_drivers import code_of, name
from trails import wait_for

METRIC = {"metricName": "Errors", "metricNamespace": "Drivers", "metricValue": "1", "defaultValue": 0.0}


def role_for_logs(account, action, resource):
    """A role that CloudWatch Logs may assume, and what it may do then."""
    iam, role = account.client("iam"), name("logs-sends")
    trust = {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=policy_of(trust))["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": action, "Resource": resource}
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=policy_of(allowed))
    return arn


def policy_of(statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def subscribable_stream(account):
    """A Kinesis stream and a role that may write to it."""
    kinesis, stream = account.client("kinesis"), name("lines")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    return arn, role_for_logs(account, "kinesis:PutRecord*", arn)


def envelopes_of(account, stream):
    """What a stream has been sent, from its beginning."""
    kinesis = account.client("kinesis")
    shard = kinesis.list_shards(StreamARN=stream)["Shards"][0]["ShardId"]
    place = {"StreamARN": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    records = kinesis.get_records(ShardIterator=kinesis.get_shard_iterator(**place)["ShardIterator"])["Records"]
    return [json.loads(gzip.decompress(record["Data"])) for record in records]


def messages_of(envelopes):
    data = [envelope for envelope in envelopes if envelope["messageType"] == "DATA_MESSAGE"]
    return [event["message"] for envelope in data for event in envelope["logEvents"]]


def drive_filters(logs, account):
    group = name("filtered")
    logs.create_log_group(logGroupName=group)
    of = {"logGroupName": group, "filterName": "f"}
    logs.put_metric_filter(**of, filterPattern="ERROR", metricTransformations=[METRIC])
    shown = logs.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert [f["metricTransformations"] for f in shown] == [[METRIC]]
    tested = logs.test_metric_filter(filterPattern="[a, b > 1]", logEventMessages=["x 1", "x 2"])["matches"]
    assert tested == [{"eventNumber": 2, "eventMessage": "x 2", "extractedValues": {"$a": "x", "$b": "2"}}]
    logs.delete_metric_filter(**of)
    assert code_of(logs.delete_metric_filter, **of) == "ResourceNotFoundException"

    stream, role = subscribable_stream(account)
    to = {"filterPattern": "ERROR", "destinationArn": stream, "roleArn": role}
    logs.put_subscription_filter(**of, **to)
    shown = logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    assert [(f["destinationArn"], f["distribution"]) for f in shown] == [(stream, "ByLogStream")]
    wait_for("the control message", lambda: envelopes_of(account, stream))
    logs.delete_subscription_filter(**of)
    assert code_of(logs.delete_subscription_filter, **of) == "ResourceNotFoundException"
