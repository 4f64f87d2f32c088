"""`falcon smoke`."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, TokenOption, find_credentials, find_server, outside_of
from falcon.cli.cluster import first_credentials
from falcon.cli.display import visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.cli.smoke.runner import Step


def smoke(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Argument(
            metavar="URL",
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
    first_account: Annotated[
        bool,
        typer.Option(
            "--first-account",
            help="If Falcon's own settings are here: the first account's token, from the data directory or, on a cluster, by FALCON_SECRET_FILE.",  # noqa: E501
        ),
    ] = False,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="For all steps.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, for programs.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Try out a Falcon that was just deployed, as a client would.

    It creates a room, sends a message, sends it again with the same key, reads, edits and marks it, receives another on the stream, and receives what it missed while disconnected; then it deletes the room. It prints a line for each step. When a step fails, the last line says what is wrong, what was expected and what to look at.

    Exit codes: 0 all is well, 1 something is wrong, 2 wrong arguments. It ends within --timeout; after a failed step it takes up to five seconds more to delete the room.

    \b
    Examples:
      falcon smoke
      FALCON_TOKEN=... falcon smoke https://chat.example.com --timeout 120
      falcon smoke http://falcon-api --token-file /etc/falcon/smoke/token --json
    """  # noqa: E501
    from falcon.cli.smoke.runner import run_checks

    urls, found_token = find_server(url, _token(token, token_file, first_account, data_dir), data_dir, admin=False)
    outcome = asyncio.run(
        run_checks(urls, found_token, timeout, outside_of(ctx), (lambda step: None) if as_json else _print)
    )
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
    if outcome.failure is not None:
        raise Fault(str(outcome.failure))
    if not as_json:
        typer.echo(f"All is well: {len(outcome.steps)} steps in {outcome.seconds:.2f} s.")


def _token(token: str | None, file: Path | None, first_account: bool, data_dir: Path) -> str | None:
    """None: it was not said. Raises Fault for a file without one, and OSError for none."""
    if first_account:
        return _first_accounts_token(data_dir)
    if file is None:
        return token
    try:
        text = file.read_text().strip()
    except UnicodeDecodeError as fault:
        raise Fault(f"{file} is not text: it must hold a token") from fault
    if not text:
        raise Fault(f"{file} is empty: it must hold a token")
    return text


def _first_accounts_token(data_dir: Path) -> str:
    """Raises Fault."""
    if os.environ.get("FALCON_KAFKA"):
        return first_credentials().token
    found = find_credentials(data_dir)
    if found is None:
        raise Fault(f"no first account is known here: {data_dir}/ has no credentials.json, and FALCON_KAFKA is not set")
    return found.token


def _print(step: "Step") -> None:
    found = visible(step.found) if step.ok else "failed"
    typer.echo(f"{step.step:<7} {step.seconds * 1000:>7,.0f} ms  {found}")
