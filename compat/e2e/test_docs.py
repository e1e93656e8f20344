"""The commands in the documentation, as a reader would paste them."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import AWS, BINARY

DOCS = Path(__file__).resolve().parents[2] / "docs"
# What the pages behind the first one take for granted: a server, and its keys in the shell.
PRELUDE = """
cairn serve --data ./cairn-data --listen 127.0.0.1:4580 --delivery-interval 2s --digest-interval 5s &
until curl -sf http://127.0.0.1:4580/_cairn/health; do sleep 0.1; done
eval "$(cairn env --data ./cairn-data)"
"""
PAGES = sorted(page.name for page in DOCS.glob("*.md") if "```sh" in page.read_text())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_in_order(page, tmp_path):
    blocks = re.findall(r"^```sh\n(.*?)^```", (DOCS / page).read_text(), re.M | re.S)
    if page != "getting-started.md":
        blocks = [PRELUDE, *blocks, "kill -TERM %1\nwait %1\n"]
    # Another port, as several runs may share a machine; job control, since the page stops the server by its job.
    script = "set -euo pipefail\nset -m\n" + "\n".join(blocks).replace("4580", str(free_port()))
    (tmp_path / "script.sh").write_text(script)
    (tmp_path / "bin").mkdir()
    examples = Path(BINARY).resolve().parent / "examples"
    for name, target in (("cairn", Path(BINARY).resolve()), ("aws", AWS), ("print_events", examples / "print_events")):
        (tmp_path / "bin" / name).symlink_to(target)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CAIRN_"))}
    environment |= {
        "PATH": f"{tmp_path / 'bin'}:{environment['PATH']}", "HOME": str(tmp_path), "AWS_PAGER": "",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    process = subprocess.Popen(
        ["bash", "script.sh"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=90)
    finally:
        # The server too, where the page did not come to its end: it was started in this session.
        left = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True).stdout.split()
        for pid in left:
            os.kill(int(pid), 9)
    assert process.returncode == 0, printed
    if page == "getting-started.md":
        assert re.search(r"log files valid", printed) and "INVALID" not in printed, printed
        assert '"Arn": "arn:aws:iam::' in printed and '"eventName":"CreateAccessKey"' in printed
    if page == "ingest.md":
        assert '"accepted":1,"duplicates":0,"refused":[]' in printed.replace(" ", ""), printed
        assert '"failed": []' in printed and printed.split('"failed": []')[1].count("-4") >= 1, printed
