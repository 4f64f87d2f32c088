"""build/k8s-proof/report.md, from the last findings of each proof."""

from collections.abc import Iterator
from typing import Final

from tools.harness.reports import markdown_table
from tools.k8s_proof import results
from tools.k8s_proof.autoscaling import API_CPU, API_MOST, GOES_SECONDS, NEXT_SECONDS, WRITE_MOST
from tools.k8s_proof.disturbances import DISTURBANCES
from tools.k8s_proof.figures import DEADLINE_SECONDS, Figures
from tools.k8s_proof.results import Proof, Row
from tools.k8s_proof.sessions import PACE_SECONDS
from tools.k8s_proof.traffic import CHATTERS, LISTENERS
from tools.servers.cluster import ROOT

DOCUMENT: Final = ROOT / "build" / "k8s-proof" / "report.md"

_PROOFS: Final = {
    "objects": (
        "What the API server takes",
        "`kubectl apply --dry-run=server --validate=strict`, into an empty namespace that enforces pod security "
        "`restricted`. Custom resources are checked up to their `spec`: the node has definitions of them that accept "
        "anything. In the same run a misspelt field is refused, and a pod that might run as root.",
    ),
    "single": ("One pod with everything in it", ""),
    "local": ("The roles on Kafka and HBase", ""),
    "jobs": ("Jobs", "In the namespace of `overlays/single`."),
    "hpa": (
        "The autoscaler",
        "`components/autoscaling` on top of `overlays/local`. Half of the requests send a message, half read a page of "
        "50; each has a connection of its own and comes when it is due, whether or not those before it were answered. "
        f"For this machine it was patched: api asks for {API_CPU} of CPU, there are at most {API_MOST} pods of api and "
        f"{WRITE_MOST} of write, and idle ones go after {GOES_SECONDS} s, one every {NEXT_SECONDS} s.",
    ),
    "wrong": (
        "What may be set wrongly",
        "A pod like those that serve, save for the mistake, beside them. It says what is wrong, is never ready, and "
        "afterwards the topics, the log and the pods that serve are as they were.",
    ),
}
_TITLE: Final = """# Kubernetes: what was proven on a real node

Written by `make k8s-test`; the node is that of `make k8s-up`. The guide is [kubernetes.md](kubernetes.md).
"""
_UNDER_LOAD: Final = f"""## Pods that come and go under load

The load comes from outside the pods, through the Service. A room in each partition is written every
{PACE_SECONDS:g} s; {CHATTERS} more accounts chat (messages, edits, deletions, read marks, reads, requests
that are repeated); {LISTENERS} listen with the client library. Every request is tried again with the same key
until it is answered. In the end everything is read back, through the Service and from the log, and held
against every answer that was given: each acknowledged message is there once, at its `seq`; no `seq` is
missing; each key has one answer; each listener was told of every message once and in order.

*Failed*: refused for good, or without an answer for {DEADLINE_SECONDS:g} s, when the client library gives up.
*Retries*: attempts that were followed by another one. *Not written for*: the longest time between two
acknowledgements in one of the rooms that are written steadily; where nothing is done, that is
{PACE_SECONDS:g} s and an answer. There are two pods of each role unless it says otherwise.

`--grace-period=0 --force` makes Kubernetes forget a pod at once; its node still sends SIGTERM, and SIGKILL two seconds
later. The end without any warning is the one for want of memory.
"""
_COLUMNS: Final = (
    *("what was done", "messages", "lost", "doubled", "failed", "retries", "not written for, s"),
    "told to listeners",
)
_NOT_SHOWN: Final = """## What one node cannot show

- **NetworkPolicy**: the API server takes the policies; nothing on this node enforces them.
- **Topology spread**: with one node and one zone every placement is even.
- **The loss of a node, and a drain**: pods are evicted and killed here, and their node stays.
- **LoadBalancer, ingress, Gateway, certificates**: no controller for them runs here; load comes through the Service.
- **The Prometheus operator and KEDA**: their objects are taken, and nobody acts on them.
- **Kafka and HBase as they should be**: here each is one pod. `make chaos` is where those are hurt.
- **Speed**: everything, the load included, shares the cores named above.
"""


def write() -> None:
    DOCUMENT.parent.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text("\n".join(_lines()))


def told(row: Row) -> str:
    """The progress for the terminal."""
    figures = row.figures
    return (
        f"{figures.acknowledged:,} messages acknowledged, lost {figures.lost}, doubled {figures.doubled}; "
        f"{figures.requests:,} requests, failed {figures.failed}, retries {sum(figures.retried.values())} "
        f"{figures.retried}; a room not written for {figures.unwritable:.1f} s, a request {figures.longest:.1f} s; "
        f"{figures.deliveries:,} deliveries over {figures.reconnections} reconnections. {row.note}"
    )


def _lines() -> Iterator[str]:
    rows = [row for each in DISTURBANCES if (row := results.row(each.name))]
    proofs = {name: proof for name in ("machine", *_PROOFS) if (proof := results.proof(name))}
    dates = sorted([*(row.at for row in rows), *(proof.at for proof in proofs.values())])
    yield _TITLE
    yield f"- Found between {dates[0]} and {dates[-1]} UTC." if dates else "- Nothing was run yet."
    yield from proofs["machine"].lines if "machine" in proofs else ()
    yield ""
    for name in ("objects", "single", "local", "jobs"):
        yield from _proof(name, proofs.get(name))
    yield from _under_load(rows)
    yield from _proof("hpa", proofs.get("hpa"))
    yield from _proof("wrong", proofs.get("wrong"))
    yield _NOT_SHOWN


def _proof(name: str, proof: Proof | None) -> Iterator[str]:
    title, what = _PROOFS[name]
    yield f"## {title}\n"
    yield from [f"{what}\n"] if what else []
    yield from proof.lines if proof else ["Not run yet."]
    yield from (f"- **Not proven**: {violation}" for violation in (proof.violations if proof else ()))
    yield ""


def _under_load(rows: list[Row]) -> Iterator[str]:
    yield _UNDER_LOAD
    yield markdown_table(_COLUMNS, [(row.what, *_cells(row.figures)) for row in rows])
    yield ""
    yield from _notes(rows)


def _cells(figures: Figures) -> Iterator[str]:
    whole = (figures.acknowledged, figures.lost, figures.doubled, figures.failed, sum(figures.retried.values()))
    yield from (f"{number:,}" for number in whole)
    yield f"{figures.unwritable:.1f}"
    yield f"{figures.deliveries:,}"


def _notes(rows: list[Row]) -> Iterator[str]:
    retried: dict[str, int] = {}
    for row in rows:
        for met, times in row.figures.retried.items():
            retried[met] = retried.get(met, 0) + times
    if retried:
        met = ", ".join(f"{what} ×{times}" for what, times in sorted(retried.items(), key=lambda each: -each[1]))
        yield f"What was met and retried, all together: {met}."
        yield ""
    yield from (f"- {row.what}: {row.note}." for row in rows if row.note)
    for row in rows:
        yield from (f"- **Not proven**: {row.what}: {violation}" for violation in row.figures.violations)
    yield ""
