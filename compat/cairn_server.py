"""Starts and stops a Cairn server for the demo and the end-to-end suites: the only thing they share."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

SAID_BYTES_MAX = 100_000


class Server:
    """A `cairn serve` on a free port of the loopback, with a data folder of its own."""

    def __init__(self, binary, data=None, variables=None, **flags):
        self.binary = str(binary)
        self.own_data = data is None
        self.data = Path(data or tempfile.mkdtemp(prefix="cairn-"))
        self.flags = {"listen": "127.0.0.1:0", **flags}
        self.variables = dict(variables or {})
        self.process = None
        self.log_path = self.data.parent / f"{self.data.name}.log"

    def launch(self):
        """Starts the process and does not wait for it."""
        command = [self.binary, "serve", "--data", str(self.data)]
        for name, value in self.flags.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self.log = open(self.log_path, "ab")
        (self.data / "server.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env={**os.environ, **self.variables})

    def start(self, seconds=20):
        """Starts the process and waits until it answers; returns self."""
        self.launch()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"cairn ended with {self.process.returncode}: {self.said}")
            try:
                urllib.request.urlopen(self.endpoint + "/_cairn/health", timeout=1).read()
                return self
            except (OSError, KeyError, ValueError):
                time.sleep(0.02)
        raise RuntimeError(f"cairn did not answer within {seconds} s: {self.said}")

    @property
    def said(self):
        """The beginning of the log."""
        with open(self.log_path, "rb") as log:
            return log.read(SAID_BYTES_MAX).decode(errors="replace")

    @property
    def endpoint(self):
        return json.loads((self.data / "server.json").read_text())["endpoint"]

    @property
    def environment(self):
        """The environment for a client, as `cairn env` prints it, without any of the caller's AWS settings."""
        return self.environment_of()

    def environment_of(self, account=None):
        """The same for the root user of `account`; the first account where none is named."""
        command = [self.binary, "env", "--data", str(self.data), *(["--account", account] if account else [])]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        values = dict(re.findall(r"^export (\w+)=(.*)$", printed, re.M))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        nowhere = str(self.data / "no-such-file")
        return {
            **inherited,
            **values,
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def stop(self, how=signal.SIGTERM, seconds=20):
        """Stops the process; returns its exit code."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(seconds)
        self.process.stdout.close()
        self.log.close()
        return code

    def remove(self):
        """Removes the data folder."""
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)
            self.log_path.unlink(missing_ok=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        self.remove()
