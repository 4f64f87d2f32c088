"""The rules of bookmarks."""

from hypothesis import given as for_all
from hypothesis import strategies as st

from falcon.domain.answers import Done, ImportAnswer
from falcon.domain.ids import ID_MAX
from falcon.domain.rejections import Invalid, MessageIsDeleted, MessageNotFound, RoomNotFound
from falcon.features.bookmarks.rules import (
    BOOKMARKS_MAX,
    STATE,
    BookmarkAnswer,
    BookmarkRemoved,
    Bookmarks,
    BookmarkSet,
    ImportBookmark,
    RemoveBookmark,
    SetBookmark,
)
from tests.support.builders import ANN, LATER, NOW, ROOM, an_account
from tests.support.given import given

MARK = BookmarkSet(ANN, ROOM, 1, "Later", NOW)
FULL = [BookmarkSet(ANN, ROOM, seq, "", NOW) for seq in range(1, BOOKMARKS_MAX + 1)]


def test_an_account_keeps_a_message_and_changes_its_note() -> None:
    kept = given(an_account()).when(SetBookmark(ANN, ROOM, 1, "Later")).then(MARK)
    kept.answered(BookmarkAnswer(ROOM, 1, "Later", NOW))
    again = given(an_account(), MARK).when(SetBookmark(ANN, ROOM, 1, "Soon"), at=LATER)
    again.then(BookmarkSet(ANN, ROOM, 1, "Soon", NOW)).answered(BookmarkAnswer(ROOM, 1, "Soon", NOW))


def test_an_account_removes_a_bookmark_once() -> None:
    removed = given(an_account(), MARK).when(RemoveBookmark(ANN, ROOM, 1), at=LATER)
    removed.then(BookmarkRemoved(ANN, ROOM, 1, NOW)).answered(Done())
    given(an_account()).when(RemoveBookmark(ANN, ROOM, 1)).then_nothing_happened().answered(Done())


def test_what_the_tables_refuse_is_refused() -> None:
    for found, refused in (
        ("deleted message", MessageIsDeleted(ROOM, 1)),
        ("no message", MessageNotFound(ROOM, 1)),
        ("no room", RoomNotFound(ROOM)),
    ):
        given(an_account()).when(SetBookmark(ANN, ROOM, 1, found=found)).then_rejected(refused)  # type: ignore[arg-type]


def test_an_account_has_ten_thousand_bookmarks_at_most() -> None:
    one_more = SetBookmark(ANN, ROOM, BOOKMARKS_MAX + 1)
    given(an_account(), FULL).when(one_more).then_rejected(Invalid("seq", "an account has at most 10,000 bookmarks"))
    given(an_account(), FULL).when(SetBookmark(ANN, ROOM, 7, "Soon")).then(BookmarkSet(ANN, ROOM, 7, "Soon", NOW))


def test_an_import_leaves_a_bookmark_that_is_there_as_it_is() -> None:
    line = ImportBookmark(ANN, ROOM, 1, "Of old", 5)
    given(an_account()).when(line).then(BookmarkSet(ANN, ROOM, 1, "Of old", 5)).answered(ImportAnswer(1, 0))
    for history in ([MARK], FULL):
        given(an_account(), history).when(line).then_nothing_happened().answered(ImportAnswer(0, 1))


_PLACES = st.tuples(st.sampled_from([1, 1 << 8, 1 << 16, ID_MAX]), st.sampled_from([1, 1 << 8, 1 << 16, ID_MAX]))


@for_all(st.lists(st.tuples(st.booleans(), _PLACES, st.integers(0, 1 << 20))))
def test_an_account_knows_its_bookmarks_whatever_bytes_their_places_have(
    acts: list[tuple[bool, tuple[int, int], int]],
) -> None:
    known: dict[tuple[int, int], int] = {}
    bookmarks = Bookmarks()
    for sets, place, at in acts:
        bookmarks = bookmarks.with_one(*place, at) if sets else bookmarks.without(*place)
        known = {**known, place: at} if sets else {each: when for each, when in known.items() if each != place}
    assert len(bookmarks) == len(known)
    assert {place: bookmarks.created_at(*place) for place in known} == known
    assert bookmarks.created_at(2, 2) is None


def test_an_account_that_has_none_stores_nothing_of_bookmarks() -> None:
    assert STATE.name not in given(an_account()).world.accounts[ANN].features
