"""A password is stored as a hash that takes long to make, and never takes the event loop's time."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from starlette.types import Scope

from falcon.base.buckets import Switch
from falcon.http import passwords
from falcon.http.limits.limiter import Limiter
from falcon.http.passwords import Passwords, check_new
from falcon.http.problems import Problem
from tools.harness.clock import FakeClock

RIGHT = "tea at four o'clock"


def of(host: str) -> Scope:
    return {"client": (host, 1), "headers": []}


def test_a_password_matches_its_hash_and_no_other() -> None:
    async def check() -> list[bool]:
        checker = Passwords()
        stored = await checker.hash(RIGHT)
        assert stored.startswith("$argon2id$") and RIGHT not in stored
        tried = (RIGHT, RIGHT + ".", "", RIGHT + "x" * 300)
        found = [await checker.matches(stored, each) for each in tried]
        found.append(await checker.matches(None, RIGHT))
        checker.close()
        return found

    assert asyncio.run(check()) == [True, False, False, False, False]


def test_keyboards_that_spell_a_letter_otherwise_type_the_same_password() -> None:
    async def check() -> bool:
        checker = Passwords()
        found = await checker.matches(await checker.hash("cafe\u0301 at four"), "caf\u00e9 at four")
        checker.close()
        return found

    assert asyncio.run(check())


def test_a_login_without_a_password_costs_as_much_as_one_with_it() -> None:
    """Its hash has the parameters of the others."""
    parameters = passwords._NO_ONES.split("$")[1:4]
    assert passwords._hash(b"x").split("$")[1:4] == parameters


def test_more_sign_ins_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(stored: str, password: bytes) -> bool:
        time.sleep(0.01)
        return True

    monkeypatch.setattr(passwords, "_matches", slow)
    monkeypatch.setattr(passwords, "_RESTS", 0)

    async def flood() -> list[BaseException | bool]:
        checker = Passwords()
        tried = (checker.matches("stored", RIGHT) for _ in range(passwords._THREADS + passwords._QUEUE + 7))
        found = await asyncio.gather(*tried, return_exceptions=True)
        checker.close()
        return found

    found = asyncio.run(flood())
    refused = [each for each in found if isinstance(each, Problem)]
    assert [(each.status, each.code) for each in refused] == [(503, "overloaded")] * 7
    assert found.count(True) == passwords._THREADS + passwords._QUEUE


def test_the_thread_of_hashes_rests_between_two_of_them_and_not_before_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock()
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(round(seconds, 3))
        clock.advance(seconds)

    monkeypatch.setattr(passwords, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=rest))
    checker = Passwords()
    for _ in range(3):
        checker._rested(lambda: clock.advance(0.03))
    assert rests == [0.09, 0.09]
    clock.advance(1)
    checker._rested(lambda: clock.advance(0.03))
    assert rests == [0.09, 0.09]
    checker.close()


@pytest.mark.parametrize("password", ["1234567890", "qwertyuiop", "Password123", "ILOVEYOU123", "password1234"])
def test_a_password_that_attackers_try_first_is_refused(password: str) -> None:
    with pytest.raises(Problem, match="422 invalid: password"):
        check_new(password)


def test_another_one_is_taken() -> None:
    check_new(RIGHT)
    assert len(passwords._common()) > 1_500
    assert all(len(each) >= passwords.CHARS_MIN for each in passwords._common())


def test_after_ten_wrong_ones_a_login_waits_whatever_its_address() -> None:
    clock = FakeClock()
    limiter = Limiter(clock=clock.monotonic, switch=Switch(on=False))
    for number in range(10):
        limiter.begin_sign_in("Anna@tea.test", of(f"10.0.{number}.1"))
    with pytest.raises(Problem, match="429 rate_limited") as refused:
        limiter.begin_sign_in("anna@TEA.test", of("10.1.0.1"))
    assert refused.value.retry_after == 60
    limiter.begin_sign_in("ben@tea.test", of("10.1.0.1"))
    clock.advance(60.1)
    limiter.begin_sign_in("anna@tea.test", of("10.1.0.1"))


def test_after_thirty_wrong_ones_an_address_waits_whatever_the_login() -> None:
    limiter = Limiter(clock=FakeClock().monotonic)
    for number in range(30):
        limiter.begin_sign_in(f"person-{number}", of("127.0.0.1"))
    with pytest.raises(Problem, match="429 rate_limited"):
        limiter.begin_sign_in("anna", of("127.0.0.1"))
    limiter.begin_sign_in("anna", of("127.0.0.2"))


def test_right_ones_do_not_count() -> None:
    limiter = Limiter(clock=FakeClock().monotonic)
    for _ in range(100):
        limiter.begin_sign_in("anna", of("10.0.0.1"))
        limiter.signed_in("anna", of("10.0.0.1"))
    for _ in range(10):
        limiter.begin_sign_in("anna", of("10.0.0.1"))
    with pytest.raises(Problem, match="429 rate_limited"):
        limiter.begin_sign_in("anna", of("10.0.0.1"))
