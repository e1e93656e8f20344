"""One server for the whole run, clients for it, and the fixtures of real records where there are any."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import boto3
import pytest

COMPAT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(COMPAT))

from cairn_server import Server  # noqa: E402
from recorded import FIXTURES  # noqa: E402
from trails import Account  # noqa: E402

BINARY = os.environ.get("CAIRN_BIN", str(COMPAT.parent / "target/debug/cairn"))
AWS = str(Path(sys.executable).with_name("aws"))


@pytest.fixture(scope="session")
def server():
    functions = {"enable_lambda": "true", "lambda_python": sys.executable, "lambda_retry_delay": "500ms"}
    with Server(BINARY, delivery_interval="2s", digest_interval="4s", **functions) as running:
        yield running


@pytest.fixture(scope="session")
def account(server):
    return Account(server)


@pytest.fixture
def own_server(tmp_path):
    """Starts servers of a test's own: own_server(delivery_interval="1s") and so on."""
    started = []

    def start(data=None, **flags):
        running = Server(BINARY, data=data or tmp_path / f"data{len(started)}", **flags)
        running.data.mkdir(exist_ok=True)
        started.append(running)
        return running.start()

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="session", autouse=True)
def thousand_files():
    """A trail that gathers small log files from the beginning of the run to its end."""
    with Server(BINARY, delivery_interval="100ms", digest_interval="10s") as running:
        account = Account(running)
        trail, bucket = account.trail()
        done = threading.Event()

        def gather():
            cloudtrail = account.client("cloudtrail")
            while not done.wait(0.1):
                cloudtrail.list_trails()
        thread = threading.Thread(target=gather, daemon=True)
        thread.start()
        yield running, account, trail, bucket
        done.set()
        thread.join()


@pytest.fixture(scope="session")
def aws(server):
    """Runs the AWS CLI: aws("s3", "ls") gives (exit code, standard output, standard error)."""
    return lambda *words, **more: run_aws(server, *words, **more)


def run_aws(server, *words, region=None, input_text=None, environment=None):
    environment = dict(environment or server.environment)
    if region:
        environment["AWS_DEFAULT_REGION"] = region
    done = subprocess.run([AWS, *words], env=environment, capture_output=True, text=True, input=input_text)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def shared():
    """The folder of real records and known answers; tests that need it are skipped where it is missing."""
    if not FIXTURES.is_dir():
        pytest.skip("CAIRN_SHARED names no folder of fixtures")
    return FIXTURES
