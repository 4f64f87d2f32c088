"""Text of other accounts, made safe for a terminal."""

import re
from datetime import UTC, datetime

# A message must not move the cursor, change colours, or look like a line of another account.
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if code != 0x09} | {0x7F: "\u2421"}
_WRITTEN_OUT = {code: f"\\u{code:04x}" for code in (*range(0x80, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))}
_VISIBLE = _CONTROL_PICTURES | _WRITTEN_OUT
_LINE_BREAK = re.compile(r"\r\n|\n")


def visible(text: str) -> str:
    """One line. Control characters, and characters that change the writing direction, are made visible."""
    return text.translate(_VISIBLE)


def visible_lines(text: str, indent: str) -> str:
    """Like `visible`, but line breaks stay. Later lines are indented, so that they do not look like other messages."""
    return f"\n{indent}".join(visible(line) for line in _LINE_BREAK.split(text))


def local_time(moment: datetime) -> str:
    """Local time of this machine, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def local_minute(moment: datetime) -> str:
    """Local time of this machine, to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def day(moment: datetime) -> str:
    """The day in UTC, as Falcon notes days."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def api_time(moment: datetime) -> str:
    """UTC to the millisecond, as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 line``, ``2,000 lines``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
