"""The machine's own limits, measured in the same run with the libraries that the server uses."""

PART = "the machine"
RUNS = 3
ROWS = [
    ("fdatasyncs_per_second", "fdatasync of 4 KiB", "/s"),
    ("fdatasync_p50_ms", "fdatasync p50", "ms"),
    ("fdatasync_p99_ms", "fdatasync p99", "ms"),
    ("write_mb_per_second", "write and fdatasync of 1 MiB", "MB/s"),
    ("sha256_mb_per_second", "SHA-256", "MB/s a core"),
    ("gzip_mb_per_second", "gzip -6", "MB/s a core"),
    ("json_mb_per_second", "JSON", "MB/s a core"),
]


def measure(bench):
    runs = [bench.load.run("limits", dir=bench.folder) for _ in range(RUNS)]
    for key, name, unit in ROWS:
        bench.table.add(PART, name, unit, [run[key] for run in runs])
    bench.record_bytes = runs[0]["record_bytes"]
    bench.table.add(PART, "size of a record", "bytes", bench.record_bytes)
