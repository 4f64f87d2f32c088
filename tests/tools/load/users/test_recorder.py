"""Records of users, second by second, come from several workers to one timeline."""

from pytest import MonkeyPatch, approx

from load_tests.users.figures import counted, falcon, kinds, moments
from load_tests.users.plans import PLANS
from load_tests.users.recorder import Part, Recorder, Timeline
from tools.harness.watching import Look


class Clock:
    def __init__(self, monkeypatch: MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("load_tests.users.recorder.time.time", lambda: self.now)


def test_a_second_is_told_once_and_when_it_is_over(monkeypatch: MonkeyPatch) -> None:
    clock, found = Clock(monkeypatch), Recorder()
    found.answered("send", 0.01)
    assert found.take().seconds == {}
    clock.now = 1_001.2
    found.answered("send", 0.02, "503 overloaded")
    over = found.take()
    assert list(over.seconds) == [1_000]
    assert over.failures == {"send: 503 overloaded": 1}  # texts have no second that they must wait for
    assert list(found.take(everything=True).seconds) == [1_001]
    assert found.take(everything=True) == Part()


def test_a_broken_promise_is_a_failure_for_locust() -> None:
    found = Recorder()
    found.violated(["room 640, seq 5: a1 was confirmed and is lost"])
    assert found.take_for_locust() == [("promise", 0.0, "room 640, seq 5: a1 was confirmed and is lost")]
    assert found.take_for_locust() == []


def test_a_flood_of_different_failures_does_not_fill_the_memory() -> None:
    found = Recorder()
    found.violated([f"room {number}" for number in range(1_000)])
    texts = found.take(everything=True).violations
    assert len(texts) <= 201
    assert sum(texts.values()) == 1_000


def timeline(monkeypatch: MonkeyPatch) -> Timeline:
    """A timeline of two workers, with ten users and 20 sends a second each, for four seconds."""
    clock, found = Clock(monkeypatch), Timeline()
    workers = [Recorder(), Recorder()]
    for at in range(4):
        clock.now = 1_000.0 + at
        for number, worker in enumerate(workers):
            worker.ran(10, 0.001 * (number + 1), 0.5)
            worker.answered("pushed", 0.5)
            for _ in range(20):
                worker.answered("send", 0.01 * (number + 1))
    workers[1].answered("send", 3.0, "no success within 10 s")
    for worker in workers:
        found.add(worker.take(everything=True))
    return found


def test_workers_add_up(monkeypatch: MonkeyPatch) -> None:
    together = timeline(monkeypatch)
    assert together.seconds[1_002].people == 20
    assert together.seconds[1_002].cpu == 1.0
    assert together.seconds[1_002].loop_delay == 0.002
    acts = counted(together, 1_000, 1_004)
    assert (acts.count, acts.failed, acts.rate) == (161, 1, 40.25)
    assert acts.p95 == approx(20, rel=0.02)
    assert acts.longest == 3_000.0
    assert list(kinds(together, 1_000, 1_004)) == ["send", "pushed"]


def test_the_audit_is_shown_though_it_comes_after_the_end(monkeypatch: MonkeyPatch) -> None:
    together = timeline(monkeypatch)
    recorder = Recorder()
    recorder.answered("audit", 0.1)  # in the last of these seconds
    together.add(recorder.take(everything=True))
    assert list(kinds(together, 1_000, 1_003)) == ["send", "pushed", "audit"]


def test_a_moment_has_what_people_met_and_how_falcon_was_at_that_time(monkeypatch: MonkeyPatch) -> None:
    looks = [
        Look(at=1_000.0 + at + 0.5, mailbox=at * 10.0, mailbox_bound=2_000, lag=0.1, cpu=10.0 + at * 0.5, memory=2**30)
        for at in range(4)
    ]
    found = moments(timeline(monkeypatch), looks, 1_000.0, 1_004.0)
    assert [moment.at for moment in found] == [0, 1, 2, 3]
    assert (found[2].people, found[2].acts, found[2].mailbox, found[2].cpu) == (20, 40, 20.0, 0.5)
    assert found[2].memory == 1_024
    assert found[0].cpu is None  # one look is no rate
    together = falcon(looks, 0, "")
    assert (together.cpu_mean, together.mailbox_max, together.lag_max) == (0.5, 30.0, 0.1)


def test_a_long_run_is_shown_in_stretches(monkeypatch: MonkeyPatch) -> None:
    found = moments(timeline(monkeypatch), [], 1_000.0, 4_600.0)
    assert len(found) == 300
    assert found[0].acts == approx(161 / 12)
    assert found[1].p99 is None


def test_the_shapes_go_from_nothing_to_everybody_and_never_beyond() -> None:
    for plan in PLANS.values():
        shares = [plan(step / 1_000) for step in range(1_000)]
        assert min(shares) > 0 and max(shares) == 1.0
    assert [PLANS["step"](share) for share in (0.0, 0.26, 0.51, 0.99)] == [0.25, 0.5, 0.75, 1.0]
    assert [PLANS["spike"](share) for share in (0.39, 0.5, 0.61)] == [0.25, 1.0, 0.25]
