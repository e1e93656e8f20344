"""The one table: each row a figure, the median of its runs, beside the machine's limit that it comes near or not."""

import json
import os
import statistics
import subprocess
from pathlib import Path


def at_least(number):
    """An aim for what should be large."""
    return ">=", number


def below(number):
    """An aim for what should be small."""
    return "<", number


class Table:
    """Collects the rows of a run."""

    def __init__(self):
        self.rows = []

    def add(self, part, name, unit, values, limit=None, scale=1.0, aim=None, must=False):
        """A row: `values` are those of the runs. `limit` names the row of the machine's limit, `scale` is what one of
        this row's units costs in that row's. What has an aim that it `must` reach fails the run where it does not."""
        values = [float(value) for value in (values if isinstance(values, (list, tuple)) else [values])]
        median = statistics.median(values)
        row = {"part": part, "name": name, "unit": unit, "median": median, "runs": values}
        if limit:
            row |= {"limit": limit, "ratio": median * scale / self.median(limit)}
        if aim:
            sense, number = aim
            row |= {"aim": f"{sense} {number:g}", "met": median >= number if sense == ">=" else median < number}
            row["must"] = must
        self.rows.append(row)
        return median

    def median(self, name):
        return next(row["median"] for row in self.rows if row["name"] == name)

    def missed(self):
        return [f"{row['part']}: {row['name']}" for row in self.rows if row.get("must") and not row["met"]]

    def print(self):
        machine = subprocess.check_output(["uname", "-sr"], text=True).strip()
        print(f"{os.cpu_count()} cores, {machine}; medians, in brackets the least and the most of the runs")
        part = None
        for row in self.rows:
            if row["part"] != part:
                part = row["part"]
                print(f"\n{part}")
            spread = f"[{shown(min(row['runs']))} .. {shown(max(row['runs']))}]" if len(row["runs"]) > 1 else ""
            beside = f"{row['ratio']:.2f} of {row['limit']}" if "ratio" in row else ""
            aim = f"aim {row['aim']}: {'met' if row['met'] else 'MISSED'}" if "aim" in row else ""
            line = f"  {row['name']:<58}{shown(row['median']):>11} {row['unit']:<16}{spread:<26}{beside:<40}{aim}"
            print(line.rstrip())

    def write(self, path):
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"cores": os.cpu_count(), "rows": self.rows}, indent=2) + "\n")


def shown(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
