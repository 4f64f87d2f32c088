"""An account's usage is kept for as long as it may matter, and no longer."""

import pytest

from falcon.http.limits import usages
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.quotas import Policies, Quotas
from falcon.http.limits.usages import Usages
from falcon.http.problems import Problem
from tools.harness.clock import FakeClock

ANNA, BEN = 1, 2


def test_an_account_is_forgotten_once_it_may_do_all_again(clock: FakeClock) -> None:
    kept = Usages(Policies(Quotas(account_commands=10)), are_special=False)
    anna = kept.of(ANNA, clock.monotonic())
    for number in range(3):
        assert kept.of(ANNA, clock.monotonic()) is anna
        clock.advance(1)  # in which it may do all again
        kept.of(10 + number, clock.monotonic())
    for number in range(2):
        clock.advance(1)
        kept.of(20 + number, clock.monotonic())
    assert kept.of(ANNA, clock.monotonic()) is not anna
    assert len(kept) == 3


def test_an_account_with_a_request_under_way_or_a_debt_is_not_forgotten(clock: FakeClock) -> None:
    limiter = Limiter(Quotas(account_requests=1, account_cpu_ms=100, account_commands=10), clock=clock.monotonic)
    limiter.enter(ANNA, "GET").under_way += 1
    limiter.charge(BEN, 1_000.0)
    for number in range(5):
        clock.advance(1)
        limiter.enter(10 + number, "GET")
    for account_id in (ANNA, BEN):
        with pytest.raises(Problem):
            limiter.enter(account_id, "GET")
    clock.advance(300)
    for number in range(5):
        clock.advance(30)
        limiter.enter(20 + number, "GET")
    with pytest.raises(Problem):
        limiter.enter(ANNA, "GET")
    limiter.enter(BEN, "GET")


def test_more_accounts_than_there_is_room_for_do_not_take_more(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usages, "_ACCOUNTS_MAX", 100)
    kept = Usages(Policies(Quotas(account_commands=10)), are_special=False)
    for number in range(1_000):
        kept.of(number, clock.monotonic())
    assert len(kept) <= 200


def test_an_account_pays_for_small_requests_together(clock: FakeClock) -> None:
    limiter = Limiter(Quotas(account_cpu_ms=100), clock=clock.monotonic)  # and two seconds at once

    def answered() -> None:
        limiter.leave(limiter.enter(ANNA, "GET"), 0.001)

    for _ in range(2_000):
        answered()
    with pytest.raises(Problem):
        for _ in range(20):  # a tenth of a second's
            answered()


def _reads_at_once(limiter: Limiter) -> int:
    count = 0
    with pytest.raises(Problem):
        while count < 10_000:
            usage = limiter.usages.of(ANNA, limiter.clock())
            if usage.reads_ahead:
                usage.reads_ahead -= 1
            else:
                limiter.enter(ANNA, "GET")
            count += 1
    return count


@pytest.mark.parametrize("quota", [1, 15, 16, 50, 100, 256])
def test_reads_that_an_account_gets_ahead_are_of_its_limit(clock: FakeClock, quota: int) -> None:
    limiter = Limiter(Quotas(account_reads=quota), clock=clock.monotonic)
    assert _reads_at_once(limiter) == quota
    clock.advance(0.5)
    assert _reads_at_once(limiter) in (quota // 2, quota // 2 + 1)
    clock.advance(1)
    limiter.enter(ANNA, "GET")
    clock.advance(3_600)
    assert quota <= _reads_at_once(limiter) <= quota * 17 / 16, "some may be left from before"


def test_an_account_that_owes_has_no_reads_ahead(clock: FakeClock) -> None:
    limiter = Limiter(Quotas(account_reads=1_000, account_cpu_ms=100), clock=clock.monotonic)
    usage = limiter.enter(ANNA, "GET")
    assert usage.reads_ahead
    limiter.leave(usage, 1_000.0)
    assert not usage.reads_ahead
    with pytest.raises(Problem):
        limiter.enter(ANNA, "GET")


def test_a_short_request_pays_when_it_begins(clock: FakeClock) -> None:
    """It pays for 0.1 ms, and has the two seconds of its account, in portions of 10 ms."""
    limiter = Limiter(Quotas(account_cpu_ms=100), clock=clock.monotonic)
    count = 0
    with pytest.raises(Problem):
        while count < 30_000:
            limiter.enter(ANNA, "GET")
            count += 1
    assert 19_900 <= count <= 20_100


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_an_administrator_does_not_pay(clock: FakeClock, role: str) -> None:
    limiter = Limiter(Quotas(account_cpu_ms=100), clock=clock.monotonic)
    for _ in range(20):
        usage = limiter.enter(ANNA, "GET")
        usage.role = role  # type: ignore[assignment]
        limiter.leave(usage, 1.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
