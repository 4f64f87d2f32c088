"""Running the roles of a cluster, and maintaining its log and tables."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from falcon.cli.calling import read_settings
from falcon.cli.display import counted
from falcon.cli.faults import Fault, tell
from falcon.cli.read_models import check_read_model, read_models, sinks

if TYPE_CHECKING:
    from falcon.run.bootstrap import FirstAccounts
    from falcon.run.settings import Settings

_AGAIN_SECONDS = 2.0  # between two attempts to reach servers that do not answer yet

JsonOption = Annotated[bool, typer.Option("--json", help="Print the first line as JSON, for programs.")]
ProjectionArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Which read model; an unknown name lists them.",
    ),
]


def api(as_json: JsonOption = False) -> None:
    """Run a cluster's HTTP edge, which forwards commands and answers queries.

    FALCON_KAFKA and FALCON_HBASE are the addresses of those servers. Run `falcon prepare` first.
    """
    _launch("api", as_json)


def write(as_json: JsonOption = False) -> None:
    """Run a cluster's writers. Each owns a share of the partitions.

    Start more of them to spread the partitions over more processes.
    """
    _launch("write", as_json)


def project(as_json: JsonOption = False) -> None:
    """Run a cluster's projections, which fill the read tables from the log.

    Start more of them to spread the partitions over more processes.
    """
    _launch("project", as_json)


def forward(as_json: JsonOption = False) -> None:
    """Run a cluster's sinks: the index of messages, which OpenSearch keeps.

    FALCON_OPENSEARCH_URL is its address. Start more of them to spread the partitions over more processes.
    """
    _launch("forward", as_json)


def _launch(command: str, as_json: bool) -> None:
    from falcon.run.launcher import main

    raise typer.Exit(main(command, as_json=as_json))


def prepare() -> None:
    """Create the topics and tables that a cluster needs.

    It checks existing ones and keeps them. It refuses a wrong number of partitions, and a topic that deletes old records, with advice. You can always repeat it. It waits for servers that do not answer yet, for up to FALCON_START_SECONDS.

    \b
    Example:
      FALCON_KAFKA=kafka:9092 FALCON_HBASE=thrift:9090 falcon prepare
    """  # noqa: E501
    from falcon.run.bootstrap import cluster

    settings = _settings()
    until = time.monotonic() + settings.start_seconds
    while True:
        try:
            with telling_faults():
                instance = asyncio.run(cluster.prepare(settings))
            break
        except Fault as fault:
            if not isinstance(fault.__cause__, cluster.AWAY) or time.monotonic() >= until:
                raise
            tell(str(fault))
            time.sleep(_AGAIN_SECONDS)
    typer.echo(f"The log {instance} and its tables are ready: {settings.partitions} partitions.")


def restored(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Start with empty read tables after restoring the log from an older copy.

    Stop every falcon api, write, project and forward first; it refuses while one of them runs. The log gets another name, so that Falcon refuses tables, streams and resume tokens of the lost history. The projections fill the new tables.

    \b
    Example:
      falcon restored --yes
    """  # noqa: E501
    from falcon.run.bootstrap import cluster

    settings = _settings()
    if not yes:
        typer.confirm(
            "Was the log restored from an older copy, and shall the read tables be created again?", abort=True
        )
    with telling_faults():
        name = asyncio.run(cluster.restored(settings))
    typer.echo(f"The log is called {name} now, and its tables are empty: start falcon project, write and api.")


def credentials() -> None:
    """Print a cluster's owner and the owner's token as a line of JSON.

    FALCON_SECRET_FILE determines the token. The first call creates the account. The cluster must run.
    """
    import msgspec

    typer.echo(msgspec.json.encode(first_credentials()).decode())


def first_credentials() -> "FirstAccounts":
    """The credentials of the cluster that the settings name. Raises Fault."""
    from falcon.run.bootstrap import cluster

    settings = _settings()
    with telling_faults():
        return asyncio.run(cluster.first_credentials(settings))


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which read models; by default all.")
    ] = None,
    correct: Annotated[bool, typer.Option("--correct", help="Correct the tables.")] = False,
    rate: Annotated[float, typer.Option(min=1, help="Events a second, at most.")] = 20_000.0,
) -> None:
    """Compare a cluster's read tables with its log, while both are in use.

    With --correct it writes missing cells and corrects wrong ones. It never removes cells that the log does not explain: `falcon rebuild` makes tables without them. The exit code is 1 if a difference is left.

    \b
    Examples:
      falcon verify
      falcon verify timeline --correct --rate 5000
    """  # noqa: E501
    from falcon.cli.progress import progress_bar
    from falcon.run.bootstrap import cluster

    settings = _settings()
    differed = False
    for name in names or read_models():
        check_read_model(name)
        if name in sinks():
            raise Fault(f"{name} is no table to compare: falcon rebuild {name} makes it again from the log")
        with telling_faults(), progress_bar(f"Verifying {name}") as bar:
            found = cluster.verify(settings, name, repair=correct, events_a_second=rate, progress=bar.set)
        faults = found.missing + found.wrong
        differed = differed or found.unexplained > 0 or (faults > 0 and not correct)
        corrected = " (corrected)" if faults and correct else ""
        rebuild = f": falcon rebuild {name} makes tables without them" if found.unexplained else ""
        typer.echo(
            f"{name}: {counted(found.cells, 'cell')} compared, {found.missing:,} missing, {found.wrong:,} wrong"
            f"{corrected}, {found.unexplained:,} that the log does not explain{rebuild}."
        )
    if differed:
        raise typer.Exit(1)


def skip(
    name: ProjectionArgument,
    partition: Annotated[
        int, typer.Argument(metavar="PARTITION", min=0, help="The partition in which the projection has stopped.")
    ],
    offset: Annotated[
        int,
        typer.Argument(
            metavar="OFFSET", min=0, help="The event's place in the partition; the projection's log names both."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the tables.")],
    force: Annotated[
        bool, typer.Option("--force", help="Skip it even if the projection has not stopped at it.")
    ] = False,
) -> None:
    """Skip an event at which a projection has stopped, now and in every rebuild.

    It prints which event that is, and what will be missing from the tables. It is better to remove the cause and wait; see docs/operations.md.

    \b
    Example:
      falcon skip timeline 17 52341 --reason "a broken version wrote it"
    """  # noqa: E501
    from falcon.run.bootstrap import cluster

    check_read_model(name)
    settings = _settings()
    with telling_faults():
        skipped = cluster.skip(settings, name, partition, offset, reason, force=force)
    typer.echo(f"{name} passes over offset {offset} of partition {partition}: {skipped}.")


def _settings() -> "Settings":
    """Raises Fault."""
    from falcon.telemetry import logs

    settings = read_settings(None, "kafka", "hbase")
    logs.configure("cli", settings.log_level, "auto")
    return settings


@contextmanager
def telling_faults() -> Iterator[None]:
    """Turns the expected errors of a cluster into a Fault."""
    from falcon.journal.codec import Undecodable
    from falcon.projections.skipping import NoSuchEvent, NotStoppedThere, ProjectionFailed
    from falcon.read.store import StaleProjector
    from falcon.run.bootstrap import cluster

    expected = (cluster.StillRunning, ProjectionFailed, StaleProjector, Undecodable, NoSuchEvent, NotStoppedThere)
    try:
        yield
    except (*cluster.REFUSALS, *expected) as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
