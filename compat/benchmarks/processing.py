"""Log files consumed by the Rust library and by AWS's in Java: the same files, announced by the same topic."""

import json
import subprocess
import sys
import time
from pathlib import Path

import java_library
from cairn_server import Server

from .delivered import metrics, trail
from .load import client

PART = "log files consumed"
RUNS = 3
EVENTS = 200_000
# What is sent at a time, so that the log files are many.
EVENTS_PER_FILE = 5_000
THREADS = 4
# Longer than a delivery takes.
WAIT_SECONDS_MAX = 120


def measure(bench):
    program = Path(bench.load.binary).with_name("bench_processing")
    consumers = {"Rust": lambda server, url, ids: rust(program, server, url)}
    try:
        java_library.judge()
        consumers["Java"] = java
    except java_library.Missing as missing:
        print(f"processing: AWS's library is left out: {missing}", file=sys.stderr)
    with Server(bench.cairn, data=bench.folder / "processing", delivery_interval="500ms") as server:
        queues = {(name, run): queue(server, f"{name}-{run}") for name in consumers for run in range(RUNS)}
        announced(server, queues.values())
        fill(bench, server, list(queues.values()))
        for name, consume in consumers.items():
            ids = bench.folder / f"{name}-ids"
            runs = [consume(server, queues[name, run][0], ids) for run in range(RUNS)]
            rows(bench, name, runs)


def rows(bench, name, runs):
    bench.table.add(PART, f"the library in {name}", "events/s", [run["events"] / run["seconds"] for run in runs])
    bench.table.add(PART, "  CPU", "s per million", [run["cpu_seconds"] * 1e6 / run["events"] for run in runs])
    bench.table.add(PART, "  resident memory, at most", "MB", [run["max_rss_bytes"] / 1e6 for run in runs])


def rust(program, server, url):
    command = [program, "--queue-url", url, "--events", str(EVENTS), "--endpoint", server.endpoint]
    return json.loads(subprocess.check_output(command, env=server.environment))


def java(server, url, ids):
    return java_library.consume(server, url, EVENTS, ids, threads=THREADS)[0]


def queue(server, name):
    """A queue that topics may send to."""
    sqs = client(server, "sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = allowed("sns.amazonaws.com", "sqs:SendMessage", arn)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


def allowed(service, action, resource):
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def announced(server, queues):
    """A topic with all queues as subscribers, and a trail that announces its log files there."""
    sns = client(server, "sns")
    topic = sns.create_topic(Name="bench")["TopicArn"]
    policy = allowed("cloudtrail.amazonaws.com", "SNS:Publish", topic)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    for _, arn in queues:
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    trail(server, "bench", SnsTopicName=topic)


def fill(bench, server, queues):
    """Sends the events, and waits until every queue has heard of every log file."""
    for _ in range(EVENTS // EVENTS_PER_FILE):
        before = metrics(server)["cairn_delivery_events_total"]
        bench.load.send(server, form="ndjson", connections=1, events=EVENTS_PER_FILE)
        wait_for(lambda: metrics(server)["cairn_delivery_events_total"] >= before + EVENTS_PER_FILE)
    sqs, listing = client(server, "sqs"), client(server, "s3").get_paginator("list_objects_v2")

    def all_told():
        pages = listing.paginate(Bucket="logs-bench")
        files = sum(content["Key"].endswith(".json.gz") and "/CloudTrail/" in content["Key"]
                    for page in pages for content in page["Contents"])
        name = "ApproximateNumberOfMessages"
        # One message more is the validation message of the new trail.
        return all(int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]) == files + 1
                   for url, _ in queues)

    wait_for(all_told)


def wait_for(check):
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not check():
        if time.monotonic() > deadline:
            sys.exit(f"the log files were not announced within {WAIT_SECONDS_MAX} s")
        time.sleep(0.1)
