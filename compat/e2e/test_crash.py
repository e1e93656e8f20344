"""SIGKILL under load, a short and seeded run of `compat/crash` (`make soak` runs more), and whether its judge sees."""

import gzip
import json
import sys
from collections import Counter

import pytest
from conftest import AWS, BINARY, COMPAT

sys.path.insert(0, str(COMPAT / "crash"))

from chains import check_chain  # noqa: E402
from load import Call  # noqa: E402
from rounds import DEATHS, Run  # noqa: E402
from watched import check_records  # noqa: E402

SEED = 21


def test_what_was_acknowledged_survives_kills_exactly_once():
    run = Run(BINARY, AWS, SEED, rounds=3, alive_s=1.0)
    failures = run.perform()
    assert not failures, "\n".join([*failures[:20], run.again])
    assert run.kills >= 2 and len(run.load.acknowledged) > 20


@pytest.mark.parametrize("kind", DEATHS)
def test_death_at_named_points_loses_and_doubles_nothing(kind):
    run = Run(BINARY, AWS, SEED, rounds=0, alive_s=1.0, deaths=DEATHS[kind])
    failures = run.perform()
    assert not failures, "\n".join([*failures[:20], str(run.died_at), run.again])
    assert run.died_at == Counter(point for points in DEATHS[kind] for point in points)
    assert len(run.segments) > 1


def call(number, **more):
    answer = {"ended": 2.0, "request_id": f"id{number}", **more}
    return Call(f"m1x1x{number}z", "ListUsers", "us-east-1", began=1.0, **answer)


def record(number, **more):
    return "file", {
        "eventID": f"event{number}", "requestID": f"id{number}", "eventName": "ListUsers", "awsRegion": "us-east-1",
        "userAgent": "Boto3/1 load/1", "requestParameters": {"pathPrefix": f"/m1x1x{number}z/"}, **more,
    }


@pytest.mark.parametrize("records,wrong", [
    ([record(1), record(2)], None),
    ([record(1), record(2), record(3)], None),
    ([record(1)], "is lost"),
    ([record(1), record(2), record(2, eventID="other")], "is there 2 times"),
    ([record(1), record(2), record(3), record(3, requestID="id4", eventID="event4")], "is there 2 times"),
    ([record(1), record(2), record(1, userAgent="Boto3/1")], "event event1 is there 2 times"),
    ([record(1), record(2), record(9)], "nobody made"),
    ([record(1), record(2), record(9, userAgent="other")], "nobody made"),
    ([record(1), record(2, eventName="GetUser")], "was recorded as GetUser"),
])
def test_the_judge_sees_lost_doubled_and_invented_records(records, wrong):
    calls = [call(1), call(2), call(3, request_id=None, ended=None)]
    found = check_records("trail", records, calls, "load/1", lambda _: True)
    assert [wrong in text for text in found] == [True] if wrong else found == []


def digest(number, previous=None, **more):
    key = f"AWSLogs/1/CloudTrail-Digest/r/x_20260101T00000{number * 2}Z.json.gz"
    names = ("S3Object", "HashValue", "Signature")
    text = json.dumps({
        "digestS3Bucket": "b", "digestS3Object": key, "digestPublicKeyFingerprint": "f",
        "digestStartTime": f"2026-01-01T00:00:0{number * 2 - 2}Z", "digestEndTime": f"2026-01-01T00:00:0{number * 2}Z",
        **{f"previousDigest{name}": value for name, value in zip(names, previous or (None, None, None))}, **more,
    })
    return key, gzip.compress(text.encode()), {"signature": "00"}


def test_the_judge_sees_gaps_forks_and_false_signatures():
    def wrong(*chain):
        return [text for text in check_chain("r", list(chain), {}, 1, 2) if "signature" not in text]
    assert len(list(check_chain("r", [digest(1)], {}, 1, 2))) == 1, "a signature by an unknown key"
    assert wrong(digest(1)) == []
    assert "began 2 times" in wrong(digest(1), digest(2))[0]
    assert "never began" in wrong(digest(2, ("k", "h", "s")))[0]
    assert "does not follow" in wrong(digest(1), digest(2, ("k", "h", "s")))[0]
    assert "covers 4.0 s" in wrong(digest(2, digestStartTime="2026-01-01T00:00:00Z"))[0]
