"""The main job, shown with the stock AWS CLI: calls become events, log files and signed digests, and tampering shows.

Each step prints what it does, the command and what came back. Ends with 0 only if every step came out as it should.
"""

import argparse
import functools
import gzip
import io
import json
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

from cairn_server import Server

DELIVERY_SECONDS = 4
DIGEST_SECONDS = 10
BUCKET = "audit-logs"
TRAIL = "audit"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cairn", required=True, help="the cairn binary")
parser.add_argument("--aws", default="aws", help="the aws command")
arguments = parser.parse_args()


def say(text):
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def aws(*words, expect=0, show=True, input_text=None):
    """Runs the CLI, prints command and answer, and insists on its exit code."""
    shown = " ".join(word if " " not in word and "{" not in word else f"'{word}'" for word in words)
    if show:
        print(f"$ aws {shown}", flush=True)
    done = subprocess.run(
        [arguments.aws, *words], env=environment, capture_output=True, text=True, input=input_text
    )
    answer = (done.stdout + done.stderr).strip()
    if show and answer:
        print(answer, flush=True)
    # Version 1 of the CLI ends with 255 after an error answer, version 2 with 254.
    wanted = {254, 255} if expect == "refused" else {expect}
    if done.returncode not in wanted:
        print(answer)
        sys.exit(f"the command ended with {done.returncode}, not {wanted}")
    return answer


def listed(kind):
    """The keys of the bucket under AWSLogs/…/kind/, oldest first."""
    answer = json.loads(
        aws("s3api", "list-objects-v2", "--bucket", BUCKET, "--output", "json", show=False) or "{}"
    )
    objects = [o for o in answer.get("Contents", []) if f"/{kind}/" in o["Key"] and o["Key"].endswith(".json.gz")]
    return [o["Key"] for o in sorted(objects, key=lambda o: (o["LastModified"], o["Key"]))]


@functools.cache
def read(key):
    """The JSON of a gzipped object. None changes here before it is forged."""
    path = server.data / "fetched.gz"
    aws("s3api", "get-object", "--bucket", BUCKET, "--key", key, str(path), show=False)
    return json.loads(gzip.decompress(path.read_bytes()))


def wait_for(what, check, seconds=60):
    print(f"(waiting for {what})", flush=True)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.5)
    sys.exit(f"{what} did not come within {seconds} s")


def policy(account):
    source = {"aws:SourceArn": f"arn:aws:cloudtrail:us-east-1:{account}:trail/{TRAIL}"}
    service = {"Service": "cloudtrail.amazonaws.com"}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AWSCloudTrailAclCheck", "Effect": "Allow", "Principal": service,
                "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{BUCKET}",
                "Condition": {"StringEquals": source},
            },
            {
                "Sid": "AWSCloudTrailWrite", "Effect": "Allow", "Principal": service,
                "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/AWSLogs/{account}/*",
                "Condition": {"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
            },
        ],
    }


def set_up():
    say("Who am I?")
    account = json.loads(aws("sts", "get-caller-identity", "--output", "json"))["Account"]
    say("A bucket for the log files, and the policy that lets CloudTrail write to it")
    aws("s3api", "create-bucket", "--bucket", BUCKET)
    aws("s3api", "put-bucket-policy", "--bucket", BUCKET, "--policy", json.dumps(policy(account)))
    say("A trail with log-file validation, and start logging")
    answer = aws(
        "cloudtrail", "create-trail", "--name", TRAIL, "--s3-bucket-name", BUCKET,
        "--is-multi-region-trail", "--enable-log-file-validation", "--output", "json",
    )
    aws("cloudtrail", "start-logging", "--name", TRAIL)
    return json.loads(answer)["TrailARN"]


