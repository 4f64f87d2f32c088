"""``falcon health`` for container engines and scripts, which may have no curl."""

import os
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, Running, find_running, read_settings
from falcon.cli.faults import Fault

_ANSWER_SECONDS = 8.0  # the operations port waits up to three seconds for each process
_SAID_MAX = 200  # characters of an answer, two lines of a terminal
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # a server that listens on every address also listens here


def health(
    ready: Annotated[bool, typer.Option("--ready", help="Also check that it can take requests now.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Check that the Falcon on this machine works.

    It asks the operations port: FALCON_OPS_PORT, or else that of the `falcon up` on the data directory. It prints one line. The exit code is 1 if Falcon does not work.

    \b
    Examples:
      falcon health
      FALCON_OPS_PORT=9001 falcon health --ready && echo "It takes requests."
    """  # noqa: E501
    path, wanted = ("/readyz", "ready") if ready else ("/livez", "live")
    host, port = _address(data_dir)
    status, said = _ask(_LOOPBACK.get(host, host), port, path)
    if status != 200:
        raise Fault(f"Falcon is not {wanted}: {said or f'it answers {status}'}")
    typer.echo(f"Falcon is {wanted}.")


def _address(data_dir: Path) -> tuple[str, int]:
    """Host and port. If the system chose the port, only the data directory has it. Raises Fault."""
    settings = read_settings()
    chosen = "FALCON_OPS_PORT" in os.environ and settings.ops_port > 0
    running = find_running(data_dir)
    if running is not None and running.alive and running.ops_url and not chosen:
        url = urlsplit(running.ops_url)
        return url.hostname or settings.ops_host, url.port or settings.ops_port
    if settings.ops_port <= 0:
        raise Fault(_nothing_to_ask(settings.ops_port, data_dir, running))
    return settings.ops_host, settings.ops_port


def _nothing_to_ask(ops_port: int, data_dir: Path, running: Running | None) -> str:
    if running is not None and running.alive:
        return f"the Falcon of {data_dir}/ has no operations port: start it without FALCON_OPS_PORT={ops_port}"
    return (
        f"no Falcon runs on {data_dir}/: start one with `falcon up`, "
        "or set FALCON_OPS_PORT to the operations port of the Falcon that runs"
    )


def _ask(host: str, port: int, path: str) -> tuple[int, str]:
    """The status and the beginning of the answer. Raises Fault."""
    connection = HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_SAID_MAX).decode(errors="replace").strip()
    except OSError as fault:
        raise Fault(
            f"nothing answers on port {port} of {host} ({fault.strerror or fault}): start Falcon with `falcon up`, "
            "or set FALCON_OPS_PORT to its port"
        ) from fault
    except UnicodeError as fault:
        raise Fault(f"{host!r} is not the name of a host: set FALCON_OPS_HOST") from fault
    except HTTPException as fault:
        raise Fault(f"port {port} of {host} is not an operations port of Falcon: set FALCON_OPS_PORT") from fault
    finally:
        connection.close()
