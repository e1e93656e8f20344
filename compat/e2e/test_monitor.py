"""A trail's events in its log group, and `cairn monitor`: made once, and an alarm that comes and goes by itself."""

import json
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from conftest import BINARY
from trails import Account, wait_for

ALARM = "CairnMonitor-UnauthorizedApiCalls"


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """An account with a trail, on a server of the module's own."""
    from cairn_server import Server
    with Server(BINARY, data=tmp_path_factory.mktemp("watched"), delivery_interval="2s", digest_interval="1m") as running:
        account = Account(running)
        name = account.trail()[0]["Name"]
        yield running, account, name


def monitor(server, *words):
    done = subprocess.run([BINARY, "monitor", *words], env=server.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def nobody(account):
    """A client of a user who may do nothing."""
    iam = account.client("iam")
    name = f"nobody-{time.time_ns()}"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Account(account.server, key["AccessKeyId"], key["SecretAccessKey"]).client("cloudtrail")


def deny(client, times):
    for _ in range(times):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.describe_trails()


def queue_on(account, topic_arn):
    sqs = account.client("sqs")
    url = sqs.create_queue(QueueName=f"alarms-{time.time_ns()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    account.client("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=arn)
    return url


def test_events_reach_the_log_group_within_two_seconds_and_the_status_says_so(watched):
    server, account, name = watched
    monitor(server, "enable", "--trail", name, "--period", "60")
    assert monitor(server, "enable", "--trail", name, "--period", "60")[0] == "nothing to change"
    logs, cloudtrail = account.client("logs"), account.client("cloudtrail")
    group = cloudtrail.get_trail(Name=name)["Trail"]["CloudWatchLogsLogGroupArn"].split(":")[6]
    mark = f"mark-{time.time_ns()}"
    account.client("sqs").create_queue(QueueName=mark)
    called = time.time()
    found = wait_for("the line", lambda: logs.filter_log_events(logGroupName=group, filterPattern=f'"{mark}"')["events"])
    took = time.time() - called
    print(f"from the call to the log group: {took:.2f} s")
    event = json.loads(found[0]["message"])
    assert event["eventName"] == "CreateQueue" and event["requestParameters"]["queueName"] == mark
    me = account.client("sts").get_caller_identity()["Account"]
    region = cloudtrail.meta.region_name
    assert found[0]["logStreamName"] == f"{me}_CloudTrail_{region}"
    assert took < 2
    status = wait_for("the status", lambda: (
        lambda status: status if "LatestCloudWatchLogsDeliveryTime" in status else None)(cloudtrail.get_trail_status(Name=name)))
    assert "LatestCloudWatchLogsDeliveryError" not in status


def test_a_role_without_the_right_is_refused_as_aws_refuses_it(watched):
    _, account, name = watched
    iam, cloudtrail = account.client("iam"), account.client("cloudtrail")
    before = cloudtrail.get_trail(Name=name)["Trail"]
    trust = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    role = iam.create_role(RoleName=f"powerless-{time.time_ns()}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    group = before.get("CloudWatchLogsLogGroupArn")
    if group is None:
        account.client("logs").create_log_group(logGroupName="refused")
        group = f"{account.client('logs').describe_log_groups(logGroupNamePrefix='refused')['logGroups'][0]['arn']}"
    with pytest.raises(ClientError, match="InvalidCloudWatchLogsLogGroupArnException.*Access denied. Verify in IAM"):
        cloudtrail.update_trail(Name=name, CloudWatchLogsLogGroupArn=group, CloudWatchLogsRoleArn=role)
    with pytest.raises(ClientError, match="InvalidCloudWatchLogsRoleArnException.*Access denied."):
        cloudtrail.update_trail(Name=name, CloudWatchLogsLogGroupArn=group, CloudWatchLogsRoleArn=role + "x")
    assert cloudtrail.get_trail(Name=name)["Trail"] == before


def test_five_denied_calls_raise_the_alarm_and_it_returns_to_ok_by_itself(watched):
    server, account, name = watched
    monitor(server, "enable", "--trail", name, "--period", "60")
    cloudwatch = account.client("cloudwatch")
    alarm = cloudwatch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"][0]
    queue = queue_on(account, alarm["AlarmActions"][0])
    sqs, denied = account.client("sqs"), nobody(account)
    began = time.time()

    def told():
        # Again where a period ended in between.
        deny(denied, 5)
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5).get("Messages", []):
            said = json.loads(json.loads(message["Body"])["Message"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            if said["AlarmName"] == ALARM and said["NewStateValue"] == "ALARM":
                return said
        return None
    wait_for("the alarm", told, seconds=120)
    print(f"from the first denied call to the alarm in a queue: {time.time() - began:.1f} s")
    state = lambda: cloudwatch.describe_alarms(AlarmNames=[ALARM])["MetricAlarms"][0]["StateValue"]  # noqa: E731
    wait_for("the return to OK", lambda: state() == "OK", seconds=180)
    print(f"back to OK after {time.time() - began:.1f} s")
    history = cloudwatch.describe_alarm_history(AlarmName=ALARM, HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    summaries = [item["HistorySummary"] for item in history]
    assert any("to ALARM" in summary for summary in summaries) and any("to OK" in summary for summary in summaries)


def test_disable_removes_filters_and_alarms_and_no_more(watched):
    server, account, name = watched
    monitor(server, "enable", "--trail", name, "--period", "60")
    would = monitor(server, "disable", "--trail", name, "--dry-run")
    assert would and all(line.startswith("would have deleted") for line in would[:-1])
    monitor(server, "disable", "--trail", name)
    assert monitor(server, "disable", "--trail", name)[0] == "nothing to change"
    assert account.client("cloudwatch").describe_alarms(AlarmNamePrefix="CairnMonitor-")["MetricAlarms"] == []
    assert "CloudWatchLogsLogGroupArn" in account.client("cloudtrail").get_trail(Name=name)["Trail"]