def make_calls():
    say("A dozen calls of different kinds, also ones that fail")
    aws("iam", "create-user", "--user-name", "alice")
    aws("iam", "create-access-key", "--user-name", "alice", show=False)
    aws("iam", "list-users", "--output", "text")
    aws("iam", "get-user", "--user-name", "nobody", expect="refused")
    aws("s3api", "create-bucket", "--bucket", "reports")
    aws("s3api", "put-bucket-versioning", "--bucket", "reports", "--versioning-configuration", "Status=Enabled")
    aws("s3", "cp", "-", "s3://reports/hello.txt", input_text="hello\n")
    aws("s3", "ls", "s3://reports")
    aws("s3api", "get-bucket-policy", "--bucket", "reports", expect="refused")
    aws("cloudtrail", "describe-trails", "--query", "trailList[].Name", "--output", "text")
    aws("cloudtrail", "get-event-selectors", "--trail-name", TRAIL, "--output", "json", show=False)
    aws("iam", "create-account-alias", "--account-alias", "cairn-demo")
    aws("iam", "list-account-aliases", "--output", "text")


def look_up():
    say("The event history has them at once, with or without a trail")
    query = "Events[].[EventTime,EventName,Username,ReadOnly,Resources[0].ResourceName]"
    aws("cloudtrail", "lookup-events", "--max-results", "15", "--query", query, "--output", "table")
    answer = aws(
        "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=CreateUser",
        "--query", "Events[0].CloudTrailEvent", "--output", "text", show=False,
    )
    say("One event in full: CreateUser")
    print(json.dumps(json.loads(answer), indent=2))


def see_delivery():
    say(f"Log files are delivered (every {DELIVERY_SECONDS} s in this demo, 5 minutes by default)")
    wait_for("three log files", lambda: len(listed("CloudTrail")) >= 3 or make_noise())
    aws("s3", "ls", "--recursive", f"s3://{BUCKET}")
    names = [event["eventName"] for key in listed("CloudTrail") for event in read(key)["Records"]]
    print(f"{len(names)} events in them: {', '.join(dict.fromkeys(names))}")
    say(f"Digests are signed and chained (every {DIGEST_SECONDS} s in this demo, 1 hour by default)")
    wanted = set(listed("CloudTrail")[:3])
    wait_for("a digest that lists them", lambda: wanted <= in_digests())


def make_noise():
    aws("iam", "list-users", show=False)
    return False


def in_digests():
    return {f["s3Object"] for key in listed("CloudTrail-Digest") for f in read(key)["logFiles"]}


def validate(arn, expect):
    start = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return aws(
        "cloudtrail", "validate-logs", "--trail-arn", arn, "--start-time", start, "--verbose", expect=expect
    )


def tamper():
    say("Now somebody deletes one log file and alters another")
    deleted, altered = listed("CloudTrail")[:2]
    aws("s3", "rm", f"s3://{BUCKET}/{deleted}")
    forged = read(altered)
    forged["Records"][0]["sourceIPAddress"] = "203.0.113.66"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(json.dumps(forged).encode())
    path = server.data / "forged.gz"
    path.write_bytes(packed.getvalue())
    aws("s3api", "put-object", "--bucket", BUCKET, "--key", altered, "--body", str(path), show=False)
    print(f"put a forged {altered}")
    return deleted, altered


def main():
    arn = set_up()
    make_calls()
    look_up()
    see_delivery()
    aws("cloudtrail", "get-trail-status", "--name", TRAIL)
    say("The stock AWS CLI validates everything that was delivered")
    answer = validate(arn, expect=0)
    assert "INVALID" not in answer and "log files valid" in answer, answer
    deleted, altered = tamper()
    say("The same command names both, and ends with exit code 1")
    answer = validate(arn, expect=1)
    for line in (f"{deleted}\tINVALID: not found", f"{altered}\tINVALID: hash value doesn't match"):
        assert line in answer, f"missing: {line}"
    say("That is the main job. Start your own: cairn serve --data ./cairn-data")


with Server(arguments.cairn, delivery_interval=f"{DELIVERY_SECONDS}s", digest_interval=f"{DIGEST_SECONDS}s") as server:
    environment = server.environment
    say(f"Cairn listens on {server.endpoint}, its data is in {server.data}")
    main()
