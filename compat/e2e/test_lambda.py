"""Functions as clients see them: Python, shell and Go, their limits, their ends, events that survive the server."""

import base64
import json
import shutil
import signal
import subprocess
import sys
import urllib.request

import pytest
from conftest import BINARY
from functions import answer, function, name, package, refused, role
from cairn_server import Server
from trails import Account, wait_for

HANDLER = """
import json, os, sys, time
import boto3

def handler(event, context):
    print("got", json.dumps(event))
    do = event.get("do")
    if do == "sleep":
        time.sleep(event["s"])
    if do == "raise":
        raise ValueError("boom")
    if do == "exit":
        os._exit(3)
    if do == "kill":
        os.kill(os.getpid(), 9)
    if do == "eat":
        kept = b"x" * (event["mb"] << 20)
    if do == "environment":
        return dict(os.environ)
    if do == "large":
        return "x" * event["bytes"]
    if do == "put":
        boto3.client("s3").put_object(Bucket=event["bucket"], Key=event["key"], Body=b"x")
    if do == "fail if new":
        keys = boto3.client("s3").list_objects_v2(Bucket=event["bucket"]).get("Contents", [])
        boto3.client("s3").put_object(Bucket=event["bucket"], Key=f"attempt-{len(keys)}")
        assert keys, "the first time"
    return {"pid": os.getpid(), "tmp": os.environ["TMPDIR"], "left_ms": context.get_remaining_time_in_millis()}
"""
BOOTSTRAP = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  event=$(curl -sS -D "$TMPDIR/head" "$api/next")
  id=$(tr -d '\\r' < "$TMPDIR/head" | awk 'tolower($1) == "lambda-runtime-aws-request-id:" { print $2 }')
  echo "shell got $event"
  curl -sS -o /dev/null "$api/$id/response" -d "{\\"got\\": $event}"
done
"""
GO = """package main

import ("bytes"; "fmt"; "io"; "net/http"; "os")

