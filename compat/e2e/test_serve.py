"""The command line: starting, stopping, settings, files and keys, and what survives a crash."""

import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from botocore.config import Config
from conftest import AWS, BINARY
from trails import Account, wait_for


def cairn(*words, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CAIRN_"))}
    return subprocess.run(
        [BINARY, *words], capture_output=True, text=True, timeout=20, env={**inherited, **environment}
    )


class Serving:
    """A `cairn serve` whose whole output the test wants to see."""

    def __init__(self, *words, **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CAIRN_"))}
        self.process = subprocess.Popen(
            [BINARY, "serve", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**inherited, **environment},
        )
        # What it prints at its start ends with a comment on the keys.
        self.printed = ""
        while "# " not in self.printed:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(self.process.stderr.read())
            self.printed += line

    @property
    def endpoint(self):
        return re.search(r"^export AWS_ENDPOINT_URL=(\S+)$", self.printed, re.M)[1]

    def end(self, how=signal.SIGINT):
        """Stops it; gives exit code and log."""
        self.process.send_signal(how)
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, log


@pytest.fixture
def serving():
    started = []

    def start(*words, **environment):
        started.append(Serving(*words, **environment))
        return started[-1]
    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_help_shows_settings_and_examples():
    shown = cairn("serve", "--help").stdout
    flags = ("--data", "--listen", "--delivery-interval", "--digest-interval", "--config", "--tls-cert", "--account")
    assert all(flag in shown for flag in flags)
    assert "Examples:\n  cairn serve --data ./cairn-data\n" in shown
    assert "Examples:" in cairn("env", "--help").stdout
    assert {"serve", "env"} <= set(re.findall(r"^  (\w+) ", cairn("--help").stdout, re.M))
    assert re.fullmatch(r"cairn \d+\.\d+\.\d+\n", cairn("--version").stdout)


@pytest.mark.parametrize("words,message", [
    (["serve"], "name the data folder: --data DIR, CAIRN_DATA or `data` in the settings file"),
    (["serve", "--data", "/tmp/x", "--delivery-interval", "soon"], "--delivery-interval"),
    (["serve", "--data", "/tmp/x", "--digest-interval", "1ms"], "the shortest is 1s"),
    (["serve", "--data", "/tmp/x", "--tls-cert", "/tmp/none"], "--tls-cert and --tls-key go together"),
    (["serve", "--data", "/tmp/x", "--config", "/no/such/file"], "cannot read the settings file /no/such/file"),
    (["serve", "--data", "/proc/no-such-place"], "cannot make the data folder /proc/no-such-place"),
    (["env", "--data", "/no/such/folder"], "cannot read /no/such/folder/server.json"),
])
def test_what_cannot_work_is_said_in_one_line(words, message):
    done = cairn(*words)
    assert done.returncode != 0 and message in done.stderr, done.stderr
    assert "panicked" not in done.stderr


def test_a_first_start_makes_a_private_folder_and_shows_the_keys_once(serving, tmp_path):
    data = tmp_path / "deep" / "data"
    first = serving("--data", str(data), "--listen", "127.0.0.1:0", "--account", "111122223333")
    assert "of account 111122223333 are shown this once" in first.printed
    values = dict(re.findall(r"^export (\w+)=(\S+)$", first.printed, re.M))
    assert set(values) == {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    secret = values["AWS_SECRET_ACCESS_KEY"]
    sts = boto3.client(
        "sts", region_name="us-east-1", endpoint_url=values["AWS_ENDPOINT_URL"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"], aws_secret_access_key=secret,
    )
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::111122223333:root"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (data, data / "credentials.json", data / "server.json")}
    assert list(modes.values()) == [0o700, 0o600, 0o600]
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", cairn("env", "--data", str(data)).stdout, re.M))
    assert exported == values
    assert cairn("env", "--data", str(data), "--account", "111122223333").stdout == cairn("env", CAIRN_DATA=str(data)).stdout
    unknown = cairn("env", "--data", str(data), "--account", "999999999999")
    assert unknown.returncode == 1 and "there is no account 999999999999 in" in unknown.stderr
    code, log = first.end()
    assert code == 0 and secret not in log and "panicked" not in log
    again = serving("--data", str(data), "--listen", "127.0.0.1:0")
    assert secret not in again.printed and "Account 111122223333" in again.printed
    assert again.end(signal.SIGTERM)[0] == 0


def test_a_second_account_leaves_the_first_ones_keys_where_they_are(serving, tmp_path):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    for account in ("111122223333", "444455556666"):
        serving("--data", str(data), "--listen", "127.0.0.1:0", "--account", account).end()
    of = lambda account: cairn("env", "--data", str(data), "--account", account)
    first, second = of("111122223333"), of("444455556666")
    assert first.returncode == second.returncode == 0 and first.stdout != second.stdout
    assert cairn("env", "--data", str(data)).stdout == first.stdout
    open_to_others = [path for path in data.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == [], "the folder may be open; what is in it holds secrets"


def test_a_second_instance_is_refused_and_says_who_has_the_folder(serving, tmp_path):
    first = serving("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0")
    second = cairn("serve", "--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0")
    assert second.returncode == 1
    assert f"{tmp_path / 'd'} is in use by another cairn (process {first.process.pid})" in second.stderr
    port = first.endpoint.rsplit(":", 1)[1]
    taken = cairn("serve", "--data", str(tmp_path / "e"), "--listen", f"127.0.0.1:{port}")
    assert taken.returncode == 1 and f"cannot listen on 127.0.0.1:{port}" in taken.stderr


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(serving, tmp_path):
    settings = tmp_path / "cairn.toml"
    settings.write_text(
        f'data = "{tmp_path / "from-file"}"\nlisten = "127.0.0.1:0"\nregion = "eu-west-3"\naccount = "222233334444"\n'
    )
    from_file = serving("--config", str(settings))
    assert "AWS_DEFAULT_REGION=eu-west-3" in from_file.printed and "222233334444" in from_file.printed
    assert (tmp_path / "from-file").is_dir()
    other = serving(
        "--region", "eu-south-1", CAIRN_CONFIG=str(settings), CAIRN_REGION="eu-north-1",
        CAIRN_DATA=str(tmp_path / "from-variable"),
    )
    assert "AWS_DEFAULT_REGION=eu-south-1" in other.printed and (tmp_path / "from-variable").is_dir()
    settings.write_text('dta = "typo"\n')
    typo = cairn("serve", "--config", str(settings))
    assert typo.returncode == 1 and "is not understood" in typo.stderr and "dta" in typo.stderr


def test_a_request_under_way_ends_well_after_ctrl_c(serving, tmp_path):
    one = serving("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0")
    values = dict(re.findall(r"^export (\w+)=(\S+)$", one.printed, re.M))
    session = boto3.Session(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    s3 = session.client("s3", endpoint_url=one.endpoint, config=Config(signature_version="s3v4"))
    s3.create_bucket(Bucket="under-way")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "under-way", "Key": "slow"})
    path = url.split(one.endpoint, 1)[1]
    host, port = one.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=15) as slow:
        slow.sendall(f"PUT {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 10\r\n\r\n01234".encode())
        time.sleep(0.3)
        one.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        with pytest.raises(OSError):
            socket.create_connection((host, int(port)), timeout=1).close()
        slow.sendall(b"56789")
        assert slow.recv(4096).startswith(b"HTTP/1.1 200 OK")
    _, log = one.process.communicate(timeout=20)
    assert one.process.returncode == 0 and "stopped" in log
    again = serving("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0")
    s3 = session.client("s3", endpoint_url=again.endpoint)
    assert s3.get_object(Bucket="under-way", Key="slow")["Body"].read() == b"0123456789"


def test_connections_that_ask_for_nothing_do_not_keep_it_from_stopping(serving, tmp_path):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    one = serving("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0")
    host, port = one.endpoint.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port)), timeout=5) for _ in range(1000)]
    # There is room for one more.
    assert urllib.request.urlopen(one.endpoint + "/_cairn/health", timeout=5).status == 200
    silent += [socket.create_connection((host, int(port)), timeout=5) for _ in range(60)]
    begun = time.monotonic()
    code, log = one.end()
    assert code == 0 and time.monotonic() - begun < 8, log[-2000:]
    assert "cannot accept" not in log
    for connection in silent:
        connection.close()


