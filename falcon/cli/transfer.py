"""Import and export, for admins."""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from falcon.base.process import take_lock
from falcon.cli.calling import DEFAULT_DATA_DIR, AdminTokenOption, Caller, DataDirOption, UrlOption
from falcon.cli.display import counted
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon.cli.lines import HeaderLine
    from falcon_chat import FalconClient

_PATIENT_SECONDS = 120.0  # longer than a server takes to restart
_GO_ON = "the same command continues where this stopped"


def import_file(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to read; - is standard input.")],
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Import even into the Falcon that exported the file. It then has everything twice."
        ),
    ] = False,
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Import accounts, rooms, messages and reactions from a file.

    The file has one JSON object a line, as `falcon export` writes them. docs/building.md has the format, with a small file. If an import breaks off, repeat it: it skips everything that was imported before.

    An import never overwrites: in the Falcon that exported the file it would create each account and room a second time. That needs --again. To restore a Falcon, import into an empty one.

    \b
    Examples:
      falcon import old-chat.jsonl
      zstdcat backup.jsonl.zst | falcon import -
    """  # noqa: E501
    from falcon.cli.importing import import_lines
    from falcon.cli.merging import numbered
    from falcon.cli.progress import progress_bar

    caller = Caller(ctx, url, token, data_dir, admin=True)
    name = "standard input" if file == "-" else file
    with ExitStack() as stack:
        opened = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb", buffering=1 << 20))
        bar = stack.enter_context(progress_bar("Importing", None if file == "-" else _count(opened)))
        lines = numbered(opened, name)
        stack.enter_context(_told_to_go_on())
        outcome = caller.run(
            lambda falcon: import_lines(
                lines, name, falcon.import_lines, bar.advance, None if again else _foreign_only(falcon, name)
            ),
            _PATIENT_SECONDS,
        )
        bar.set(bar.done, bar.done)  # a change that replaces a row is sent with the row
    typer.echo(
        f"{counted(outcome.lines, 'line')}: {counted(outcome.imported, 'message')} imported, "
        f"{outcome.skipped:,} there already."
    )
    for account_id, texts in outcome.taken.items():
        typer.echo(f"Account {account_id} has no {' and no '.join(texts)}: another account has that.", err=True)
    for room_id, members in outcome.left_out.items():
        typer.echo(
            f"Room {room_id} lacks {counted(members, 'member')} of the file. Members have left it, so none was added: "
            "some may have left, and some may never have come in. `falcon room add` adds them.",
            err=True,
        )


def export_file(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What to write; - is standard output.")],
    url: UrlOption = None,
    token: AdminTokenOption = None,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
) -> None:
    """Export all accounts, rooms, messages and reactions to a file.

    The file has one JSON object a line, for `falcon import`. It shows everything as of one position of the log, which the last line names. FILE appears when it is complete; until then FILE.part grows, and after an interruption the same command begins it again. An existing FILE stays as it is.

    \b
    Examples:
      falcon export backup.jsonl
      falcon export - | zstd > backup.jsonl.zst
    """  # noqa: E501
    caller = Caller(ctx, url, token, data_dir, admin=True)
    if file == "-":
        lines = _export_to(sys.stdout.buffer, caller, shown=not sys.stdout.isatty())
        sys.stdout.buffer.flush()
        typer.echo(f"{counted(lines, 'line')} written.", err=True)
    else:
        lines = _export_to_file(Path(file), caller)
        typer.echo(f"{counted(lines, 'line')} in {file}.")


def _foreign_only(falcon: "FalconClient", name: str) -> "Callable[[HeaderLine], Awaitable[None]]":
    """Raises Fault for a file that this Falcon has exported, even if it was restored from an older copy since."""
    from falcon.journal.naming import family

    async def check(header: "HeaderLine") -> None:
        here = await falcon.export_header()
        if family(header.source) == family(here.source):
            raise Fault(
                f"{name} was exported from this Falcon: importing it would create every account and room "
                "a second time. To restore, import into an empty Falcon; to import it anyway, add --again"
            )

    return check


def _export_to_file(path: Path, caller: Caller) -> int:
    """Only the file's owner can read it, because it has all messages. Raises Fault."""
    if path.exists():
        raise Fault(f"{path} exists already; give another name")
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as out:
        if not take_lock(out.fileno()):
            raise Fault(f"another `falcon export` writes {part}")
        out.truncate()
        lines = _export_to(out, caller)
        out.flush()
        os.fsync(out.fileno())
        part.rename(path)
    return lines


@contextmanager
def _told_to_go_on() -> Iterator[None]:
    from falcon_chat import Unreachable

    try:
        yield
    except Unreachable as fault:
        raise Fault(f"{fault}; {_GO_ON}") from fault
    except KeyboardInterrupt:
        typer.echo(f"Stopped; {_GO_ON}.", err=True)
        raise


def _export_to(out: BinaryIO, caller: Caller, *, shown: bool = True) -> int:
    """The number of lines."""
    from falcon.cli.exporting import write_export
    from falcon.cli.progress import progress_bar

    with progress_bar("Exporting", shown=shown) as bar:
        return caller.run(lambda falcon: write_export(falcon, out, lambda done: bar.set(done, None)), _PATIENT_SECONDS)


def _count(file: BinaryIO) -> int:
    """The number of lines, for the progress bar. The file is at its start afterwards."""
    lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    file.seek(0)
    return lines
