"""`falcon smoke`."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, TokenOption, find_running, find_server, outside_of
from falcon.cli.display import visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.cli.trying import Step


def smoke(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL]",
            envvar="FALCON_URL",
            help="Address of the server, or several with commas; by default that of the `falcon up` on the data directory.",  # noqa: E501
            show_default=False,
        ),
    ] = None,
    token: TokenOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="A file that holds the token, such as a mounted secret."),
    ] = None,
    admin_token: Annotated[
        str | None,
        typer.Option(
            "--admin-token",
            envvar="FALCON_ADMIN_TOKEN",
            metavar="TOKEN",
            help="Try an admin's token too.",
            show_default=False,
        ),
    ] = None,
    ops: Annotated[
        str | None,
        typer.Option("--ops", metavar="URL[,URL]", help="Operations ports to ask whether they are ready."),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="For all of it.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for programs.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Try out a Falcon that was just deployed, as a client would, and say what is wrong.

    Reaches it, sends a message, sends it again with the same key, reads, edits and marks it, and hears of another one on the stream, once. It does so in a room of its own, the same one each time. A line a step; the exit code is 1 when one fails, and the last line says what is wrong, what was expected and what to look at.

    \b
    Examples:
      falcon smoke
      FALCON_TOKEN=... falcon smoke https://chat.example.com --timeout 120
      falcon smoke http://falcon-api --token-file /etc/falcon/smoke/token --json
    """  # noqa: E501
    from falcon.cli.trials import Asked
    from falcon.cli.trying import try_out

    urls, found_token = find_server(url, _token(token, token_file), data_dir, admin=False)
    ops_urls = _parted(ops) if ops else _ops_of(url, data_dir)
    asked = Asked(urls, found_token, (admin_token or "").strip(), ops_urls, timeout)
    outcome = asyncio.run(try_out(asked, outside_of(ctx), (lambda step: None) if as_json else _print))
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    if outcome.failure is not None:
        raise Fault(str(outcome.failure))
    if not as_json:
        typer.echo(f"All is well: {len(outcome.steps)} steps in {outcome.seconds:.2f} s.")


def _token(token: str | None, file: Path | None) -> str | None:
    """Raises Fault for a file without one, and OSError for none."""
    if file is None:
        return token
    found = file.read_text().strip()
    if not found:
        raise Fault(f"{file} is empty: it must hold a token")
    return found


def _ops_of(url: str | None, data_dir: Path) -> list[str]:
    """Those of the data directory's Falcon, when it is that one which is tried out."""
    running = None if url else find_running(data_dir)
    return [running.ops_url] if running is not None and running.ops_url else []


def _parted(urls: str) -> list[str]:
    return [url.strip().rstrip("/") for url in urls.split(",")]


def _print(step: "Step") -> None:
    found = visible(step.found) if step.ok else "failed"
    typer.echo(f"{step.step:<7} {step.seconds * 1000:>7,.0f} ms  {found}")
