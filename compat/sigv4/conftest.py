"""Starts the oracle once and asks it one JSON document a line."""

import base64
import json
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Oracle:
    def __init__(self):
        built = os.environ.get("SIGV4_ORACLE")
        cargo = ["cargo", "run", "--quiet", "--package", "cairn-wire", "--example", "sigv4_oracle"]
        command = [built] if built else cargo
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, op, method, uri, headers, body=b"", **more):
        question = {
            "op": op,
            "method": method,
            "uri": uri,
            "headers": headers,
            "body": base64.b64encode(body).decode(),
            **more,
        }
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "payload" in answer:
            answer["payload"] = base64.b64decode(answer["payload"])
        assert answer.get("code") != "Unanswerable", (answer, question)
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


@pytest.fixture(scope="session")
def oracle():
    oracle = Oracle()
    yield oracle
    oracle.close()
