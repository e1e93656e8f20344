"""How long authorising a call takes once its policies are at hand."""

import json
import subprocess
from pathlib import Path

from benchmarks.table import below

PART = "policies"
RUNS = 3
DECISION_US_MAX = 20


def measure(bench):
    program = Path(bench.load.binary).with_name("bench_policy")
    runs = [json.loads(subprocess.check_output([program])) for _ in range(RUNS)]
    name = f"a decision over {runs[0]['policies']} policies of {runs[0]['statements_each']} statements"
    bench.table.add(PART, name, "µs", [run["decision_us"] for run in runs], aim=below(DECISION_US_MAX), must=True)