def test_everything_acknowledged_survives_a_kill(own_server, tmp_path):
    data = tmp_path / "killed"
    server = own_server(data=data, delivery_interval="1s", digest_interval="2s")
    account = Account(server)
    trail, bucket = account.trail()
    made, stop = [], threading.Event()

    def write(number):
        iam, s3 = account.client("iam"), account.client("s3")
        for index in range(1000):
            if stop.is_set():
                return
            try:
                name = f"user-{number}-{index}"
                iam.create_user(UserName=name)
                made.append(name)
                s3.put_object(Bucket=bucket, Key=f"object/{name}", Body=name.encode())
                made.append(f"object/{name}")
            except Exception:
                return
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    server.process.kill()
    server.stop()
    stop.set()
    for thread in threads:
        thread.join()
    server = own_server(data=data, delivery_interval="1s", digest_interval="2s")
    account = Account(server)
    users = {u["UserName"] for page in account.client("iam").get_paginator("list_users").paginate() for u in page["Users"]}
    s3 = account.client("s3")
    names = {name for name in made if name.startswith("user-")}
    assert len(names) > 20 and names <= users
    for key in [name for name in made if name.startswith("object/")][-20:]:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.removeprefix("object/").encode()
    assert account.client("cloudtrail").get_trail_status(Name=trail["TrailARN"])["IsLogging"] is True
    attributes = [{"AttributeKey": "EventName", "AttributeValue": "CreateUser"}]

    def looked_up():
        pages = account.client("cloudtrail").get_paginator("lookup_events").paginate(LookupAttributes=attributes)
        events = [json.loads(e["CloudTrailEvent"]) for page in pages for e in page["Events"]]
        return [e["requestParameters"]["userName"] for e in events if "errorCode" not in e]
    wait_for("the history", lambda: names <= set(looked_up()))
    assert len(looked_up()) == len(set(looked_up()))

    def delivered():
        return [e["requestParameters"]["userName"] for e in account.delivered(bucket) if e["eventName"] == "CreateUser"]
    wait_for("their log files", lambda: names <= set(delivered()))
    assert len(delivered()) == len(set(delivered())), "each event is delivered once"
    account.client("cloudtrail").stop_logging(Name=trail["TrailARN"])
    wait_for("their digests", lambda: set(account.keys(bucket)) <= account.digested(bucket))
    start = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    checked = subprocess.run(
        [AWS, "cloudtrail", "validate-logs", "--trail-arn", trail["TrailARN"], "--start-time", start],
        env=server.environment, capture_output=True, text=True,
    )
    assert checked.returncode == 0 and "INVALID" not in checked.stdout + checked.stderr, checked.stdout + checked.stderr


