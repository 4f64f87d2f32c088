"""Asking this machine's Falcon how it is: for container engines and scripts, which may have no curl."""

import os
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, find_running
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.settings import Settings

_ANSWER_SECONDS = 8.0  # the operations port itself waits for the processes, three seconds each
_SAID_MAX = 200
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what listens on every address is asked on its own machine


def health(
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether it can serve right now, as well.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Ask the Falcon of this machine whether it works.

    It asks the operations port: FALCON_OPS_PORT, or else that of the `falcon up` on the data directory. Prints one line. The exit code is 1 when Falcon does not work, so that container engines and scripts can ask.

    \b
    Examples:
      falcon health
      FALCON_OPS_PORT=9001 falcon health --ready && echo "It can be given work."
    """  # noqa: E501
    path, wanted = ("/readyz", "ready") if ready else ("/livez", "live")
    host, port = _address(data_dir)
    status, said = _ask(_LOOPBACK.get(host, host), port, path)
    if status != 200:
        raise Fault(f"Falcon is not {wanted}: {said or f'it answers {status}'}")
    typer.echo(f"Falcon is {wanted}.")


def _address(data_dir: Path) -> tuple[str, int]:
    """Host and port. A port that was chosen by the system stands in the data directory alone. Raises Fault."""
    settings = _settings()
    running = find_running(data_dir)
    if running is not None and running.alive and running.ops_url and not _chosen(settings):
        url = urlsplit(running.ops_url)
        return url.hostname or settings.ops_host, url.port or settings.ops_port
    if settings.ops_port <= 0:
        raise Fault(f"FALCON_OPS_PORT={settings.ops_port}: no port to ask on; set it to that of the Falcon that runs")
    return settings.ops_host, settings.ops_port


def _chosen(settings: "Settings") -> bool:
    """True if the environment names a port that can be asked."""
    return "FALCON_OPS_PORT" in os.environ and settings.ops_port > 0


def _settings() -> "Settings":
    """Raises Fault."""
    from falcon.settings import Settings, WrongSettings

    try:
        return Settings.from_env()
    except WrongSettings as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault


def _ask(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and the beginning of what is said. Raises Fault."""
    connection = HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_SAID_MAX).decode(errors="replace").strip()
    except OSError as fault:
        raise Fault(
            f"nothing answers on port {port} of {host} ({fault.strerror or fault}); does Falcon run?"
        ) from fault
    except HTTPException as fault:
        raise Fault(f"what answers on port {port} of {host} is no Falcon: see FALCON_OPS_PORT") from fault
    finally:
        connection.close()
