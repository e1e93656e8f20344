"""Messages through queues, durably; beside ElasticMQ and moto on the same machine with the same load, where they can be had."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import boto3

import java_library
from cairn_server import Server

PART = "queues: 1 KB messages sent, received and deleted"
RUNS = 3
RUN_SECONDS = 1.5
# What a server written in Java needs to come to its speed.
WARM_SECONDS = 4
CLIENTS = 1, 16, 64
BATCHES = 1, 10
BODY_BYTES = 1024
START_SECONDS_MAX = 60
MOTO = "moto[server]==5.2.5"
# Werkzeug's own server ends every connection by default; the load keeps its connections.
MOTO_SERVER = """
import sys
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.protocol_version = "HTTP/1.1"
from moto.server import main
main(sys.argv[1:])
"""


def measure(bench):
    with Server(bench.cairn, data=bench.folder / "queues") as server:
        loads(bench, "Cairn, durable", server)
    for name, start in [
        ("ElasticMQ, kept by H2", lambda: elasticmq(bench.folder, kept=True)),
        ("ElasticMQ, in memory", lambda: elasticmq(bench.folder, kept=False)),
        ("moto, in memory", lambda: moto(bench.folder)),
    ]:
        try:
            with start() as server:
                loads(bench, name, server)
        except (java_library.Missing, RuntimeError) as failure:
            # moto mixes up the messages of many clients; what was measured until then stays in the table.
            print(f"queues: {name} is left out from here on: {str(failure)[:300]}", file=sys.stderr)


def loads(bench, name, server):
    found, most = server.environment, 0
    sqs = boto3.client("sqs", endpoint_url=found["AWS_ENDPOINT_URL"], region_name="us-east-1",
                       aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
                       aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"])
    durable = {"limit": "fdatasync of 4 KiB"} if "durable" in name else {}
    for batch in BATCHES:
        for at, clients in enumerate(CLIENTS):
            url = sqs.create_queue(QueueName=f"bench-{batch}-{clients}")["QueueUrl"]
            load = {"queue": url, "batch": batch, "clients": clients, "body_bytes": BODY_BYTES,
                    "pid": server.process.pid}
            run(bench, found, seconds=0.3 if at else WARM_SECONDS, **load)
            runs = [run(bench, found, seconds=RUN_SECONDS, **load) for _ in range(RUNS)]
            form = f"{name}: batches of {batch}" if batch > 1 else name
            bench.table.add(PART, f"{form}, {clients} clients", "messages/s",
                            [run["messages_per_second"] for run in runs], **durable)
            bench.table.add(PART, "  a call, p50", "ms", [run["p50_ms"] for run in runs])
            bench.table.add(PART, "  a call, p99", "ms", [run["p99_ms"] for run in runs])
            bench.table.add(PART, "  CPU", "s per million", [run["cpu_seconds_per_million"] for run in runs])
            most = max(most, *(run["resident_mb_max"] for run in runs))
    bench.table.add(PART, f"{name}: resident memory, at most", "MB", most)


def run(bench, environment, **settings):
    return bench.load.run("queues", environment=environment, **settings)


@contextmanager
def other(folder, command, port, environment=None):
    """Another server of SQS on a port of the loopback."""
    endpoint = f"http://127.0.0.1:{port}"
    with open(folder / f"{port}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not answers(endpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer: {(folder / f'{port}.log').read_text()[-2000:]}")
            time.sleep(0.1)
        found = {**os.environ, "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
        yield SimpleNamespace(process=process, environment=found)
    finally:
        process.terminate()
        process.wait(30)


def answers(endpoint):
    try:
        urllib.request.urlopen(endpoint, timeout=1).read()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def elasticmq(folder, kept):
    port, settings = free_port(), folder / f"elasticmq-{kept}.conf"
    lines = [
        f'node-address {{ host = "127.0.0.1", port = {port} }}',
        f'rest-sqs {{ enabled = true, bind-hostname = "127.0.0.1", bind-port = {port} }}',
        "rest-stats { enabled = false }",
        f'messages-storage {{ enabled = {str(kept).lower()}, uri = "jdbc:h2:{folder}/elasticmq" }}',
    ]
    settings.write_text("include classpath(\"application.conf\")\n" + "\n".join(lines))
    command = ["java", f"-Dconfig.file={settings}", "-cp", str(java_library.elasticmq()), "org.elasticmq.server.Main"]
    return other(folder, command, port)


def moto(folder):
    python = java_library.TOOLS / "moto" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        done = subprocess.run([python, "-m", "pip", "--quiet", "install", MOTO], capture_output=True, text=True)
        if done.returncode:
            raise java_library.Missing(f"pip cannot install {MOTO}: {done.stderr[-300:]}")
    port = free_port()
    return other(folder, [str(python), "-c", MOTO_SERVER, "-p", str(port)], port)