@pytest.fixture
def certificate(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )
    return cert, key


def test_tls_is_served_and_shows_in_the_record(serving, tmp_path, certificate):
    cert, key = certificate
    one = serving("--data", str(tmp_path / "d"), "--listen", "127.0.0.1:0", "--tls-cert", str(cert), "--tls-key", str(key))
    assert one.endpoint.startswith("https://")
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", one.printed, re.M))
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("AWS_")}, **environment}
    environment["AWS_CA_BUNDLE"] = str(cert)

    def aws(*words):
        return subprocess.run([AWS, *words, "--output", "json"], env=environment, capture_output=True, text=True)
    done = aws("iam", "create-user", "--user-name", "over-tls")
    assert done.returncode == 0, done.stderr
    assert "CERTIFICATE_VERIFY_FAILED" in subprocess.run(
        [AWS, "iam", "list-users"], capture_output=True, text=True,
        env={name: value for name, value in environment.items() if name != "AWS_CA_BUNDLE"},
    ).stderr

    def record():
        found = json.loads(aws(
            "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=CreateUser",
        ).stdout)["Events"]
        return json.loads(found[0]["CloudTrailEvent"]) if found else None
    details = wait_for("the record", record)["tlsDetails"]
    assert list(details) == ["tlsVersion", "cipherSuite", "clientProvidedHostHeader"]
    http2 = subprocess.run(
        ["curl", "-sS", "--http2", "--cacert", str(cert), "-w", "\n%{http_version}", one.endpoint + "/a-bucket/a-key"],
        capture_output=True, text=True, check=True,
    ).stdout
    assert "<Code>" in http2 and http2.endswith("\n2"), http2
    assert details["tlsVersion"] in ("TLSv1.2", "TLSv1.3") and details["clientProvidedHostHeader"].startswith("127.0.0.1:")
    assert one.end()[0] == 0


def test_health_and_metrics_are_open_and_leave_no_event(server, account):
    health = urllib.request.urlopen(server.endpoint + "/_cairn/health")
    assert health.status == 200
    metrics = urllib.request.urlopen(server.endpoint + "/_cairn/metrics").read().decode()
    assert "# TYPE cairn_calls_total counter" in metrics
