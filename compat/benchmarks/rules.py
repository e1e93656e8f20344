"""How many events a second are matched against many EventBridge rules, on one core."""

import json
import subprocess
from pathlib import Path

from benchmarks.table import at_least

PART = "rules"
RUNS = 3
EVENTS_PER_SECOND_MIN = 100_000
AIM_RULES = 1_000


def measure(bench):
    program = Path(bench.load.binary).with_name("bench_rules")
    runs = [json.loads(subprocess.check_output([program])) for _ in range(RUNS)]
    size = runs[0]["event_bytes"]
    for index, row in enumerate(runs[0]["rows"]):
        name = f"{row['count']} rules {row['rules']}, events of {size} B"
        aim = at_least(EVENTS_PER_SECOND_MIN) if row["count"] == AIM_RULES else None
        must = aim is not None and row["rules"] == "apart"
        indexed = [run["rows"][index]["indexed_per_second"] for run in runs]
        each = [run["rows"][index]["each_per_second"] for run in runs]
        bench.table.add(PART, f"{name}, indexed", "events/s", indexed, aim=aim, must=must)
        bench.table.add(PART, f"{name}, each tried", "events/s", each)
