"""The name of a log. Everything that is made from a log bears it, so that it is distinguished from what another log, or
a lost history, made.

A log that is restored from an older copy of itself gets another name, of the same family: it is the same log, and not
the same history.
"""

import secrets


def new_name() -> str:
    return secrets.token_hex(8)


def renamed(name: str) -> str:
    """Another name of the same family."""
    return f"{family(name)}-{secrets.token_hex(4)}"


def family(name: str) -> str:
    """The part that a log's successive names have in common."""
    return name.partition("-")[0]
