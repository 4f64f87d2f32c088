"""A queue that serves accounts in turn, held against a simple model of it."""

from hypothesis import given
from hypothesis import strategies as st

from falcon.write.fair_queue import FairQueue

ANN, BEN, CLEO = 1, 2, 3


def filled(*accounts: int) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for number, account_id in enumerate(accounts):
        queue.append(account_id, f"{account_id}/{number}")
    return queue


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.popleft() for _ in range(len(queue))]


@given(st.lists(st.tuples(st.sampled_from([ANN, BEN, CLEO, None]), st.booleans()), max_size=60))
def test_nothing_is_lost_and_each_account_keeps_its_order(steps: list[tuple[int | None, bool]]) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue()
    put: dict[int, list[tuple[int, int]]] = {ANN: [], BEN: [], CLEO: []}
    got: dict[int, list[tuple[int, int]]] = {ANN: [], BEN: [], CLEO: []}
    for number, (account_id, newest) in enumerate(steps):
        if account_id is not None:
            queue.append(account_id, (account_id, number))
            put[account_id].append((account_id, number))
        elif newest and queue:
            taken = queue.pop_of_crowder()
            assert taken == put[taken[0]].pop()
        elif queue:
            taken = queue.popleft()
            got[taken[0]].append(taken)
        waiting = {each: put[each][len(got[each]) :] for each in put}
        assert len(queue) == sum(map(len, waiting.values()))
        assert sorted(queue.firsts()) == sorted(each[0] for each in waiting.values() if each)
    for taken in [queue.popleft() for _ in range(len(queue))]:
        got[taken[0]].append(taken)
    assert got == put


def test_between_two_of_one_account_every_other_has_its_turn() -> None:
    assert drained(filled(ANN, ANN, ANN, BEN, BEN, CLEO)) == ["1/0", "2/3", "3/5", "1/1", "2/4", "1/2"]


def test_one_who_comes_late_waits_for_one_of_each() -> None:
    queue = filled(*[ANN] * 100, *[BEN] * 100)
    queue.popleft()
    queue.append(CLEO, "late")
    assert [queue.popleft() for _ in range(3)] == ["2/100", "1/1", "late"]


def test_it_yields_to_those_who_have_less_than_half_of_what_another_has() -> None:
    queue = filled(*[ANN] * 4, BEN)
    assert queue.yields_to(CLEO) and queue.yields_to(BEN)
    assert not queue.yields_to(ANN)
    queue.append(BEN, "another")
    assert not queue.yields_to(BEN)
    assert not filled(ANN, BEN).yields_to(CLEO)
    assert not filled().yields_to(ANN)


def test_what_fulfils_a_condition_is_taken_out_of_every_accounts() -> None:
    queue = filled(ANN, BEN, ANN, BEN, CLEO)
    assert sorted(queue.take_all(lambda item: item in ("1/2", "2/1", "3/4"))) == ["1/2", "2/1", "3/4"]
    assert len(queue) == 2
    assert drained(queue) == ["1/0", "2/3"]


def test_what_fulfils_it_behind_what_does_not_stays() -> None:
    queue = filled(ANN, BEN, ANN, BEN)
    assert list(queue.take_first_while(lambda item: item in ("1/0", "1/2", "2/3"))) == ["1/0", "1/2"]
    assert drained(queue) == ["2/1", "2/3"]
