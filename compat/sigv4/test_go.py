"""The AWS SDK for Go signs, which normalises and folds otherwise than botocore; we verify."""

import base64
import json
import pathlib
import shutil
import subprocess

import pytest

from requests_by_chance import NOW_TEXT, SECRET, TOKEN, ByChance
from test_botocore import CASES, SEED, verify

FOLDER = pathlib.Path(__file__).parent / "go"


@pytest.fixture(scope="session")
def go():
    if not shutil.which("go"):
        pytest.skip("no go")

    def ask(questions):
        lines = "\n".join(json.dumps(question) for question in questions)
        run = subprocess.run(["go", "run", "."], cwd=FOLDER, input=lines, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        return [json.loads(line) for line in run.stdout.splitlines()]

    return ask


@pytest.mark.parametrize("presign", [False, True])
@pytest.mark.parametrize("service", ["s3", "cloudtrail"])
def test_requests_of_go_verify_and_tampered_ones_do_not(oracle, go, service, presign):
    chance = ByChance(f"{SEED}-go-{service}-{presign}")
    questions, bodies = [], []
    for case in range(CASES):
        request = chance.request(body=not presign)
        body = request.data or b""
        # Go's SDK sorts a query by decoded names, which differs from AWS's order for some; it never sends those.
        query = "" if case % 2 else "list-type=2&prefix=a%20b%2Bc&acl="
        bodies.append(body)
        questions.append({
            "Method": request.method,
            "URL": request.url.partition("?")[0] + (f"?{query}" if query else ""),
            "Service": service,
            "Secret": SECRET,
            "Token": TOKEN if case % 3 == 0 else "",
            "Now": NOW_TEXT,
            "Headers": [[k, v] for k, v in request.headers.items()],
            "Body": base64.b64encode(body).decode(),
            "Presign": presign,
        })
    for question, body, sent in zip(questions, bodies, go(questions), strict=True):
        request = sent["Method"], sent["Target"], sent["Headers"], body
        answer = verify(oracle, *request)
        assert answer["ok"], (answer, question, sent)
        assert answer["presigned"] == presign
        method, target, headers, _ = request
        assert not verify(oracle, "PATCH", target, headers, body)["ok"]
        assert not verify(oracle, method, target.replace("/", "/x", 1), headers, body)["ok"]
        if not presign:
            assert not verify(oracle, method, target, headers, body + b"x")["ok"]
