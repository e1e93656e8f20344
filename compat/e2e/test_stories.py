"""Stories from end to end, with the stock CLI: what happens, is recorded, is noticed, and is answered."""

import json
import sys
import time
import zipfile

import pytest
from botocore.exceptions import ClientError
from conftest import run_aws
from events_drivers import name
from trails import Account, wait_for

# From the reply to the public policy to its removal.
REMEDY_S_MAX = 2
REMEDY = '''
import json
import os

import boto3

s3, sns = boto3.client("s3"), boto3.client("sns")


def handler(event, context):
    if event.get("warm"):
        return "warm"
    detail = event["detail"]
    policy = detail["requestParameters"].get("bucketPolicy") or {}
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    statements = statements if isinstance(statements, list) else [statements]
    if not any(one.get("Effect") == "Allow" and one.get("Principal") in ("*", {"AWS": "*"}) for one in statements):
        return "no harm"
    bucket = detail["requestParameters"]["bucketName"]
    s3.delete_bucket_policy(Bucket=bucket)
    who = detail["userIdentity"].get("arn")
    sns.publish(TopicArn=os.environ["TOPIC"], Message=json.dumps({"bucket": bucket, "who": who}))
    return "removed"
'''


class Cli:
    """The stock CLI against a server."""

    def __init__(self, server):
        self.server = server

    def __call__(self, *words):
        endpoint = ("--endpoint-url", self.server.endpoint)
        code, printed, said = run_aws(self.server, *words, "--output", "json", *endpoint)
        assert code == 0, f"{words}: {said}"
        return json.loads(printed) if printed.strip() else {}


def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def test_a_public_bucket_policy_is_removed_and_told_of(own_server, tmp_path, capsys):
    pytest.importorskip("awslambdaric")
    server = own_server(enable_lambda="true", lambda_python=sys.executable)
    account, aws, own = Account(server), Cli(server), name("remedy")
    queue = aws("sqs", "create-queue", "--queue-name", own)["QueueUrl"]
    queue_arn = f"arn:aws:sqs:us-east-1:{account.id}:{own}"
    topic = aws("sns", "create-topic", "--name", own)["TopicArn"]
    allowed = policy(Principal={"Service": "sns.amazonaws.com"}, Action="sqs:SendMessage", Resource=queue_arn)
    aws("sqs", "set-queue-attributes", "--queue-url", queue, "--attributes", json.dumps({"Policy": allowed}))
    aws("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", queue_arn)

    trust = policy(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    role = aws("iam", "create-role", "--role-name", own, "--assume-role-policy-document", trust)["Role"]["Arn"]
    rights = policy(Action=["s3:DeleteBucketPolicy", "sns:Publish", "logs:*"], Resource="*")
    aws("iam", "put-role-policy", "--role-name", own, "--policy-name", "remedy", "--policy-document", rights)
    package = tmp_path / "remedy.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("remedy.py", REMEDY)
    function = aws(
        "lambda", "create-function", "--function-name", own, "--runtime", "python3.12", "--handler", "remedy.handler",
        "--role", role, "--timeout", "30", "--zip-file", f"fileb://{package}",
        "--environment", json.dumps({"Variables": {"TOPIC": topic}}),
    )["FunctionArn"]
    pattern = {"source": ["aws.s3"], "detail": {"eventName": ["PutBucketPolicy"], "errorCode": [{"exists": False}]}}
    rule = aws("events", "put-rule", "--name", own, "--event-pattern", json.dumps(pattern))["RuleArn"]
    aws("lambda", "add-permission", "--function-name", own, "--statement-id", "rule", "--action", "lambda:InvokeFunction",
        "--principal", "events.amazonaws.com", "--source-arn", rule)
    put = aws("events", "put-targets", "--rule", own, "--targets", json.dumps([{"Id": "remedy", "Arn": function}]))
    assert put["FailedEntryCount"] == 0
    client = account.client("lambda", read_timeout=60)
    assert client.invoke(FunctionName=own, Payload=b'{"warm":true}')["StatusCode"] == 200

    s3, bucket = account.client("s3"), own
    aws("s3api", "create-bucket", "--bucket", bucket)
    aws("s3api", "delete-public-access-block", "--bucket", bucket)
    public = policy(Principal="*", Action="s3:GetObject", Resource=f"arn:aws:s3:::{bucket}/*")
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    replied = time.monotonic()
    wait_for("the remedy", lambda: is_without_policy(s3, bucket), 30)
    took_s = time.monotonic() - replied
    messages = wait_for("the message", lambda: aws(
        "sqs", "receive-message", "--queue-url", queue, "--wait-time-seconds", "5").get("Messages"))
    told = json.loads(json.loads(messages[0]["Body"])["Message"])
    assert told == {"bucket": bucket, "who": f"arn:aws:iam::{account.id}:root"}
    with capsys.disabled():
        print(f"\na public bucket policy was gone {took_s:.2f} s after the reply to it")
    assert took_s < REMEDY_S_MAX
    # The function's own call is recorded as its role's.
    lookup = [{"AttributeKey": "EventName", "AttributeValue": "DeleteBucketPolicy"}]
    found = wait_for("the record", lambda: account.client("cloudtrail").lookup_events(LookupAttributes=lookup)["Events"])
    assert f"assumed-role/{own}/" in json.loads(found[0]["CloudTrailEvent"])["userIdentity"]["arn"]


def is_without_policy(s3, bucket):
    try:
        s3.get_bucket_policy(Bucket=bucket)
    except ClientError as error:
        return error.response["Error"]["Code"] == "NoSuchBucketPolicy"
    return False
