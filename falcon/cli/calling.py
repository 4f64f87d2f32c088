"""The address of the server, the token of the caller, and the options for both."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import msgspec
import typer

from falcon.base.process import start_ticks
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    import httpx

    from falcon.run.settings import Settings
    from falcon_chat import Clock, FalconClient  # imported when a server is called: it takes a while

T = TypeVar("T")

DEFAULT_DATA_DIR = Path("data")
_INTERACTIVE_SECONDS = 10.0  # a person waits for an answer, not for a server that is away

UrlOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FALCON_URL",
        metavar="URL[,URL]",
        help="Address of the server; by default that of the `falcon up` on the data directory.",
        show_default=False,
    ),
]
TokenOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="FALCON_TOKEN",
        metavar="TOKEN",
        help="Token of the account; by default that of the first account of the data directory.",
        show_default=False,
    ),
]
AdminTokenOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="FALCON_ADMIN_TOKEN",
        metavar="TOKEN",
        help="Admin token; by default that of the data directory.",
        show_default=False,
    ),
]


def _checked_key(key: str | None) -> str | None:
    if key is not None and not re.fullmatch("[!-~]{1,64}", key):
        raise typer.BadParameter("it must be 1 to 64 visible ASCII characters")
    return key


KeyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        callback=_checked_key,
        help="Any text. The same command with the same KEY within ten minutes is executed once.",
        show_default=False,
    ),
]
DataDirOption: TypeAlias = Annotated[
    Path,
    typer.Option("--data-dir", envvar="FALCON_DATA_DIR", metavar="DIR", help="Falcon's data directory."),
]


@dataclass(frozen=True)
class Caller:
    """The options for the address and the token. ``admin``: the call needs an admin token."""

    ctx: typer.Context
    url: str | None
    token: str | None
    data_dir: Path
    admin: bool = False

    def run(self, work: "Callable[[FalconClient], Awaitable[T]]", timeout: float = _INTERACTIVE_SECONDS) -> T:
        """The result of ``work`` with a connected client. Raises Fault, Problem, Unreachable."""
        return asyncio.run(self.connected(work, timeout))

    def as_admin(self) -> "Caller | None":
        """The same with an admin's token, from FALCON_ADMIN_TOKEN or the data directory; None if there is none.

        The command line may name another server than the one that the variable is for.
        """
        source = self.ctx.get_parameter_source("url")
        given = None if source is not None and source.name == "COMMANDLINE" else os.environ.get("FALCON_ADMIN_TOKEN")
        try:
            _, token = find_server(self.url, given, self.data_dir, admin=True)
        except Fault:
            return None
        return Caller(self.ctx, self.url, token, self.data_dir, admin=True)

    async def connected(
        self, work: "Callable[[FalconClient], Awaitable[T]]", timeout: float = _INTERACTIVE_SECONDS
    ) -> T:
        """Like :meth:`run`, within an event loop."""
        from falcon_chat import FalconClient, Unreachable

        outside = outside_of(self.ctx)
        urls, token = find_server(self.url, self.token, self.data_dir, admin=self.admin)
        try:
            client = FalconClient(urls, token, timeout=timeout, transport=outside.transport, clock=outside.clock)
        except ValueError as fault:
            raise Fault(str(fault)) from fault
        try:
            async with client as falcon:
                return await work(falcon)
        except Unreachable as fault:
            if fault.key is None or "key" not in self.ctx.params:
                raise
            raise Fault(
                f"{str(fault).removesuffix('.')}. An attempt without an answer may have been carried out: run the "
                f"command again with --key {fault.key} within ten minutes; it is executed only once"
            ) from fault


@dataclass(frozen=True)
class Outside:
    """The network and the clock, which tests replace."""

    transport: "httpx.AsyncBaseTransport | None" = None
    clock: "Clock | None" = None


def outside_of(ctx: typer.Context) -> Outside:
    return ctx.obj if isinstance(ctx.obj, Outside) else Outside()


class Running(msgspec.Struct, frozen=True):
    """up.json: the `falcon up` that runs on a data directory."""

    url: str
    ops_url: str
    pid: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        """False also if another process has got the pid: the address may be another program's by now, which must not
        be sent a token."""
        return start_ticks(self.pid) == self.start_ticks


class Credentials(msgspec.Struct, frozen=True):
    """credentials.json: the first account, which `falcon up` creates with the data directory."""

    token: str
    admin_token: str


def read_settings(data_dir: Path | None = None, *required: str) -> "Settings":
    """Settings by the environment, and by the option for the data directory. Raises Fault."""
    from falcon.run.settings import Settings, WrongSettings

    given = {} if data_dir is None else {"FALCON_DATA_DIR": str(data_dir)}
    try:
        settings = Settings.from_env(os.environ | given)
        settings.require(*required)
    except WrongSettings as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
    return settings


def find_running(data_dir: Path) -> Running | None:
    """Raises Fault when up.json can't be read."""
    return _read(data_dir / "up.json", Running, "`falcon up` writes it again when it starts")


def find_credentials(data_dir: Path) -> Credentials | None:
    """Raises Fault when credentials.json can't be read."""
    return _read(data_dir / "credentials.json", Credentials, "put it back from a copy, or give a token with --token")


def find_server(url: str | None, token: str | None, data_dir: Path, *, admin: bool) -> tuple[list[str], str]:
    """Addresses and token: the given ones, or those of the data directory. Raises Fault."""
    running = find_running(data_dir)
    urls = _addresses(url) if url else []
    if not urls:
        if running is None:
            raise Fault(f"no Falcon runs on {data_dir}/: start one with `falcon up`, or name one with --url")
        if not running.alive:
            raise Fault(f"the Falcon on {data_dir}/ (process {running.pid}) has ended: start it with `falcon up`")
        urls = [running.url]
    if token:
        return urls, token.strip()
    name = "FALCON_ADMIN_TOKEN" if admin else "FALCON_TOKEN"
    # Send a token only to the server that made it.
    if running is None or [url.rstrip("/") for url in urls] != [running.url.rstrip("/")]:
        if admin and (own := os.environ.get("FALCON_TOKEN")):
            return urls, own.strip()  # of an admin, perhaps
        raise Fault(f"no token for {urls[0]}: give one with --token or {name}")
    credentials = find_credentials(data_dir)
    if credentials is None:
        raise Fault(f"no credentials.json in {data_dir}/: give a token with --token or {name}")
    return urls, credentials.admin_token if admin else credentials.token


def _addresses(url: str) -> list[str]:
    """Raises Fault."""
    from falcon_chat.addresses import Addresses

    try:
        return list(Addresses([part.strip() for part in url.split(",")]).urls)
    except ValueError as fault:
        raise Fault(str(fault)) from fault


def _read(path: Path, shape: type[T], advice: str) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=shape)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Fault(f"{path.parent} is not a directory: see --data-dir") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Fault(f"{path}: {fault}; {advice}") from fault
