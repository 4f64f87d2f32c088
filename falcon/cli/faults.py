"""Expected faults: one line that says what to do, and no traceback."""

from typing import Any

import typer
from typer.core import TyperGroup

from falcon.cli.display import visible

_WHAT_TO_DO = {
    "unauthenticated": "give a token that is valid there with --token, FALCON_TOKEN or FALCON_ADMIN_TOKEN",
    "not_allowed": "accounts, import and export need an admin token: FALCON_ADMIN_TOKEN",
    "room_not_found": "`falcon rooms` lists yours",
    "account_not_found": "`falcon account find` finds people",
    "not_falcon": "check --url",
    **dict.fromkeys(("http_301", "http_302", "http_307", "http_308", "http_404"), "check --url"),
}


class Fault(Exception):
    """An expected fault. The message says what went wrong, and what to do."""


class FaultTellingGroup(TyperGroup):
    """Runs a command. An expected fault of it becomes one red line and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as fault:
            line = _told(fault)
            if line is None:
                raise
            tell(line)
            raise typer.Exit(1) from None


def tell(line: str) -> None:
    """One red line on standard error."""
    from rich.console import Console
    from rich.text import Text

    text = visible(" ".join(line.split("\n")))
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style="red"))


def _told(fault: Exception) -> str | None:
    """None for an unexpected fault, whose traceback is needed."""
    if isinstance(fault, Fault):
        return str(fault)
    if isinstance(fault, BrokenPipeError):
        return None  # the reader of the output has ended; typer ends quietly
    if isinstance(fault, UnicodeEncodeError) and fault.encoding == "utf-8":
        return "an argument is not UTF-8"
    if isinstance(fault, OSError):
        return f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault)

    from falcon_chat import ExportFailed, Problem, Unreachable

    if isinstance(fault, Problem):
        broken = "; ".join(f"{error.field}: {error.rule}" for error in fault.errors)
        said = broken if fault.code == "invalid" and broken else fault.detail
        what_to_do = _WHAT_TO_DO.get(fault.code)
        return f"{fault.code}: {said}" + (f" ({what_to_do})" if what_to_do else "")
    if isinstance(fault, ExportFailed):
        return f"this Falcon cannot be exported now: {fault}"
    if isinstance(fault, Unreachable):
        return f"{fault} (is Falcon running there? `falcon doctor` tells more)"
    return None
