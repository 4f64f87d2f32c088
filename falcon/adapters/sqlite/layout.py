"""How the log of a data folder is divided among its files, now and earlier.

A file has the partitions p with p % files == place. Each file of each layout writes a segment of the log of its own.
Segments are numbered through all layouts, and have offsets that no other segment has. So when partitions move from one
file to another no offset changes, and in each partition the later offsets are the larger ones.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from falcon.domain.ids import Partition
from falcon.streams.starts import new_number

_SEGMENT_BITS: Final = 40  # the first offset of a segment is its number shifted by this
_STARTS_MAX: Final = 1_000  # of each file that are remembered: tokens from before a thousand starts are refused
_SEGMENTS_MAX: Final = 1 << 13  # an offset stays below 2^53, which a JSON number carries exactly in every language


class NoSegmentsLeft(Exception):
    """The files of the folder were changed too often. The message says what to do."""


class Layout(NamedTuple):
    """``files``: how many there are now. ``closed``: for each earlier layout, the offset at which the segment of each
    of its files ended."""

    files: int = 1
    closed: tuple[tuple[int, ...], ...] = ()

    def place(self, partition: Partition) -> int:
        """The file that has the partition."""
        return partition % self.files

    def segment(self, place: int) -> int:
        """The segment that a file writes."""
        return sum(map(len, self.closed)) + place

    @property
    def segments(self) -> range:
        """The segments that the files write."""
        return range(self.segment(0), self.segment(self.files))

    @property
    def ends(self) -> dict[int, int]:
        """The end of each closed segment, oldest layout first."""
        return dict(enumerate(end for layout in self.closed for end in layout))

    @property
    def generations(self) -> list[range]:
        """The segments of each layout, oldest first."""
        found, first = list[range](), 0
        for layout in (*self.closed, range(self.files)):
            found.append(range(first, first + len(layout)))
            first += len(layout)
        return found

    def followed_by(self, files: int, ends: Sequence[int]) -> "Layout":
        """The next layout. ``ends``: where the segments of the present one end. Raises NoSegmentsLeft."""
        following = Layout(files, (*self.closed, tuple(ends)))
        if following.segments.stop > _SEGMENTS_MAX:
            raise NoSegmentsLeft(
                "the number of files was changed too often: export this data folder, and import into a new one, "
                f"or set FALCON_PROCESSES={self.files}"
            )
        return following

    def rows(self, place: int) -> Mapping[str, str | int]:
        """The rows of a file's ``meta`` that say where it belongs."""
        return {"place": place, "files": self.files, "closed": msgspec.json.encode(self.closed).decode()}


class Inherited(NamedTuple):
    """The events that a file has of a closed segment: how many, the first offset, and the offset after the last."""

    rows: int
    begin: int
    end: int

    def rows_from(self, offset: int) -> int:
        """About how many are at this offset or after it."""
        share = (self.end - max(self.begin, offset)) / (self.end - self.begin)
        return max(0, round(self.rows * share))


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
    if not meta:  # the only file that the folder has ever had
        return Layout()
    return Layout(meta["files"], msgspec.json.decode(meta["closed"], type=tuple[tuple[int, ...], ...]))


def inherited_of(connection: apsw.Connection) -> list[Inherited]:
    """The events that the file has of closed segments."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'inherited'").fetchone()
    return [] if row is None else msgspec.json.decode(row[0], type=list[Inherited])


def note_inherited(connection: apsw.Connection) -> None:
    """Within the caller's transaction, before the file's own segment has events."""
    rows = connection.execute(
        f"SELECT count(*), min(offset), max(offset) + 1 FROM journal GROUP BY offset >> {_SEGMENT_BITS}"
    )
    encoded = msgspec.json.encode([Inherited(*row) for row in rows]).decode()
    connection.execute("INSERT INTO meta VALUES ('inherited', ?)", (encoded,))


def note_ends(connection: apsw.Connection, ends: Sequence[int]) -> None:
    """``ends``: of the files of the folder, in order."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('ends', ?)", (msgspec.json.encode(ends).decode(),))


def noted_ends(connection: apsw.Connection, layout: Layout) -> list[int]:
    """The ends of the folder's files when the file last noted them; the beginnings if it has not. A Falcon that did not
    know the row copied it into the files of another layout."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'ends'").fetchone()
    ends = [] if row is None else msgspec.json.decode(row[0], type=list[int])
    is_of_layout = list(map(segment_of, ends)) == list(layout.segments)
    return ends if is_of_layout else list(map(begin_of, layout.segments))


def place_of(connection: apsw.Connection) -> int:
    """The file's place among the files of the folder."""
    row: Any = connection.execute("SELECT value FROM meta WHERE key = 'place'").fetchone()
    return 0 if row is None else int(row[0])


def note_start(connection: apsw.Connection, ends: Sequence[int]) -> None:
    """Within the caller's transaction on the first file, before anything is written after these ``ends`` of the files
    of the folder. A start after which nothing was written is forgotten: no place lies after it."""
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
