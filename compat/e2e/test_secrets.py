"""Secrets at rest: a copy of the data folder without the root key reveals none, and a wrong root key is refused."""

import base64
import json
import sqlite3

import boto3
import pytest
from cairn_server import Server
from conftest import BINARY
from test_serve import cairn


def client(environment, service):
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def found_in(folder, secrets):
    """Which of the secrets are in which file of the folder, in clear, in base64 or in hexadecimal."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == "root.key":
            continue
        content = path.read_bytes()
        for name, secret in secrets.items():
            forms = (secret, base64.b64encode(secret).rstrip(b"=")[:-2], secret.hex().encode())
            if any(form in content for form in forms):
                found.append((path.name, name))
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


def make_secrets(server):
    """Secrets of every kind that clients see."""
    environment = server.environment
    iam = client(environment, "iam")
    iam.create_user(UserName="alice")
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    client(environment, "cloudtrail").list_public_keys()
    return {
        "root's secret": environment["AWS_SECRET_ACCESS_KEY"].encode(),
        "alice's secret": key["SecretAccessKey"].encode(),
    }


def test_a_copy_of_the_data_folder_reveals_no_secret(folder):
    folder.mkdir()
    server = Server(BINARY, data=folder).start()
    secrets = make_secrets(server)
    # A signing key begins so, in base64.
    secrets["signing key"] = base64.b64decode("MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYw")
    assert found_in(folder, secrets) == [], "while the server runs"
    server.stop()
    assert found_in(folder, secrets) == [], "when it has stopped"
    log = server.log_path.read_bytes()
    assert not any(secret in log for secret in secrets.values())


def put_back_in_clear(folder, secrets):
    """Makes the folder what an earlier version left."""
    catalog = sqlite3.connect(folder / "catalog.sqlite")
    rows = catalog.execute("SELECT key, value FROM kv WHERE tbl = 'iam_access_key'").fetchall()
    for key, value in rows:
        row = json.loads(value)
        name = "root's secret" if row["d"]["owner"] == "Root" else "alice's secret"
        row["v"], row["d"]["secret"] = 1, secrets[name].decode()
        # Twice, so that there are pages with an older copy.
        for padding in ("", "x" * 20_000):
            row["d"]["padding"] = padding
            catalog.execute(
                "UPDATE kv SET value = ? WHERE tbl = 'iam_access_key' AND key = ?", (json.dumps(row).encode(), key)
            )
            catalog.commit()
        del row["d"]["padding"]
        catalog.execute(
            "UPDATE kv SET value = ? WHERE tbl = 'iam_access_key' AND key = ?", (json.dumps(row).encode(), key)
        )
        catalog.commit()
    catalog.close()
    credentials = json.loads((folder / "credentials.json").read_text())
    credentials["version"] = 1
    for account in credentials["accounts"]:
        account["secret_access_key"] = secrets["root's secret"].decode()
    (folder / "credentials.json").write_text(json.dumps(credentials))


def test_the_clear_secrets_of_an_earlier_version_are_sealed_at_start(folder):
    folder.mkdir()
    server = Server(BINARY, data=folder).start()
    secrets = make_secrets(server)
    server.stop()
    put_back_in_clear(folder, secrets)
    assert len(found_in(folder, secrets)) >= 3
    server.start()
    try:
        assert found_in(folder, secrets) == [], "the WAL and free pages included"
        environment = server.environment
        assert environment["AWS_SECRET_ACCESS_KEY"].encode() == secrets["root's secret"]
        assert client(environment, "sts").get_caller_identity()["Arn"].endswith(":root")
    finally:
        server.stop()


def test_another_root_key_stops_the_start_and_rekey_changes_it(folder, tmp_path):
    folder.mkdir()
    server = Server(BINARY, data=folder).start()
    environment = server.environment
    server.stop()
    other = tmp_path / "other.key"
    other.write_text("00" * 32)
    words = ["--data", str(folder)]
    refused = cairn("serve", *words, "--root-key-file", str(other))
    assert refused.returncode == 1
    assert "the root key file is not the one that the data folder's secrets are sealed under" in refused.stderr
    missing = cairn("serve", *words, "--root-key-file", str(tmp_path / "none.key"))
    assert missing.returncode == 1 and "does not exist" in missing.stderr
    phrase = cairn("serve", *words, CAIRN_ROOT_PASSPHRASE="open sesame")
    assert phrase.returncode == 1 and "sealed under a root key file, and a root passphrase was given" in phrase.stderr

    assert cairn("rekey", *words).returncode == 1
    changed = cairn("rekey", *words, CAIRN_NEW_ROOT_PASSPHRASE="open sesame")
    assert changed.returncode == 0, changed.stderr
    (folder / "root.key").unlink()
    assert cairn("serve", *words, CAIRN_ROOT_PASSPHRASE="open barley").returncode == 1
    server = Server(BINARY, data=folder, variables={"CAIRN_ROOT_PASSPHRASE": "open sesame"}).start()
    try:
        printed = cairn("env", *words, CAIRN_ROOT_PASSPHRASE="open sesame").stdout
        assert environment["AWS_SECRET_ACCESS_KEY"] in printed
        now = {**environment, "AWS_ENDPOINT_URL": server.endpoint}
        assert client(now, "sts").get_caller_identity()["Arn"].endswith(":root")
    finally:
        server.stop()
