"""How the log of a data folder is divided among its files.

A file has the partitions p with p % files == place, and writes a segment of the log of its own. Segments have offsets
that no other segment has. A copy with another number of files keeps the offsets of the rows, and its files write the
segments that come next. So in each partition the later offsets are the larger ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from falcon.domain.ids import Partition
from falcon.journal.ports import JournalUnavailable
from falcon.streams.starts import new_number

_SEGMENT_BITS: Final = 40  # the first offset of a segment is its number shifted by this
_STARTS_MAX: Final = 1_000  # of each file that are remembered: tokens from before a thousand starts are refused
_SEGMENTS_MAX: Final = 1 << 13  # an offset stays below 2^53, which a JSON number carries exactly in every language


class Layout(NamedTuple):
    """``files``: how many there are. ``closed``: for each earlier number of files, the offset at which the segment of
    each file ended."""

    files: int = 1
    closed: tuple[tuple[int, ...], ...] = ()

    def place(self, partition: Partition) -> int:
        """The file that has the partition."""
        return partition % self.files

    def segment(self, place: int) -> int:
        """The segment that a file writes."""
        return sum(map(len, self.closed)) + place

    def followed_by(self, files: int, ends: Sequence[int]) -> "Layout":
        """The next layout. ``ends``: where the segments of the present one end. Raises JournalUnavailable."""
        following = Layout(files, (*self.closed, tuple(ends)))
        if following.segment(files) > _SEGMENTS_MAX:
            raise JournalUnavailable(
                "the number of files was changed too often: export this data folder, and import into a new one"
            )
        return following

    def rows(self, place: int) -> Mapping[str, str | int]:
        """The rows of a file's ``meta`` that say where it belongs."""
        return {"place": place, "files": self.files, "closed": msgspec.json.encode(self.closed).decode()}


def begin_of(segment: int) -> int:
    """The first offset of a segment."""
    return segment << _SEGMENT_BITS


def segment_of(offset: int) -> int:
    """The segment that the offset is of. The end of a segment is an offset of it too."""
    return offset >> _SEGMENT_BITS


def end_of(connection: apsw.Connection) -> int:
    """The offset of the next event that the file gets."""
    row: Any = connection.execute("SELECT next FROM log").fetchone()
    return int(row[0])


def layout_of(connection: apsw.Connection) -> Layout:
    """The layout of the folder that the file belongs to."""
    meta: dict[str, Any] = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('files', 'closed')"))
    if not meta:  # the only file of a folder that is no copy of another number of files
        return Layout()
    return Layout(meta["files"], msgspec.json.decode(meta["closed"], type=tuple[tuple[int, ...], ...]))


def note_ends(connection: apsw.Connection, ends: Sequence[int]) -> None:
    """``ends``: of the files of the folder, in order."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('ends', ?)", (msgspec.json.encode(ends).decode(),))


def noted_ends(connection: apsw.Connection, layout: Layout) -> list[int]:
    """The ends of the folder's files when the file last noted them; the beginnings if it has not."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'ends'").fetchone()
    if row is None:
        return [begin_of(layout.segment(place)) for place in range(layout.files)]
    return msgspec.json.decode(row[0], type=list[int])


def place_of(connection: apsw.Connection) -> int:
    """The file's place among the files of the folder."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'place'").fetchone()
    return 0 if row is None else int(row[0])


def note_start(connection: apsw.Connection, ends: Sequence[int]) -> None:
    """Call it within a transaction on the first file, before anything is written after these ``ends`` of the files of
    the folder. A start after which nothing was written is forgotten: no place lies after it."""
    starts = starts_of(connection)
    for end in ends:
        starts.pop(end, None)
        starts[end] = new_number()
    kept = dict(list(starts.items())[-_STARTS_MAX * len(ends) :])
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('starts', ?)", (msgspec.json.encode(kept).decode(),))


def starts_of(connection: apsw.Connection) -> dict[int, int]:
    """The starts of the folder, which its first file has: numbers by the offset at which the start began, in the order
    of the starts."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'starts'").fetchone()
    return {} if row is None else msgspec.json.decode(row[0], type=dict[int, int])
