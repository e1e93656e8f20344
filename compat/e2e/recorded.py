"""Answers that AWS gave, recorded, and how answers of a server are held against them.

What varies from run to run stands in a recording as `<uuid:1>`, `<receipt-handle:2>`, `<region>` or the like. Such a
placeholder stands for any text; the same one for the same text throughout a recording, another for another. Everything
else, MD5 digests too, must be equal.
"""

import gzip
import json
import os
import re
from datetime import datetime
from pathlib import Path

RECORDED_ACCOUNT = "111111111111"
PLACEHOLDER = re.compile(r"<[a-z-]+(?::\d+)?>")
FIXED = {"<partition>": "aws", "<region>": "us-east-1"}


# Real records and known answers: in the folder that the variable names, or in one beside the repository's.
FIXTURES = Path(os.environ.get("CAIRN_SHARED") or Path(__file__).resolve().parents[3] / "shared", "fixtures")


def recordings(*files):
    """{name of a scenario: {label: recorded answer}} of all files; nothing where the fixtures are missing."""
    folder, found = FIXTURES / "aws_recorded_responses", {}
    for file in files:
        if (folder / file).is_file():
            for name, recorded in json.load(gzip.open(folder / file)).items():
                found[name.split("::", 1)[1]] = recorded["recorded-content"]
    return found


class Comparison:
    """One scenario's comparison: remembers what its placeholders stand for."""

    def __init__(self, account):
        self.account, self.known = account, {}

    def differences(self, recorded, got, path=""):
        """What differs between a recorded answer and one of the server, a line each."""
        if isinstance(recorded, (dict, list)) and isinstance(got, str):
            got = json.loads(got)
        if isinstance(recorded, dict) and isinstance(got, dict):
            lines = []
            for key in sorted(recorded.keys() | got.keys()):
                here = f"{path}.{key}"
                if key == "ResponseMetadata":
                    status = recorded[key]["HTTPStatusCode"], got[key]["HTTPStatusCode"]
                    lines += [] if status[0] == status[1] else [f"{here}.HTTPStatusCode: {status[0]} is {status[1]}"]
                elif key not in got:
                    lines.append(f"{here}: {recorded[key]!r} is missing")
                elif key not in recorded:
                    lines.append(f"{here}: {got[key]!r} is too much")
                else:
                    lines += self.differences(recorded[key], got[key], here)
            return lines
        if isinstance(recorded, list) and isinstance(got, list):
            if len(recorded) != len(got):
                return [f"{path}: {len(recorded)} items are {len(got)}"]
            pairs = enumerate(zip(recorded, got))
            return [line for at, pair in pairs for line in self.differences(*pair, f"{path}[{at}]")]
        return [] if self.stands_for(recorded, got) else [f"{path}: {recorded!r} is {got!r}"]

    def stands_for(self, recorded, got):
        if recorded == got or recorded == str(got):
            return True
        if recorded == "timestamp":
            return isinstance(got, (int, datetime)) or str(got).isdigit()
        if not isinstance(recorded, str) or not isinstance(got, str):
            return False
        placeholders = [found for found in PLACEHOLDER.findall(recorded) if found not in FIXED]
        parts = [re.escape(part) for part in PLACEHOLDER.split(self.here(recorded))]
        matched = re.fullmatch("(.+)".join(parts), got, re.S)
        return bool(matched) and all(map(self.remember, placeholders, matched.groups()))

    def here(self, recorded):
        """The recorded text with this server's account and region."""
        for placeholder, value in FIXED.items():
            recorded = recorded.replace(placeholder, value)
        return recorded.replace(RECORDED_ACCOUNT, self.account)

    def remember(self, placeholder, value):
        taken = self.known.setdefault(placeholder, value)
        others = [known for other, known in self.known.items() if other != placeholder]
        return taken == value and value not in others
