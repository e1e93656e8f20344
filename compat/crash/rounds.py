"""Kills a server under load again and again, and then asks it what it remembers.

    python compat/crash/rounds.py --cairn target/debug/cairn --seconds 300        many runs, a seed each
    python compat/crash/rounds.py --cairn target/debug/cairn --seed 7 --rounds 8    one run once more

A run is a data folder of its own: load from several threads, `--rounds` deaths by SIGKILL at moments that the seed
chooses (also while the server starts), a last start, and the checks of `check`. All is seen from outside, by clients.
A debug build is also killed at named points (crates/cairn/src/failpoint), and again at others while it starts.
The event log has small segments, so that deaths meet their making, sealing and removal.
"""

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

COMPAT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(COMPAT), str(COMPAT / "e2e"), str(COMPAT / "crash")]

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: E402
from cairn_server import Server  # noqa: E402
from chains import check_chains, public_keys  # noqa: E402
from lines import LogLines  # noqa: E402
from load import MARK, REGIONS, Load  # noqa: E402
from messages import Messages  # noqa: E402
from rules import Rule  # noqa: E402
from trail_lines import TrailLines  # noqa: E402
from trails import Account  # noqa: E402
from watched import check_records, slim, watched_trails  # noqa: E402

DIGEST_INTERVAL_S = 2
THREADS = 4
SETTLE_S = 60
SEGMENT_SIZE = "64KiB"
# How long a server under load may live before it reaches the point where it is to die.
REACH_S = 30
# Where a server dies under load, and where the next ones die that start on what it left; NAME@3 is the third time.
DEATHS = {
    "roll": [
        ["roll-created"], ["roll-reserved"], ["roll-header-written"], ["roll-header-synced"], ["roll-named"],
        ["roll-directory-synced"], ["seal-written"], ["seal-cut"], ["seal-synced"],
    ],
    "recovery": [
        ["log-write-torn", "recovery-found-torn"], ["log-write-torn", "recovery-cut", "recovery-cut"],
        ["log-write-torn", "recovery-synced"], ["roll-directory-synced", "seal-written", "seal-cut"],
        ["after-handler", "during-recovery", "log-write-torn", "during-recovery", "log-synced", "after-recovery"],
        ["after-intent", "log-written", "after-recovery"],
    ],
    "delivery": [
        ["before-log-file-put"], ["log-file-put"], ["log-file-put@3"], ["before-commit:trail.reservation"],
        ["after-commit:trail.reservation"], ["before-commit:trail.delivered"], ["after-commit:trail.delivered@2"],
    ],
    "digest": [
        ["before-digest-put"], ["digest-put"], ["digest-put@3"], ["before-commit:trail.digest_reservation"],
        ["after-commit:trail.digest_reservation"], ["before-commit:trail.digest_head"],
        ["after-commit:trail.digest_head@2"],
    ],
    "stores": [
        ["log-written@5"], ["log-synced@5"], ["trim-removed"], ["before-commit:history.segment"],
        ["after-commit:history.segment"], ["before-commit:trail.intent_cursor"], ["before-commit:s3.version@3"],
        ["after-commit:s3.version@3"], ["before-commit:iam_user"], ["after-commit:iam_user"],
    ],
    "queues": [
        ["queues-log-written@5"], ["queues-log-synced@5"], ["queues-log-write-torn", "queues-recovery-cut"],
        ["queues-log-write-torn", "queues-recovery-synced"], ["queues-roll-created"], ["queues-roll-named"],
        ["queues-seal-written", "queues-seal-cut"],
    ],
    "lines": [
        ["lines-log-written@5"], ["lines-log-synced@5"], ["lines-log-write-torn", "lines-recovery-cut"],
        ["lines-roll-created@3"], ["lines-roll-header-synced@3"], ["before-commit:lines.file@2"],
        ["after-commit:lines.file@2"],
    ],
    "reactions": [
        ["before-commit:events.log_cursor@2"], ["after-commit:events.log_cursor@2"],
        ["before-commit:trail.stream_cursor@3"], ["after-commit:trail.stream_cursor@3"],
    ],
}
# Every so many seeds one has large records.
HEAVY_EVERY = 4
GONE = (ClientError, HTTPClientError, BotoCoreError, OSError)


