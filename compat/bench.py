"""How fast and how small the release binary is, on this machine: one table, and a JSON file of it.

Rates and latencies are of one machine with client and server on it, so they stand beside what the machine itself does
in the same run: nothing durable can be faster than the disk. Each part of the table is a module of `benchmarks`.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import accepted, calls, delivered, logs, machine, metrics, patterns, policies, processing, queues, rules
from benchmarks.load import Load
from benchmarks.table import Table

# The machine first: the other parts are shown beside it.
PARTS = {
    "machine": machine, "accepted": accepted, "delivered": delivered, "calls": calls, "queues": queues,
    "processing": processing, "policies": policies, "rules": rules,
    "patterns": patterns, "logs": logs, "metrics": metrics,
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--cairn", required=True, type=Path, help="the cairn binary")
parser.add_argument("--load", required=True, type=Path, help="the load generator, crates/cairn/examples/load")
parser.add_argument("--json", required=True, help="where to write the numbers")
parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which parts to measure")


class Bench:
    """What the parts share."""

    def __init__(self, arguments, folder):
        self.cairn, self.folder = arguments.cairn.resolve(), folder
        self.load = Load(arguments.load.resolve())
        self.table = Table()
        self.record_bytes = None


def main():
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cairn-bench-") as folder:
        bench = Bench(arguments, Path(folder))
        for name in dict.fromkeys(["machine", *arguments.parts]):
            begun = time.perf_counter()
            PARTS[name].measure(bench)
            print(f"{name}: measured in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    bench.table.print()
    bench.table.write(arguments.json)
    if missed := bench.table.missed():
        sys.exit(f"missed: {', '.join(missed)}")


main()
