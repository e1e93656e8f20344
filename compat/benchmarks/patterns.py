"""How fast CloudTrail records are matched against CloudWatch Logs filter patterns, on one core."""

import json
import subprocess
from pathlib import Path

from benchmarks.table import at_least

PART = "patterns"
RUNS = 3
CLAUSES_MB_S_MIN = 500
NAMES = {
    "three_clauses_rare": "three clauses, few lines have what they look for",
    "three_clauses_always": "three clauses, every line has what they look for",
    "three_clauses_to_the_end": "three clauses, decided at the end of the line",
    "sixteen_names": "sixteen names, joined by ||",
    "deep_wildcard": "a wildcard in an array",
    "regular_expression": "a regular expression",
    "terms": "three terms",
}


def measure(bench):
    program = Path(bench.load.binary).with_name("bench_filter_patterns")
    runs = [json.loads(subprocess.check_output([program])) for _ in range(RUNS)]
    for key, name in NAMES.items():
        aim = at_least(CLAUSES_MB_S_MIN) if key.startswith("three_clauses") else None
        for figure, how in ("mb_s", ""), ("scan_mb_s", ", by the scan alone"):
            values = [run["patterns"][key][figure] for run in runs]
            must = {"aim": aim, "must": True} if aim else {}
            bench.table.add(PART, name + how, "MB/s", values, **must)
    bench.table.add(PART, "serde_json's Value alone", "MB/s", [run["serde_json_value_mb_s"] for run in runs])
