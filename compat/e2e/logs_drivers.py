"""Every operation of CloudWatch Logs, called with boto3: what test_operations judges the answers of."""

import json
import re
import time

from filters_drivers import drive_filters
from messaging_drivers import code_of, name
from trails import wait_for


def now_ms():
    return time.time_ns() // 10**6


def open_to_logs(account, bucket):
    """Lets CloudWatch Logs put exports into a bucket."""
    statement = {
        "Effect": "Allow", "Principal": {"Service": "logs.us-east-1.amazonaws.com"}, "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": {"StringEquals": {"aws:SourceAccount": account.id}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=policy)


def key_for_logs(account):
    """A KMS key that CloudWatch Logs may use."""
    uses = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
    policy = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": account.id}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Allow", "Principal": {"Service": "logs.us-east-1.amazonaws.com"}, "Action": uses, "Resource": "*"},
    ]}
    return account.client("kms").create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]


def at_named_host(client):
    """Live tails are asked for at `stream-HOST`: an address has no names under it."""
    def without_prefix(request, **_):
        request.url = re.sub(r"//stream-", "//", request.url)
    client.meta.events.register("before-sign.cloudwatch-logs.StartLiveTail", without_prefix)
    return client


def drive_logs(logs, account):
    drive_groups(logs, account)
    drive_lines(logs)
    drive_policies(logs)
    drive_exports(logs, account)
    drive_filters(logs, account)
    drive_destinations(logs, account)


def drive_groups(logs, account):
    group = name("/driver/group")
    logs.create_log_group(logGroupName=group, tags={"team": "red"}, deletionProtectionEnabled=True)
    assert code_of(logs.create_log_group, logGroupName=group) == "ResourceAlreadyExistsException"
    logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    logs.associate_kms_key(logGroupName=group, kmsKeyId=key_for_logs(account))
    shown = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert shown["retentionInDays"] == 30 and shown["kmsKeyId"].startswith("arn:aws:kms:")
    arn = shown["logGroupArn"]
    assert shown["arn"] == f"{arn}:*"
    logs.disassociate_kms_key(logGroupName=group)
    logs.delete_retention_policy(logGroupName=group)
    assert [g["logGroupArn"] for g in logs.list_log_groups(logGroupNamePattern=f"^{group[:20]}")["logGroups"]] == [arn]
    logs.tag_log_group(logGroupName=group, tags={"old": "way"})
    logs.tag_resource(resourceArn=arn, tags={"new": "way"})
    logs.untag_log_group(logGroupName=group, tags=["team"])
    logs.untag_resource(resourceArn=arn, tagKeys=["old"])
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"new": "way"}
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"new": "way"}
    assert code_of(logs.delete_log_group, logGroupName=group) == "ValidationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier=arn, deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName=group)
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []


def drive_lines(logs):
    group, now = name("lines"), now_ms()
    logs.create_log_group(logGroupName=group)
    place = {"logGroupName": group, "logStreamName": "s"}
    logs.create_log_stream(**place)
    arn = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["logGroupArn"]
    tail = at_named_host(logs).start_live_tail(logGroupIdentifiers=[arn])["responseStream"]
    events = iter(tail)
    assert next(events)["sessionStart"]["logGroupIdentifiers"] == [arn]
    put = logs.put_log_events(**place, logEvents=[
        {"timestamp": now - 2000, "message": "first"}, {"timestamp": now, "message": "second"},
        {"timestamp": now + 3 * 3600 * 1000, "message": "too new"},
    ])
    assert put["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
    lines = []
    while len(lines) < 2:
        lines += next(events)["sessionUpdate"]["sessionResults"]
    assert [line["message"] for line in lines] == ["first", "second"]
    tail.close()
    got = logs.get_log_events(**place, startFromHead=True)
    assert [event["message"] for event in got["events"]] == ["first", "second"]
    found = logs.filter_log_events(logGroupName=group, startTime=now)
    assert [event["message"] for event in found["events"]] == ["second"]
    stream = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True)["logStreams"][0]
    assert stream["lastEventTimestamp"] == now and stream["firstEventTimestamp"] == now - 2000
    drive_queries(logs, group)
    logs.delete_log_stream(**place)
    assert code_of(logs.get_log_events, **place) == "ResourceNotFoundException"


