"""Fixtures for all tests: the real servers, started by the first test that asks for them. And which tests are slow, and
in which order workers take them."""

import gc
import os
import re
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tools.harness.in_memory import folder_in_memory

# Collecting tests makes much that stays: a quarter of its time would go into looking for garbage in it.
gc.disable()

pytest_plugins = ["tests.support.left_out", "tests.support.servers"]

# A machine that is full of other work would fail an example for its time, which says nothing of the rule. The examples
# are the same each time: `make fuzz` looks for new ones.
settings.register_profile("falcon", deadline=None, max_examples=20, derandomize=True)
settings.register_profile("volume", deadline=None, max_examples=500, derandomize=False)  # for `make fuzz`
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

# Modules whose tests use the Kafka and the HBase that all tests share, beside the folder cluster/shared. One worker
# runs them, so these start once, and a test that hurts them disturbs no other.
_ON_SERVERS: Final = frozenset(
    {
        "adapters/test_hbase.py",
        "adapters/test_hbase_tls.py",
        "adapters/test_kafka.py",
        "adapters/test_kafka_applied.py",
        "adapters/test_kafka_compression.py",
        "adapters/test_kafka_faults.py",
        "adapters/test_opensearch.py",
        "cluster/test_failover.py",
        "cluster/test_growing.py",
        "cluster/test_secured.py",
        "simulation/test_beside_a_real_hbase.py",
        "simulation/test_beside_a_real_kafka.py",
        "streams/test_kafka_cuts.py",
        "streams/test_kafka_tail.py",
        "streams/test_signal_transports.py",
        "tools/servers/test_opensearch.py",
    }
)

_SERVERS: Final = frozenset({"kafka", "hbase", "opensearch"})

# These take longest, from four minutes to a quarter of one, most of it waiting: in this order, so that workers end
# together.
_LONG: Final = (
    "monitoring/test_provoked.py",
    "cluster/test_restore.py",
    "faults/test_chaos.py",
    "faults/test_faults.py",
    "simulation/test_growth.py",
    "simulation/test_lives.py",
    "http/test_limits.py",
    "clients/test_conformance.py",
    "cli/test_guides.py",
    "deploy/test_pipeline_deploy.py",
    "simulation/test_course.py",
    "simulation/test_mutants.py",
    "monitoring/test_dashboards.py",
    "http/test_tls.py",
    "tools/load/test_load.py",
)


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist says no types
    """Tests of a module run in one worker, one module after another in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid.partition("::")[0].removeprefix("tests/"))


def _on_servers(name: str) -> bool:
    return name in _ON_SERVERS or name.startswith("cluster/shared/")


def _scope(name: str) -> str:
    """What one worker runs: a module, all that use the servers, or all that open pages in one Chromium."""
    if _on_servers(name):
        return "servers"
    return "web" if name.startswith("web/") else name


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    gc.enable()  # this process collects no tests
    config.option.loadscopereorder = False  # it would begin with the module that has most tests
    return _Scheduling(config, log)


# Of the scopes that have one: they follow one another. The others come by their marks.
_PLACES: Final = {scope: place for place, scope in enumerate(("servers", _LONG[0], "web", *_LONG[1:]))}


def _turn(item: pytest.Item, name: str) -> int:
    """What takes longest begins first, so that workers end together. ``name``: the path of the module below tests/."""
    marks = {mark.name for mark in item.iter_markers()}
    last = len(_PLACES)
    turns = ("faults" in marks, "processes" in marks, name in _SLOW, True)
    return _PLACES.get(_scope(name), last + turns.index(True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = config.rootpath / "tests"
    if gone := [name for name in _SLOW | _ON_SERVERS | {*_LONG} if not (tests / name).is_file()]:
        raise pytest.UsageError(f"tests/conftest.py names tests that are not there: {', '.join(gone)}")
    turns: dict[str, int] = {}
    for item in items:
        name = item.path.relative_to(tests).as_posix()
        if not _on_servers(name) and not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            raise pytest.UsageError(f"{name} uses the servers that tests share: tests/conftest.py must name it")
        if name in _SLOW:
            item.add_marker(pytest.mark.slow)
        turns[name] = min(_turn(item, name), turns.get(name, 99))
    items.sort(key=lambda item: turns[item.path.relative_to(tests).as_posix()])


def pytest_collection_finish() -> None:
    """The modules and tests live as long as the run. Without this each full collection of garbage walks all of them."""
    gc.collect()
    gc.freeze()
    gc.enable()


# Marks of all tests in a module.
_MARKS: Final = re.compile(r"^pytestmark = (.*)$", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A module of which the run leaves out every test is not imported: that takes longer than many a test."""
    left_out = re.findall(r"not (\w+)", config.option.markexpr)
    if not left_out or not collection_path.name.startswith("test_"):
        return None
    if "slow" in left_out and collection_path.relative_to(config.rootpath / "tests").as_posix() in _SLOW:
        return True
    marked = _MARKS.search(collection_path.read_text())
    if marked and any(f"pytest.mark.{mark}" in marked[1] for mark in left_out):
        return True
    return None
