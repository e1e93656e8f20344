"""Log lines that must stay: put into a log group, in batches, by threads that go on through the server's deaths.

What was acknowledged is found, once, in the order of its times; a batch is there whole or not at all.
"""

import itertools
import random
import threading
import time
from collections import Counter

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

GROUP = "crash"
STREAMS = 2
BATCH_LINES = 20
# So much that lines go from memory to files, and files are merged, within seconds.
FILLER_BYTES = 2000
# Faster than that it would be a load test.
PAUSE_S = 0.02
GONE = (ClientError, HTTPClientError, BotoCoreError, OSError)


class LogLines:
    """A log group, and a thread for each of its streams that puts lines until it is told to stop."""

    def __init__(self, account, seed):
        self.seed = seed
        self.logs = account.client("logs", connect_timeout=2, read_timeout=20)
        self.logs.create_log_group(logGroupName=GROUP)
        for stream in range(STREAMS):
            self.logs.create_log_stream(logGroupName=GROUP, logStreamName=str(stream))
        self.acknowledged = set()
        self.failures = []
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.produce, args=(n,), daemon=True) for n in range(STREAMS)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def produce(self, stream):
        chance = random.Random(f"{self.seed}/{stream}")
        for number in itertools.count():
            if self.done.wait(PAUSE_S):
                return
            now = time.time_ns() // 1_000_000
            batch = f"{stream}/{number}"
            events = [{"timestamp": now + line // 4, "message": f"{batch}/{line} {chance.randbytes(FILLER_BYTES // 2).hex()}"}
                      for line in range(BATCH_LINES)]
            try:
                answer = self.logs.put_log_events(logGroupName=GROUP, logStreamName=str(stream), logEvents=events)
            except GONE:
                continue
            self.acknowledged.add(batch)
            if "rejectedLogEventsInfo" in answer:
                self.failures.append(f"lines: some of {batch} were rejected: {answer['rejectedLogEventsInfo']}")

    def check(self):
        """What is wrong with what the group holds now."""
        found, ids, times = Counter(), Counter(), []
        for page in self.logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP):
            for event in page["events"]:
                line = event["message"].split(" ")[0]
                found[line] += 1
                ids[event["eventId"]] += 1
                times.append(event["timestamp"])
                if line.split("/")[0] != event["logStreamName"]:
                    self.failures.append(f"lines: {line} is in stream {event['logStreamName']}")
        batches = Counter(line.rsplit("/", 1)[0] for line in found)
        wrong = {
            "are lost": self.acknowledged - batches.keys(),
            "are there in part": [batch for batch, lines in batches.items() if lines != BATCH_LINES],
            "are there twice": [line for line, times_found in found.items() if times_found > 1],
            "share an id": [event for event, times_found in ids.items() if times_found > 1],
            "are out of order": [] if times == sorted(times) else ["some"],
        }
        return self.failures + [f"lines: {len(some)} {what}: {sorted(some)[:5]}" for what, some in wrong.items() if some]
