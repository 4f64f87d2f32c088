"""The figures of a load."""

from pathlib import Path

from tools.k8s_proof.figures import Figures, reckon
from tools.people.history import History, Operation, Outcome

ROOM = 16


def post(seq: int, at: float, outcome: Outcome = "acknowledged", began: float | None = None) -> Operation:
    return Operation(
        kind="post",
        session=0,
        api=0,
        room=ROOM,
        key=f"0-{seq}",
        token=f"0.{seq}/0",
        started=at if began is None else began,
        ended=at,
        outcome=outcome,
        status=201 if outcome == "acknowledged" else 503,
        code="" if outcome == "acknowledged" else "unavailable",
        seq=seq if outcome == "acknowledged" else 0,
        position=f"0:{seq}",
    )


def found(*seqs: int) -> list[Operation]:
    """The messages that were read back, and those in the log."""
    tokens = [(seq, f"0.{seq}/0") for seq in seqs]
    logged = [
        Operation(
            kind="logged", name="MessagePosted", room=ROOM, seq=seq, token=token, position=f"0:{seq}", key=f"0-{seq}"
        )
        for seq, token in tokens
    ]
    return [*logged, Operation(kind="final", api=0, room=ROOM, seen=tokens)]


def reckoned(folder: Path, *operations: Operation) -> Figures:
    history = History(folder / "history.jsonl")
    for operation in operations:
        history.note(operation)
    history.close()
    return reckon(history.path, 1)


def test_a_retry_is_counted_and_its_message_once(tmp_path: Path) -> None:
    figures = reckoned(tmp_path, post(1, 1.0), post(2, 2.0, "refused"), post(2, 3.5), *found(1, 2))
    assert (figures.acknowledged, figures.requests, figures.retried) == (2, 2, {"503 unavailable": 1})
    assert (figures.unwritable, figures.longest, figures.failed, figures.violations) == (2.5, 1.5, 0, [])


def test_a_request_that_outlasts_the_clients_patience_has_failed(tmp_path: Path) -> None:
    figures = reckoned(tmp_path, post(1, 1.0, "refused"), post(1, 32.0), *found(1))
    assert figures.failed == 1


def test_a_request_that_was_never_answered_has_failed(tmp_path: Path) -> None:
    assert reckoned(tmp_path, post(1, 1.0), post(2, 2.0, "refused"), *found(1)).failed == 1


def test_an_acknowledged_message_that_is_not_there_is_lost(tmp_path: Path) -> None:
    assert reckoned(tmp_path, post(1, 1.0), post(2, 2.0), *found(1)).lost > 0


def test_a_message_that_is_there_twice_is_doubled(tmp_path: Path) -> None:
    both = [*found(1), Operation(kind="final", api=0, room=ROOM, seen=[(2, "0.1/0")])]
    assert reckoned(tmp_path, post(1, 1.0), *both).doubled > 0
