"""Jobs beside Falcon in the namespace of overlays/single: the smoke test, and the nightly backup."""

import asyncio
import gzip
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from falcon_chat import FalconClient
from tools.k8s_proof.deployed import scale_single, single_credentials, url_of
from tools.k8s_proof.images import DEV
from tools.k8s_proof.kubectl import Kubectl, KubectlFailed, Unexpected
from tools.k8s_proof.objects import MANIFESTS
from tools.k8s_proof.results import Proof
from tools.k8s_proof.traffic import Target
from tools.servers.cluster import ROOT

_JOB_SECONDS: Final = 180
_BACKUP: Final = "falcon-backup-now"


async def prove(kubectl: Kubectl, target: Target) -> Proof:
    """``target``: another Falcon, that takes in what was backed up."""
    await scale_single(kubectl, 1)
    credentials = await single_credentials(kubectl)
    text = f"kept, {secrets.token_hex(4)}"
    async with FalconClient(url_of(kubectl), credentials["token"]) as falcon:
        room = await falcon.create_room("To be kept")
        await falcon.post(room.room_id, text)
    said = await _smoke(kubectl, credentials["token"])
    backup = await _back_up(kubectl, credentials["admin_token"])
    await scale_single(kubectl, 0)
    await asyncio.to_thread(_restore, backup, target)
    wrong = [] if await _has(target, text) else [f"{text!r} was backed up, and is not in the Falcon that took it in"]
    lines = [
        f"- `components/smoke`: {said}",
        f"- `components/backup`: `kubectl create job --from=cronjob/falcon-backup {_BACKUP}` left {backup.name} of "
        f"{backup.stat().st_size:,} bytes in its volume. `falcon import` took it into the Falcon of `overlays/local`, "
        "where the message that had been sent to the first one was found.",
    ]
    return Proof("jobs", lines, wrong)


async def _smoke(kubectl: Kubectl, token: str) -> str:
    """The last line that it prints."""
    await _secret(kubectl, "falcon-smoke", f"token={token}")
    shown = await kubectl("kustomize", str(MANIFESTS / "components" / "smoke"))
    await kubectl("delete", "job", "falcon-smoke", "--ignore-not-found")
    await kubectl("apply", "--filename=-", given=shown.replace("image: falcon\n", f"image: {DEV}\n"))
    return (await _completed(kubectl, "falcon-smoke")).strip().rpartition("\n")[2]


async def _back_up(kubectl: Kubectl, admin_token: str) -> Path:
    """The file, in the claim's volume, which is a folder of this machine."""
    await _secret(kubectl, "falcon-backup", f"admin-token={admin_token}")
    await kubectl("delete", "job", _BACKUP, "--ignore-not-found")
    await kubectl("create", "job", "--from=cronjob/falcon-backup", _BACKUP)
    await _completed(kubectl, _BACKUP)
    claim = await kubectl.get("persistentvolumeclaim/falcon-backups")
    volume = await kubectl.get(f"persistentvolume/{claim['spec']['volumeName']}")
    return await asyncio.to_thread(lambda: max(Path(volume["spec"]["local"]["path"]).glob("falcon-*.jsonl.gz")))


async def _completed(kubectl: Kubectl, job: str) -> str:
    """Returns the job's output. Raises KubectlFailed with it if the job fails or takes too long."""
    code, _, _ = await kubectl.attempt("wait", f"job/{job}", "--for=condition=Complete", f"--timeout={_JOB_SECONDS}s")
    said = await kubectl("logs", f"job/{job}")
    if code:
        raise KubectlFailed(f"job {job} is not complete; it says: {said}")
    return said


async def _secret(kubectl: Kubectl, name: str, pair: str) -> None:
    await kubectl("delete", "secret", name, "--ignore-not-found")
    await kubectl("create", "secret", "generic", name, f"--from-literal={pair}")


def _restore(backup: Path, target: Target) -> None:
    """Restore the backup as after the loss of everything else. Raises Unexpected with the command's output."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder, "backup.jsonl")
        plain.write_bytes(gzip.decompress(backup.read_bytes()))
        done = subprocess.run(
            [sys.executable, "-m", "falcon", "import", str(plain)],
            cwd=ROOT,
            env={**os.environ, "FALCON_URL": target.url, "FALCON_ADMIN_TOKEN": target.admin_token},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode:
        raise Unexpected(f"falcon import: {done.stdout.strip()}")


async def _has(target: Target, text: str) -> bool:
    async with FalconClient(target.url, target.admin_token) as falcon:
        return text.encode() in b"".join([block async for block in falcon.export()])
