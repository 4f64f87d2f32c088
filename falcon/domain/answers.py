"""The answers to accepted commands. They are stored with the events, so that a retry gets the same answer.

Their tags go from process to process. How they stand in the log is in ``falcon.journal.shapes``.
"""

import msgspec


class ImportAnswer(msgspec.Struct, frozen=True, tag="import-answer"):
    imported: int
    skipped: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The command is done; there is nothing to show."""


class PositionAnswer(msgspec.Struct, frozen=True, tag="position-answer"):
    """``offset``: every change that was acknowledged in the partition before the command came stands there or below.

    -1 if there was none. The answer is never kept, since it is another one each time.
    """

    offset: int