func main() {
    api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
    for {
        next, err := http.Get(api + "next")
        if err != nil { os.Exit(1) }
        event, _ := io.ReadAll(next.Body)
        id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
        answer := fmt.Sprintf("{\\"go\\": %s}", event)
        told, err := http.Post(api + id + "/response", "application/json", bytes.NewBufferString(answer))
        if err != nil { os.Exit(1) }
        told.Body.Close()
    }
}
"""


@pytest.fixture(scope="module")
def functions(account):
    return account.client("lambda")


@pytest.fixture(scope="module")
def role_arn(account):
    return role(account.client("iam"))


@pytest.fixture(scope="module")
def python(functions, role_arn):
    with function(functions, role_arn, HANDLER, Timeout=2, MemorySize=160,
                  Environment={"Variables": {"GREETING": "hello"}}) as made:
        yield made["FunctionName"]


def failure(functions, named, event):
    reply = functions.invoke(FunctionName=named, Payload=json.dumps(event), LogType="Tail")
    assert (reply["StatusCode"], reply["FunctionError"]) == (200, "Unhandled")
    return json.loads(reply["Payload"].read()), base64.b64decode(reply["LogResult"]).decode()


def test_an_environment_is_used_again_and_has_what_aws_gives(functions, python):
    first, second = answer(functions, python), answer(functions, python)
    assert first["pid"] == second["pid"] and 0 < second["left_ms"] <= 2000
    environment = answer(functions, python, {"do": "environment"})
    assert environment["GREETING"] == "hello" and environment["_HANDLER"] == "app.handler"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == python and environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert not [known for known in environment if known.startswith("CAIRN")]
    reply = functions.invoke(FunctionName=python, LogType="Tail")
    log = base64.b64decode(reply["LogResult"]).decode()
    assert "START RequestId: " in log and "got {}" in log and "Max Memory Used: " in log


def test_what_goes_wrong_in_a_function_is_told_as_aws_tells_it(functions, python):
    told, log = failure(functions, python, {"do": "raise"})
    assert (told["errorType"], told["errorMessage"]) == ("ValueError", "boom") and told["stackTrace"]
    assert "[ERROR] ValueError: boom" in log
    told, log = failure(functions, python, {"do": "exit"})
    assert told["errorType"] == "Runtime.ExitError" and told["errorMessage"].endswith("exit status 3")
    told, log = failure(functions, python, {"do": "kill"})
    assert told["errorMessage"].endswith("signal: killed")
    told, log = failure(functions, python, {"do": "sleep", "s": 5})
    assert told["errorType"] == "Sandbox.Timedout" and "Task timed out after 2.00 seconds" in told["errorMessage"]
    assert "Status: timeout" in log
    told, log = failure(functions, python, {"do": "eat", "mb": 400})
    assert told["errorType"] in ("Runtime.OutOfMemory", "MemoryError"), told
    told, log = failure(functions, python, {"do": "large", "bytes": 6_300_000})
    assert told["errorType"] == "Function.ResponseSizeTooLarge"
    assert answer(functions, python)["pid"], "and the next invocation finds another environment"


def test_a_runtime_that_cannot_begin_says_why(functions, role_arn):
    with function(functions, role_arn, "raise KeyError('at import')") as made:
        told, _ = failure(functions, made["FunctionName"], {})
        assert told["errorType"] in ("KeyError", "Runtime.ExitError"), told
    with function(functions, role_arn, Runtime="provided.al2023") as made:
        told, _ = failure(functions, made["FunctionName"], {})
        assert told["errorType"] == "Runtime.InvalidEntrypoint"


def test_a_custom_runtime_is_any_program(functions, role_arn, tmp_path):
    packages = {"shell": package(bootstrap=BOOTSTRAP)}
    if shutil.which("go"):
        (tmp_path / "main.go").write_text(GO)
        subprocess.run(["go", "build", "-o", "bootstrap", "main.go"], cwd=tmp_path, check=True,
                       env={"PATH": "/usr/bin:/bin:/usr/local/go/bin", "HOME": str(tmp_path), "CGO_ENABLED": "0"})
        packages["go"] = package(bootstrap=(tmp_path / "bootstrap").read_bytes())
    for kind, packed in packages.items():
        named = name(kind)
        functions.create_function(FunctionName=named, Runtime="provided.al2023", Role=role_arn, Handler="any",
                                  Code={"ZipFile": packed})
        try:
            member = {"shell": "got", "go": "go"}[kind]
            assert answer(functions, named, {"a": 1}) == {member: {"a": 1}}
            assert answer(functions, named, {"a": 2}) == {member: {"a": 2}}
            location = functions.get_function(FunctionName=named)["Code"]["Location"]
            assert urllib.request.urlopen(location).read() == packed
        finally:
            functions.delete_function(FunctionName=named)


def test_code_comes_from_a_bucket_too(account, functions, role_arn):
    bucket, named = account.bucket(), name("from-bucket")
    account.client("s3").put_object(Bucket=bucket, Key="f.zip", Body=package(app_py=HANDLER))
    functions.create_function(FunctionName=named, Runtime="python3.13", Role=role_arn, Handler="app.handler",
                              Code={"S3Bucket": bucket, "S3Key": "f.zip"})
    assert answer(functions, named)["pid"]
    functions.delete_function(FunctionName=named)
    refused("InvalidParameterValueException", functions.create_function, FunctionName=named, Runtime="python3.13",
            Role=role_arn, Handler="app.handler", Code={"S3Bucket": bucket, "S3Key": "none.zip"})


def test_a_role_that_lambda_may_not_assume_is_refused(account, functions):
    other = role(account.client("iam"), service="ec2.amazonaws.com")
    told = refused("InvalidParameterValueException", functions.create_function, FunctionName=name("f"),
                   Runtime="python3.13", Role=other, Handler="app.handler", Code={"ZipFile": package(app_py=HANDLER)})
    assert told["Error"]["Message"] == "The role defined for the function cannot be assumed by Lambda."


def test_a_failed_event_is_tried_again_and_its_outcome_sent(account, functions, role_arn):
    sqs, bucket = account.client("sqs"), account.bucket()
    url = sqs.create_queue(QueueName=name("outcomes"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with function(functions, role_arn, HANDLER) as made:
        named = made["FunctionName"]
        both = {"OnSuccess": {"Destination": queue}, "OnFailure": {"Destination": queue}}
        functions.put_function_event_invoke_config(FunctionName=named, DestinationConfig=both)

        def outcome(event):
            reply = functions.invoke(FunctionName=named, InvocationType="Event", Payload=json.dumps(event))
            assert reply["StatusCode"] == 202
            message = wait_for("an outcome", lambda: sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages"))[0]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            record = json.loads(message["Body"])
            assert record["requestPayload"] == event
            return record["requestContext"]["condition"], record["requestContext"]["approximateInvokeCount"]
        assert outcome({"do": "fail if new", "bucket": bucket}) == ("Success", 2)
        assert outcome({"do": "raise"}) == ("RetriesExhausted", 3)


def test_topics_and_buckets_invoke_functions(account, functions, role_arn):
    s3, sns, bucket, target = account.client("s3"), account.client("sns"), account.bucket(), account.bucket()
    code = HANDLER.replace('do = event.get("do")', f'''
    where = event["Records"][0].get("EventSource") or event["Records"][0]["eventSource"]
    boto3.client("s3").put_object(Bucket="{target}", Key=where, Body=json.dumps(event))
    do = None''')
    with function(functions, role_arn, code) as made:
        arn, topic = made["FunctionArn"], sns.create_topic(Name=name("topic"))["TopicArn"]
        notify = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        refused("InvalidArgument", s3.put_bucket_notification_configuration, Bucket=bucket,
                NotificationConfiguration=notify)
        for service, source in (("s3", f"arn:aws:s3:::{bucket}"), ("sns", topic)):
            functions.add_permission(FunctionName=arn, StatementId=service, Action="lambda:InvokeFunction",
                                     Principal=f"{service}.amazonaws.com", SourceArn=source)
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notify)
        sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
        s3.put_object(Bucket=bucket, Key="new", Body=b"x")
        sns.publish(TopicArn=topic, Subject="S", Message="M")

        def told():
            keys = [found["Key"] for found in s3.list_objects_v2(Bucket=target).get("Contents", [])]
            return len(keys) == 2 and {key: json.loads(s3.get_object(Bucket=target, Key=key)["Body"].read())["Records"][0]
                                       for key in keys}
        events = wait_for("both events", told)
        assert events["aws:s3"]["s3"]["object"]["key"] == "new"
        assert (events["aws:sns"]["Sns"]["Subject"], events["aws:sns"]["Sns"]["Message"]) == ("S", "M")
        assert events["aws:sns"]["Sns"]["SigningCertUrl"] and events["aws:sns"]["EventVersion"] == "1.0"


def test_an_invocation_is_a_data_event(account, functions, role_arn):
    trail, bucket = account.trail()
    with function(functions, role_arn) as made:
        selectors = [{"ReadWriteType": "All", "IncludeManagementEvents": False,
                      "DataResources": [{"Type": "AWS::Lambda::Function", "Values": [made["FunctionArn"]]}]}]
        account.client("cloudtrail").put_event_selectors(TrailName=trail["TrailARN"], EventSelectors=selectors)
        answer(functions, made["FunctionName"], {"secret": "payload"})
        event = wait_for("the record", lambda: [
            event for event in account.delivered(bucket) if event["eventName"] == "Invoke"])[0]
        account.close_trail(trail)
        assert event["eventCategory"] == "Data" and event["managementEvent"] is False
        assert event["resources"] == [{"accountId": account.id, "type": "AWS::Lambda::Function", "ARN": made["FunctionArn"]}]
        assert "payload" not in json.dumps(event)


def test_events_survive_the_server_and_functions_do_not(tmp_path):
    flags = {"enable_lambda": "true", "lambda_python": sys.executable, "lambda_retry_delay": "500ms"}
    running = Server(BINARY, data=tmp_path / "data", **flags)
    running.data.mkdir()
    running.start()
    try:
        account = Account(running)
        functions, s3 = account.client("lambda"), account.client("s3")
        s3.create_bucket(Bucket="done")
        named, sleeper = name("putter"), name("sleeper")
        role_arn = role(account.client("iam"))
        for made, timeout in ((named, 20), (sleeper, 60)):
            functions.create_function(FunctionName=made, Runtime="python3.13", Role=role_arn, Handler="app.handler",
                                      Timeout=timeout, Code={"ZipFile": package(app_py=HANDLER)})
        functions.invoke(FunctionName=sleeper, InvocationType="Event", Payload='{"do": "sleep", "s": 50}')

        for number in range(20):
            event = {"do": "put", "bucket": "done", "key": f"{number:02}"}
            functions.invoke(FunctionName=named, InvocationType="Event", Payload=json.dumps(event))
        ours = wait_for("processes", lambda: children(running.process.pid))
        running.stop(signal.SIGKILL)
        wait_for("their end", lambda: not [pid for pid in ours if alive(pid)])
        running.start()
        s3 = Account(running).client("s3")
        wait_for("all objects", lambda: s3.list_objects_v2(Bucket="done").get("KeyCount") == 20, 60)
    finally:
        running.stop()


def children(pid):
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
