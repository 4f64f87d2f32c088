"""Lines of the launcher for its operator, and the address that the command line reads."""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO

from falcon.base.process import start_ticks
from falcon.run.settings import Settings
from falcon.telemetry.logs import is_for_people


class CannotStart(Exception):
    """The message says what is in the way and what to do."""


def say(line: str) -> None:
    _print(f"falcon: {line}", sys.stderr)


def announce(settings: Settings, command: str, line: dict[str, Any], ready: dict[str, Any], *, as_json: bool) -> None:
    """``line``: the addresses. ``ready``: what the first server said."""
    if as_json:
        shown = {name: ready[name] for name in ("account_id", "token", "admin_token") if name in ready}
        _print(json.dumps({**line, **shown}), sys.stdout)
        return
    if command == "up" and is_for_people(settings.log_format, sys.stdout):
        words = {**line, **ready, "data": settings.data_dir, "browser": _page(settings, line["url"], ready["sign_in"])}
        _print(_WELCOME.format(**words), sys.stdout)
        return
    where = f"at {line['url']}" if "url" in line else "running"
    _print(
        f"falcon {command} is {where} (operations: {line['ops_url'] or 'none'}). Ctrl-C stops it.",
        sys.stdout,
    )
    if command == "up":  # others may read a journal or a log file: tokens must not be in it
        where = f"is in {settings.data_dir}/credentials.json; `falcon sign-in` prints a link that signs you in."
        _print(f"The owner's token {where}", sys.stdout)


class Address:
    """up.json, by which the command line finds this Falcon. Nothing else needs it: a Falcon that cannot write it serves
    all the same, and writes it when the disk has room."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _ADDRESS
        self._unwritten = ""

    def write(self, line: dict[str, Any]) -> None:
        pid = os.getpid()
        self._unwritten = json.dumps({**line, "pid": pid, "start_ticks": start_ticks(pid)})
        error = self._write()
        if error is not None:
            say(f"commands need --url until the address can be written ({error})")

    def write_again(self) -> None:
        """Write the address if it could not be written before."""
        if self._unwritten:
            self._write()

    def forget(self) -> None:
        """An address that is left names a process that has ended. The command line tells by its pid and its start."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> OSError | None:
        """The file is there whole or not at all."""
        new = self._path.with_suffix(".new")
        try:
            new.write_text(self._unwritten)
            new.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            return error
        self._unwritten = ""
        return None


def _page(settings: Settings, url: str, code: str) -> str:
    """The address of the page. ``code``: of a link that signs in; empty if there is none. A browser keeps the cookie of
    a session only with TLS, or on loopback."""
    if settings.is_read_on_the_way:
        return f"{url}, and sign in with the token below"
    own = next(iter(settings.allowed_origins), url)
    if code:
        return f"{own}/#sign-in={code}   (signs you in once, within a day; `falcon sign-in` makes another)"
    return f"{own}   (`falcon sign-in --open` signs you in)"


def _print(text: str, stream: TextIO) -> None:
    """All processes end with the launcher, so it runs on if the disk of its log is full, or its terminal is gone."""
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)


_ADDRESS: Final = "up.json"
_WELCOME: Final = """
Falcon is up at {url}   (documentation: {url}/docs, operations: {ops_url}, data: {data})

  in a browser: {browser}

  your account, the owner: {account_id}   token {token}

Try it:

  TOKEN={token}
  ROOM=$(curl -s {url}/v1/rooms -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
-d '{{"name": "Tea kitchen"}}' | sed 's/[^0-9]*\\([0-9]*\\).*/\\1/'); echo "room $ROOM"
  curl -s {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
-d '{{"text": "Hello, world"}}'; echo
  curl -s {url}/v1/rooms/$ROOM/messages -H "Authorization: Bearer $TOKEN"; echo

Ctrl-C stops it.
"""
