"""Runs the load generator, crates/cairn/examples/load, against a server."""

import json
import os
import re
import subprocess
from pathlib import Path

import boto3


class Load:
    """The load generator at `binary`."""

    def __init__(self, binary):
        self.binary = str(binary)
        self.seed = 0

    def run(self, command, server=None, environment=None, **settings):
        """What the load generator says of one run."""
        settings = {name: value for name, value in settings.items() if value is not None}
        if server:
            settings |= {"pid": server.process.pid, "account": account(server)}
        words = [f"{name}={value}" for name, value in settings.items()]
        environment = environment or (server.environment if server else os.environ)
        done = subprocess.run([self.binary, command, *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"load {command} {' '.join(words)}: {done.stderr}")
        return json.loads(done.stdout)

    def send(self, server, **settings):
        """`load send` of records that were never sent before."""
        return self.run("send", server, seed=self.next_seed(), **settings)

    def next_seed(self):
        self.seed += 1
        return self.seed


def client(server, service):
    """A client of boto3 with the server's first account."""
    found = server.environment
    return boto3.client(
        service,
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"],
    )


def account(server):
    """The server's first account."""
    if not hasattr(server, "account"):
        server.account = client(server, "sts").get_caller_identity()["Account"]
    return server.account


def channel(server):
    """The ARN of a new channel."""
    store = f"arn:aws:cloudtrail:us-east-1:{account(server)}:eventdatastore/event-history"
    destinations = [{"Type": "EVENT_DATA_STORE", "Location": store}]
    made = client(server, "cloudtrail").create_channel(Name="bench", Source="Custom", Destinations=destinations)
    return made["ChannelArn"]


def resident_mb(pid):
    """What a process holds of memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024 / 1e6


def cpu_seconds(pid):
    """What a process spent of the processors' time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
