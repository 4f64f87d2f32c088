"""Events that an operator wants passed over: by the consumer that has stopped at them, by rebuilds, and by verify."""

from collections.abc import Iterable, Sequence
from typing import Final

from falcon.domain.ids import Partition
from falcon.journal.codec import Undecodable, name_of
from falcon.journal.envelope import Cursor, Position, Recorded
from falcon.journal.ports import CheckingSource, EventSource
from falcon.projections.sinks import consumed
from falcon.read.catalogue import Project
from falcon.read.store import ConsumedTables, Skip
from falcon.read.write import Write

_READ_EVENTS: Final = 1_000  # some 1 MB


class ProjectionFailed(Exception):
    """A projection met an event that it cannot apply. It stops there and does not skip the event."""


class SkippingProjection:
    """A projection that passes over the skipped events."""

    def __init__(self, name: str, project: Project, skips: Iterable[Skip] = ()) -> None:
        self._name = name
        self._project = project
        self._passed_over = consumed(name).passed_over
        self._skips = {(skip.partition, skip.at.offset): skip for skip in skips}

    def skip(self, partition: Partition, at: Position) -> Skip | None:
        """The skip of the event at this position."""
        skip = self._skips.get((partition, at.offset))
        return skip if skip is not None and skip.at == at else None

    def read(self, source: EventSource, cursor: Cursor, limit: int) -> tuple[list[Recorded], Cursor]:
        """Read from the source, past skipped records that do not decode."""
        try:
            return source.read(cursor, limit)
        except Undecodable as error:
            if self.skip(error.partition, error.at) is None:
                raise
            return [], {**cursor, error.partition: _position_after(error.at)}

    def writes(self, recorded: Recorded) -> tuple[Write, ...]:
        """Raises the projection's own error if it cannot apply the event."""
        if self._skips and self.skip(recorded.envelope.partition, position_of(recorded)) is not None:
            return self._passed_over(recorded)
        return self._project(recorded)

    def all_writes(self, events: Sequence[Recorded]) -> list[Write]:
        """Raises ProjectionFailed."""
        writes: list[Write] = []
        for recorded in events:
            try:
                writes.extend(self.writes(recorded))
            except Exception as error:
                partition, offset = recorded.envelope.partition, recorded.offset
                raise ProjectionFailed(
                    f"projection {self._name} cannot apply partition {partition}, offset {offset}: {error!r}"
                ) from error
        return writes


def position_of(event: Recorded | Undecodable) -> Position:
    """The position of a reader before the event."""
    if isinstance(event, Undecodable):
        return event.at
    return Position(event.offset, event.envelope.epoch, event.envelope.n)


# --- recording a skip -------------------------------------------------------------------------------------------------


class NotStoppedThere(Exception):
    """Only an event at which a projection has stopped can be skipped without force. The message says where those
    are."""


class NoSuchEvent(Exception):
    """No event is at that place. The message names the place."""


def skip_event(
    source: CheckingSource,
    tables: ConsumedTables,
    name: str,
    partition: Partition,
    offset: int,
    reason: str,
    *,
    force: bool,
) -> str:
    """Record that a projection is to pass over an event. Returns a line about the event and what is lost by it.

    Raises NotStoppedThere unless the projection has stopped there or ``force`` is given; NoSuchEvent, LogWentBack,
    JournalUnavailable, ReadStoreUnavailable.
    """
    stops = tables.stops(name)
    if not force and (partition not in stops or stops[partition].at.offset != offset):
        where = ", ".join(f"partition {p} at offset {stop.at.offset} ({stop.why})" for p, stop in stops.items())
        raise NotStoppedThere(f"{name} has not stopped there; it has stopped {where or 'nowhere'}")
    applied = tables.cursor(name)
    source.check(applied)
    event = _event_at(source, partition, offset, applied.get(partition, Position()))
    tables.skip(name, Skip(partition, position_of(event), reason))
    return _what_it_is(name, event)


def _event_at(source: EventSource, partition: Partition, offset: int, start: Position) -> Recorded | Undecodable:
    """Read on from ``start`` to find it, or from the log's start if that is later."""
    end = source.end()[partition].offset if partition < source.partitions else 0
    position = start if start.offset <= offset else Position()
    while position.offset <= offset < end:
        try:
            events, after = source.read({partition: position}, _READ_EVENTS)
        except Undecodable as error:
            if error.at.offset == offset:
                return error
            position = _position_after(error.at)
            continue
        found = next((event for event in events if event.offset == offset), None)
        if found is not None:
            return found
        position = after[partition]
    raise NoSuchEvent(f"there is no event at offset {offset} of partition {partition}")


def _what_it_is(name: str, event: Recorded | Undecodable) -> str:
    if isinstance(event, Recorded):
        loss = consumed(name).loss(event.envelope.event) or f"nothing: {name} does not use it"
        return f"{name_of(event.envelope.event)}. What is lost: {loss}"
    about = f"room or account {event.aggregate_id}" if event.aggregate_id else "an unknown room or account"
    return (
        f"a record about {about} that this version cannot read. What is lost: whatever it said, in {name}; if it was a "
        "message, that is shown as missing once the next one of its room is there"
    )


def _position_after(at: Position) -> Position:
    """The position of a reader after the event at this position."""
    return Position(at.offset + 1, at.epoch, at.n + 1)
