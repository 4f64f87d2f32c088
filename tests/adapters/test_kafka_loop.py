"""The thread with the loop of Kafka's clients: what runs there hears of its end, and nothing outlives the process."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from falcon.adapters.kafka.loop import LoopThread
from falcon.journal.ports import JournalUnavailable
from falcon.run.bootstrap.cluster import build_shard
from falcon.run.settings import Settings
from tools.harness.waiting import until

# The C library calls what is registered with it when the interpreter has gone. Here it closes a pipe, by which the loop
# wakes up, and gives its thread time to run.
_ENDS_WITH_AN_OPEN_LOOP = """
import ctypes, os, threading
from falcon.adapters.kafka.loop import LoopThread
from falcon.run.bootstrap.cluster import build_shard

library = ctypes.CDLL(None)
def at_exit(function, argument):
    library.__getattr__("__cxa_atexit")(ctypes.cast(function, ctypes.c_void_p), ctypes.c_void_p(argument), None)

reading, writing = os.pipe()
at_exit(library.usleep, 500_000)
at_exit(library.close, writing)
loop, watched = LoopThread(), threading.Event()
loop.soon(loop._loop.add_reader, reading, print, "it has woken up")
loop.soon(loop._loop.call_soon, watched.set)
watched.wait()
"""

_ENDS_WITH_A_BLOCKED_LOOP = """
import threading
from falcon.adapters.kafka.loop import LoopThread
from falcon.run.bootstrap.cluster import build_shard

loop, blocked = LoopThread(), threading.Event()
loop.soon(blocked.set)
loop.soon(threading.Event().wait)
blocked.wait()
"""


def _run(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.processes
def test_a_process_that_leaves_its_loop_open_ends_cleanly() -> None:
    ended = _run(_ENDS_WITH_AN_OPEN_LOOP)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.processes
def test_a_process_whose_loop_is_blocked_ends_all_the_same() -> None:
    ended = _run(_ENDS_WITH_A_BLOCKED_LOOP)
    assert (ended.returncode, ended.stderr) == (0, "falcon-kafka is blocked, and left behind\n")


def test_a_closed_loop_leaves_nothing_behind() -> None:
    LoopThread().close()  # what the first one opens for all
    gc.collect()
    threads, files = threading.active_count(), _open_files()
    closed: list[weakref.ref[LoopThread]] = []
    for _ in range(20):
        loop = LoopThread()
        loop.start(asyncio.sleep(60))
        loop.close()
        loop.close()
        closed.append(weakref.ref(loop))
    del loop
    gc.collect()
    assert [each for each in closed if each() is not None] == []
    assert threading.active_count() <= threads
    assert _open_files() <= files


def test_calls_that_a_closed_loop_cuts_off_are_told() -> None:
    loop, told = LoopThread(), list[JournalUnavailable]()

    def call() -> None:
        with pytest.raises(JournalUnavailable, match="about to end") as refused:
            loop.call(asyncio.sleep(60))
        told.append(refused.value)

    calling = threading.Thread(target=call)
    calling.start()
    until(lambda: loop.call(_tasks()) == 3)  # the one that waits for the end, the call's, and this one
    loop.close()
    calling.join()
    assert told


def test_a_closed_loop_takes_nothing_more() -> None:
    loop = LoopThread()
    loop.close()
    with pytest.raises(JournalUnavailable, match="about to end"):
        loop.call(asyncio.sleep(0))
    with pytest.raises(JournalUnavailable, match="about to end"):
        loop.soon(print)


async def _tasks() -> int:
    return len(asyncio.all_tasks())


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_shard_that_has_been_closed_has_ended_its_threads(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    settings = Settings(data_dir=tmp_path, kafka=("127.0.0.1:1",))  # no broker is there
    shard = build_shard(settings, wake=lambda: None, reply=lambda reply: None)
    assert set(threading.enumerate()) - before
    shard.close()
    until(lambda: not [each for each in threading.enumerate() if each not in before])
