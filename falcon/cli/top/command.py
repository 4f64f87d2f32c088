"""`falcon top`."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, Outside, find_running, outside_of
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from rich.console import Console

    from falcon.cli.top.watch import Watch

_CLUSTER = Path("build/cluster.json")
_INTERVAL_MIN = 0.2


class _Cluster(msgspec.Struct, frozen=True):
    """cluster.json: the processes that `make cluster` has started."""

    ops_urls: list[str]


def top(
    ctx: typer.Context,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OPS_URL",
            help="Addresses of operations ports; by default that of the `falcon up` on the data directory, else those of `make cluster`.",  # noqa: E501
            show_default=False,
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", min=_INTERVAL_MIN, help="The time between two readings.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one reading after one interval, and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print it as JSON, for programs.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Show live load and problems, until Ctrl-C.

    Rates, p50 and p99 are of the last interval, largest values of the last minute. The worst comes first, in red. Events are messages and all other changes; each projection applies all of them.

    \b
    Examples:
      falcon top
      falcon top http://10.0.0.7:8081 http://10.0.0.8:8081 --interval 5
      falcon top --once --json | jq .problems
    """  # noqa: E501
    if as_json and not once:
        raise typer.BadParameter("it goes with --once", param_hint="--json")
    from falcon.cli.top.watch import checked

    urls = checked(addresses or _default_addresses(data_dir))
    if once:
        asyncio.run(_print_once(urls, interval, outside_of(ctx), as_json))
    else:
        with suppress(KeyboardInterrupt):
            asyncio.run(_show(urls, interval, outside_of(ctx)))


def _default_addresses(data_dir: Path) -> list[str]:
    """Raises Fault if no running Falcon is known."""
    running = find_running(data_dir)
    if running is not None and running.alive:
        return [running.ops_url]
    cluster = _cluster_addresses()
    if cluster:
        return cluster
    raise Fault(f"no Falcon runs on {data_dir}/: start one with `falcon up`, or name addresses of operations ports")


def _cluster_addresses() -> list[str]:
    try:
        return msgspec.json.decode(_CLUSTER.read_bytes(), type=_Cluster).ops_urls
    except (FileNotFoundError, NotADirectoryError):
        return []
    except msgspec.DecodeError as fault:
        raise Fault(f"{_CLUSTER}: {fault}; `make cluster` writes it again") from fault


async def _print_once(urls: list[str], interval: float, outside: Outside, as_json: bool) -> None:
    from falcon.cli.top.rendering import Screenful
    from falcon.cli.top.watch import watching

    async with watching(urls, outside) as watch:
        found = await watch.read_after(interval)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _console().print(Screenful(found))


async def _show(urls: list[str], interval: float, outside: Outside) -> None:
    """On a terminal each reading replaces the last; elsewhere they follow one another."""
    from falcon.cli.top.watch import watching

    console = _console()
    async with watching(urls, outside) as watch:
        if console.is_terminal and not console.is_dumb_terminal:
            await _show_in_place(watch, interval, console)
        else:
            await _show_one_after_the_other(watch, interval, console)


async def _show_in_place(watch: "Watch", interval: float, console: "Console") -> None:
    from rich.live import Live

    from falcon.cli.top.rendering import Screenful

    with Live("The first figures come soon.", console=console, screen=True, auto_refresh=False) as live:
        # Show the same reading again at once after the terminal was resized.
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, live.refresh)
        while True:
            live.update(Screenful(await watch.read_after(interval), fit=True), refresh=True)


async def _show_one_after_the_other(watch: "Watch", interval: float, console: "Console") -> None:
    from falcon.cli.top.rendering import Screenful

    while True:
        console.print(Screenful(await watch.read_after(interval)))


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)