class Run:
    """One seed: a server, its load, its deaths, and what it was asked afterwards."""

    def __init__(self, binary, aws, seed, rounds, alive_s, deaths=None):
        self.binary, self.aws, self.seed, self.rounds, self.alive_s = binary, aws, seed, rounds, alive_s
        self.deaths = deaths
        self.chance = random.Random(seed)
        self.kills = 0
        self.died_at = Counter()
        self.segments, self.segments_removed = set(), set()
        self.failures = []

    def perform(self):
        """Runs it; gives what was wrong."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"cairn-crash-{self.seed}-"))
        data = self.folder / "data"
        data.mkdir()
        interval_ms = self.chance.randrange(300, 1000)
        self.server = Server(
            self.binary, data=data, listen=f"127.0.0.1:{free_port()}",
            delivery_interval=f"{interval_ms}ms", digest_interval=f"{DIGEST_INTERVAL_S}s",
            log_segment_size=SEGMENT_SIZE,
        )
        try:
            self.server.start()
            self.begin()
            if self.deaths:
                for points in self.deaths:
                    self.die_at(points)
            else:
                self.torment()
            self.load.stop()
            self.messages.stop()
            self.lines.stop()
            self.look_at_segments()
            self.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding of this seed
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            if self.server.process.poll() is None:
                self.server.stop(signal.SIGKILL)
        if "panicked" in self.server.log_path.read_text():
            self.failures.append("the server panicked, see its log")
        if not self.failures:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.failures

    @property
    def again(self):
        """How to see a failure again."""
        return (f"kept: {self.folder}; once more: {sys.executable} compat/crash/rounds.py --cairn {self.binary} "
                f"--aws {self.aws} --seed {self.seed} --rounds {self.rounds} --alive-seconds {self.alive_s}")

    def begin(self):
        self.account = Account(self.server)
        self.objects = self.account.bucket(policy=False)
        self.trails = watched_trails(self.account, self.objects)
        self.rule = Rule(self.account)
        self.trail_lines = TrailLines(self.account, self.trails[0])
        self.load = Load(self.account, self.objects, self.seed, THREADS, is_heavy=self.seed % HEAVY_EVERY == 0)
        self.load.start()
        self.messages = Messages(self.account, self.seed)
        self.messages.start()
        self.lines = LogLines(self.account, self.seed)
        self.lines.start()

    def torment(self):
        starting_s = 0.05
        for _ in range(self.rounds):
            time.sleep(self.chance.uniform(0.05, self.alive_s))
            self.look_at_segments()
            if self.chance.random() < 0.5:
                self.switch()
            if self.chance.random() < 0.4:
                self.die_at(self.chance.choice(self.chance.choice(list(DEATHS.values()))), must_reach=False)
                continue
            self.kill()
            while self.chance.random() < 0.4:
                # Death while it starts: in recovery, or as soon as it answers.
                self.server.launch()
                time.sleep(self.chance.uniform(0, 2 * starting_s))
                self.kill()
            began = time.monotonic()
            self.server.start()
            starting_s = time.monotonic() - began
        time.sleep(self.chance.uniform(0.05, self.alive_s))

    def die_at(self, points, must_reach=True):
        """Dies at the first of `points` under load, then at each of the others while it starts; then starts."""
        self.look_at_segments()
        self.server.stop(signal.SIGKILL)
        for number, point in enumerate(points):
            self.server.variables = {"CAIRN_FAILPOINT": point}
            self.server.launch()
            try:
                code = self.server.process.wait(REACH_S if must_reach else self.alive_s)
            except subprocess.TimeoutExpired:
                code = None
            if code not in (None, -signal.SIGKILL):
                self.failures.append(f"{point}: the server ended with {code}")
            if code is None and must_reach:
                self.failures.append(f"{point}, number {number} of {points}, was not reached")
            self.died_at[point] += code is not None
            self.kills += 1
            self.server.stop(signal.SIGKILL)
            self.look_at_segments()
        self.server.variables = {}
        self.server.start()

    def look_at_segments(self):
        """Notes which segments the log has, and which of those it had are gone."""
        now = {path.name for path in (self.folder / "data/log").glob("*.log")}
        self.segments_removed |= self.segments - now
        self.segments |= now

    def kill(self):
        """Ends the server: mostly by SIGKILL, now and then in peace."""
        if self.chance.random() < 0.1:
            code = self.server.stop(signal.SIGTERM)
            if code not in (0, -signal.SIGTERM):
                self.failures.append(f"SIGTERM ended the server with {code}")
            return
        self.server.stop(signal.SIGKILL)
        self.kills += 1

    def switch(self):
        """Turns a trail off or on, in the middle of everything."""
        trail = self.trails[-1]
        trail.stop() if trail.is_on else trail.start()

    def check(self):
        self.settle()
        calls = self.load.calls
        user_agent = f"load/{self.seed}"
        keys = public_keys(self.account, REGIONS)
        for trail in self.trails:
            self.failures += trail.problems
            self.failures += check_records(
                trail.name, trail.delivered, calls, user_agent, trail.must_have, trail.must_not_have)
            self.failures += check_chains(
                trail.name, trail.files, trail.digests, keys, trail.activations, DIGEST_INTERVAL_S)
        history = self.history()
        self.failures += check_records(
            "history", history, calls, user_agent, lambda call: not call.is_data, lambda call: call.is_data)
        self.failures += self.messages.check()
        self.failures += self.lines.check()
        self.failures += self.rule.check(self.load.calls)
        self.failures += self.trail_lines.check(self.load.calls)
        self.check_objects()
        self.check_users({mark for _, record in history for mark in MARK.findall(json.dumps(record))})
        self.validate_logs()

    def settle(self):
        """Waits until everything that must come has come, and digests list it; or for so long that it will not."""
        deadline = time.monotonic() + SETTLE_S
        acknowledged = self.load.acknowledged
        while True:
            for trail in self.trails:
                trail.read()
            waiting = [t for t in self.trails if t.missing(acknowledged) or t.undigested()]
            if not waiting or time.monotonic() > deadline:
                return
            time.sleep(0.3)

    def history(self):
        """Every event of the event history, of all regions."""
        found = []
        until = datetime.now(timezone.utc) + timedelta(seconds=1)
        for region in REGIONS:
            pages = self.account.client("cloudtrail", region).get_paginator("lookup_events")
            for page in pages.paginate(EndTime=until, PaginationConfig={"PageSize": 50}):
                found += [(region, slim(json.loads(event["CloudTrailEvent"]))) for event in page["Events"]]
        return found

    def check_objects(self):
        """Objects that were acknowledged are there, whole; of others all or nothing."""
        s3 = self.account.client("s3")
        by_key = {}
        for call in self.load.calls:
            if call.event == "PutObject":
                by_key.setdefault(call.key, []).append(call)
        for key, calls in by_key.items():
            answered = [n for n, call in enumerate(calls) if call.request_id]
            allowed = calls[answered[-1]:] if answered else calls
            try:
                body = s3.get_object(Bucket=self.objects, Key=key)["Body"].read()
            except s3.exceptions.NoSuchKey:
                if answered:
                    self.failures.append(f"objects: {calls[answered[-1]]} is lost")
                continue
            if body not in [call.body for call in allowed]:
                self.failures.append(f"objects: {key} has bytes that no call put last: {body[:60]}")

    def check_users(self, recorded):
        """Users that were acknowledged are there; those that are there have their record, acknowledged or not."""
        pages = self.account.client("iam").get_paginator("list_users").paginate()
        found = Counter(user["UserName"] for page in pages for user in page["Users"])
        sent = {call.mark: call for call in self.load.calls if call.event == "CreateUser"}
        self.failures += [f"users: {name} is there {n} times" for name, n in found.items() if n > 1]
        self.failures += [f"users: nobody made {name}" for name in found.keys() - sent.keys()]
        lost = [call for call in sent.values() if call.request_id and call.mark not in found]
        self.failures += [f"users: {call} is lost" for call in lost]
        made = found.keys() & sent.keys()
        self.failures += [f"users: {name} was made without a record" for name in made - recorded]

    def validate_logs(self):
        """The stock client's opinion, of each trail in each of its regions."""
        since = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = []
        for trail in self.trails:
            for region in trail.regions:
                command = [self.aws, "cloudtrail", "validate-logs", "--verbose", "--start-time", since,
                           "--trail-arn", trail.trail["TrailARN"], "--region", region]
                asked.append((trail.name, region, subprocess.Popen(
                    command, env=self.server.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)))
        for name, region, process in asked:
            said, _ = process.communicate(timeout=300)
            if process.returncode or "INVALID" in said or "digest files valid" not in said:
                self.failures.append(f"{name} {region}: validate-logs ended with {process.returncode}: {said[-2000:]}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", required=True, help="the binary")
    parser.add_argument("--aws", default=str(Path(sys.executable).with_name("aws")), help="the AWS CLI")
    parser.add_argument("--seed", type=int, help="the first seed [default: by chance]")
    parser.add_argument("--rounds", type=int, default=8, help="deaths of each run")
    parser.add_argument("--alive-seconds", type=float, default=2.0, help="the longest time between deaths")
    parser.add_argument("--seconds", type=float, help="start runs for so long [default: one run]")
    given = parser.parse_args()
    began = time.monotonic()
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    runs = rounds = kills = calls = messages = failed = segments = removed = 0
    died_at = Counter()
    while runs == 0 or (given.seconds and time.monotonic() - began < given.seconds):
        run = Run(given.cairn, given.aws, seed, given.rounds, given.alive_seconds)
        failures = run.perform()
        acknowledged = len(run.load.acknowledged) if hasattr(run, "load") else 0
        messages += len(run.messages.sent) if hasattr(run, "messages") else 0
        runs, rounds, kills, calls = runs + 1, rounds + given.rounds, kills + run.kills, calls + acknowledged
        died_at += run.died_at
        segments, removed = segments + len(run.segments), removed + len(run.segments_removed)
        print(f"seed {seed}: {run.kills} kills, {run.died_at.total()} at points, {len(run.segments)} segments seen, "
              f"{len(run.segments_removed)} removed, {acknowledged} acknowledged calls, {len(failures)} failures",
              flush=True)
        if failures:
            failed += 1
            print(*[f"  {failure}" for failure in failures[:20]], sep="\n")
            print(f"  {run.again}", flush=True)
        seed += 1
    print(f"{runs} runs, {rounds} rounds, {kills} kills, {died_at.total()} of them at {len(died_at)} points, "
          f"{segments} segments seen, {removed} removed, {calls} acknowledged calls, {messages} messages, {failed} runs failed, "
          f"{time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
