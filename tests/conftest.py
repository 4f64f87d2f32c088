"""Fixtures for all tests: the real servers, started by the first test that asks for them. And which tests are slow."""

from typing import Final

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.servers"]

# A machine that is full of other work would fail an example for its time, which says nothing of the rule.
settings.register_profile("falcon", deadline=None)
settings.load_profile("falcon")

# Each of these starts a Falcon or a command for most of its tests, or runs thousands of examples. `make check` leaves
# them out, so that it takes two minutes and not seven.
_SLOW: Final = frozenset(
    {
        "adapters/test_kafka_fence.py",
        "adapters/test_owner_http.py",
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
        "streams/test_history.py",
        "streams/test_room_lists.py",
        "streams/test_same_bytes.py",
        "streams/test_stream.py",
        "streams/test_tables_behind.py",
        "tools/bench/test_growing.py",
        "write/test_answers.py",
    }
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = config.rootpath / "tests"
    if gone := [name for name in _SLOW if not (tests / name).is_file()]:
        raise pytest.UsageError(f"tests/conftest.py calls tests slow that are not there: {', '.join(gone)}")
    for item in items:
        if item.path.relative_to(tests).as_posix() in _SLOW:
            item.add_marker(pytest.mark.slow)
