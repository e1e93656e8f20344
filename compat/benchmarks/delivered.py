"""What becomes of accepted records: the history, log files in a bucket, digests; and what a crash leaves to do."""

import json
import re
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from cairn_server import Server

from .load import account, client, cpu_seconds, resident_mb
from .table import at_least, below

PART = "records delivered"
RUNS = 3
EVENTS = 300_000
LOAD = {"form": "ndjson", "connections": 2, "events": EVENTS}
# Intervals that are over within a run; whatever waits is delivered before, once it is 20,000 records.
INTERVALS = {"delivery_interval": "1s", "digest_interval": "5s"}


def measure(bench):
    with Server(bench.cairn, data=bench.folder / "delivered", **INTERVALS) as server:
        trail(server, "bench")
        bench.load.send(server, **LOAD | {"events": EVENTS // 10})
        end_to_end(bench, server)
    sustained(bench)


def end_to_end(bench, server):
    """Logged, found by LookupEvents, and in a bucket, with a digest every few seconds."""
    runs = [delivered(bench, server, trails=1) for _ in range(RUNS)]
    bench.table.add(PART, "logged, in the history, delivered and digested", "events/s", [run["rate"] for run in runs],
                    limit="gzip -6", scale=bench.record_bytes / 1e6, aim=at_least(120_000))
    bench.table.add(PART, "  CPU", "s per million", [run["cpu"] for run in runs])
    found = metrics(server)
    bench.table.add(PART, "from the cut of a log file to its commit, mean", "ms",
                    found["cairn_delivery_seconds_sum"] / found["cairn_delivery_seconds_count"] * 1000)
    bench.table.add(PART, "history on disk", "bytes/event",
                    found["cairn_history_segment_bytes"] / found["cairn_history_segment_events"], aim=below(130))
    bench.table.add(PART, "log files", "bytes/event",
                    found["cairn_delivery_bytes_total"] / found["cairn_delivery_events_total"])


def sustained(bench):
    """Three trails, one with a bucket that takes nothing, so that the log keeps all of it; then a crash."""
    with Server(bench.cairn, data=bench.folder / "sustained", **INTERVALS) as server:
        for name in "one", "two", "sick":
            trail(server, name)
        client(server, "s3").delete_bucket_policy(Bucket="logs-sick")
        runs = [delivered(bench, server, trails=2) for _ in range(RUNS)]
        bench.table.add(PART, "with two trails, and a third whose bucket is sick", "events/s",
                        [run["rate"] for run in runs])
        bench.table.add(PART, "  CPU", "s per million", [run["cpu"] for run in runs])
        bench.table.add(PART, "  resident memory, at most", "MB", [run["resident"] for run in runs], aim=below(300))
        bench.table.add(PART, "  resident memory after it", "MB", resident_mb(server.process.pid))
        log_mb = sum(file.stat().st_size for file in (server.data / "log").iterdir()) / 1e6
        server.stop(signal.SIGKILL)
        begun = time.perf_counter()
        server.start()
        took = time.perf_counter() - begun
        bench.table.add(PART, f"start after a crash with {log_mb / 1000:.1f} GB of log", "s", took)


def delivered(bench, server, trails):
    """Sends records and waits until `trails` trails delivered all of them."""
    pid, before = server.process.pid, metrics(server)["cairn_delivery_events_total"]
    cpu, resident = cpu_seconds(pid), 0
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(lambda: (bench.load.send(server, **LOAD), time.perf_counter()))
        while metrics(server)["cairn_delivery_events_total"] < before + trails * EVENTS:
            resident = max(resident, resident_mb(pid))
            time.sleep(0.05)
        done = time.perf_counter()
        sent, ended = sending.result()
    # The load generator makes its requests before it begins.
    begun = ended - EVENTS / sent["searchable_per_second"]
    spent = (cpu_seconds(pid) - cpu) * 1e6 / EVENTS
    return {"rate": EVENTS / (max(done, ended) - begun), "cpu": spent, "resident": resident}


def metrics(server):
    """The server's own counters, by name."""
    with urllib.request.urlopen(server.endpoint + "/_cairn/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.M)}


def trail(server, name, **more):
    """A trail with digests into a bucket of its own."""
    bucket, s3, cloudtrail = f"logs-{name}", client(server, "s3"), client(server, "cloudtrail")
    principal = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    place = f"arn:aws:s3:::{bucket}"
    allowed = [
        principal | {"Action": "s3:GetBucketAcl", "Resource": place},
        principal | {"Action": "s3:PutObject", "Resource": f"{place}/AWSLogs/{account(server)}/*"},
    ]
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": allowed}))
    cloudtrail.create_trail(Name=name, S3BucketName=bucket, IsMultiRegionTrail=True, EnableLogFileValidation=True, **more)
    cloudtrail.start_logging(Name=name)
