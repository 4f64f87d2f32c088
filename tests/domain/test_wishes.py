"""Wishes for handles in any order of their steps, with steps that are the last one, late or done twice.

The steps are those of ``falcon/features/accounts/wishes.py``, one command each, on a partition of their own.
"""

import random
from collections.abc import Generator, Iterator
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from falcon.domain.aggregates import id_of_text
from falcon.domain.decision import Decided, Decision
from falcon.domain.ids import Millis
from falcon.domain.rejections import OutOfDate, TextTaken
from falcon.features import decider
from falcon.features.accounts.rules import (
    Account,
    ChangeAccount,
    ProfileAnswer,
    WantTexts,
    WishAnswer,
    change_account,
)
from falcon.features.catalogue import Command
from falcon.features.claims.rules import Claims, ClaimText, ReleaseText, release_text
from falcon.features.decider import Rule
from tests.support.builders import an_account, nth_id, tried
from tests.support.given import World

HANDLES = ("ann", "bob", "tea", None)
PEOPLE = tuple(nth_id(number) for number in range(1, 4))
Steps: TypeAlias = Generator[Command, Decision, None]


def wish(account_id: int, handle: str | None) -> Steps:
    """The steps as the edge takes them."""
    wanted = yield WantTexts(account_id, {"handle": handle})
    assert isinstance(wanted, Decided) and isinstance(wanted.answer, WishAnswer)
    number = wanted.answer.wish
    if not number:
        return
    for _, text in wanted.answer.left:
        yield ReleaseText("handle", text, account_id, number - 1)
    for _, text in wanted.answer.texts:
        taken = yield ClaimText("handle", text, account_id, number)
        if isinstance(taken, TextTaken):
            return
    shown = yield ChangeAccount(account_id, texts={"handle": handle}, wish=number)
    if isinstance(shown, OutOfDate):
        for _, text in wanted.answer.texts:
            yield ReleaseText("handle", text, account_id, number)
        return
    assert isinstance(shown, Decided) and isinstance(shown.answer, ProfileAnswer)
    for _, text in shown.answer.replaced:
        yield ReleaseText("handle", text, account_id, number - 1)


class Racing:
    """People who wish in turns. ``twice``: a step may be decided twice, as after a lost answer."""

    def __init__(self) -> None:
        self.world = World().after(*(an_account(account_id) for account_id in PEOPLE))
        self.under_way: list[tuple[Steps, Command]] = []

    def begin(self, account_id: int, handle: str | None) -> None:
        steps = wish(account_id, handle)
        self.under_way.append((steps, next(steps)))

    def step(self, place: int, *, twice: bool = False) -> None:
        if not self.under_way:
            return
        steps, command = self.under_way.pop(place % len(self.under_way))
        decision = self._decide(command)
        if twice and not isinstance(command, WantTexts | ChangeAccount):
            decision = self._decide(command)
        try:
            self.under_way.append((steps, steps.send(decision)))
        except StopIteration:
            return

    def stop(self, place: int) -> None:
        """The process ends: no further step of the wish is taken."""
        if self.under_way:
            self.under_way.pop(place % len(self.under_way))

    def finish(self) -> None:
        while self.under_way:
            self.step(0)

    def _decide(self, command: Command) -> Decision:
        decision = self.world.decide(command)
        if isinstance(decision, Decided):
            self.world = self.world.after(*decision.events)
        self.check()
        return decision

    def holder(self, handle: str) -> int | None:
        claims = self.world.aggregates.get(id_of_text("handle", handle))
        claim = None if claims is None else claims.texts.get(handle)
        return None if claim is None else int(claim.account_id)

    def shown(self) -> Iterator[tuple[str, int]]:
        for account in self.world.accounts.values():
            if account.handle is not None:
                yield account.handle, account.account_id

    def check(self) -> None:
        """A handle that is shown is claimed by its account, so no two accounts show the same."""
        for handle, account_id in self.shown():
            assert self.holder(handle) == account_id


moves = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from(PEOPLE), st.sampled_from(HANDLES)),
    st.tuples(st.just("step"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("step"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, 9), st.none()),
)


@tried(500)
@given(st.lists(moves, max_size=60))
def test_in_any_order_a_handle_that_is_shown_is_claimed_by_its_account(asked: list[tuple[str, int, object]]) -> None:
    racing = Racing()
    for kind, number, more in asked:
        if kind == "begin":
            racing.begin(number, more if isinstance(more, str) else None)
        elif kind == "step":
            racing.step(number, twice=bool(more))
        else:
            racing.stop(number)
    racing.finish()
    for account_id in PEOPLE:  # the next wish ends what was left
        racing.begin(account_id, f"new {account_id}")
        racing.finish()
    shown = dict(racing.shown())
    assert all(racing.holder(handle) == shown.get(handle) for handle in HANDLES if handle is not None)


def _shown_by_any_wish(account: Account, command: ChangeAccount, at: Millis) -> Decision:
    return change_account(account, replace(command, wish=account.wishes), at)


def _released_by_any_wish(claims: Claims, command: ReleaseText, at: Millis) -> Decision:
    return release_text(claims, replace(command, wish=2**40), at)


@pytest.mark.parametrize(
    ("command", "mistake"), [(ChangeAccount, _shown_by_any_wish), (ReleaseText, _released_by_any_wish)]
)
def test_a_handle_shown_or_released_without_its_wishs_number_is_found(
    command: type[Command], mistake: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decider._RULES, command, mistake)
    with pytest.raises(AssertionError):
        for seed in range(500):
            chance, racing = random.Random(seed), Racing()
            for _ in range(60):
                if chance.random() < 0.4:
                    racing.begin(chance.choice(PEOPLE), chance.choice(HANDLES))
                racing.step(chance.randrange(9))


def test_of_2_000_wishes_for_50_handles_each_handle_has_one_holder() -> None:
    racing = Racing()
    for number in range(2_000):
        racing.begin(PEOPLE[number % len(PEOPLE)], f"handle {number % 50}")
        racing.step(number)
        racing.step(number // 2)
        if number % 7 == 0:
            racing.stop(number)
    racing.finish()
    assert sum(1 for _ in racing.shown()) <= len(PEOPLE)
