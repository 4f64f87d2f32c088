"""The format of a log: how records are kept, and the first versions of what stands in them.

A log says its own, beside its name. A reader of another format would read it wrongly, so it refuses it as a whole.
"""

from typing import Final

FORMAT: Final = 1
_FIRST: Final = 1  # before it logs said no format


def refusal(log: str, found: int | None, instead: str) -> str | None:
    """Why this Falcon does not read a log, in one line; None where it does.

    ``found``: the format that the log says; None where it says none. ``instead``: where its contents can go.
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
