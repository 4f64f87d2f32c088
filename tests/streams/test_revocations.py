"""A process that follows the log knows which tokens were revoked, and knows when it does not."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import pytest
from msgspec.structs import replace

from falcon.features.accounts.rules import AccountChanged, TokenRevoked
from falcon.features.accounts.table import AccountRow
from falcon.journal.envelope import Position
from falcon.journal.ports import JournalUnavailable
from falcon.streams import revocations
from falcon.streams.feed import Feed
from falcon.streams.revocations import Revocations
from falcon.streams.tail import LocatedRecord
from tests.streams.test_replay import AT_MILLIS, BOB, FakeLookups, FakeTail, posted, raw
from tools.harness.waiting import eventually
from tools.simulation.threads import Simulation

PARTITIONS: Final = 4


def revoked(token_hash: str) -> TokenRevoked:
    return TokenRevoked(BOB, 1, token_hash)


def demoted(role_changes: int, name: str = "Bob") -> AccountChanged:
    was: Any = (AT_MILLIS, "Bob", "admin", None, ("role",))
    return AccountChanged(BOB, name, "member", "", "", None, None, False, False, 0, role_changes, *was)


class Log(FakeTail):
    """Waits a moment if there is nothing to read, so that time passes."""

    async def read(self, cursor: Mapping[int, Position], limit: int) -> tuple[list[LocatedRecord], dict[int, Position]]:
        located, after = await super().read(cursor, limit)
        if not located:
            await asyncio.sleep(0.01)
        return located, after

    def append(self, *events: Any) -> None:
        self.located += [raw(len(self.located) + number, event) for number, event in enumerate(events)]
        self.shown = len(self.located)


class Pod:
    """Follows the ``log``. Its tables show the log's events up to ``shown``."""

    def __init__(self, log: Log, shown: int) -> None:
        self.log = log
        self.shown = shown
        self.told: list[int] = []
        self.revocations = Revocations(self, Feed(log, FakeLookups(), "log", PARTITIONS), self.told.append)  # type: ignore[arg-type]
        self._feed = self.revocations._feed

    async def applied_everywhere(self, partitions: int, projections: Sequence[str]) -> dict[int, Position]:
        return dict.fromkeys(range(partitions), Position(self.shown))

    def start(self) -> None:
        self._feed.start()
        self.revocations.start()

    async def stop(self) -> None:
        await self.revocations.stop()
        await self._feed.stop()

    def confirms(self, asked_at: float | None = None) -> bool:
        """For a token that the tables knew then, or know now."""
        now = time.monotonic()
        return self.revocations.still_valid_since(now if asked_at is None else asked_at, now)


def live(work: Callable[[Pod], Coroutine[Any, Any, None]], *events: Any, shown: int = 0) -> None:
    """Runs with a pod that is started, and confirms."""

    async def run() -> None:
        pod = Pod(Log(events), shown)
        pod.start()
        await eventually(pod.confirms)
        await work(pod)
        await pod.stop()

    Simulation().run(lambda: asyncio.run(run()))


def test_a_pod_that_does_not_follow_the_log_confirms_no_token() -> None:
    pod = Pod(Log(()), 0)
    assert not pod.confirms()
    assert "Bob's" not in pod.revocations


def test_a_pod_that_has_stopped_to_follow_the_log_confirms_no_token() -> None:
    async def work(pod: Pod) -> None:
        await pod.revocations.stop()
        assert not pod.confirms()

    live(work)


def test_a_token_is_confirmed_until_the_log_revokes_it() -> None:
    async def work(pod: Pod) -> None:
        asked_at = time.monotonic()
        await asyncio.sleep(60)
        assert pod.confirms(asked_at)
        pod.log.append(posted(1), revoked("Bob's"))
        await eventually(lambda: "Bob's" in pod.revocations)
        assert pod.told == [BOB]
        assert "Ann's" not in pod.revocations

    live(work)


def test_a_token_that_the_tables_knew_before_the_log_was_followed_is_not_confirmed() -> None:
    before = 0.0

    async def work(pod: Pod) -> None:
        assert not pod.confirms(before)

    live(work)


def test_a_revocation_that_the_tables_did_not_show_at_the_start_is_known() -> None:
    async def work(pod: Pod) -> None:
        assert "Bob's" in pod.revocations
        assert "old" not in pod.revocations, "the tables show it"

    live(work, revoked("old"), posted(1), revoked("Bob's"), posted(2), shown=2)


def test_while_the_log_cannot_be_read_nothing_is_confirmed_and_then_as_before() -> None:
    async def work(pod: Pod) -> None:
        asked_at = time.monotonic()
        pod.log.away = JournalUnavailable("a test has taken the log away")
        await asyncio.sleep(1.0)
        assert not pod.confirms(asked_at)
        pod.log.append(revoked("Bob's"))
        pod.log.away = None
        await eventually(lambda: pod.confirms(asked_at))
        assert "Bob's" in pod.revocations

    live(work)


def test_a_log_whose_records_do_not_come_is_not_confirmed() -> None:
    """Brokers say where it ends, and give nothing."""

    async def work(pod: Pod) -> None:
        asked_at = time.monotonic()
        pod.log.append(revoked("Bob's"))
        pod.log.shown = 0
        await asyncio.sleep(1.0)
        assert not pod.confirms(asked_at)

    live(work)


def test_revocations_that_the_tables_show_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "_REMEMBERED", 3)

    async def work(pod: Pod) -> None:
        pod.log.append(*(revoked(f"token {number}") for number in range(3)))
        pod.shown = 2
        await eventually(lambda: "token 2" in pod.revocations)
        assert "token 0" in pod.revocations, "a look-up may be under way that began before the tables showed it"
        await eventually(lambda: "token 0" not in pod.revocations)
        assert "token 2" in pod.revocations, "the tables do not show it"

    live(work)


def test_more_revocations_than_are_remembered_are_left_to_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "_REMEMBERED_MAX", 3)

    async def work(pod: Pod) -> None:
        asked_at = time.monotonic()
        pod.log.append(*(revoked(f"token {number}") for number in range(4)))
        await eventually(lambda: "token 3" in pod.revocations)
        await asyncio.sleep(5)
        assert not pod.confirms(), "the tables do not show what was forgotten"
        pod.shown = 4
        await eventually(pod.confirms)
        assert not pod.confirms(asked_at), "the tables were asked before they showed it"

    live(work)


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_a_role_that_the_log_has_changed_counts_until_the_tables_show_it() -> None:
    admin, member = AccountRow(BOB, "Bob", "admin", ""), AccountRow(BOB, "Robert", "member", "", role_changes=1)

    async def work(pod: Pod) -> None:
        changed: list[AccountChanged] = []
        pod.revocations.changed.append(changed.append)
        pod.log.append(demoted(1, "Robert"))
        await eventually(lambda: changed)
        assert pod.revocations.newest(admin) == member, "also while the tables are behind, or away"
        promoted = replace(admin, role_changes=2)
        assert pod.revocations.newest(promoted) == promoted, "the tables are ahead"
        assert pod.revocations.newest(replace(admin, account_id=BOB + 1)).role == "admin"

    live(work)


def test_a_process_that_may_have_missed_changes_says_so() -> None:
    async def work(pod: Pod) -> None:
        began: list[None] = []
        pod.revocations.began.append(lambda: began.append(None))
        pod.revocations._since = math.inf
        await eventually(lambda: began)

    live(work)
