"""Fixtures for all tests: the real servers, started by the first test that asks for them. And which tests are slow, and
which run beside which."""

import gc
import os
import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tools.harness.in_memory import folder_in_memory

pytest_plugins = ["tests.support.left_out", "tests.support.servers"]

# A machine that is full of other work would fail an example for its time, which says nothing of the rule. An example
# that failed is tried first the next time.
settings.register_profile("falcon", deadline=None, max_examples=20)
settings.register_profile("volume", deadline=None, max_examples=500)  # for `make fuzz`
settings.load_profile("falcon")

# Tests kill processes, and what those have written outlives them in memory as on a disk.
if in_memory := folder_in_memory():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", in_memory)

# Each of these starts a Falcon or a command for most of its tests, or runs thousands of examples. `make check` leaves
# them out.
_SLOW: Final = frozenset(
    {
        "adapters/test_kafka_fence.py",
        "adapters/test_owner_http.py",
        "adapters/test_places.py",
        "adapters/test_sqlite_files.py",
        "cli/test_calling.py",
        "cli/test_chat.py",
        "cli/test_client.py",
        "cli/test_exporting.py",
        "cli/test_importing.py",
        "cli/test_stream.py",
        "cli/test_top.py",
        "clients/test_conformance.py",
        "deploy/test_manifests.py",
        "domain/test_room_properties.py",
        "http/test_backup.py",
        "http/test_connections.py",
        "http/test_fair_shares.py",
        "http/test_filling.py",
        "http/test_freshness.py",
        "http/test_limits.py",
        "http/test_operators.py",
        "http/test_ops.py",
        "http/test_pages.py",
        "http/test_positions.py",
        "http/test_reading.py",
        "http/test_tables_away.py",
        "http/test_timeline_behind.py",
        "http/test_transfer.py",
        "projections/test_consumer.py",
        "projections/test_rebuild.py",
        "projections/test_shared_consumer.py",
        "simulation/test_world.py",
        "streams/test_cuts.py",
        "streams/test_history.py",
        "streams/test_room_lists.py",
        "streams/test_same_bytes.py",
        "streams/test_several_files.py",
        "streams/test_short_tokens.py",
        "streams/test_stream.py",
        "streams/test_tables_behind.py",
        "test_huge_pages.py",
        "growth/test_growth.py",
        "tools/load/test_load.py",
        "write/test_answers.py",
        "write/test_large_aggregates.py",
    }
)

# These start no process, and wait for seconds all the same: for clients and threads that keep time by themselves.
_WAITS: Final = frozenset(
    {
        "adapters/test_owner_http.py",
        "adapters/test_places.py",
        "clients/test_conformance.py",
        "http/test_connections.py",
        "projections/test_consumer.py",
    }
)

# `make test` runs lanes beside each other, each a process: most tests of real processes wait most of the time. Tests
# that start no process and do not wait are in the lane "units". Others are in the first lane below that names the
# beginning of their path, else in the lane "processes". Each lane starts servers of its own if its tests need them.
_UNITS: Final = "units"
LANES: Final = {
    _UNITS: (),
    "servers": (
        "adapters/test_hbase",
        "adapters/test_kafka",
        "cluster/shared/",
        "cluster/test_failover",
        "cluster/test_growing",
        "cluster/test_secured",
        "simulation/test_beside",
        "streams/",
    ),
    "seldom": ("cluster/test_restore", "monitoring/", "web/"),
    "faults": ("faults/",),
    "simulation": ("simulation/",),
    "processes": ("",),
}
_STARTS_PROCESSES: Final = ("processes", "faults")


def _lane_of_the_waiting(name: str) -> str:
    """``name``: the path of a module below tests/."""
    return next(lane for lane, beginnings in LANES.items() if name.startswith(beginnings))


def _may_start_processes(text: str) -> bool:
    return any(f"mark.{mark}" in text for mark in _STARTS_PROCESSES)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lane", choices=LANES, help="run the tests of this lane only (tests/conftest.py)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = config.rootpath / "tests"
    if gone := [name for name in _SLOW | _WAITS if not (tests / name).is_file()]:
        raise pytest.UsageError(f"tests/conftest.py names tests that are not there: {', '.join(gone)}")
    lane: str | None = config.option.lane
    mine: list[pytest.Item] = []
    elsewhere: list[pytest.Item] = []
    for item in items:
        name = item.path.relative_to(tests).as_posix()
        if name in _SLOW:
            item.add_marker(pytest.mark.slow)
        starts = any(item.get_closest_marker(mark) for mark in _STARTS_PROCESSES)
        if lane == _UNITS and starts and not _may_start_processes(item.path.read_text()):
            raise pytest.UsageError(f"{item.nodeid} is in no lane: its module must name the mark")
        is_mine = lane in (None, _lane_of_the_waiting(name) if starts or name in _WAITS else _UNITS)
        (mine if is_mine else elsewhere).append(item)
    items[:] = mine
    config.hook.pytest_deselected(items=elsewhere)


def pytest_collection_finish() -> None:
    """The modules and tests live as long as the run. Without this each full collection of garbage walks all of them."""
    gc.collect()
    gc.freeze()


# Marks of all tests in a module.
_MARKS: Final = re.compile(r"^pytestmark = (.*)$", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module of which the run leaves out every test is not imported: that takes longer than many a test."""
    left_out = re.findall(r"not (\w+)", config.option.markexpr)
    lane: str | None = config.option.lane
    if not (left_out or lane) or not collection_path.name.startswith("test_"):
        return None
    name = collection_path.relative_to(config.rootpath / "tests").as_posix()
    if "slow" in left_out and name in _SLOW:
        return True
    text = collection_path.read_text()
    waits = name in _WAITS
    if lane == _UNITS:
        if waits:
            return True
        left_out += _STARTS_PROCESSES
    elif lane and (lane != _lane_of_the_waiting(name) or not (waits or _may_start_processes(text))):
        return True
    marked = _MARKS.search(text)
    if marked and any(f"pytest.mark.{mark}" in marked[1] for mark in left_out):
        return True
    return None
