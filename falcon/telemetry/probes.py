"""Measures the process, and answers questions about it on a thread of its own, even when its event loop is stuck:
stacks of all threads and tasks, objects on the heap."""

import asyncio
import gc
import json
import logging
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from falcon.base.process import short_path
from falcon.telemetry import heap, instruments, metrics
from falcon.telemetry.dispatchers import start_thread

log = logging.getLogger("falcon.telemetry")

_SAMPLE_SECONDS: Final = 1.0  # gauges are this old at most
_LEAST_SECONDS: Final = 0.001  # a wait of 0 s would be an error while there is no question
_LOOP_SECONDS: Final = 0.1  # ten looks a second show a stall, and cost nothing
_REQUEST_BYTES_MAX: Final = 4_096  # a question is a short line of JSON
_STACK_FRAMES_MAX: Final = 50  # innermost frames
_TASKS_MAX: Final = 500  # a process may have one for each stream

# The questions that a process answers, by name. The arguments come from the request, and the answer is shown as JSON.
Answerer: TypeAlias = Callable[[Mapping[str, str]], object]
_answerers: dict[str, Answerer] = {}
_loops: list[asyncio.AbstractEventLoop] = []


class NoAnswer(Exception):
    """The process has gone, does not answer within the time, or does not know the question."""


def start(folder: Path, name: str) -> None:
    """Measure this process under its ``name`` from here on, and answer questions. Once a process. Raises NoRoom."""
    instruments.attach(folder, name)
    if not any(isinstance(each, _GarbageCollection) for each in gc.callbacks):
        gc.callbacks.append(_GarbageCollection())
    _answerers.update(stacks=_stacks, heap=heap.count_objects)
    with short_path(folder, f"{name}.sock") as path:
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
    listening.listen(16)
    start_thread("telemetry", _Thread(listening).run)


def answer(name: str, answerer: Answerer) -> None:
    """Answer questions of this name. ``answerer`` is called on the thread that samples, one question at a time."""
    _answerers[name] = answerer


def watch_loop() -> None:
    """Measure how late the running event loop is, and show its tasks among the stacks."""
    loop = asyncio.get_running_loop()
    _loops.append(loop)
    delay, largest = metrics.loop_delay.labels(), 0.0

    def look(expected: float) -> None:
        nonlocal largest
        now = loop.time()
        late = max(0.0, now - expected)
        delay.observe(late)
        largest = max(largest, late)
        loop.call_at(now + _LOOP_SECONDS, look, now + _LOOP_SECONDS)

    def sampled() -> float:
        nonlocal largest
        found, largest = largest, 0.0
        return found

    metrics.loop_delay_max.labels().set_function(sampled)
    look(loop.time())


def ask(folder: Path, name: str, what: str, arguments: Mapping[str, str], seconds: float) -> Any:
    """Ask the process of this ``name``. Raises NoAnswer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(seconds)
            with short_path(folder, f"{name}.sock") as path:
                asking.connect(str(path))
            asking.sendall(json.dumps({"what": what, "arguments": dict(arguments)}).encode() + b"\n")
            asking.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: asking.recv(1 << 16), b""))
        said = json.loads(data)
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{name} does not answer ({error!r})") from error
    if "error" in said:
        raise NoAnswer(f"{name}: {said['error']}")
    return said["answer"]


class _Thread:
    """Samples, and answers one request at a time, so that frequent questions cannot load the process."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening = listening
        self._cpu = 0.0

    def run(self) -> None:
        due = time.monotonic()
        while True:
            # Unlike select this works with any number of open files.
            self._listening.settimeout(max(_LEAST_SECONDS, due - time.monotonic()))
            try:
                asking, _ = self._listening.accept()
                with asking:
                    self._serve(asking)
            except TimeoutError:
                pass
            except OSError as error:
                log.debug("the process that asked has gone: %s", error)
            if time.monotonic() >= due:
                self._sample()
                due = time.monotonic() + _SAMPLE_SECONDS

    def _sample(self) -> None:
        try:
            instruments.sample()
        except Exception:
            log.exception("a gauge could not be sampled")
        cpu = time.process_time()
        metrics.process_cpu.inc(cpu - self._cpu)
        self._cpu = cpu

    def _serve(self, asking: socket.socket) -> None:
        asking.settimeout(5.0)
        line = b""
        while not line.endswith(b"\n") and len(line) < _REQUEST_BYTES_MAX:
            data = asking.recv(_REQUEST_BYTES_MAX)
            if not data:
                break
            line += data
        asking.sendall(json.dumps(_said(line)).encode())


def _said(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        answerer = _answerers.get(request["what"])
        if answerer is None:
            return {"error": f"{request['what']} is not known here"}
        return {"answer": answerer(request["arguments"])}
    except Exception as error:  # the answer says so; nothing else may suffer from it
        log.warning("a question of the operations port could not be answered: %r", error)
        return {"error": repr(error)}


class _GarbageCollection:
    """Called at every collection, so it looks its figures up beforehand."""

    def __init__(self) -> None:
        self._began = 0.0
        self._seconds = [metrics.gc_seconds.labels(str(generation)) for generation in range(len(gc.get_count()))]

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
            return
        self._seconds[info["generation"]].inc(time.perf_counter() - self._began)


def _stacks(arguments: Mapping[str, str]) -> dict[str, Any]:
    """The stacks of all threads and tasks."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    threads = [
        {
            "name": names.get(ident, str(ident)),
            "stack": [
                f"{each.filename}:{each.lineno} in {each.name}"
                for each in traceback.extract_stack(frame)[-_STACK_FRAMES_MAX:]
            ],
        }
        for ident, frame in sys._current_frames().items()
    ]
    return {"threads": threads, "tasks": [task for loop in _loops for task in _tasks(loop)]}


def _tasks(loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    """Tasks may change while another thread looks at them, so one that has just ended is shown as it was."""
    shown = []
    for task in list(asyncio.all_tasks(loop))[:_TASKS_MAX]:
        frames = [
            f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" for frame in task.get_stack()
        ]
        shown.append(
            {"name": task.get_name(), "coroutine": getattr(task.get_coro(), "__qualname__", "?"), "stack": frames}
        )
    return shown
