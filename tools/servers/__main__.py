"""``python -m tools.servers kafka|hbase|opensearch|jars …``: start, stop, hurt the servers by hand, or serve in
a container."""

import argparse
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from tools.harness.ports import HOST
from tools.servers import hbase, kafka, opensearch
from tools.servers.daemon import ServerFault, Status
from tools.servers.hbase import HBase
from tools.servers.kafka import Kafka
from tools.servers.opensearch import OpenSearch
from tools.servers.serve import serve

_WHOLE: Final = {
    "start": "start what does not run, and wait until it serves",
    "serve": "the same in the foreground, until SIGTERM or until a process of it ends by itself",
    "stop": "end it; the data stay",
    "status": "what runs; exit code 3 when something does not",
    "wipe": "end it and delete its data",
}
_ONE: Final = {
    "kill": "kill -9",
    "pause": "stop it where it is (SIGSTOP)",
    "resume": "let it go on (SIGCONT)",
    "up": "start it again",
}

_Word = TypeVar("_Word", int, str)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        code: int = chosen.run(chosen)
    except ServerFault as fault:
        print(f"{chosen.server}: {fault}", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.servers", description="Kafka, HBase and OpenSearch on this machine."
    )
    servers = parser.add_subparsers(dest="server", required=True)
    one = servers.add_parser("kafka", help=f"Kafka {kafka.VERSION}")
    for start in _actions(one, kafka.default_folder(), "node", int, _ONE):
        start.add_argument("--port", type=int, help=f"of the first broker; {kafka.PORT} the first time")
        start.add_argument("--nodes", type=int, choices=(1, 3), help="3 the first time")
        start.add_argument("--listen", metavar="ADDRESS", help=f"for clients; {HOST} the first time")
        start.add_argument("--advertise", metavar="NAME", help="by which clients reach it, if not at that address")
    other = servers.add_parser("hbase", help=f"HBase {hbase.VERSION}")
    on_one = {**_ONE, "restart": "end it, start it again"}
    for start in _actions(other, hbase.default_folder(), "role", str, on_one):
        start.add_argument("--port", type=int, help=f"of the first gateway; {hbase.PORT} the first time")
        start.add_argument("--region-servers", type=int, help="0, all in one process but the gateways, the first time")
        start.add_argument("--gateways", type=int, help="1 the first time")
        start.add_argument("--listen", metavar="ADDRESS", help=f"of the gateways; {HOST} the first time")
    third = servers.add_parser("opensearch", help=f"OpenSearch {opensearch.VERSION}")
    for start in _actions(third, opensearch.default_folder(), "node", str, {}):
        start.add_argument("--port", type=int, help=f"{opensearch.PORT} the first time")
        start.add_argument("--listen", metavar="ADDRESS", help=f"for clients; {HOST} the first time")
    servers.add_parser("jars", help="fetch the jars of all, start nothing").set_defaults(run=_fetch)
    return parser


def _actions(
    server: argparse.ArgumentParser,
    folder: Path,
    part: str,
    kind: type,
    on_one: dict[str, str],
) -> list[argparse.ArgumentParser]:
    """The parsers of what starts it."""
    actions = server.add_subparsers(dest="action", required=True)
    for name, words in {**_WHOLE, **on_one}.items():
        action = actions.add_parser(name, help=words, description=words)
        action.add_argument("--folder", type=Path, default=folder, help="default: %(default)s")
        action.set_defaults(run=_run)
        if name in on_one:
            action.add_argument("part", metavar=part.upper(), type=kind)
    return [actions.choices["start"], actions.choices["serve"]]


def _run(chosen: argparse.Namespace) -> int:
    kind, configured, address = _SERVERS[chosen.server]
    if chosen.action == "serve":
        return serve(configured(chosen), _say)
    if chosen.action == "start":
        server = configured(chosen)
        print(f"{kind.__name__}: {server.start(_say)}")
        print(address(server))
        return 0
    server = kind.open(chosen.folder)
    if chosen.action != "status":
        return _do(server, chosen)
    code = _show(server.status())
    if code == 0:
        server.check()
    return code


def _kafka(chosen: argparse.Namespace) -> Kafka:
    """Options that were not given stay as they were the last time."""
    try:
        before = Kafka.open(chosen.folder)
    except ServerFault:
        before = Kafka(chosen.folder)
    return Kafka(
        chosen.folder,
        _either(chosen.port, before.port),
        _either(chosen.nodes, before.nodes),
        before.heap_mib,
        _either(chosen.listen, before.listen),
        _either(chosen.advertise, before.advertise),
    )


def _hbase(chosen: argparse.Namespace) -> HBase:
    try:
        before = HBase.open(chosen.folder)
    except ServerFault:
        before = HBase(chosen.folder)
    return HBase(
        chosen.folder,
        _either(chosen.port, before.port),
        _either(chosen.region_servers, before.region_servers),
        _either(chosen.gateways, before.gateways),
        before.heap_mib,
        _either(chosen.listen, before.listen),
    )


def _opensearch(chosen: argparse.Namespace) -> OpenSearch:
    try:
        before = OpenSearch.open(chosen.folder)
    except ServerFault:
        before = OpenSearch(chosen.folder)
    port, listen = _either(chosen.port, before.port), _either(chosen.listen, before.listen)
    return OpenSearch(chosen.folder, port, before.heap_mib, listen)


# By name: its kind, the function that makes it as chosen, and what clients are given.
_SERVERS: Final[dict[str, tuple[Any, Callable[[argparse.Namespace], Any], Callable[[Any], str]]]] = {
    "kafka": (Kafka, _kafka, attrgetter("bootstrap")),
    "hbase": (HBase, _hbase, attrgetter("addresses")),
    "opensearch": (OpenSearch, _opensearch, attrgetter("url")),
}


def _either(said: _Word | None, before: _Word) -> _Word:
    return before if said is None else said


def _do(cluster: Kafka | HBase | OpenSearch, chosen: argparse.Namespace) -> int:
    act = getattr(cluster, chosen.action)
    act(chosen.part) if "part" in chosen else act()
    return 0


def _show(parts: list[Status]) -> int:
    for part in parts:
        print(part)
    return 0 if all(part.pid for part in parts) else 3


def _fetch(chosen: argparse.Namespace) -> int:
    for fetch in (kafka.fetch, hbase.fetch, opensearch.fetch):
        print(fetch(_say))
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
