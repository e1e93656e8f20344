"""CloudWatch Logs as its clients use it: the AWS CLI, the loggers of Python, agents that push."""

import gzip
import json
import logging
import threading
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from logs_drivers import key_for_logs, name, now_ms, open_to_logs
from messaging_drivers import code_of
from trails import wait_for


@pytest.fixture(scope="module")
def logs(account):
    return account.client("logs")


@pytest.fixture
def group(logs):
    """A group with the streams web and db, and their lines."""
    group = name("/app/test")
    logs.create_log_group(logGroupName=group)
    for stream, lines in (("web", ["GET /", "ERROR timeout", "GET /about"]), ("db", ["slow query", "ERROR deadlock"])):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, *lines)
    return group


def put(logs, group, stream, *lines):
    now = now_ms()
    events = [{"timestamp": now, "message": line} for line in lines]
    return logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_the_cli_reads_and_filters(aws, group):
    code, printed, error = aws(
        "logs", "filter-log-events", "--log-group-name", group, "--log-stream-name-prefix", "d", "--output", "json"
    )
    assert code == 0, error
    assert [event["message"] for event in json.loads(printed)["events"]] == ["slow query", "ERROR deadlock"]
    code, printed, error = aws(
        "logs", "get-log-events", "--log-group-name", group, "--log-stream-name", "web", "--start-from-head",
        "--query", "events[].message", "--output", "json",
    )
    assert code == 0 and json.loads(printed) == ["GET /", "ERROR timeout", "GET /about"], error
    code, printed, error = aws(
        "logs", "describe-log-streams", "--log-group-name", group, "--query", "logStreams[].logStreamName",
        "--output", "json",
    )
    assert code == 0 and json.loads(printed) == ["db", "web"], error


def test_a_group_is_followed_as_version_2_of_the_cli_does(logs, group):
    """`aws logs tail --follow`: pages from the time of the last line on, what was shown is known by its eventId."""
    seen, start = {}, now_ms() - 60_000

    def look():
        nonlocal start
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, interleaved=True, startTime=start)
        new = [event for page in pages for event in page["events"] if event["eventId"] not in seen]
        seen.update((event["eventId"], event) for event in new)
        start = max([start, *(event["timestamp"] for event in new)])
        return [event["message"] for event in new]
    assert look() == ["GET /", "ERROR timeout", "GET /about", "slow query", "ERROR deadlock"]
    assert look() == []
    put(logs, group, "web", "GET /late")
    assert look() == ["GET /late"]


def test_pages_of_a_stream_are_walked_both_ways(logs, group):
    place = {"logGroupName": group, "logStreamName": "web", "limit": 2}

    def walk(token, **more):
        seen, page = [], logs.get_log_events(**place, **more)
        while page["events"]:
            seen.append([event["message"] for event in page["events"]])
            page = logs.get_log_events(**place, nextToken=page[token])
        return seen
    assert walk("nextForwardToken", startFromHead=True) == [["GET /", "ERROR timeout"], ["GET /about"]]
    assert walk("nextBackwardToken") == [["ERROR timeout", "GET /about"], ["GET /"]]


