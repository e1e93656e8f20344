"""A thousand log files under one chain: they gather in the background while the other suites run."""

from test_validate_logs import noise, validate
from trails import wait_for


def test_a_thousand_log_files_validate(thousand_files):
    server, account, trail, bucket = thousand_files
    wait_for("a thousand log files", lambda: len(account.keys(bucket)) >= 1000, 240)
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    noise(account)
    wait_for("their digests", lambda: set(account.keys(bucket)) <= account.digested(bucket), 60)
    code, output = validate(server, trail)
    assert code == 0 and "INVALID" not in output, output[-2000:]
    assert output.count("Log file\t") >= 1000
