"""Both clients behind one interface, so that one list of scenarios holds them to the same behaviour.

A call is named as in Python; answers are the API's JSON, and errors are Refused and NoAnswer, in both languages.
"""

import asyncio
import gc
import itertools
import json
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

import falcon_chat
from falcon_chat import Clock, FalconClient, Names, Problem, ResumeRefused, Unreachable

Json = dict[str, Any]
NODE: Final = shutil.which("node")
_DRIVER: Final = Path(__file__).with_name("driver.mjs")
_EVENT_SECONDS: Final = 60.0
_LINE_BYTES: Final = 1 << 24


class Refused(Exception):
    """The client's Problem."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[Json] = ()) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.errors = list(errors)


class ResumeIsRefused(Refused):
    """The client's ResumeRefused."""


class NoAnswer(Exception):
    """The client's Unreachable."""

    def __init__(self, key: str | None) -> None:
        super().__init__(key)
        self.key = key


class Events(Protocol):
    """A stream. Events are ``{"type", "data", "id"}``."""

    async def next(self) -> Json:
        """Empty if the stream was closed. Raises Refused, and TimeoutError after a minute."""

    async def watch(self, *accounts: int) -> None: ...

    async def leave(self) -> None: ...


class Client(Protocol):
    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Raises Refused and NoAnswer."""

    async def history(self, room: int, **options: Any) -> list[Json]: ...

    async def name(self, room: int, account: int) -> str: ...

    async def position(self) -> str: ...

    async def stream(self, **options: Any) -> Events: ...

    async def close(self) -> None: ...


class Driver(Protocol):
    async def client(self, urls: str | list[str], token: str | None, timeout: float = 60.0) -> Client:
        """``timeout``: of a call, in seconds."""

    async def passes(self, seconds: float) -> None:
        """The clocks of the clients continue."""

    async def collects_garbage(self) -> None: ...

    async def end(self) -> None: ...


# --- Python -----------------------------------------------------------------------------------------------------------


class PythonDriver:
    def __init__(self) -> None:
        self._passed = 0.0

    async def client(self, urls: str | list[str], token: str | None, timeout: float = 60.0) -> Client:
        clock = Clock(now=lambda: time.monotonic() + self._passed, wall=lambda: time.time() + self._passed)
        return _PythonClient(FalconClient(urls, token, timeout=timeout, clock=clock))

    async def passes(self, seconds: float) -> None:
        self._passed += seconds

    async def collects_garbage(self) -> None:
        gc.collect()

    async def end(self) -> None:
        pass


class _PythonClient:
    def __init__(self, falcon: FalconClient) -> None:
        self._falcon = falcon

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        if "members" in options:
            options["members"] = {each["account_id"]: each["role"] for each in options["members"]}
        with _translated():
            return _json(await getattr(self._falcon, method)(*args, **options))

    async def history(self, room: int, **options: Any) -> list[Json]:
        with _translated():
            return [_json(message) async for message in self._falcon.history(room, **options)]

    async def name(self, room: int, account: int) -> str:
        with _translated():
            return await Names(self._falcon).of(room, account)

    async def position(self) -> str:
        return self._falcon.position

    async def stream(self, **options: Any) -> Events:
        return _PythonEvents(self._falcon.stream(**options))

    async def close(self) -> None:
        await self._falcon.__aexit__(None, None, None)


class _PythonEvents:
    def __init__(self, stream: falcon_chat.Stream) -> None:
        self._stream = stream

    async def next(self) -> Json:
        with _translated():
            event = await asyncio.wait_for(anext(self._stream, None), _EVENT_SECONDS)
        if event is None:
            return {}
        data = _json(event)
        id = data.pop("id")
        inner = data.get("message") or data.get("room") or data
        return {"type": _type(type(event).__name__), "data": inner, "id": id}

    async def watch(self, *accounts: int) -> None:
        self._stream.watch(accounts)

    async def leave(self) -> None:
        await self._stream.aclose()


def _json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _type(name: str) -> str:
    """CaughtUp is caught_up, MessagePosted is message.posted."""
    first, *more = re.findall(r"[A-Z][a-z]+", name)
    separator = "_" if name in ("CaughtUp", "CatchUp") else "."
    return separator.join([first, *more]).lower()


class _translated:
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, fault: BaseException | None, trace: Any) -> None:
        match fault:
            case Problem():
                errors = _json(fault.errors)
                kind = ResumeIsRefused if isinstance(fault, ResumeRefused) else Refused
                raise kind(fault.status, fault.code, fault.detail, errors) from fault
            case Unreachable():
                raise NoAnswer(fault.key) from fault


# --- JavaScript -------------------------------------------------------------------------------------------------------


class JavaScriptDriver:
    """A Node process, which hears what to do line by line."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._numbers = itertools.count(1)

    async def ask(self, does: str, **request: Any) -> Any:
        process = self._process or await self._start()
        assert process.stdin is not None
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        process.stdin.write(json.dumps({"id": number, "does": does, **request}).encode() + b"\n")
        said = await answered
        if "problem" in said:
            raise {"Problem": Refused, "ResumeRefused": ResumeIsRefused}[said["name"]](**said["problem"])
        if "unreachable" in said:
            raise NoAnswer(said["unreachable"]["key"])
        assert "fault" not in said, said["fault"]
        return said["value"]

    async def _start(self) -> asyncio.subprocess.Process:
        assert NODE is not None
        pipe = asyncio.subprocess.PIPE
        process = self._process = await asyncio.create_subprocess_exec(
            NODE, "--expose-gc", str(_DRIVER), stdin=pipe, stdout=pipe, limit=_LINE_BYTES
        )
        self._reading = asyncio.create_task(self._read(process))
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            answered = self._waiting.pop(said["id"])
            if not answered.done():  # by a wait that was given up
                answered.set_result(said)
        for answered in self._waiting.values():
            answered.cancel()

    async def client(self, urls: str | list[str], token: str | None, timeout: float = 60.0) -> Client:
        number = next(self._numbers)
        await self.ask("open", client=number, urls=urls, token=token, options={"timeoutMs": timeout * 1000})
        return _JavaScriptClient(self, number)

    async def passes(self, seconds: float) -> None:
        await self.ask("passes", ms=seconds * 1000)

    async def collects_garbage(self) -> None:
        await self.ask("collectGarbage")

    def number(self) -> int:
        return next(self._numbers)

    async def end(self) -> None:
        if self._process is None or self._reading is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading


