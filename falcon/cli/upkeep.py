"""Maintains an installation."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from falcon.cli.calling import DEFAULT_DATA_DIR, DataDirOption, find_running, read_settings
from falcon.cli.display import counted, visible
from falcon.cli.faults import Fault
from falcon.cli.read_models import check_read_model, sinks

if TYPE_CHECKING:
    from falcon.cli.doctor import Finding
    from falcon.http.providers import Provider
    from falcon.run.settings import Settings


def up(
    as_json: Annotated[bool, typer.Option("--json", help="Print the first line as JSON, for programs.")] = False,
) -> None:
    """Start Falcon on this machine, with everything it needs.

    Prints its address and the owner's token once it accepts commands; Ctrl-C stops it. FALCON_DATA_DIR (./data) names the data folder; FALCON_HOST, FALCON_HTTP_PORT and FALCON_OPS_PORT say where it listens.

    \b
    Examples:
      falcon up
      FALCON_HTTP_PORT=9000 FALCON_DATA_DIR=/var/lib/falcon falcon up --json
    """  # noqa: E501
    from falcon.run.launcher import main

    raise typer.Exit(main("up", as_json=as_json))


def rebuild(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Which read model; an unknown name lists them.",
        ),
    ],
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Rebuild a read table from the event log, beside the live one, then switch to it.

    Reads work meanwhile. If it is killed, repeat the command: it continues where it was. Rebuild a table if it is damaged, or if the notes of a new version say so. If FALCON_KAFKA is set, it rebuilds the cluster's table.

    \b
    Examples:
      falcon rebuild timeline
      falcon rebuild memberships --data-dir /var/lib/falcon
    """  # noqa: E501
    check_read_model(name)
    from falcon.cli.progress import progress_bar

    settings = read_settings(data_dir)
    if not settings.kafka and not settings.database.exists():
        raise Fault(f"no data in {data_dir}/: nothing to rebuild; see --data-dir")
    if name in sinks():
        _begin_again(settings, name)
        typer.echo(f"Threw {name} away. It is filled from the log again while Falcon runs, and answers 503 until then.")
        return
    with progress_bar(f"Rebuilding {name}") as bar:
        events = _rebuild_on_cluster(settings, name, bar.set) if settings.kafka else _rebuild(settings, name, bar.set)
    rate = events / bar.seconds if bar.seconds else 0.0
    typer.echo(f"Rebuilt {name}: {counted(events, 'event')} in {bar.seconds:,.1f} s, {rate:,.0f} a second.")