def test_lines_survive_a_kill(own_server):
    from trails import Account
    server = own_server()
    logs = Account(server).client("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    put(logs, "g", "s", "kept")
    server.process.kill()
    server.process.wait()
    logs = Account(own_server(data=server.data)).client("logs")
    shown = logs.get_log_events(logGroupName="g", logStreamName="s")["events"]
    assert [event["message"] for event in shown] == ["kept"]
    put(logs, "g", "s", "and more")
    assert len(logs.filter_log_events(logGroupName="g")["events"]) == 2


def test_agents_send_compressed_bodies(account, logs, group):
    """As the CloudWatch agent does, and Fluent Bit where it is told to."""
    endpoint, credentials = account.server.endpoint, account.session.get_credentials()
    body = gzip.compress(json.dumps({
        "logGroupName": group, "logStreamName": "web", "logEvents": [{"timestamp": now_ms(), "message": "packed"}],
    }).encode())
    headers = {
        "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.PutLogEvents",
        "Content-Encoding": "gzip", "x-amzn-logs-format": "json/emf",
    }
    request = AWSRequest("POST", endpoint, data=body, headers=headers)
    SigV4Auth(credentials, "logs", "us-east-1").add_auth(request)
    with urllib.request.urlopen(urllib.request.Request(endpoint, body, dict(request.headers))) as answer:
        assert answer.status == 200
    shown = logs.get_log_events(logGroupName=group, logStreamName="web", limit=1)["events"]
    assert [event["message"] for event in shown] == ["packed"]


def test_agents_make_what_is_missing_and_take_what_is_there(logs):
    """Fluent Bit, Vector and the CloudWatch agent put first, make group and stream after the error, and put again."""
    group = name("agent")
    place = {"logGroupName": group, "logStreamName": "host"}
    lines = {"logEvents": [{"timestamp": now_ms(), "message": "m"}], "sequenceToken": "anything"}
    assert code_of(logs.put_log_events, **place, **lines) == "ResourceNotFoundException"
    assert code_of(logs.create_log_stream, **place) == "ResourceNotFoundException"
    for _ in range(2):
        codes = [code_or_none(logs.create_log_group, logGroupName=group), code_or_none(logs.create_log_stream, **place)]
    assert codes == ["ResourceAlreadyExistsException"] * 2
    logs.put_retention_policy(logGroupName=group, retentionInDays=14)
    token = logs.put_log_events(**place, **lines)["nextSequenceToken"]
    logs.put_log_events(**place, **{**lines, "sequenceToken": token})
    assert len(logs.get_log_events(**place)["events"]) == 2


def code_or_none(call, **params):
    try:
        call(**params)
    except call.__self__.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return None


def test_python_loggers_write_through_watchtower(server, logs, monkeypatch):
    watchtower = pytest.importorskip("watchtower")
    for variable, value in server.environment.items():
        monkeypatch.setenv(variable, value)
    group = name("watchtower")
    handler = watchtower.CloudWatchLogHandler(
        log_group_name=group, log_stream_name="app", boto3_client=logs, send_interval=1, log_group_retention_days=7,
        log_group_tags={"team": "red"},
    )
    logger = logging.getLogger(group)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    for number in range(3):
        logger.info("line %s", number)
    logger.info({"a": 1})
    handler.close()
    shown = logs.filter_log_events(logGroupName=group)["events"]
    assert [event["message"] for event in shown] == ["line 0", "line 1", "line 2", '{"a": 1}']
    assert logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"] == 7


def test_an_export_holds_the_lines_of_each_stream(account, logs, group):
    bucket = account.bucket(policy=False)
    open_to_logs(account, bucket)
    task = logs.create_export_task(
        logGroupName=group, destination=bucket, destinationPrefix="out", fromTime=now_ms() - 60_000, to=now_ms() + 1000,
    )["taskId"]
    code = lambda: logs.describe_export_tasks(taskId=task)["exportTasks"][0]["status"]["code"]
    wait_for("the export's end", lambda: code() == "COMPLETED")
    s3 = account.client("s3")
    keys = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    db = f"out/{task}/db/000000.gz"
    assert keys == {db, f"out/{task}/web/000000.gz", "out/aws-logs-write-test"}
    text = gzip.decompress(s3.get_object(Bucket=bucket, Key=db)["Body"].read()).decode()
    assert [line.split(" ", 1)[1] for line in text.splitlines()] == ["slow query", "ERROR deadlock"]


def test_a_group_with_a_key_refuses_once_the_key_is_disabled(account, logs):
    group, key, kms = name("sealed"), key_for_logs(account), account.client("kms")
    logs.create_log_group(logGroupName=group, kmsKeyId=key)
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", "a secret between us")
    place = {"logGroupName": group, "logStreamName": "s"}
    assert logs.get_log_events(**place)["events"][0]["message"] == "a secret between us"
    kms.disable_key(KeyId=key)
    assert code_of(logs.get_log_events, **place) == "AccessDeniedException"
    lines = [{"timestamp": now_ms(), "message": "m"}]
    assert code_of(logs.put_log_events, **place, logEvents=lines) == "AccessDeniedException"
    kms.enable_key(KeyId=key)
    assert len(logs.get_log_events(**place)["events"]) == 1


def test_calls_are_recorded_and_lines_are_not(account, logs, group):
    events = account.client("cloudtrail")

    def recorded(operation):
        found = events.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": operation}])
        records = [json.loads(event["CloudTrailEvent"]) for event in found["Events"]]
        return [record for record in records if (record["requestParameters"] or {}).get("logGroupName") == group]
    wait_for("the record", lambda: recorded("CreateLogGroup"))
    made = recorded("CreateLogGroup")[0]
    assert (made["eventSource"], made["readOnly"], made["managementEvent"]) == ("logs.amazonaws.com", False, True)
    assert len(recorded("CreateLogStream")) == 2
    logs.filter_log_events(logGroupName=group)
    wait_for("the record", lambda: recorded("FilterLogEvents"))
    assert recorded("FilterLogEvents")[0]["readOnly"] is True
    assert recorded("PutLogEvents") == [], "a data event"


def test_many_writers_share_a_stream(logs, account):
    group = name("shared")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="s")

    def write(writer):
        client = account.client("logs")
        for number in range(5):
            put(client, group, "s", *(f"{writer}-{number}-{line}" for line in range(20)))
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 70})
    events = [event for page in pages for event in page["events"]]
    assert len({event["message"] for event in events}) == len({event["eventId"] for event in events}) == 400
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
