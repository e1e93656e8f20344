"""Terraform makes, changes and removes what compat/terraform describes, and after each step finds nothing to do.

The provider comes from a folder that CAIRN_TERRAFORM_MIRROR names, laid out as `terraform providers mirror` does; it waits
long for what AWS makes known slowly, so that this takes some minutes.
"""

import os
import shutil
import subprocess

import pytest

from conftest import COMPAT

MIRROR = os.environ.get("CAIRN_TERRAFORM_MIRROR")
NO_CHANGES, CHANGES = 0, 2


@pytest.fixture
def terraform(own_server, tmp_path):
    """Runs Terraform in a folder with the description: terraform("plan", …) gives (exit code, what it said)."""
    if not MIRROR or not shutil.which("terraform"):
        pytest.skip("CAIRN_TERRAFORM_MIRROR names no mirror of providers, or Terraform is not installed")
    server, folder = own_server(delivery_interval="2s"), tmp_path / "terraform"
    folder.mkdir()
    shutil.copy(COMPAT / "terraform" / "messaging.tf", folder)
    settings = folder / "settings"
    settings.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n')
    environment = server.environment
    environment |= {"TF_CLI_CONFIG_FILE": str(settings), "TF_VAR_endpoint": environment.pop("AWS_ENDPOINT_URL")}

    def run(*words):
        done = subprocess.run(["terraform", *words, "-no-color"], cwd=folder, env=environment, capture_output=True,
                              text=True)
        return done.returncode, done.stdout + done.stderr

    assert run("init")[0] == 0
    return run


def test_terraform_finds_nothing_to_do_after_it_made_and_changed_messaging(terraform):
    for change in "false", "true":
        asked = f"-var=change={change}"
        code, said = terraform("plan", "-detailed-exitcode", asked)
        assert code == CHANGES, said
        code, said = terraform("apply", "-auto-approve", asked)
        assert code == 0, said
        code, said = terraform("plan", "-detailed-exitcode", asked)
        assert code == NO_CHANGES, said
    code, said = terraform("destroy", "-auto-approve")
    assert code == 0 and "13 destroyed" in said, said
