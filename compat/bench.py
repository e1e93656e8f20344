"""How fast and how small the release binary is, on this machine: one table, and target/bench.json.

Latencies and rates are of one machine with client and server on it, so they are shown beside what the disk does in the
same run: a recorded call cannot be faster than the fdatasync that makes its event durable.
"""

import argparse
import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cairn_server import Server

IDLE_SECONDS = 15
RUN_SECONDS = 3
STARTS = 10
OBJECT_BYTES = 1024 * 1024
TARGETS = {"idle_resident_mb": 60, "idle_cpu_percent": 1.0, "start_ms": 500}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cairn", required=True, help="the cairn binary")
parser.add_argument("--json", default="target/bench.json", help="where to write the numbers")
arguments = parser.parse_args()


def fdatasyncs_per_second(folder):
    """How often 512 appended bytes become durable, one after another."""
    with open(folder / "sync", "wb") as file:
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < 2:
            file.write(b"x" * 512)
            file.flush()
            os.fdatasync(file.fileno())
            count += 1
        return count / (time.perf_counter() - begun)


def start_ms(data):
    """From the start of the process to the first answer, with a folder that was used before."""
    server = Server(arguments.cairn, data=data)
    begun = time.perf_counter()
    server.start()
    took = (time.perf_counter() - begun) * 1000
    server.stop()
    return took


def resident_mb(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Client:
    """Prepared requests over kept connections: the client costs as little as it can."""

    def __init__(self, server):
        self.environment, self.place = server.environment, server.endpoint.removeprefix("http://")
        self.credentials = Credentials(
            self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]
        )

    def signed(self, method, path, service, body=b"", headers=None):
        request = AWSRequest(method, f"http://{self.place}{path}", data=body, headers=headers or {})
        (S3SigV4Auth if service == "s3" else SigV4Auth)(self.credentials, service, "us-east-1").add_auth(request)
        return method, path, body, dict(request.headers.items())

    def iam(self, action, **parameters):
        form = "&".join([f"Action={action}&Version=2010-05-08", *(f"{n}={v}" for n, v in parameters.items())])
        return self.signed("POST", "/", "iam", form.encode(), {"Content-Type": "application/x-www-form-urlencoded"})

    def caller(self):
        form = b"Action=GetCallerIdentity&Version=2011-06-15"
        return self.signed("POST", "/", "sts", form, {"Content-Type": "application/x-www-form-urlencoded"})

    def run(self, make, clients, seconds=RUN_SECONDS):
        """Runs `make(worker, index)` requests on so many connections: (calls a second, p50 ms, p99 ms)."""
        taken, lock, failures = [], threading.Lock(), []
        end = time.perf_counter() + seconds

        def work(worker):
            connection, own, index = http.client.HTTPConnection(self.place, timeout=30), [], 0
            while time.perf_counter() < end:
                request = make(worker, index)
                begun = time.perf_counter()
                method, path, body, headers = request
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                answer.read()
                own.append(time.perf_counter() - begun)
                index += 1
                if answer.status >= 300:
                    failures.append(answer.status)
            with lock:
                taken.extend(own)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begun
        if failures:
            sys.exit(f"{len(failures)} calls failed, the first with {failures[0]}")
        taken.sort()
        return {
            "calls_per_second": round(len(taken) / took, 1),
            "p50_ms": round(taken[len(taken) // 2] * 1000, 2),
            "p99_ms": round(taken[int(len(taken) * 0.99)] * 1000, 2),
        }


def measure():
    numbers = {"binary_mb": round(Path(arguments.cairn).stat().st_size / 1e6, 1)}
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        folder = Path(folder)
        numbers["fdatasyncs_per_second"] = round(fdatasyncs_per_second(folder), 1)
        with Server(arguments.cairn, data=folder / "data") as server:
            client, pid = Client(server), server.process.pid
            for clients in (1, 16, 64):
                same = client.caller()
                numbers[f"read_{clients}_clients"] = client.run(lambda worker, index: same, clients)
                user = f"user-{clients}"
                client.run(lambda worker, index: client.iam("UpdateUser" if index else "CreateUser", UserName=user), 1, 0.01)
                # Signed anew each time, as each has another value: what the client spends on it is not counted.
                numbers[f"write_{clients}_clients"] = client.run(lambda worker, index: client.iam("TagUser", **{
                    "UserName": user, "Tags.member.1.Key": "count", "Tags.member.1.Value": f"{worker}-{index}",
                }), clients)
            numbers.update(objects(client))
            print(f"idle for {IDLE_SECONDS} s ...", file=sys.stderr)
            time.sleep(3)
            before, begun = cpu_seconds(pid), time.perf_counter()
            time.sleep(IDLE_SECONDS)
            took = time.perf_counter() - begun
            numbers["idle_cpu_percent"] = round((cpu_seconds(pid) - before) / took * 100, 2)
            numbers["idle_resident_mb"] = round(resident_mb(pid), 1)
        numbers["start_ms"] = round(statistics.median(start_ms(folder / "data") for _ in range(STARTS)), 1)
        numbers["first_start_ms"] = round(start_ms(folder / "fresh"), 1)
        with Server(arguments.cairn, data=folder / "fresh") as server:
            time.sleep(2)
            numbers["fresh_resident_mb"] = round(resident_mb(server.process.pid), 1)
    return numbers


def objects(client):
    """Puts and gets 1 MiB objects over four connections."""
    body = os.urandom(OBJECT_BYTES)
    hashed = {"x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
    client.run(lambda worker, index: client.signed("PUT", "/bench-objects", "s3"), 1, 0.01)
    put = client.run(lambda worker, index: client.signed("PUT", f"/bench-objects/{worker}-{index}", "s3", body, hashed), 4)
    got = client.run(lambda worker, index: client.signed("GET", f"/bench-objects/{worker}-0", "s3"), 4)
    return {
        "put_mb_per_second": round(put["calls_per_second"] * OBJECT_BYTES / 1e6, 1),
        "get_mb_per_second": round(got["calls_per_second"] * OBJECT_BYTES / 1e6, 1),
    }


def shown(name, value):
    if isinstance(value, dict):
        return f"{value['calls_per_second']:>10.0f} /s   p50 {value['p50_ms']:.2f} ms   p99 {value['p99_ms']:.2f} ms"
    text = f"{value:>10}"
    if name in TARGETS:
        text += f"     target < {TARGETS[name]}: {'met' if value < TARGETS[name] else 'MISSED'}"
    return text


def main():
    numbers = measure()
    print(f"{os.cpu_count()} cores, {subprocess.check_output(['uname', '-sr'], text=True).strip()}")
    for name, value in numbers.items():
        print(f"{name:<24}{shown(name, value)}")
    path = Path(arguments.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2) + "\n")
    missed = [name for name, limit in TARGETS.items() if numbers[name] >= limit]
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


main()
