"""Some times as many sends as Falcon carries, of 2,500 connections that ask again whether they are accepted or refused,
beside as many as it carries, of 64. The aim allows for what refusals cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tools.bench import wrk
from tools.bench.bench import Bench
from tools.bench.figures import Figure
from tools.bench.throughput import ACCOUNTS
from tools.harness.running import running

_TIMES: Final = 3  # if each were answered at once
_CONNECTIONS: Final = 2_500  # a mailbox has 2,000 places
_FILLING_SECONDS: Final = 10  # more than the other runs have, so that queues are full for most of the time


def section(bench: Bench) -> Sequence[Figure]:
    """Raises ServerFailed, LoadFailed, CallRefused."""
    server, targets, core = bench.falcon("overload"), bench.folder / "overload.targets", bench.cores.generator
    calm: list[wrk.Load] = []
    over: list[wrk.Load] = []
    with running([server], bench.cores):
        wrk.write_targets(targets, server.fill(bench.sizes["chat_rooms"], ACCOUNTS))
        wrk.send(core, server.address, targets, 64, 2)
        for _ in range(bench.fewer_runs):
            calm.append(wrk.send(core, server.address, targets, 64, bench.seconds))
            pause_ms = _CONNECTIONS / (_TIMES * calm[-1].rate) * 1000
            seconds = bench.seconds + _FILLING_SECONDS
            over.append(wrk.send(core, server.address, targets, _CONNECTIONS, seconds, pause_ms))
    offered = [much.requests / much.micros * 1e6 / little.rate for much, little in zip(over, calm, strict=True)]
    accepted = [much.rate / little.rate for much, little in zip(over, calm, strict=True)]
    return [
        Figure("asked for, of what is carried", offered, "×"),
        Figure("accepted, of what is carried", accepted, "×", least=0.5),
        Figure("any answer, p99", [each.p99 / 1000 for each in over], "ms"),
        Figure("connections that broke, and requests without an answer", [each.broken for each in over], most=0),
    ]
