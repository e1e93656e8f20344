"""The Rust processing library against the server: every event once where nothing fails, and none lost where everything does."""

import gzip
import json
import os
import random
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest
from conftest import BINARY
from trails import Account, wait_for

CONSUMER = Path(BINARY).resolve().parent / "examples" / "bench_processing"
PRINTER = Path(BINARY).resolve().parent / "examples" / "print_events"
EVENTS = 10_000
EVENTS_PER_FILE = 50
RUN_SECONDS = 120


@pytest.fixture(scope="module", autouse=True)
def consumer():
    if not CONSUMER.exists():
        pytest.skip("cargo build -p cairn-processing --examples makes the program that this needs")


def record(account):
    return {
        "eventVersion": "1.11", "userIdentity": {"type": "IAMUser", "accountId": account, "userName": "alice"},
        "eventTime": "2026-11-20T17:24:26Z", "eventSource": "billing.example.com", "eventName": "PayInvoice",
        "awsRegion": "us-east-1", "sourceIPAddress": "192.0.2.7", "userAgent": "test",
        "requestParameters": {"invoice": "}]\"{" * 40}, "responseElements": None, "eventID": str(uuid.uuid4()),
        "readOnly": False, "eventType": "AwsApiCall", "managementEvent": True, "recipientAccountId": account,
        "eventCategory": "Management",
    }


def key(account, number):
    name = f"{account}_CloudTrail_us-east-1_20261120T1720Z_{number:016}.json.gz"
    return f"AWSLogs/{account}/CloudTrail/us-east-1/2026/11/20/{name}"


def message(bucket, key, number):
    """The forms of announcements, one after the other."""
    trail = json.dumps({"s3Bucket": bucket, "s3ObjectKey": [key]}, separators=(",", ":"))
    s3_event = json.dumps({"Records": [{"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
                                        "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})
    return [json.dumps({"Type": "Notification", "Message": trail}),
            json.dumps({"Type": "Notification", "Message": s3_event}), s3_event, trail][number % 4]


def fill(account, queue, files):
    """Puts log files and announces them by hand; gives the ids of all their events."""
    s3, sqs = account.client("s3"), account.client("sqs")
    bucket = account.bucket(policy=False)
    ids = set()
    for number in range(files):
        records = [record(account.id) for _ in range(EVENTS_PER_FILE)]
        ids |= {record["eventID"] for record in records}
        body = gzip.compress(json.dumps({"Records": records}).encode(), 1)
        s3.put_object(Bucket=bucket, Key=key(account.id, number), Body=body)
        sqs.send_message(QueueUrl=queue, MessageBody=message(bucket, key(account.id, number), number))
    return ids


def new_queue(account, **attributes):
    name = f"trail-{uuid.uuid4().hex[:8]}"
    return account.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]


def left(account, queue):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = account.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return {name: int(attributes[name]) for name in names}


NOTHING = {"ApproximateNumberOfMessages": 0, "ApproximateNumberOfMessagesNotVisible": 0}


def consume(environment, queue, ids_file, **flags):
    """Starts the consumer."""
    words = [str(CONSUMER), "--queue-url", queue, "--ids", str(ids_file)]
    for name, value in flags.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report_of(process, ids_file):
    """The consumer's report, with what it said of failures, and the ids of the events that it handled."""
    printed, said = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, said
    return json.loads(printed) | {"said": said}, set(ids_file.read_text().split())


def test_every_event_is_handled_once_and_no_message_is_left(server, account, tmp_path):
    queue = new_queue(account)
    ids = fill(account, queue, EVENTS // EVENTS_PER_FILE)
    account.client("sqs").send_message(QueueUrl=queue, MessageBody='{"Message":"CloudTrail validation message."}')
    process = consume(server.environment, queue, tmp_path / "ids", events=EVENTS)
    report, handled = report_of(process, tmp_path / "ids")
    assert handled == ids
    assert report["events_handled"] == EVENTS, report
    assert report["failures"] == 0, report
    wait_for("an empty queue", lambda: left(account, queue) == NOTHING)


def test_a_bucket_announces_its_log_files_to_a_queue(server, account, tmp_path):
    queue = new_queue(account)
    sqs = account.client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow(sqs, queue, arn, "s3.amazonaws.com")
    bucket = account.bucket()
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    account.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=configuration)
    consume_a_trail(server, account, queue, bucket, tmp_path)


def test_a_trail_announces_its_log_files_through_a_topic(server, account, tmp_path):
    queue = new_queue(account)
    sqs, sns = account.client("sqs"), account.client("sns")
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow(sqs, queue, arn, "sns.amazonaws.com")
    topic = sns.create_topic(Name=f"trail-{uuid.uuid4().hex[:8]}")["TopicArn"]
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "SNS:Publish",
        "Resource": topic}]}
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(policy))
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    consume_a_trail(server, account, queue, account.bucket(), tmp_path, SnsTopicName=topic)


def allow(sqs, queue, arn, service):
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})


