"""Trails of a crash run, what each must hold, and what its bucket holds."""

import gzip
import hashlib
import json
import time
from collections import Counter

from load import MARK, REGIONS

PARAMETERS_KEPT = 2000


class Watched:
    """A trail, and everything ever seen in its bucket."""

    def __init__(self, account, name, home, wants, prefix=None, regions=None, **settings):
        self.account = account
        self.name = name
        self.home = home
        self.regions = regions or (home,)
        self.wants = wants
        self.objects = {}
        self.tags = {}
        self.delivered = []
        self.listed = set()
        self.problems = []
        more = {"IsMultiRegionTrail": True} if len(self.regions) > 1 else {}
        self.trail, self.bucket = account.trail(home, prefix=prefix, logging=False, **more)
        self.cloudtrail = account.client("cloudtrail", home)
        if settings:
            self.cloudtrail.put_event_selectors(TrailName=self.trail["TrailARN"], **settings)
        self.s3 = account.client("s3")
        # The spans of time in which it surely was on, and those in which it surely was off.
        self.on, self.off = [], []
        self.activations = 0
        self.switched_at = (0, time.time())
        self.start()

    def start(self):
        """Starts logging; where the server is down, the test's own error comes through."""
        asked = time.time()
        self.cloudtrail.start_logging(Name=self.trail["TrailARN"])
        self.off.append((self.switched_at[1], asked))
        self.switched_at = (asked, time.time())
        self.activations += 1
        self.is_on = True

    def stop(self):
        asked = time.time()
        self.cloudtrail.stop_logging(Name=self.trail["TrailARN"])
        self.on.append((self.switched_at[1], asked))
        self.switched_at = (asked, time.time())
        self.is_on = False

    def must_have(self, call):
        spans = self.on + ([(self.switched_at[1], float("inf"))] if self.is_on else [])
        return self.wants(call) and within(call, spans)

    def must_not_have(self, call):
        spans = self.off + ([] if self.is_on else [(self.switched_at[1], float("inf"))])
        return not self.wants(call) or within(call, spans)

    def read(self):
        """Reads what is new in the bucket; what was there before must be there still, and the same."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        listed = {item["Key"]: item["ETag"] for page in pages for item in page.get("Contents", [])}
        for key, tag in self.tags.items():
            if listed.get(key) != tag:
                self.problems.append(f"{self.name}: {key} was changed or taken away after it was delivered")
        for key in listed.keys() - self.tags.keys():
            reply = self.s3.get_object(Bucket=self.bucket, Key=key)
            body = reply["Body"].read()
            if f'"{hashlib.md5(body).hexdigest()}"' != listed[key]:
                self.problems.append(f"{self.name}: {key} has other bytes than its tag says")
            self.objects[key] = (body, reply["Metadata"])
            if is_in("CloudTrail", key):
                self.delivered += [(key, slim(record)) for record in json.loads(gzip.decompress(body))["Records"]]
            if is_in("CloudTrail-Digest", key):
                self.listed |= {file["s3Object"] for file in json.loads(gzip.decompress(body))["logFiles"]}
        self.tags = listed

    @property
    def files(self):
        """The log files, by key."""
        return {key: body for key, (body, _) in self.objects.items() if is_in("CloudTrail", key)}

    @property
    def digests(self):
        """The digests and their metadata, by key."""
        return {key: both for key, both in self.objects.items() if is_in("CloudTrail-Digest", key)}

    def missing(self, calls):
        delivered = {record["requestID"] for _, record in self.delivered}
        return [call for call in calls if self.must_have(call) and call.request_id not in delivered]

    def undigested(self):
        return set(self.files) - self.listed


def is_in(folder, key):
    return f"/{folder}/" in key and key.endswith(".json.gz")


def slim(record):
    """The record without long parameters; the mark stays."""
    parameters = json.dumps(record.get("requestParameters"))
    if len(parameters) > PARAMETERS_KEPT:
        record["requestParameters"] = {"marks": MARK.findall(parameters)}
    return record


def within(call, spans):
    return any(since <= call.began and call.ended <= until for since, until in spans)


def check_records(name, records, calls, user_agent, must_have, must_not_have=lambda _: False):
    """Everything that is wrong with `records` (place, record), which are to hold each call once and nothing else."""
    wrong = []
    by_id = {call.request_id: call for call in calls if call.request_id}
    unanswered = {call.mark: call for call in calls if not call.request_id}
    unanswered_keys = Counter(call.key or call.event for call in unanswered.values())
    seen, seen_events, places = Counter(), Counter(), {}
    for place, record in records:
        seen_events[record["eventID"]] += 1
        request_id = record.get("requestID")
        if user_agent not in record.get("userAgent", ""):
            if "Boto3/" not in record["userAgent"] and "aws-cli/" not in record["userAgent"]:
                wrong.append(f"{name}: {place} has a record that nobody made: {json.dumps(record)}")
            continue
        mark = MARK.search(json.dumps(record.get("requestParameters")))
        call = by_id.get(request_id) or (mark and unanswered.get(mark[0]))
        key = (record.get("requestParameters") or {}).get("key")
        if not call and unanswered_keys[key] > 0:
            # A call without a reply whose parameters have no mark: as many of its kind as there were.
            unanswered_keys[key] -= 1
            continue
        if not call:
            wrong.append(f"{name}: {place} has a record that nobody made: {json.dumps(record)}")
            continue
        seen[call.mark] += 1
        places.setdefault(call.mark, []).append(place)
        if record["eventName"] != call.event or record["awsRegion"] != call.region:
            wrong.append(f"{name}: {call} was recorded as {record['eventName']} in {record['awsRegion']}")
        if call.ended and must_not_have(call):
            wrong.append(f"{name}: {call} is not to be there")
    wrong += [f"{name}: event {event} is there {times} times" for event, times in seen_events.items() if times > 1]
    for call in calls:
        if seen[call.mark] > 1:
            wrong.append(f"{name}: {call} is there {seen[call.mark]} times, in {places[call.mark]}")
        if call.request_id and seen[call.mark] == 0 and must_have(call):
            wrong.append(f"{name}: {call} is lost")
    return wrong


def watched_trails(account, objects):
    """One trail of each kind."""
    management = lambda call: not call.is_data  # noqa: E731
    data_only = [{
        "ReadWriteType": "All", "IncludeManagementEvents": False,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": [f"arn:aws:s3:::{objects}/"]}],
    }]
    here = lambda call: management(call) and call.region == "us-east-1"  # noqa: E731
    return [
        Watched(account, "single", "us-east-1", here),
        Watched(account, "multi", "eu-west-1", management, prefix="far/away", regions=REGIONS),
        Watched(account, "data", "us-east-1", lambda call: call.is_data, EventSelectors=data_only),
        Watched(account, "switched", "us-east-1", here),
    ]
