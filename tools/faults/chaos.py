"""A load of sends on a real Falcon while its processes are killed, and the reckoning afterwards.

Senders keep at each message until they know, with the same key. What they were told is then held against what can be
read: each acknowledged message once, with its seq; seqs without a gap; nothing twice.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import httpx

from tools.harness.falcon import TITLES, Falcon, alive

ROOMS: Final = 6
SENDERS: Final = 12
RECOVERY_SECONDS: Final = 3.0
_GRACE_SECONDS: Final = 30.0


@dataclass
class Sent:
    """A message that its sender knows to be there."""

    room: int
    seq: int
    text: str
    key: str
    body: bytes
    began: float
    ended: float


@dataclass
class Report:
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    acknowledged: int = 0
    refused: int = 0
    unanswered: int = 0
    retried: int = 0
    read_back: int = 0
    messages: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{'fault':<12}{'times':>6}{'serves again after (s): median':>34}{'longest':>10}"]
        for name, times in sorted(self.faults.items()):
            seconds = sorted(self.recoveries.get(name, [])) or [float("nan")]
            lines.append(f"{name:<12}{times:>6}{seconds[len(seconds) // 2]:>34.2f}{seconds[-1]:>10.2f}")
        lines.append(
            f"acknowledged {self.acknowledged}, refused {self.refused}, unanswered {self.unanswered}, "
            f"keys asked again {self.retried}, read back {self.read_back}, messages found {self.messages}"
        )
        lines.append(f"violations: {len(self.violations)}")
        return "\n".join([*lines, *self.violations[:20]])


class Chaos:
    def __init__(self, falcon: Falcon, seed: int) -> None:
        self.falcon = falcon
        self.random = random.Random(seed)
        self.report = Report()
        self.sent: list[Sent] = []
        self._rooms: list[int] = []
        self._ending = False
        self._client = httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=SENDERS * 2))
        self._headers = {"Authorization": f"Bearer {falcon.info['token']}"}
        self._url = falcon.info["url"]

    async def run(self, seconds: float, faults: "dict[str, Fault]") -> Report:
        """Faults, one after the other, drawn by the seed, each awaited until messages go through again."""
        await self._make_rooms()
        senders = [asyncio.create_task(self._send_all(i)) for i in range(SENDERS)]
        until = time.monotonic() + seconds
        names = list(faults)
        self.random.shuffle(names)
        while time.monotonic() < until or names:  # each kind at least once
            name = names.pop() if names else self.random.choice(list(faults))
            await asyncio.sleep(self.random.uniform(0.3, 1.5))
            before = self._running()
            began = time.monotonic()
            ended = await faults[name](self)
            self.report.faults[name] += 1
            await self._await_service(name, ended or began, before)
        self._ending = True
        await asyncio.gather(*senders)
        await self._check()
        await self._client.aclose()
        return self.report

    async def _make_rooms(self) -> None:
        for i in range(ROOMS):
            answer = await self._client.post(f"{self._url}/v1/rooms", json={"name": f"r{i}"}, headers=self._headers)
            self._rooms.append(answer.json()["room_id"])

    def _running(self) -> Counter[str]:
        return Counter({role: len(self.falcon.pids(role)) for role in TITLES})

    async def _await_service(self, fault: str, since: float, running: Counter[str]) -> None:
        """Until as many processes run as before, and messages that were begun after that are acknowledged in each
        room; all of it counts."""
        while time.monotonic() - since < _GRACE_SECONDS and self._running() != running:
            await asyncio.sleep(0.01)
        whole = time.monotonic()
        while time.monotonic() - since < _GRACE_SECONDS:
            if {sent.room for sent in self.sent[-500:] if sent.began > whole} >= set(self._rooms):
                seconds = time.monotonic() - since
                self.report.recoveries.setdefault(fault, []).append(seconds)
                if seconds > RECOVERY_SECONDS:
                    self.report.violations.append(f"after {fault} it took {seconds:.1f} s to serve again")
                return
            await asyncio.sleep(0.01)
        self.report.violations.append(f"after {fault} not all went through for {_GRACE_SECONDS:g} s")

    # --- the senders --------------------------------------------------------------------------------------------------

    async def _send_all(self, sender: int) -> None:
        number = 0
        while not self._ending:
            number += 1
            await self._send(f"{sender}-{number}-{self.random.randrange(10**9)}")

    async def _send(self, name: str) -> None:
        room = self.random.choice(self._rooms)
        text = f"message {name}"
        given_up = time.monotonic() + _GRACE_SECONDS * 2
        while time.monotonic() < given_up:
            began = time.monotonic()
            answer = await self._post(room, text, name)
            if answer is not None:
                message = answer.json()
                sent = Sent(room, message["seq"], text, name, answer.content, began, time.monotonic())
                self.sent.append(sent)
                self.report.acknowledged += 1
                await self._try_again(sent)
                await self._read_back(sent, answer.headers["falcon-position"])
                return
            await asyncio.sleep(0.03)
        self.report.violations.append(f"{name} was never answered")

    async def _post(self, room: int, text: str, key: str) -> httpx.Response | None:
        """The acknowledgement; None for a refusal that may be retried, or no answer."""
        url = f"{self._url}/v1/rooms/{room}/messages"
        try:
            answer = await self._client.post(
                url, json={"text": text}, headers={**self._headers, "Idempotency-Key": key}
            )
        except httpx.HTTPError:
            self.report.unanswered += 1
            return None
        if answer.status_code == 201:
            return answer
        self.report.refused += 1
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            self.report.violations.append(f"{key}: {answer.status_code} {answer.text}")
        return None

    async def _try_again(self, sent: Sent) -> None:
        """Now and then a key is used again, its own or an old one: the answer must be the first one."""
        if self.random.random() > 0.1:
            return
        old = self.random.choice(self.sent[-500:]) if self.random.random() < 0.5 else sent
        answer = await self._post(old.room, old.text, old.key)
        if answer is not None:
            self.report.retried += 1
            if answer.content != old.body or answer.headers.get("idempotency-replayed") != "true":
                self.report.violations.append(f"{old.key} asked again: {answer.content!r} instead of {old.body!r}")

    async def _read_back(self, sent: Sent, position: str) -> None:
        if self.random.random() > 0.1:
            return
        url = f"{self._url}/v1/rooms/{sent.room}/messages/{sent.seq}"
        try:
            answer = await self._client.get(url, headers={**self._headers, "Falcon-Position": position})
        except httpx.HTTPError:
            return
        if answer.status_code == 503:
            return
        self.report.read_back += 1
        if answer.content != sent.body:
            self.report.violations.append(f"{sent.key} read back as {answer.status_code} {answer.text}")

    # --- the reckoning ------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        found: dict[int, list[dict[str, Any]]] = {room: await self._read_all(room) for room in self._rooms}
        texts: Counter[str] = Counter()
        for room, messages in found.items():
            self.report.messages += len(messages)
            texts.update(message["text"] for message in messages)
            if [message["seq"] for message in messages] != list(range(1, len(messages) + 1)):
                self.report.violations.append(f"room {room}: the seqs are not 1 to {len(messages)}")
        self.report.violations += [f"{text} is there {n} times" for text, n in texts.items() if n > 1]
        for sent in self.sent:
            messages = found[sent.room]
            if sent.seq > len(messages) or messages[sent.seq - 1]["text"] != sent.text:
                self.report.violations.append(f"{sent.text} was acknowledged as {sent.seq} and is not there")

    async def _read_all(self, room: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        while True:
            after = messages[-1]["seq"] if messages else 0
            url = f"{self._url}/v1/rooms/{room}/messages?limit=200&after={after}"
            answer = await self._client.get(url, headers=self._headers)
            answer.raise_for_status()
            page = answer.json()
            messages += page["messages"]
            if not page["has_after"]:
                return messages


# --- faults -----------------------------------------------------------------------------------------------------------

# Gives the moment since when things could go on again, where that is not the moment when it began.
Fault: TypeAlias = Callable[[Chaos], Awaitable[float | None]]


def kill(role: str) -> Fault:
    async def fault(chaos: Chaos) -> None:
        pid = chaos.falcon.kill(role)
        while alive(pid):
            await asyncio.sleep(0.001)

    return fault


async def kill_launcher(chaos: Chaos) -> None:
    """Everything dies with it; whoever started it starts it again."""
    chaos.falcon.kill("launcher")
    await asyncio.to_thread(chaos.falcon.start)


def freeze(role: str, seconds: float) -> Fault:
    """Stopped for longer than any command may wait, then it goes on as if nothing had been."""

    async def fault(chaos: Chaos) -> float:
        pid = chaos.falcon.pids(role)[-1]
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        return time.monotonic()

    return fault


async def fill_disk(chaos: Chaos) -> float:
    """Until not a byte is left; after a while there is room again."""
    filler = chaos.falcon.data_dir / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            pass
        await asyncio.sleep(1.5)
    filler.unlink()
    return time.monotonic()


IN_PROCESS: Final[dict[str, Fault]] = {
    "kill serve": kill("serve"),
    "kill project": kill("project"),
    "kill launcher": kill_launcher,
    "freeze serve": freeze("serve", 2.0),
}
PROCESSES: Final[dict[str, Fault]] = {
    **IN_PROCESS,
    "kill shard": kill("shard"),
    "kill admin": kill("admin"),
    "kill superv.": kill("supervisor"),
    "freeze shard": freeze("shard", 2.0),
}
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "simpleSystemBase": {"projection": "process", "command_seconds": 1.0},
    "multiprocTCPBase": {
        "system_base": "multiprocTCPBase",
        "shards": 2,
        "http_workers": 2,
        "projection": "process",
        "command_seconds": 1.0,
    },
}
FAULTS: Final = {"simpleSystemBase": IN_PROCESS, "multiprocTCPBase": PROCESSES}
