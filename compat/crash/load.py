"""Load that remembers: what was sent, and what the client saw answered.

A call carries a mark in its parameters, by which its record is known where no reply told the request id.
"""

import hashlib
import random
import re
import threading
import time
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2")
MARK = re.compile(r"m\d+x\d+x\d+z")
SMALL_BODY_BYTES_MAX = 4000
LARGE_BODY_BYTES_MAX = 3_000_000
# Under heavy load some records are nearly as large as records get, so that the log goes through several segments.
HEAVY_PADDING_BYTES = 96_000
PADDING_UNIT = 16


@dataclass
class Call:
    """A call that was sent; `request_id` where its reply was seen."""

    mark: str
    event: str
    region: str
    began: float
    key: str = None
    size_bytes: int = 0
    ended: float = None
    request_id: str = None

    @property
    def is_data(self):
        return self.event in ("PutObject", "GetObject")

    @property
    def body(self):
        """The object that the call put: told by its mark, so that half of another one is noticed."""
        block = hashlib.sha256(self.mark.encode()).hexdigest().encode()
        return (self.mark.encode() + b"|" + block * (self.size_bytes // len(block) + 1))[: self.size_bytes]


class Load:
    """Threads that call the server, through its deaths, until they are told to stop; heavy: with large records."""

    def __init__(self, account, bucket, seed, threads, is_heavy=False):
        self.seed = seed
        self.padding_bytes = HEAVY_PADDING_BYTES if is_heavy else 0
        self.bucket = bucket
        self.calls = []
        self.refused = []
        self.lock = threading.Lock()
        self.done = threading.Event()
        config = {"user_agent_extra": f"load/{seed}", "connect_timeout": 2, "read_timeout": 20}
        self.iam = account.client("iam", **config)
        self.s3 = account.client("s3", **config)
        self.cloudtrail = {region: account.client("cloudtrail", region, **config) for region in REGIONS}
        self.threads = [threading.Thread(target=self.run, args=(n,), daemon=True) for n in range(threads)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.done.set()
        for thread in self.threads:
            thread.join()

    @property
    def acknowledged(self):
        return [call for call in self.calls if call.request_id]

    def run(self, thread):
        chance = random.Random(f"{self.seed}/{thread}")
        put = []
        number = 0
        while not self.done.is_set():
            number += 1
            mark = f"m{self.seed}x{thread}x{number}z"
            action = chance.choices(
                (self.create_user, self.list_users, self.describe_trails, self.fail, self.put, self.get),
                (3, 2, 30 if self.padding_bytes else 3, 1, 4, 1),
            )[0]
            self.send(*action(chance, mark, thread, put))

    def send(self, call, function, arguments):
        with self.lock:
            self.calls.append(call)
        try:
            metadata = function(**arguments)["ResponseMetadata"]
        except ClientError as error:
            metadata = error.response["ResponseMetadata"]
            if metadata["HTTPStatusCode"] >= 500:
                # Refused, and said so: whether it was recorded is not promised.
                self.refused.append(f"{call.event}: {error}")
                metadata = {}
        except (HTTPClientError, BotoCoreError, OSError):
            # The server is gone, or went away in the middle.
            self.done.wait(0.01)
            return
        call.ended = time.time()
        call.request_id = metadata.get("RequestId")

    def create_user(self, _, mark, __, ___):
        return Call(mark, "CreateUser", "us-east-1", time.time()), self.iam.create_user, {"UserName": mark}

    def list_users(self, _, mark, __, ___):
        arguments = {"PathPrefix": f"/{mark}/"}
        return Call(mark, "ListUsers", "us-east-1", time.time()), self.iam.list_users, arguments

    def describe_trails(self, chance, mark, __, ___):
        region = chance.choice(REGIONS)
        padding = "".join(chance.choices("0123456789abcdef", k=self.padding_bytes // PADDING_UNIT)) * PADDING_UNIT
        arguments = {"trailNameList": [mark, *([padding] if padding else [])]}
        return Call(mark, "DescribeTrails", region, time.time()), self.cloudtrail[region].describe_trails, arguments

    def fail(self, chance, mark, __, ___):
        """A call that is answered with an error, and recorded with it."""
        region = chance.choice(REGIONS)
        return Call(mark, "GetTrail", region, time.time()), self.cloudtrail[region].get_trail, {"Name": mark}

    def put(self, chance, mark, thread, put):
        # A thread's own key is overwritten again and again.
        key = f"latest-{thread}" if chance.random() < 0.3 else mark
        most = LARGE_BODY_BYTES_MAX if chance.random() < 0.05 else SMALL_BODY_BYTES_MAX
        call = Call(mark, "PutObject", "us-east-1", time.time(), key, chance.randrange(most))
        put.append(call)
        return call, self.s3.put_object, {"Bucket": self.bucket, "Key": key, "Body": call.body}

    def get(self, chance, mark, thread, put):
        whole = [call for call in put if call.request_id]
        if not whole:
            return self.list_users(chance, mark, thread, put)
        key = chance.choice(whole).key
        call = Call(mark, "GetObject", "us-east-1", time.time(), key)
        return call, self.read, {"key": key}

    def read(self, key):
        reply = self.s3.get_object(Bucket=self.bucket, Key=key)
        reply["Body"].read()
        return reply