def copy(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist yet.")],
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Make the copy for N processes, each with a database file. Stop Falcon first.",
        ),
    ] = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Copy the data folder, even while Falcon runs on it.

    To restore the copy, stop Falcon and replace the data folder with it. You lose messages that were sent after the copy, and clients start new streams. To change the number of processes, stop Falcon, copy with --processes, and start it on the copy.

    \b
    Examples:
      falcon copy /backup/falcon-2026-11-26
      falcon copy --processes 4 data-4
    """  # noqa: E501
    from falcon.adapters.sqlite.database import WrongDatabase
    from falcon.adapters.sqlite.files import mebibytes
    from falcon.cli.progress import progress_bar
    from falcon.journal.ports import JournalUnavailable
    from falcon.run.bootstrap import embedded
    from falcon.run.settings import PROCESSES_MAX

    settings = read_settings(data_dir)
    if not settings.database.exists():
        raise Fault(f"no data in {data_dir}/: nothing to copy; see --data-dir")
    if folder.exists():
        raise Fault(f"{folder} exists already; give another name")
    most = min(PROCESSES_MAX, settings.partitions)
    if processes is not None and processes not in range(1, most + 1):
        raise Fault(f"--processes={processes}: must be 1 to {most}")
    try:
        with progress_bar("Copying (MiB)") as bar:
            embedded.copy(settings, folder, lambda done, total: bar.set(mebibytes(done), mebibytes(total)), processes)
    except (OSError, JournalUnavailable, WrongDatabase, embedded.InUse) as fault:
        raise Fault(str(fault)) from fault
    settings.copied.touch(mode=0o600)  # falcon_copied_timestamp_seconds says when that was
    typer.echo(f"Copied {data_dir}/ to {folder}/.")


def doctor(data_dir: DataDirOption = DEFAULT_DATA_DIR) -> None:
    """Check this machine for problems and suggest fixes.

    The exit code is 1 if a check fails.

    \b
    Examples:
      falcon doctor
      FALCON_HTTP_PORT=9000 falcon doctor && FALCON_HTTP_PORT=9000 falcon up
    """
    from falcon.cli.doctor import FindingState

    findings = _examine(data_dir)
    _print_findings(findings)
    if any(finding.state is FindingState.FAIL for finding in findings):
        raise typer.Exit(1)


def _begin_again(settings: "Settings", name: str) -> None:
    """Raises Fault."""
    from falcon.adapters.sqlite.database import WrongDatabase
    from falcon.journal.ports import JournalUnavailable
    from falcon.read.store import ReadStoreUnavailable
    from falcon.run.bootstrap import embedded

    if settings.kafka:
        return _begin_again_on_cluster(settings, name)
    try:
        embedded.begin_again(settings, name)
    except (JournalUnavailable, ReadStoreUnavailable, WrongDatabase) as fault:
        raise Fault(str(fault)) from fault


def _begin_again_on_cluster(settings: "Settings", name: str) -> None:
    """Raises Fault."""
    from falcon.cli.cluster import telling_faults
    from falcon.run.bootstrap import cluster

    with telling_faults():
        cluster.begin_again(settings, name)


def _rebuild(settings: "Settings", name: str, progress: Callable[[int, int], None]) -> int:
    """Returns the number of events. Raises Fault for expected errors."""
    from falcon.adapters.sqlite.database import WrongDatabase
    from falcon.journal.codec import Undecodable
    from falcon.journal.ports import JournalUnavailable
    from falcon.projections.skipping import ProjectionFailed
    from falcon.read.store import ReadStoreUnavailable
    from falcon.run.bootstrap import embedded

    try:
        return embedded.rebuild(settings, name, progress)
    except (JournalUnavailable, ReadStoreUnavailable, WrongDatabase) as fault:
        raise Fault(str(fault)) from fault
    except (ProjectionFailed, Undecodable) as fault:
        raise Fault(f"{fault}; {name} is as it was before") from fault


def _rebuild_on_cluster(settings: "Settings", name: str, progress: Callable[[int, int], None]) -> int:
    """Returns the number of events. Raises Fault."""
    from falcon.cli.cluster import telling_faults
    from falcon.run.bootstrap import cluster
    from falcon.telemetry import logs

    settings.require("hbase")
    logs.configure("cli", settings.log_level, "auto")
    with telling_faults():
        return cluster.rebuild(settings, name, progress)


def _examine(data_dir: Path) -> "list[Finding]":
    from falcon.cli import doctor as look
    from falcon.run.bootstrap import embedded
    from falcon.run.settings import unknown_settings

    findings = [look.python_version(), look.sqlite(embedded.sqlite_version())]
    findings += [
        look.variables(unknown_settings()),
        look.data_directory(data_dir),
        look.free_disk(data_dir),
        look.open_files(),
        look.clock(data_dir),
    ]
    try:
        running = find_running(data_dir)
    except Fault as fault:
        running = None
        findings.append(look.Finding("up.json", look.FindingState.WARN, str(fault)))
    try:
        settings = read_settings(data_dir)
    except Fault as fault:
        return [
            *findings,
            look.Finding("Settings", look.FindingState.FAIL, str(fault), "correct the variable, or unset it"),
        ]
    return [
        *findings,
        *_database(settings),
        *_certificate(settings),
        *([look.trusted_proxies(settings.trusted_proxies)] if settings.trusted_proxies else []),
        *_providers(settings),
        *_mail(settings),
        *_opensearch(settings),
        *look.unnamed_proxies(running),
        look.Finding("Settings", look.FindingState.OK, "valid"),
        look.port("FALCON_HTTP_PORT", settings.host, settings.http_port, running),
        look.port("FALCON_OPS_PORT", settings.ops_host, settings.ops_port, running),
        look.cluster() if settings.kafka and running is None else look.server(running),
    ]


def _providers(settings: "Settings") -> "list[Finding]":
    """One for each OpenID Connect provider."""
    if settings.oidc_file is None:
        return []
    from falcon.cli import doctor as look
    from falcon.http.providers import ProviderAway
    from falcon.run.bootstrap import providers
    from falcon.run.settings import WrongSettings

    async def asked(provider: "Provider") -> str:
        try:
            await provider.metadata()
        except ProviderAway as away:
            return str(away)
        return ""

    try:
        found = providers(settings)
    except WrongSettings as error:
        return [look.Finding("Providers", look.FindingState.FAIL, str(error), "correct the file")]
    return [
        look.provider(each.settings.name, each.settings.issuer, asyncio.run(asked(each))) for each in found.values()
    ]


def _mail(settings: "Settings") -> "list[Finding]":
    """Falcon can sign in at the mail server."""
    from falcon.cli import doctor as look
    from falcon.run.bootstrap import mail
    from falcon.run.settings import WrongSettings

    try:
        found = mail(settings)
    except WrongSettings as error:
        return [look.Finding("Mail", look.FindingState.FAIL, str(error), "correct the file")]
    return [] if found is None else [look.mail(found.settings.host, found.check())]


def _opensearch(settings: "Settings") -> "list[Finding]":
    """Empty where none is named."""
    if not (settings.opensearch_url and settings.kafka):
        return []
    from falcon.adapters.opensearch.client import IndexRefuses
    from falcon.cli import doctor as look
    from falcon.read.store import ReadStoreUnavailable
    from falcon.run.bootstrap import cluster

    try:
        return [look.opensearch(*cluster.look_at_index(settings))]
    except (ReadStoreUnavailable, IndexRefuses, *cluster.REFUSALS) as fault:
        return [look.opensearch("", None, str(fault))]


def _certificate(settings: "Settings") -> "list[Finding]":
    """Empty without one."""
    from falcon.base.certificates import WrongCertificate
    from falcon.cli import doctor as look
    from falcon.http.server.tls import Certificate

    if settings.tls_cert is None or settings.tls_key is None:
        return []
    try:
        return [look.certificate(Certificate(settings.tls_cert, settings.tls_key))]
    except WrongCertificate as fault:
        advice = "correct FALCON_TLS_CERT and FALCON_TLS_KEY"
        return [look.Finding("Certificate", look.FindingState.FAIL, str(fault), advice)]


def _database(settings: "Settings") -> "list[Finding]":
    """Empty for a new folder."""
    from falcon.adapters.sqlite import files
    from falcon.adapters.sqlite.database import WrongDatabase
    from falcon.cli import doctor as look
    from falcon.journal.ports import JournalUnavailable
    from falcon.run.settings import says_processes

    try:
        if not settings.database.exists():
            files.check_is_new(settings.database)
            return []
        present = files.present(settings.database)
        if all(path.exists() for path in present):
            files.check_places(settings.database, files.layout(settings.database))
        return [look.database(present, settings.processes if says_processes() else len(present))]
    except (JournalUnavailable, WrongDatabase) as fault:
        return [look.Finding("Database", look.FindingState.FAIL, str(fault))]


def _print_findings(findings: "list[Finding]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    table = Table(box=None, pad_edge=False)
    table.add_column("Check", no_wrap=True)
    table.add_column("State")
    table.add_column("Found", overflow="fold")
    table.add_column("What to do", overflow="fold")
    for finding in findings:
        state = finding.state.value
        table.add_row(
            finding.check, Text(state, style=colours[state]), Text(visible(finding.found)), Text(finding.advice)
        )
    Console().print(table)
