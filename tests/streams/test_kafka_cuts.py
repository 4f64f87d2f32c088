"""A topic keeps cuts, and a process begins again when the topic has lost them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from falcon.adapters.kafka.cuts import KafkaCuts
from falcon.streams.cuts import Record
from tests.adapters.test_kafka import KafkaLog
from tests.contracts.cuts import CutStoreContract
from tools.harness.waiting import eventually

pytestmark = pytest.mark.processes


class KafkaCutsContract(CutStoreContract):
    def test_a_topic_that_was_made_again_is_read_from_its_beginning(self, run: Any) -> None:
        async def work(one: KafkaCuts, other: KafkaCuts) -> None:
            taken: list[Record | None] = []
            first = await other.write(b"one")
            one.follow(lambda number, data: taken.append((number, data)), lambda: taken.append(None))
            await eventually(lambda: taken == [(first, b"one")])
            one._offset = 99
            await eventually(lambda: taken[1:] == [None, (first, b"one")])
            second = await other.write(b"two")
            await eventually(lambda: taken[-1] == (second, b"two"))

        run(work)


class TestKafkaCuts(KafkaCutsContract):
    @pytest.fixture
    def make(self, kafka_servers: str, tmp_path: Path) -> Iterator[Callable[[], KafkaCuts]]:
        log = KafkaLog(kafka_servers, tmp_path)
        yield lambda: KafkaCuts(log.cluster)
        log.close()
