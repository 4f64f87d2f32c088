"""Names of accounts that a process keeps."""

import asyncio
from collections.abc import Collection

import pytest

from falcon.read import names as module
from falcon.read.names import AccountNames
from tests.support.builders import ANN, BOB


class Tables:
    """``asked``: how many names were looked up. ``waits``: a query waits for it."""

    def __init__(self) -> None:
        self.names = {ANN: "Ann", BOB: "Bob"}
        self.asked = 0
        self.waits: asyncio.Event | None = None

    async def names_of(self, account_ids: Collection[int]) -> dict[int, str]:
        self.asked += len(account_ids)
        found = {each: self.names[each] for each in account_ids if each in self.names}
        if self.waits is not None:
            await self.waits.wait()
        return found


def test_a_name_is_looked_up_once_and_the_log_tells_another() -> None:
    async def work() -> None:
        tables = Tables()
        names = AccountNames(tables)  # type: ignore[arg-type]
        assert await names.look_up([ANN, BOB]) == await names.look_up([ANN, BOB]) == {ANN: "Ann", BOB: "Bob"}
        names.know(ANN, "Anna")
        assert await names.look_up([ANN, BOB]) == {ANN: "Anna", BOB: "Bob"}
        assert tables.asked == 2

    asyncio.run(work())


def test_tables_that_are_behind_never_bring_an_old_name_back() -> None:
    async def work() -> None:
        tables = Tables()
        tables.waits = asyncio.Event()
        names = AccountNames(tables)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(names.look_up([ANN]))
            await asyncio.sleep(0)
            names.know(ANN, "Anna")
            tables.waits.set()
        assert looking.result() == await names.look_up([ANN]) == {ANN: "Anna"}

    asyncio.run(work())


def test_names_are_looked_up_again_when_changes_may_have_been_missed() -> None:
    async def work() -> None:
        tables = Tables()
        tables.waits = asyncio.Event()
        names = AccountNames(tables)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(names.look_up([ANN]))
            await asyncio.sleep(0)
            names.forget()  # the answer that is under way may be older
            tables.waits.set()
        tables.names[ANN] = "Anna"
        assert await names.look_up([ANN]) == {ANN: "Anna"}

    asyncio.run(work())


def test_there_are_no_more_names_than_may_be_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KNOWN_MAX", 10)

    async def work() -> None:
        tables = Tables()
        names = AccountNames(tables)  # type: ignore[arg-type]
        for account_id in range(1_000, 1_100):
            names.know(account_id, f"Name {account_id}")
        names.know(ANN, "Ann of the log")
        tables.names = dict.fromkeys(range(2_000, 2_004), "Looked up") | tables.names
        await names.look_up(range(2_000, 2_004))
        assert len(names._known) <= 10
        assert await names.look_up([ANN, BOB]) == {ANN: "Ann of the log", BOB: "Bob"}

    asyncio.run(work())
