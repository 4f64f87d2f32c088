"""Running a cluster: its roles, and looking after its log and tables."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from falcon.cli.display import counted
from falcon.cli.faults import Fault, tell
from falcon.cli.read_models import check_read_model, read_models, read_models_beginning_with

if TYPE_CHECKING:
    from falcon.bootstrap import Credentials
    from falcon.settings import Settings

_AGAIN_SECONDS = 2.0  # between two looks for servers that do not answer yet

JsonOption = Annotated[bool, typer.Option("--json", help="The first line is JSON, for programs.")]
ProjectionArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Which read model; an unknown name lists them.",
        autocompletion=read_models_beginning_with,
    ),
]


def api(as_json: JsonOption = False) -> None:
    """Run the HTTP edge of a cluster: it passes commands on to the owners and answers queries from HBase.

    FALCON_KAFKA and FALCON_HBASE say where those are; run `falcon prepare` once before.
    """
    _launch("api", as_json)


def write(as_json: JsonOption = False) -> None:
    """Run owners of partitions of a cluster. Start more of these to share the partitions among more processes."""
    _launch("write", as_json)


def project(as_json: JsonOption = False) -> None:
    """Run the projections of a cluster: from the log into HBase's tables. Several share the partitions."""
    _launch("project", as_json)


def _launch(command: str, as_json: bool) -> None:
    from falcon.launcher import main

    raise typer.Exit(main(command, ["--json"] if as_json else []))


def prepare() -> None:
    """Make the topics and tables that a cluster needs, where they are missing.

    What is there is checked and kept; only settings of topics that make takeovers slow are lowered. A wrong number of partitions, or a topic that would forget, is refused with what to do about it. Doing it again is always safe. Servers that do not answer yet are waited for, for FALCON_START_SECONDS.

    \b
    Example:
      FALCON_KAFKA=kafka-1:9092,kafka-2:9092 FALCON_HBASE=thrift:9090 falcon prepare
    """  # noqa: E501
    from falcon.bootstrap import cluster

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
    """After the log was restored from an older copy: begin again with empty read tables, which the projections fill.

    Stop every falcon api, write and project before. The log gets another name, so that tables, streams and tokens of the history that is lost are told from it.

    \b
    Example:
      falcon restored --yes
    """  # noqa: E501
    from falcon.bootstrap import cluster

    settings = _settings()
    if not yes:
        typer.confirm("Was the log restored from an older copy, and are the read tables to be made again?", abort=True)
    with telling_faults():
        name = asyncio.run(cluster.restored(settings))
    typer.echo(f"The log is called {name} now, and its tables are empty: start falcon project, write and api.")


def credentials() -> None:
    """Print the first accounts of a cluster and their tokens as a line of JSON, making them the first time.

    They follow from the secret in FALCON_SECRET_FILE. The cluster must run.
    """
    import msgspec

    typer.echo(msgspec.json.encode(first_credentials()).decode())


def first_credentials() -> "Credentials":
    """Those of the cluster that the settings name. Raises Fault."""
    from falcon.bootstrap import cluster

    settings = _settings()
    with telling_faults():
        return asyncio.run(cluster.first_credentials(settings))


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all when none is given.")
    ] = None,
    mend: Annotated[bool, typer.Option("--mend", help="Give the tables what they lack.")] = False,
    rate: Annotated[float, typer.Option(min=1, help="Events a second, at most.")] = 20_000.0,
) -> None:
    """Compare a cluster's read tables with its log, while both are in use, and mend what differs.

    The exit code is 1 when something differed and was not mended. What nothing in the log has written is not removed: a rebuild makes tables without it.

    \b
    Examples:
      falcon verify
      falcon verify timeline --mend --rate 5000
    """  # noqa: E501
    from falcon.bootstrap import cluster
    from falcon.cli.progress import progress_bar

    settings = _settings()
    differed = False
    for name in names or read_models():
        check_read_model(name)
        with telling_faults(), progress_bar(f"Verifying {name}") as bar:
            found = cluster.verify(settings, name, mend=mend, events_a_second=rate, progress=bar.set)
        faults = found.missing + found.wrong
        differed = differed or found.unexplained > 0 or (faults > 0 and not mend)
        mended = " (mended)" if faults and mend else ""
        rebuild = f": falcon rebuild {name} makes tables without them" if found.unexplained else ""
        typer.echo(
            f"{name}: {counted(found.cells, 'cell')} compared, {found.missing:,} missing, {found.wrong:,} wrong"
            f"{mended}, {found.unexplained:,} that the log does not explain{rebuild}."
        )
    if differed:
        raise typer.Exit(1)


def skip(
    name: ProjectionArgument,
    partition: Annotated[int, typer.Argument(min=0)],
    offset: Annotated[int, typer.Argument(min=0)],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the tables.")],
    force: Annotated[bool, typer.Option("--force", help="Also where the projection has not stopped.")] = False,
) -> None:
    """Let a projection that has stopped at an event pass over it, now and in every rebuild.

    It says which event that is, and what will be missing from the tables. Removing the cause and waiting is better; see the page on operations.

    \b
    Example:
      falcon skip timeline 17 52341 --reason "written by a broken version, checked by Ann"
    """  # noqa: E501
    from falcon.bootstrap import cluster

    check_read_model(name)
    settings = _settings()
    with telling_faults():
        skipped = cluster.skip(settings, name, partition, offset, reason, force=force)
    typer.echo(f"{name} passes over offset {offset} of partition {partition}: {skipped}.")


def _settings() -> "Settings":
    """Raises Fault."""
    from falcon.settings import Settings, WrongSettings
    from falcon.telemetry import logs

    try:
        settings = Settings.from_env()
        settings.require("kafka", "hbase")
    except WrongSettings as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
    logs.configure("cli", settings.log_level, "auto")
    return settings


@contextmanager
def telling_faults() -> Iterator[None]:
    """What may be expected to go wrong with a cluster becomes a Fault."""
    from falcon.bootstrap import cluster
    from falcon.journal.codec import Undecodable
    from falcon.projections.skipping import NoSuchEvent, NotStoppedThere, ProjectionFailed
    from falcon.read.store import StaleProjector

    expected = (cluster.StillRunning, ProjectionFailed, StaleProjector, Undecodable, NoSuchEvent, NotStoppedThere)
    try:
        yield
    except (*cluster.REFUSALS, *expected) as fault:
        raise Fault("; ".join(str(fault).splitlines())) from fault
