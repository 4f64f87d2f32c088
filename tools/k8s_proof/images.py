"""Two more images beside the one that was deployed: another version of it, and one whose command fails."""

import subprocess
import sys
from typing import Final

DEV: Final = "localhost/falcon:dev"
NEXT: Final = "localhost/falcon:next"
BROKEN: Final = "localhost/falcon:broken"
_FAILING: Final = '["python", "-c", "raise SystemExit(\'this version cannot start\')"]'


_BASE: Final = "chat.falcon.base"  # a label: what it was made of


def load() -> None:
    """Make them with buildah out of the deployed one, and bring them to the node. Raises CalledProcessError."""
    _derive(NEXT, "--label", "org.opencontainers.image.version=next")
    _derive(BROKEN, "--entrypoint", _FAILING, "--cmd", "")
    subprocess.run([sys.executable, "-m", "tools.node", "load", NEXT, BROKEN], check=True)


def _derive(name: str, *change: str) -> None:
    base = _inspect(DEV, "{{.FromImageID}}")
    if _exists(name) and _inspect(name, f'{{{{index .OCIv1.Config.Labels "{_BASE}"}}}}') == base:
        return
    container = _buildah("from", "--pull-never", DEV)
    try:
        _buildah("config", "--label", f"{_BASE}={base}", *change, container)
        _buildah("commit", "--quiet", container, name)
    finally:
        _buildah("rm", container)


def _exists(name: str) -> bool:
    return name in _buildah("images", "--format={{.Name}}:{{.Tag}}").splitlines()


def _inspect(name: str, what: str) -> str:
    return _buildah("inspect", "--type=image", f"--format={what}", name)


def _buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()
