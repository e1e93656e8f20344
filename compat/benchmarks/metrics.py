"""Data put into metrics, and alarms that look at them: 10,000 alarms over a minute, and what they take."""

import re
import threading
import time
import urllib.request

from cairn_server import Server

from .load import client, cpu_seconds, resident_mb

PART = "metrics and alarms"
RUNS = 3
RUN_SECONDS = 2
CALLERS = 4
DATA_OF_A_CALL = 1, 1000
METRICS = 1000
ALARMS = 10_000
ALARM_CALLERS = 8


def measure(bench):
    with Server(bench.cairn, data=bench.folder / "metrics") as server:
        for data in DATA_OF_A_CALL:
            runs = [rate(server, data) for _ in range(RUNS)]
            name = f"PutMetricData, {data} data a call, {CALLERS} clients"
            bench.table.add(PART, name, "data/s", [found for found, _ in runs])
            bench.table.add(PART, "  CPU of the server", "s per million", [cpu for _, cpu in runs])
        alarms(bench, server)


def rate(server, data):
    """Data a second, and the server's CPU for a million of them."""
    body = [{"MetricName": f"m{place % METRICS}", "Value": float(place), "Unit": "Count"} for place in range(data)]
    calls, end = [0] * CALLERS, time.monotonic() + RUN_SECONDS
    before = cpu_seconds(server.process.pid)

    def run(place):
        cloudwatch = client(server, "cloudwatch")
        while time.monotonic() < end:
            cloudwatch.put_metric_data(Namespace="Bench", MetricData=body)
            calls[place] += 1
    in_threads(CALLERS, run)
    put = sum(calls) * data
    return put / RUN_SECONDS, (cpu_seconds(server.process.pid) - before) / put * 1e6


def in_threads(count, run):
    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def alarms(bench, server):
    bare = resident_mb(server.process.pid)

    def put(place):
        cloudwatch = client(server, "cloudwatch")
        for number in range(place, ALARMS, ALARM_CALLERS):
            cloudwatch.put_metric_alarm(
                AlarmName=f"alarm-{number}", Namespace="Bench", MetricName=f"m{number % METRICS}", Statistic="Sum", Period=60,
                EvaluationPeriods=3, Threshold=1e12, ComparisonOperator="GreaterThanThreshold",
                TreatMissingData="notBreaching",
            )
    begun = time.monotonic()
    in_threads(ALARM_CALLERS, put)
    bench.table.add(PART, f"PutMetricAlarm, {ALARM_CALLERS} clients", "calls/s", ALARMS / (time.monotonic() - begun))
    # Two whole looks at all of them, one a minute.
    wait_for_evaluations(server, ALARMS)
    before, cpu = evaluations(server), cpu_seconds(server.process.pid)
    wait_for_evaluations(server, 2 * ALARMS)
    used, looked = cpu_seconds(server.process.pid) - cpu, evaluations(server) - before
    bench.table.add(PART, f"{ALARMS:,} alarms looked at each minute: CPU", "% of a core", used / 120 * 100)
    bench.table.add(PART, "  alarms evaluated in a second of CPU, at least", "alarms/s", looked / used)
    bench.table.add(PART, "  resident memory, beside that without alarms", "MB", resident_mb(server.process.pid) - bare)


def evaluations(server):
    text = urllib.request.urlopen(f"{server.endpoint}/_cairn/metrics").read().decode()
    found = re.search(r"^cairn_cloudwatch_evaluations_total (\d+)", text, re.M)
    return int(found[1])


def wait_for_evaluations(server, count):
    until = evaluations(server) + count
    while evaluations(server) < until:
        time.sleep(0.5)
