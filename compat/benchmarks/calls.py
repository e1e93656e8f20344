"""Recorded API calls, objects, and what the server takes when nothing happens."""

import hashlib
import http.client
import os
import sys
import threading
import time

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cairn_server import Server

from .load import client, cpu_seconds, resident_mb
from .table import below

PART = "recorded calls"
RUNS = 3
RUN_SECONDS = 1.5
CLIENTS = 1, 16, 256
IDLE_SECONDS = 15
STARTS = 10
OBJECT_BYTES = 1024 * 1024
OBJECT_SECONDS = 2


def measure(bench):
    with Server(bench.cairn, data=bench.folder / "calls") as server:
        client(server, "iam").create_user(UserName="bench")
        for call, what in [("read", "GetCallerIdentity"), ("write", "TagUser with its intent")]:
            for clients in CLIENTS:
                latency(bench, server, call, f"{what}, {clients} clients", clients)
        objects(bench, server)
        idle(bench, server)
    sizes(bench)


def latency(bench, server, call, name, clients):
    settings = {"call": call, "clients": clients, "user": "bench"}
    bench.load.run("calls", server, seconds=0.3, **settings)
    runs = [bench.load.run("calls", server, seconds=RUN_SECONDS, **settings) for _ in range(RUNS)]
    aim = below(2 * bench.table.median("fdatasync p50")) if (call, clients) == ("read", 1) else None
    bench.table.add(PART, name, "calls/s", [run["calls_per_second"] for run in runs], limit="fdatasync of 4 KiB")
    bench.table.add(PART, "  p50", "ms", [run["p50_ms"] for run in runs], limit="fdatasync p50", aim=aim)
    bench.table.add(PART, "  p99", "ms", [run["p99_ms"] for run in runs], limit="fdatasync p99")


def objects(bench, server):
    """Puts and gets 1 MiB objects over four connections."""
    client(server, "s3").create_bucket(Bucket="bench-objects")
    body = os.urandom(OBJECT_BYTES)
    for method in "PUT", "GET":
        rates = [object_mb_per_second(server, method, body) for _ in range(RUNS)]
        bench.table.add(PART, f"{method} of 1 MiB objects, 4 clients", "MB/s", rates)


def object_mb_per_second(server, method, body):
    place, found = server.endpoint.removeprefix("http://"), server.environment
    keys = Credentials(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
    hashed = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()} if method == "PUT" else {}
    counts, end = [], time.perf_counter() + OBJECT_SECONDS

    def work(worker):
        connection, index = http.client.HTTPConnection(place, timeout=30), 0
        while time.perf_counter() < end:
            path = f"/bench-objects/{worker}-{index if method == 'PUT' else 0}"
            request = AWSRequest(method, f"http://{place}{path}", data=body if method == "PUT" else b"", headers=hashed)
            S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
            connection.request(method, path, request.data, dict(request.headers.items()))
            answer = connection.getresponse()
            answer.read()
            if answer.status >= 300:
                sys.exit(f"{method} {path} failed with {answer.status}")
            index += 1
        counts.append(index)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) * OBJECT_BYTES / 1e6 / (time.perf_counter() - begun)


def idle(bench, server):
    time.sleep(3)
    before, begun = cpu_seconds(server.process.pid), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    percent = (cpu_seconds(server.process.pid) - before) / (time.perf_counter() - begun) * 100
    bench.table.add(PART, "CPU when idle", "%", percent, aim=below(1), must=True)
    bench.table.add(PART, "resident memory after all that", "MB", resident_mb(server.process.pid), aim=below(60), must=True)


def sizes(bench):
    starts = [start_ms(bench, bench.folder / "calls") for _ in range(STARTS)]
    bench.table.add(PART, "start of a used server", "ms", starts, aim=below(500), must=True)
    bench.table.add(PART, "start of a new server", "ms", start_ms(bench, bench.folder / "fresh"))
    with Server(bench.cairn, data=bench.folder / "fresh") as server:
        time.sleep(2)
        bench.table.add(PART, "resident memory of a new server", "MB", resident_mb(server.process.pid))
    bench.table.add(PART, "the binary", "MB", bench.cairn.stat().st_size / 1e6)


def start_ms(bench, data):
    """From the start of the process to the first answer."""
    server = Server(bench.cairn, data=data)
    begun = time.perf_counter()
    server.start()
    took = (time.perf_counter() - begun) * 1000
    server.stop()
    return took
