"""The codec under test, as a process that answers JSON lines: crates/wire/examples/wire_oracle.rs."""

import base64
import json
import os
import subprocess
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build():
    """Builds the example and gives its path. CAIRN_WIRE_ORACLE names one that is already built."""
    if given := os.environ.get("CAIRN_WIRE_ORACLE"):
        return given
    command = ["cargo", "build", "--quiet", "-p", "cairn-wire", "--example", "wire_oracle"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug" / "examples" / "wire_oracle")


class Oracle:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask_all(self, questions):
        """The answers to all questions, written and read at the same time so that no pipe fills up."""

        def write():
            for question in questions:
                self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()

        writer = threading.Thread(target=write)
        writer.start()
        answers = [json.loads(self.process.stdout.readline()) for _ in questions]
        writer.join()
        return answers

    def ask(self, **question):
        return self.ask_all([question])[0]

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def b64(data):
    return base64.b64encode(data).decode()
