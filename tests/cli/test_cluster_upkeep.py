"""The output of skip, verify and restored for the operator of a cluster."""

import logging
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from falcon.cli import app
from falcon.journal.ports import LogWentBack
from falcon.projections.skipping import NoSuchEvent, NotStoppedThere
from falcon.read.store import Comparison
from falcon.run.bootstrap import cluster
from falcon.run.settings import Settings


@pytest.fixture(autouse=True)
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALCON_KAFKA", "kafka:9092")
    monkeypatch.setenv("FALCON_HBASE", "thrift:9090")


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=answer)


SKIP = ("skip", "timeline", "17", "52341", "--reason", "Ann has checked")


@pytest.mark.parametrize(("more", "force"), [((), False), (("--force",), True)])
def test_a_skip_says_what_is_lost(monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...], force: bool) -> None:
    def skip(settings: Settings, *event: object, force: bool) -> str:
        asked.append((*event, force))
        return "message-posted. What is lost: message 7 of room 64"

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(cluster, "skip", skip)
    found = run(*SKIP, *more)
    assert (found.exit_code, found.stdout) == (
        0,
        "timeline passes over offset 52341 of partition 17: message-posted. What is lost: message 7 of room 64.\n",
    )
    assert asked == [("timeline", 17, 52341, "Ann has checked", force)]


@pytest.mark.parametrize("fault", [NotStoppedThere("it has stopped nowhere"), NoSuchEvent("none"), LogWentBack("lost")])
def test_a_skip_that_is_refused_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    monkeypatch.setattr(cluster, "skip", raising(fault))
    found = run(*SKIP)
    assert (found.exit_code, found.stderr) == (1, f"{fault}\n")


@pytest.mark.parametrize(
    ("found", "options", "said", "exit_code"),
    [
        (Comparison(60, 0, 0, 0), (), "60 cells compared, 0 missing, 0 wrong, 0 that the log does not explain.", 0),
        (Comparison(60, 2, 1, 0), (), "60 cells compared, 2 missing, 1 wrong, 0 that the log does not explain.", 1),
        (
            Comparison(60, 2, 1, 0),
            ("--correct",),
            "60 cells compared, 2 missing, 1 wrong (corrected), 0 that the log does not explain.",
            0,
        ),
        (
            Comparison(60, 0, 0, 3),
            ("--correct",),
            "60 cells compared, 0 missing, 0 wrong, 3 that the log does not explain: falcon rebuild rooms makes tables "
            "without them.",
            1,
        ),
    ],
)
def test_verify_fails_where_something_differs_that_it_has_not_corrected(
    monkeypatch: pytest.MonkeyPatch, found: Comparison, options: tuple[str, ...], said: str, exit_code: int
) -> None:
    monkeypatch.setattr(cluster, "verify", lambda settings, name, **options: found)
    result = run("verify", "rooms", *options)
    assert (result.exit_code, result.stdout) == (exit_code, f"rooms: {said}\n")


def test_a_rebuild_shows_no_lines_of_the_kafka_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises its errors, and warns of each rebalance while projectors share the rebuild."""

    def rebuild(settings: Settings, name: str, progress: object) -> int:
        shown.append(logging.getLogger("aiokafka.consumer").isEnabledFor(logging.WARNING))
        return 12

    shown: list[bool] = []
    monkeypatch.setattr(cluster, "rebuild", rebuild)
    assert run("rebuild", "rooms").exit_code == 0
    assert shown == [False]


def test_the_tables_begin_again_only_when_the_operator_has_said_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def restored(settings: Settings) -> str:
        done.append(settings)
        return "5ee0d1-ab12"

    done: list[Settings] = []
    monkeypatch.setattr(cluster, "restored", restored)
    assert run("restored", answer="n\n").exit_code == 1
    assert not done
    for found in (run("restored", answer="y\n"), run("restored", "--yes")):
        assert found.exit_code == 0
        assert "The log is called 5ee0d1-ab12 now" in found.stdout
    assert len(done) == 2


def test_processes_that_run_still_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "restored", raising(cluster.StillRunning("stop every falcon api, write and project")))
    found = run("restored", "--yes")
    assert (found.exit_code, found.stderr) == (1, "stop every falcon api, write and project\n")


def raising(fault: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise fault

    return fail