class _JavaScriptClient:
    def __init__(self, driver: JavaScriptDriver, number: int) -> None:
        self._driver = driver
        self._number = number

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        if method in ("change_room", "change_me", "change_account"):
            changes = {name: options.pop(name) for name in [*options] if name not in ("key", "timeout")}
            args = (*args, changes)
        return await self._ask("call", method=_camel(method), args=[*args, _camels(options)])

    async def history(self, room: int, **options: Any) -> list[Json]:
        found: list[Json] = await self._ask("collect", method="history", args=[room, _camels(options)])
        return found

    async def name(self, room: int, account: int) -> str:
        return str(await self._ask("name", room=room, account=account))

    async def position(self) -> str:
        return str(await self._ask("position"))

    async def stream(self, **options: Any) -> Events:
        number = self._driver.number()
        await self._ask("listen", stream=number, options=_camels(options))
        return _JavaScriptEvents(self._driver, number)

    async def close(self) -> None:
        await self._ask("close")

    async def _ask(self, does: str, **request: Any) -> Any:
        return await self._driver.ask(does, client=self._number, **request)


class _JavaScriptEvents:
    def __init__(self, driver: JavaScriptDriver, number: int) -> None:
        self._driver = driver
        self._number = number

    async def next(self) -> Json:
        event: Json = await asyncio.wait_for(self._driver.ask("next", stream=self._number), _EVENT_SECONDS)
        return event

    async def watch(self, *accounts: int) -> None:
        await self._driver.ask("watch", stream=self._number, accounts=accounts)

    async def leave(self) -> None:
        await self._driver.ask("leave", stream=self._number)


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(word.capitalize() for word in more)


def _camels(options: Json) -> Json:
    return {_camel(name): value for name, value in options.items()}
