"""Asking this machine's Falcon how it is: for container engines and scripts, which may have no curl."""

from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Annotated

import typer

from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.settings import Settings

_ANSWER_SECONDS = 8.0  # the operations port itself waits for the processes, three seconds each
_SAID_MAX = 200
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what listens on every address is asked on its own machine


def health(
    ready: Annotated[bool, typer.Option("--ready", help="Ask whether it can serve right now, as well.")] = False,
) -> None:
    """Ask the Falcon of this machine whether it works, on its operations port (FALCON_OPS_PORT).

    Prints one line. The exit code is 1 when it does not, so that container engines and scripts can ask.

    \b
    Examples:
      falcon health
      FALCON_OPS_PORT=9001 falcon health --ready && echo "It can be given work."
    """
    settings = _settings()
    if settings.ops_port <= 0:
        raise Fault(f"FALCON_OPS_PORT={settings.ops_port}: no port to ask on; set it to that of the Falcon that runs")
    path, wanted = ("/readyz", "ready") if ready else ("/livez", "live")
    status, said = _ask(_LOOPBACK.get(settings.ops_host, settings.ops_host), settings.ops_port, path)
    if status != 200:
        raise Fault(f"Falcon is not {wanted}: {said or f'it answers {status}'}")
    typer.echo(f"Falcon is {wanted}.")


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
