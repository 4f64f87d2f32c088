"""How a call can fail."""

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """A field and the rule that it broke."""

    field: str
    rule: str


class Problem(Exception):
    """The server refused the request, and would refuse it again.

    ``code`` is stable and meant to be switched on (``room_not_found``); ``detail`` is for people.
    """

    def __init__(self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors


class ResumeRefused(Problem):
    """The server does not have the history that ``resume=`` continues: it was restored from a copy, or is another one.

    Start a stream without ``resume``, and read again what you keep.
    """


class Unreachable(Exception):
    """No answer before the deadline. It is unknown whether a command was executed: retry it with the same ``key``.

    ``last`` is what the last attempt met: a Problem (503, 429 …) or a connection error.
    """

    def __init__(self, detail: str, last: Exception, key: str | None = None) -> None:
        super().__init__(detail)
        self.last = last
        self.key = key


class ExportFailed(Exception):
    """The server cannot complete the export. The message says why."""