def consume_a_trail(server, account, queue, bucket, tmp_path, **more):
    """A trail into the bucket, some calls, and the consumer that sees each of their events once."""
    trail, _ = account.trail(bucket=bucket, **more)
    iam = account.client("iam")
    names = [f"processed-{uuid.uuid4().hex[:8]}" for _ in range(20)]
    for name in names:
        iam.create_user(UserName=name)
    wait_for("the log files", lambda: sum(
        record["eventName"] == "CreateUser" and (record["requestParameters"] or {}).get("userName") in names
        for record in account.delivered(bucket)) == len(names))
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    # What came before the trail stopped is delivered still; then the files are what they are.
    known = account.keys(bucket)
    while True:
        time.sleep(5)
        if (now := account.keys(bucket)) == known:
            break
        known = now
    events = [record["eventID"] for record in account.delivered(bucket)]
    process = consume(server.environment, queue, tmp_path / "ids", events=len(events), idle_seconds=15)
    report, handled = report_of(process, tmp_path / "ids")
    assert handled == set(events)
    assert report["events_handled"] == len(events), report
    account.close_trail(trail)
    # What is left, if anything, are digests and the like: another round deletes them.
    report_of(consume(server.environment, queue, tmp_path / "more", idle_seconds=3), tmp_path / "more")
    assert left(account, queue) == NOTHING


def test_files_are_held_to_the_trails_digests(server, account, tmp_path):
    queue = new_queue(account)
    bucket = account.bucket()
    trail, _ = account.trail(bucket=bucket)
    account.client("iam").create_user(UserName=f"digested-{uuid.uuid4().hex[:8]}")
    wait_for("a digest of a log file", lambda: account.digested(bucket) & set(account.keys(bucket)), seconds=60)
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    listed = sorted(account.digested(bucket) & set(account.keys(bucket)))
    altered, sound = listed[0], listed[1:]
    s3, sqs = account.client("s3"), account.client("sqs")
    records = account.read(bucket, altered)["Records"]
    records[0]["eventName"] = "NothingHappened"
    s3.put_object(Bucket=bucket, Key=altered, Body=gzip.compress(json.dumps({"Records": records}).encode()))
    planted = key(account.id, 1)
    s3.put_object(Bucket=bucket, Key=planted, Body=gzip.compress(json.dumps({"Records": records}).encode()))
    for number, name in enumerate([*listed, planted]):
        sqs.send_message(QueueUrl=queue, MessageBody=message(bucket, name, number))
    expected = [record["eventID"] for name in sound for record in account.read(bucket, name)["Records"]]
    process = consume(server.environment, queue, tmp_path / "ids", put_off_seconds=600, idle_seconds=5)
    report, handled = report_of(process, tmp_path / "ids")
    assert handled == set(expected)
    assert report["events_verified"] == report["events_handled"] == len(expected), report
    assert "lists the log file with another hash" in report["said"] and report["failures"] == 1, report
    assert sum(left(account, queue).values()) == 2, "the altered and the planted file's messages are left"
    account.close_trail(trail)


def test_a_large_file_takes_no_more_memory_than_a_small_one(server, account, tmp_path):
    queue = new_queue(account)
    bucket = account.bucket(policy=False)
    records = [record(account.id) for _ in range(2000)]
    for one in records:
        one["requestParameters"] = {"text": "0123456789" * 10_000}
    text = json.dumps({"Records": records}).encode()
    assert len(text) > 200_000_000
    account.client("s3").put_object(Bucket=bucket, Key=key(account.id, 1), Body=gzip.compress(text, 1))
    account.client("sqs").send_message(QueueUrl=queue, MessageBody=message(bucket, key(account.id, 1), 0))
    process = consume(server.environment, queue, tmp_path / "ids", events=len(records))
    report, handled = report_of(process, tmp_path / "ids")
    assert handled == {one["eventID"] for one in records}
    assert report["failures"] == 0 and report["max_rss_bytes"] < 64 * 1024 * 1024, report


class CuttingProxy:
    """Forwards connections to a server that may move, and cuts some of them off in the middle."""

    def __init__(self, target, seed):
        self.target = target
        self.chance = random.Random(seed)
        self.cut = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            server = socket.create_connection(self.target(), timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        budget = [self.chance.randrange(300, 60_000)]
        for one, other in ((client, server), (server, client)):
            threading.Thread(target=self.pump, args=(one, other, budget), daemon=True).start()

    def pump(self, one, other, budget):
        try:
            while data := one.recv(4096):
                other.sendall(data[:max(budget[0], 0)])
                budget[0] -= len(data)
                if budget[0] <= 0:
                    self.cut += 1
                    break
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def close(self):
        self.listener.close()


def test_nothing_is_lost_when_the_server_is_killed_the_network_cut_and_handlers_fail(own_server, tmp_path):
    server = own_server()
    account = Account(server)
    queue = new_queue(account, VisibilityTimeout="3")
    ids = fill(account, queue, EVENTS // EVENTS_PER_FILE)
    running = [server]

    def target():
        host, port = running[0].endpoint.removeprefix("http://").split(":")
        return host, int(port)
    proxy = CuttingProxy(target, seed=5)
    environment = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint}
    process = consume(environment, queue, tmp_path / "ids", fail_percent=10, idle_seconds=12, visibility_seconds=3)
    for _ in range(3):
        time.sleep(1.5)
        running[0].stop(how=9)
        running[0] = own_server(data=running[0].data)
    report, handled = report_of(process, tmp_path / "ids")
    proxy.close()
    assert handled == ids, report
    assert report["failures"] > 0 and proxy.cut > 10, (report, proxy.cut)
    assert report["events_handled"] >= EVENTS
    assert left(Account(running[0]), queue) == NOTHING


def test_the_example_prints_events(server, account):
    queue = new_queue(account)
    fill(account, queue, 1)
    done = subprocess.run([str(PRINTER), queue, str(EVENTS_PER_FILE)], env=server.environment, capture_output=True,
                          text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["2026-11-20T17:24:26Z billing.example.com PayInvoice - -"] * EVENTS_PER_FILE
    assert left(account, queue) == NOTHING
