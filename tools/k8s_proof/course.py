"""The course of an autoscaler, and a picture of it."""

import time
from collections import defaultdict
from typing import Final

import msgspec

from tools.k8s_proof.results import FOLDER
from tools.servers.cluster import ROOT

PICTURE: Final = ROOT / "build" / "k8s-proof" / "hpa.png"
_KEPT: Final = FOLDER.parent / "hpa-course.json"
_WINDOW_SECONDS: Final = 5


class Sample(msgspec.Struct):
    """``at``: seconds since the beginning. By role: pods that are ready, and the CPU of each in percent of what it
    requests, as the autoscaler sees it."""

    at: float
    ready: dict[str, int]
    cpu: dict[str, int]


class Request(msgspec.Struct):
    """``seconds``: until it was answered, retries included."""

    at: float
    seconds: float


class Course(msgspec.Struct):
    """``began`` by the monotonic clock, all else in seconds since then. ``busy``: when the load was high."""

    began: float
    samples: list[Sample] = []
    requests: list[Request] = []
    retries: int = 0
    failed: int = 0
    busy: tuple[float, float] = (0.0, 0.0)

    def now(self) -> float:
        return time.monotonic() - self.began


def keep(course: Course) -> None:
    _KEPT.parent.mkdir(parents=True, exist_ok=True)
    _KEPT.write_bytes(msgspec.json.encode(course))


def kept() -> Course | None:
    """The last one, if there was any."""
    return msgspec.json.decode(_KEPT.read_bytes(), type=Course) if _KEPT.exists() else None


def draw(course: Course) -> None:
    """Pods, CPU, load and latency over time, as PICTURE. Raises ImportError without matplotlib, which is no tool of
    the tests."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    figure, (pods, cpu, load, latency) = pyplot.subplots(4, sharex=True, figsize=(9, 8.5), layout="constrained")
    at = [sample.at for sample in course.samples]
    for role in course.samples[0].ready:
        pods.step(at, [sample.ready[role] for sample in course.samples], where="post", label=role)
        known = [(sample.at, sample.cpu[role]) for sample in course.samples if role in sample.cpu]
        cpu.plot(*zip(*known, strict=True), label=role)
    windows = _windows(course)
    load.step(
        list(windows), [len(times) / _WINDOW_SECONDS for times in windows.values()], where="post", color="tab:gray"
    )
    for share, label in ((0.5, "median"), (0.99, "99th percentile")):
        latency.plot(
            [begin + _WINDOW_SECONDS / 2 for begin in windows],
            [1000 * _share(times, share) for times in windows.values()],
            label=label,
        )
    pods.set_ylim(0, max(max(sample.ready.values()) for sample in course.samples) + 0.5)
    pods.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    latency.set_yscale("log")
    for axes, label in ((pods, "pods ready"), (cpu, "CPU, % of request"), (load, "requests/s"), (latency, "ms")):
        axes.set_ylabel(label)
        axes.axvspan(*course.busy, color="tab:orange", alpha=0.12)
        axes.grid(alpha=0.3)
    for axes in (pods, cpu, latency):
        axes.legend(loc="lower right")
    latency.set_xlabel("seconds")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)


def _windows(course: Course) -> dict[int, list[float]]:
    """Latencies by the beginning of the window in which the request was made."""
    windows: defaultdict[int, list[float]] = defaultdict(list)
    for request in course.requests:
        windows[int(request.at // _WINDOW_SECONDS) * _WINDOW_SECONDS].append(request.seconds)
    return dict(sorted(windows.items()))


def _share(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]
