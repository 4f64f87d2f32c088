"""How to get an admin token again with access to the machine alone."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def account_token(falcon: Falcon, account_id: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "falcon", "account", "token", str(account_id)]
    return subprocess.run(command, env=falcon.environment(), capture_output=True, text=True, timeout=60)


def status(falcon: Falcon, token: str) -> int:
    return httpx.get(
        f"{falcon.info['url']}/v1/me", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ).status_code


def test_the_machine_gives_an_admin_whose_token_is_lost_another_one(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    credentials = json.loads((tmp_path / "credentials.json").read_text())
    admin_id, lost = credentials["admin_account_id"], credentials["admin_token"]
    headers = {"Authorization": f"Bearer {lost}"}
    with httpx.Client(base_url=falcon.info["url"], headers=headers, timeout=60) as admin:
        assert admin.post(f"/v1/accounts/{admin_id}/tokens").status_code == 201  # which another process has
        assert admin.delete("/v1/me/token").status_code == 204
    assert account_token(falcon, admin_id).returncode == 1  # the running Falcon is asked, with an invalid token
    falcon.stop()

    made = account_token(falcon, admin_id)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    falcon.start()
    try:
        assert [status(falcon, each) for each in (token, lost)] == [200, 401]
        assert falcon.info["admin_token"] == token  # `falcon account add` and other admin commands work again
        assert account_token(falcon, credentials["account_id"]).returncode == 0
    finally:
        falcon.stop()


def test_an_account_that_is_not_there_gets_no_token_from_the_machine(tmp_path: Path) -> None:
    falcon = Falcon(tmp_path).start()
    falcon.stop()
    refused = account_token(falcon, 2**50)
    assert refused.returncode == 1
    assert f"there is no account {2**50}" in refused.stderr
    assert "Traceback" not in refused.stderr
