"""What is accepted durably: records of producers, and when they can be found."""

from concurrent.futures import ThreadPoolExecutor

from cairn_server import Server

from .load import channel, resident_mb
from .table import at_least, below

PART = "records accepted durably"
RUNS = 3
# The load of each row: its form, connections, records, records of a request.
LOADS = [
    ("POST /v1/events, 1 connection", {"form": "ndjson", "connections": 1, "events": 200_000}),
    ("POST /v1/events, 2 connections", {"form": "ndjson", "connections": 2, "events": 200_000}),
    ("POST /v1/events, 4 connections", {"form": "ndjson", "connections": 4, "events": 200_000}),
    ("POST /v1/events, gzip, 4 connections", {"form": "gzip", "connections": 4, "events": 100_000}),
    ("PutAuditEvents of 100, 4 connections", {"form": "audit", "connections": 4, "events": 60_000, "per_request": 100}),
]
AIMED = "POST /v1/events, 4 connections"


def measure(bench):
    for name, load in LOADS:
        with Server(bench.cairn, data=bench.folder / f"accepted-{LOADS.index((name, load))}") as server:
            arn = channel(server) if load["form"] == "audit" else None
            bench.load.send(server, channel=arn, **load | {"events": load["events"] // 10})
            runs = [bench.load.send(server, channel=arn, **load) for _ in range(RUNS)]
            rows(bench, name, runs)
            if name == AIMED:
                most = [run["resident_mb_max"] for run in runs]
                bench.table.add(PART, "resident memory during that, at most", "MB", most, aim=below(300))
                bench.table.add(PART, "resident memory after it", "MB", resident_mb(server.process.pid))
    latency(bench)


def rows(bench, name, runs):
    megabytes = bench.record_bytes / 1e6
    bench.table.add(PART, name, "events/s", [run["events_per_second"] for run in runs],
                    limit="write and fdatasync of 1 MiB", scale=megabytes,
                    aim=at_least(300_000) if name == AIMED else None)
    bench.table.add(PART, "  CPU", "s per million", [run["cpu_seconds_per_million"] for run in runs])
    if "Audit" not in name:
        bench.table.add(PART, "  until all are found", "events/s", [run["searchable_per_second"] for run in runs])
        bench.table.add(PART, "  CPU until all are found", "s per million",
                        [run["cpu_seconds_per_million_searchable"] for run in runs])


def latency(bench):
    """From the reply to LookupEvents, on an idle server and under load."""
    with Server(bench.cairn, data=bench.folder / "searchable") as server:
        seen = [bench.load.run("lookup", server, rounds=100, seed=bench.load.next_seed()) for _ in range(RUNS)]
        report(bench, "from reply to LookupEvents, idle", seen)
        with ThreadPoolExecutor() as pool:
            sending = pool.submit(bench.load.send, server, form="ndjson", connections=2, events=400_000)
            seen = []
            while not sending.done():
                seen.append(bench.load.run("lookup", server, rounds=10, seed=bench.load.next_seed()))
            sending.result()
        report(bench, "from reply to LookupEvents, under load", seen)


def report(bench, name, seen):
    bench.table.add(PART, f"{name}, p50", "ms", [run["p50_ms"] for run in seen])
    # The worst of the runs: they are short.
    bench.table.add(PART, f"{name}, p99", "ms", max(run["p99_ms"] for run in seen), aim=below(1000))
