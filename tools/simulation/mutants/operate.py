"""Mistakes that only what an operator does brings to light."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from falcon.adapters.kafka.source import KafkaSource
from falcon.features.messages import hbase as timeline_hbase
from falcon.features.messages.api import message_line
from falcon.features.messages.bodies import stored_in
from falcon.http.api import exporting
from falcon.http.api.lines import encoded
from falcon.journal.envelope import Position
from falcon.projections import rebuild, verify
from falcon.projections.consumer import ProjectionConsumer
from falcon.projections.skipping import SkippingProjection, position_of
from falcon.read.store import ReadStoreUnavailable, StaleProjector
from tools.simulation.mutants.mutant import mutant
from tools.simulation.schedules import ACTS, RESTORES


def _no_changes(self: exporting.Export, *_: Any) -> Iterator[bytes]:
    """Changes during the reading of the rows are left out."""
    return iter(())


async def _to_an_empty_page(edge: Any, room: Any, after: int) -> AsyncIterator[bytes]:
    """A room ends for an export where a page has nothing."""
    while rows := (await edge.store.page(room.room_id, after + 1, after + exporting._ROWS)).messages:
        yield b"".join(encoded(message_line(stored_in(row))) for row in rows)
        after += len(rows)


def _without_skips(name: str, project: Any, skips: Any = ()) -> SkippingProjection:
    return SkippingProjection(name, project)


def _stops_before_the_batch(self: ProjectionConsumer, partition: int, events: Sequence[Any], end: Position) -> None:
    """The first event of a batch that the tables refuse is taken for the one at fault."""
    try:
        self._write({partition: end}, self._projection.all_writes(events))
    except (ReadStoreUnavailable, StaleProjector):
        raise
    except Exception as error:
        refused = position_of(events[0]) if events else self._cursor[partition]
        self._stop(partition, refused, f"the tables refuse it: {error!r}")


MUTANTS: Final = (
    mutant("an export leaves out what has changed meanwhile", exporting.Export, "_change_lines", _no_changes, ACTS),
    mutant("an export takes an empty page for a room's end", exporting, "_message_lines", _to_an_empty_page, ACTS),
    mutant("a hole ends a page", timeline_hbase, "_from_a_hole_on", lambda *_: [], ACTS),
    mutant("a rebuild knows no skips", rebuild, "SkippingProjection", _without_skips, ACTS),
    mutant("verify knows no skips", verify, "SkippingProjection", _without_skips, ACTS),
    mutant(
        "a stop names the first event of a batch",
        ProjectionConsumer,
        "_write_up_to_the_fault",
        _stops_before_the_batch,
        ACTS,
    ),
    mutant(
        "a position that the log has lost is gone on from", KafkaSource, "check", lambda self, cursor: None, RESTORES
    ),
)
