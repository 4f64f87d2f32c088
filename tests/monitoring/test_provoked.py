"""Each alert fires for a real fault of its kind, and clears afterwards.

A real Prometheus scrapes a real ``falcon up`` with a chat each second. The rules are the shipped ones, with all times
in them shortened. The cases wait most of the time, so some of them run side by side.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.monitoring import provoking
from tests.monitoring.prometheus import prometheus_or_skip
from tests.monitoring.provoking import Cause, Seen, Stage, fault, killed
from tests.monitoring.rules import ALERT_NAMES, faster, only

log = logging.getLogger("tests.provoked")

_AT_ONCE: Final = 4
# All windows are as short as may be.
_FASTEST: Final = 3_600


@dataclass(frozen=True)
class Case:
    """Causes that are provoked in one Falcon, one after the other."""

    name: str
    rules: str
    causes: tuple[Cause, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    people: int = 2
    tls: bool = False

    @property
    def alerts(self) -> set[str]:
        return {alert for cause in self.causes for alert in (*cause.alerts, *cause.afterwards)}


# The longest ones first.
CASES: Final = (
    Case(
        "the log is slow or cannot be written",
        # Commands that wait for the file end together, when their time is over; later ones are refused at once.
        faster(_FASTEST, {"min_over_time": "20s"}),
        (
            Cause(
                "another process writes into the file most of the time",
                provoking.locked_for_moments,
                (
                    "FalconRouteSlow",
                    "FalconCommandSlow",
                    "FalconCommandsBurnFast",
                    "FalconCommandsBurnSteady",
                    "FalconCommandsBurnSlow",
                ),
            ),
            Cause(
                "another process holds the file, and many want to write",
                provoking.locked_under_a_crowd,
                (
                    "FalconMailboxFull",
                    "FalconMailboxOld",
                    "FalconMailboxRejections",
                    "FalconAppendOld",
                    "FalconRouteMaximum",
                    "FalconCommandMaximum",
                ),
            ),
            Cause(
                "the disk is full",
                provoking.disk_full,
                (
                    "FalconAppendsUnknown",
                    "FalconPartitionWithoutOwner",
                    "FalconPartitionNotServed",
                    "FalconCommandErrors",
                    "FalconErrorLines",
                ),
            ),
        ),
        {"mailbox_bound": 8, "command_seconds": 10},
        people=4,
    ),
    Case(
        "processes end or stand still",
        faster(45),  # long enough for a process to end some times
        (
            Cause("a handler does not let the event loop go on", fault("handler-blocks"), ("FalconEventLoopStuck",)),
            Cause("the process that serves is stopped", provoking.standing_still, ("FalconProcessHung",)),
            Cause("few files may be opened any more", provoking.few_files, ("FalconFileDescriptors",)),
            Cause("the process that serves is killed again and again", killed("serve"), ("FalconProcessRestarts",)),
            Cause("falcon up does not run", provoking.not_running, ("FalconTargetDown",)),
            Cause("falcon up is started again and again", provoking.started_anew, ("FalconPodRestarts",)),
        ),
    ),
    Case(
        "the code has a fault",
        faster(_FASTEST, {"min_over_time": 10}),  # windows of 12 s: the actor is slow every five seconds
        (
            Cause(
                "an actor is busy with one message for long",
                fault("actor-is-slow"),
                ("FalconActorMaximum", "FalconEventLoopLate"),
            ),
            Cause("requests leave circles of objects", fault("garbage"), ("FalconGarbageCollection",)),
            Cause(
                "a handler raises",
                fault("handler-raises"),
                (
                    "FalconRouteErrors",
                    "FalconRequestsBurnFast",
                    "FalconRequestsBurnSteady",
                    "FalconRequestsBurnSlow",
                ),
            ),
        ),
        people=4,
    ),
    Case(
        "blocking calls do not come back",
        # The share of busy threads is sampled once a second, which is much of three seconds but little of thirty.
        faster(_FASTEST, {"[5m]": 10}),
        (
            Cause(
                "the threads of a dispatcher hang",
                fault("dispatcher-hangs"),
                (
                    "FalconDispatcherSaturated",
                    "FalconDispatcherFull",
                    "FalconDispatcherOld",
                    "FalconDispatcherRejections",
                ),
            ),
        ),
        people=4,
    ),
    Case(
        "shards end",
        faster(40),  # long enough for a process to end some times
        (
            Cause(
                "another owner takes the partitions again and again",
                provoking.taken_over,
                ("FalconAppendsFenced", "FalconProcessRestarts"),
            ),
        ),
    ),
    Case(
        "streams are late or slow",
        faster(30),
        (
            Cause("what is sent is written late", provoking.late_for_listeners, ("FalconPushedLate",)),
            Cause("clients do not read what they are sent", provoking.slow_listeners, ("FalconStreamsSlow",)),
        ),
        {"stream_buffer": 16 << 10},
    ),
    Case(
        "the disk fills",
        faster(_FASTEST),
        (
            Cause(
                "much is written each second",
                fault("disk-fills"),
                ("FalconDiskFillsFast", "FalconDiskFillsSlowly"),
            ),
            Cause("the disk is full to its reserve", fault("disk-full"), ("FalconDiskFull",)),
        ),
    ),
    Case(
        "memory leaks",
        # A Falcon of a test is small; how much memory a process must have at least to be looked at is no time.
        faster(2_400).replace(f" {256 << 20}", f" {32 << 20}"),
        (Cause("requests leave something behind", fault("memory-leaks"), ("FalconMemoryGrowth",)),),
        people=4,
    ),
    Case(
        "a certificate ends, and the table of messages loses one",
        faster(60),
        (
            Cause("nothing renews the certificate", provoking.certificate_ends_soon, ("FalconCertificateEnds",)),
            Cause("the table of messages has lost one", provoking.message_lost, ("FalconLostMessages",)),
        ),
        tls=True,
    ),
    Case(
        "a projection stops",
        faster(_FASTEST),
        (
            Cause(
                "the table of messages is gone",
                provoking.table_away,
                (
                    "FalconProjectionStopped",
                    "FalconProjectionNoProgress",
                    "FalconProjectionBehind",
                    "FalconProjectionLate",
                    "FalconReadStoreFailures",
                ),
                ("FalconMessagesBurnFast", "FalconMessagesBurnSteady", "FalconMessagesBurnSlow"),
            ),
        ),
    ),
)


class Plays:
    """The cases that were asked for, some at once."""

    def __init__(self, folder: Path, cases: list[Case]) -> None:
        self._folder = folder
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._running: dict[str, Future[list[Seen]]] = {
            case.name: self._pool.submit(self._play, number, case) for number, case in enumerate(cases)
        }

    def _play(self, number: int, case: Case) -> list[Seen]:
        rules = only(case.rules, case.alerts)  # all of them take a Prometheus twice as long, each second
        with Stage(self._folder / str(number), rules, case.settings, self._ending, case.tls) as stage:
            with stage.chat(case.people):
                for cause in case.causes:
                    stage.undergo(cause)
                stage.until_clear()
            return stage.seen()

    def seen(self, case: Case) -> list[Seen]:
        """Waits for its end; raises what it raised."""
        return self._running[case.name].result()

    def end(self) -> None:
        self._ending.set()
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def plays(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plays]:
    """They begin with the first test that asks for one; the ones that were not chosen are left out."""
    prometheus_or_skip()
    chosen = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]
    running = Plays(tmp_path_factory.mktemp("provoked"), [case for case in CASES if case in chosen])
    yield running
    running.end()


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_nothing_fires_while_nothing_is_wrong(tmp_path: Path) -> None:
    prometheus_or_skip()
    # Moments in which this machine has other things to do are nothing.
    late = ("min_over_time", "up == 0", "falcon_process_sampled_seconds >")
    loops = "rate(falcon_event_loop_delay_seconds_count"
    rules = faster(_FASTEST, {loops: "15s"}, dict.fromkeys(late, "15s"))
    began = time.time()
    with Stage(tmp_path, rules, {}, threading.Event()) as stage:
        looked_at = "count_over_time(falcon_build_info[10m]) >= 25"
        stage.until(lambda: bool(stage.prometheus.query(looked_at)), lambda: "25 looks at it")
        assert stage.fired(began) == set()


@pytest.mark.processes
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_said_when_and_for_as_long_as(case: Case, plays: Plays) -> None:
    for seen in plays.seen(case):
        log.info("%-28s %5.1f s %6.1f s  %s", seen.alert, seen.fired, seen.cleared, seen.cause)


def test_every_alert_has_been_provoked() -> None:
    assert set[str]().union(*(case.alerts for case in CASES)) == ALERT_NAMES