def drive_queries(logs, group):
    now = int(time.time())
    times = {"startTime": now - 3600, "endTime": now + 60}
    query = logs.start_query(logGroupName=group, queryString="fields @message | sort @timestamp", **times)["queryId"]
    found = lambda: logs.get_query_results(queryId=query)
    wait_for("the query's end", lambda: found()["status"] == "Complete")
    first = {cell["field"]: cell["value"] for cell in found()["results"][0]}
    assert first["@message"] == "first"
    assert logs.get_log_record(logRecordPointer=first["@ptr"])["logRecord"]["@logStream"] == "s"
    assert query in [shown["queryId"] for shown in logs.describe_queries(logGroupName=group)["queries"]]
    assert code_of(logs.stop_query, queryId=query) == "InvalidParameterException"
    malformed = {"logGroupName": group, "queryString": "fields @message | nothing known", **times}
    assert code_of(logs.start_query, **malformed) == "MalformedQueryException"


def drive_policies(logs):
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "logs:PutLogEvents",
                 "Resource": "*"}
    document, policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}), name("policy")
    logs.put_resource_policy(policyName=policy, policyDocument=document)
    shown = logs.describe_resource_policies()["resourcePolicies"]
    assert [p["policyDocument"] for p in shown if p["policyName"] == policy] == [document]
    logs.delete_resource_policy(policyName=policy)
    assert code_of(logs.delete_resource_policy, policyName=policy) == "ResourceNotFoundException"


def stream_for_logs(account):
    """A Kinesis stream, and a role by which CloudWatch Logs may write to it: (ARN, role's ARN)."""
    kinesis, iam, stream, role = account.client("kinesis"), account.client("iam"), name("stream"), name("role")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    shown = lambda: kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    wait_for("the stream", lambda: shown()["StreamStatus"] == "ACTIVE")
    trust = {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    rights = {"Effect": "Allow", "Action": "kinesis:*", "Resource": shown()["StreamARN"]}
    document = lambda statement: json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(trust))["Role"]
    iam.put_role_policy(RoleName=role, PolicyName="put", PolicyDocument=document(rights))
    return shown()["StreamARN"], made["Arn"]


def drive_destinations(logs, account):
    (stream, role), own = stream_for_logs(account), name("destination")
    wrong = {"destinationName": own, "targetArn": f"{stream}-not", "roleArn": role}
    assert code_of(logs.put_destination, **wrong) == "InvalidParameterException"
    made = logs.put_destination(destinationName=own, targetArn=stream, roleArn=role, tags={"a": "1"})["destination"]
    allow = {"Effect": "Allow", "Principal": {"AWS": account.id}, "Action": "logs:PutSubscriptionFilter",
             "Resource": made["arn"]}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    logs.put_destination_policy(destinationName=own, accessPolicy=policy)
    shown = logs.describe_destinations(DestinationNamePrefix=own)["destinations"][0]
    assert shown == {**made, "accessPolicy": policy}
    logs.tag_resource(resourceArn=made["arn"], tags={"b": "2"})
    assert logs.list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"a": "1", "b": "2"}
    logs.delete_destination(destinationName=own)
    assert code_of(logs.delete_destination, destinationName=own) == "ResourceNotFoundException"


def drive_exports(logs, account):
    group, bucket = name("exported"), account.bucket(policy=False)
    logs.create_log_group(logGroupName=group)
    task = {"logGroupName": group, "destination": bucket, "fromTime": now_ms() - 1000, "to": now_ms()}
    assert code_of(logs.create_export_task, **task) == "InvalidParameterException"
    open_to_logs(account, bucket)
    done = logs.create_export_task(**task)["taskId"]
    status = lambda: logs.describe_export_tasks(taskId=done)["exportTasks"][0]["status"]["code"]
    wait_for("the export's end", lambda: status() == "COMPLETED")
    assert code_of(logs.cancel_export_task, taskId=done) == "InvalidOperationException"
