"""The format of a log: the layout of its records, and the first versions of their contents.

A log states its format, beside its name. A reader of another format would misread it, so it refuses the whole log.
"""

from typing import Final

FORMAT: Final = 1  # raised when the layout of records changes
_FIRST: Final = 1  # of logs that state no format


def refusal(log: str, found: int | None, instead: str) -> str | None:
    """One line about why this Falcon does not read a log; None if it does.

    ``found``: the format that the log states; None if it states none. ``instead``: a way to keep its contents.
    """
    if found == FORMAT:
        return None
    if found is None or found < _FIRST:
        return (
            f"{log} was written by a Falcon before format {_FIRST} of the log, which this one does not read: write it "
            f"out with falcon export of that Falcon, and bring it with falcon import into {instead}"
        )
    return (
        f"{log} has format {found} of the log and was written by a newer Falcon, so run that; this one knows {FORMAT}"
    )
