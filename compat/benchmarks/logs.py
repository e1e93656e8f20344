"""Log lines put into a log group and searched, by boto3; what the server's own CPU comes to is the figure to look at."""

import json
import os
import random
import threading
import time
from pathlib import Path

from cairn_server import Server

from .load import client, resident_mb

PART = "log lines: events of 1.4 KB put into a log group, and searched"
GROUP, STREAMS = "bench", 4
CLIENTS = 1, 4
CALLS = 150
# As many as a call takes: 1 MiB, with 26 bytes of overhead each.
LINES_OF_CALL = 700
DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
PATTERN = '{ ($.eventSource = "iam.amazonaws.com") && ($.eventName = "CreateUser*") && ($.errorCode IS TRUE) }'
RUNS = 3


def measure(bench):
    with Server(bench.cairn, data=bench.folder / "logs") as server:
        logs = client(server, "logs")
        logs.create_log_group(logGroupName=GROUP)
        for stream in range(STREAMS):
            logs.create_log_stream(logGroupName=GROUP, logStreamName=str(stream))
        begin_ms = int(time.time() * 1000) - DAY_MS
        step_ms = DAY_MS / (len(CLIENTS) * CALLS * LINES_OF_CALL)
        done = 0
        for clients in CLIENTS:
            put(bench, server, clients, lambda at: begin_ms + int(at * step_ms), done)
            done += CALLS * LINES_OF_CALL
        bench.table.add(PART, "resident memory after it", "MB", resident_mb(server.process.pid))
        for name, span_ms in [("a minute", MINUTE_MS), ("an hour", HOUR_MS), ("the day", DAY_MS)]:
            search(bench, server, name, begin_ms, span_ms)


def put(bench, server, clients, time_of, done):
    """Puts the next part of the day's lines, from so many clients."""
    samples = [sample(number) for number in range(2000)]
    calls = iter(range(done, done + CALLS * LINES_OF_CALL, LINES_OF_CALL))
    lock, times, failures = threading.Lock(), [], []

    def work(stream):
        logs = client(server, "logs")
        while (first := take()) is not None:
            events = [{"timestamp": time_of(at), "message": samples[at % len(samples)]}
                      for at in range(first, first + LINES_OF_CALL)]
            began = time.perf_counter()
            answer = logs.put_log_events(logGroupName=GROUP, logStreamName=str(stream), logEvents=events)
            times.append(time.perf_counter() - began)
            if "rejectedLogEventsInfo" in answer:
                failures.append(answer)

    def take():
        with lock:
            return next(calls, None)

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(clients)]
    began, cpu_began = time.perf_counter(), cpu_seconds(server.process.pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - began, cpu_seconds(server.process.pid) - cpu_began
    if failures or len(times) != CALLS:
        raise RuntimeError(f"{len(times)} of {CALLS} calls were answered: {failures[:1]}")
    lines = CALLS * LINES_OF_CALL
    bench.table.add(PART, f"PutLogEvents, {clients} clients in Python", "events/s", lines / seconds)
    bench.table.add(PART, "  CPU of the server", "s per million", cpu / lines * 1e6)
    bench.table.add(PART, "  a call, p50", "ms", sorted(times)[CALLS // 2] * 1e3)


def search(bench, server, name, begin_ms, span_ms):
    """FilterLogEvents for what is not there, page by page."""
    pages = client(server, "logs").get_paginator("filter_log_events")
    times = []
    for run in range(RUNS):
        start = begin_ms + (DAY_MS - span_ms) // RUNS * run
        began = time.perf_counter()
        for page in pages.paginate(logGroupName=GROUP, startTime=start, endTime=start + span_ms, filterPattern=PATTERN):
            if page["events"]:
                raise RuntimeError("something was found that is not there")
        times.append((time.perf_counter() - began) * 1e3)
    bench.table.add(PART, f"FilterLogEvents over {name}, nothing found", "ms", times)


def sample(number):
    """An event of CloudTrail, about 1.4 KB of JSON."""
    chance = random.Random(number)
    token = chance.randbytes(300).hex()
    return json.dumps({
        "eventVersion": "1.11", "eventSource": chance.choice(["iam", "kms", "ec2", "s3"]) + ".amazonaws.com",
        "eventName": chance.choice(["Decrypt", "GetUser", "DescribeInstances", "PutObject"]), "awsRegion": "us-east-1",
        "eventID": chance.randbytes(16).hex(), "sourceIPAddress": f"10.0.{number % 256}.7", "readOnly": True,
        "userAgent": "Boto3/1.40 md/Botocore#1.40 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.12 cfg/retry-mode#legacy",
        "userIdentity": {"type": "AssumedRole", "arn": f"arn:aws:sts::123456789012:assumed-role/service-{number}/session",
                         "accountId": "123456789012", "sessionContext": {"attributes": {"mfaAuthenticated": "false"}}},
        "requestParameters": {"token": token}, "responseElements": None, "recipientAccountId": "123456789012",
    })


def cpu_seconds(process):
    """What a process used, of both kinds."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
