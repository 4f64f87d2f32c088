"""The promises of every index of messages: it finds what a plain look at the texts finds."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any, Final, TypeAlias

import pytest

from falcon.features.catalogue import Event
from falcon.features.messages.rules import Message, MessageDeleted, MessageEdited, MessagePosted
from falcon.features.rooms.rules import RoomDeleted
from falcon.features.search import terms
from falcon.features.search.index import Key, SearchIndex, Wanted, has_link, project
from falcon.features.search.terms import WrongQuery, matches, parse
from falcon.read.write import Write
from tests.support.builders import ANN, BOB, CAT, NOW, recorded

QUERIES: Final = 2_000
ROOMS: Final = (64, 128, 192)
_DAY: Final = 24 * 3_600_000
# Few characters and words, so that neighbours, parts of runs and beginnings of words meet often.
_JAPANESE: Final = "会議の京都カナー"
_WORDS: Final = ("a", "ab", "abc", "tea", "team", "Tea", "ＴＥＡ", "15", "ﾃｨｰ", "x_y", "naïve", "हिन्दी")
_GAPS: Final = ("", "", " ", " ", "\u3000", "、", "-", "\n", "。")

Write_: TypeAlias = Callable[[Iterable[Write]], None]


def a_text(chance: random.Random) -> str:
    parts = list[str]()
    for _ in range(chance.randint(1, 8)):
        run = "".join(chance.choices(_JAPANESE, k=chance.randint(1, 5)))
        parts += chance.choice(_WORDS) if chance.random() < 0.4 else run, chance.choice(_GAPS)
    if chance.random() < 0.1:
        parts.append(" https://tea.example/")
    return "".join(parts)


def a_query(chance: random.Random, texts: list[str]) -> str:
    """Mostly parts of texts, so that most queries find something."""
    terms = []
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3))):
        text = chance.choice(texts)
        start = chance.randrange(len(text))
        part = text[start : start + chance.choice((1, 2, 2, 3, 4, 8))]
        terms.append(chance.choice(("{}", "{}", "{}", '"{}"', "{}*", "-{}")).format(part))
    return " ".join(terms)


def messages(chance: random.Random, count: int) -> list[Message]:
    """Some were posted at the same time, and some came later than newer ones, as imported ones do."""
    made, seqs = [], dict.fromkeys(ROOMS, 0)
    for n in range(count):
        room_id = chance.choice(ROOMS)
        seqs[room_id] += 1
        at = NOW + n // 3 * 1_000 - (chance.randrange(3 * _DAY) if n % 7 == 0 else 0)
        mentions = tuple(chance.sample((ANN, BOB, CAT), chance.choice((0, 0, 1, 2))))
        made.append(Message(room_id, seqs[room_id], chance.choice((ANN, BOB)), a_text(chance), at, mentions=mentions))
    return made


def key_of(message: Message) -> Key:
    return Key(message.posted_at, message.room_id, message.seq)


def scanned(texts: Iterable[Message], wanted: Wanted) -> list[Key]:
    """What a plain look at the texts finds."""
    found = [
        key_of(m)
        for m in texts
        if m.room_id in wanted.rooms
        and (wanted.author is None or m.author_id == wanted.author)
        and (wanted.mentioned is None or wanted.mentioned in m.mentions)
        and (wanted.has is None or (wanted.has == "link" and has_link(m.text)))
        and (wanted.after is None or m.posted_at > wanted.after)
        and (wanted.before is None or m.posted_at < wanted.before)
        and matches(wanted.terms, m.text)
    ]
    return sorted(found, reverse=True)


def posted(room_id: int, seq: int, text: str, at: int = NOW) -> Message:
    return Message(room_id, seq, ANN, text, at)


def wanting(q: str, *rooms: int, **others: Any) -> Wanted:
    return Wanted(parse(q), rooms or ROOMS, **others)


class SearchIndexContract(ABC):
    @pytest.fixture
    @abstractmethod
    def index(self) -> SearchIndex: ...

    @pytest.fixture
    @abstractmethod
    def write(self, index: SearchIndex) -> Write_:
        """Brings writes into the index. They are found when it returns."""

    @pytest.fixture
    def tell(self, write: Write_) -> Callable[..., None]:
        """Brings events into the index."""
        count = 0

        def apply(*events: Event) -> None:
            nonlocal count
            made: list[Write] = []
            for event in events:
                made += project(recorded(event, n=count))
                count += 1
            write(made)

        return apply

    def test_finds_what_a_plain_look_at_the_texts_finds(
        self, index: SearchIndex, tell: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folded, units_of = cache(terms.folded), cache(terms.units_of)  # each query looks at the same texts
        monkeypatch.setattr(terms, "folded", folded)
        monkeypatch.setattr(terms, "units_of", lambda text: list(units_of(text)))
        chance = random.Random(1)
        made = messages(chance, 400)
        tell(*(MessagePosted(each) for each in made))
        texts = [each.text for each in made]
        found = 0

        async def compare() -> None:
            nonlocal found
            for wanted in _queries(chance, texts):
                keys = await _all(index, wanted, chance.choice((7, 50, 400)))
                assert keys == scanned(made, wanted), wanted
                assert sorted(await index.best(wanted, 1_000), reverse=True) == keys, wanted
                found += bool(keys)

        asyncio.run(compare())
        assert found > QUERIES // 3  # otherwise it has shown little

    def test_finds_a_text_as_it_is_now(self, index: SearchIndex, tell: Callable[..., None]) -> None:
        old, new = posted(64, 1, "次の会議は15時"), posted(64, 1, "次の会食は16時")
        tell(MessagePosted(old))
        assert _found(index, "会議") == [key_of(old)]
        tell(MessageEdited(new, 1))
        assert _found(index, "会議") == []
        assert _found(index, "会食 次") == [key_of(new)]

    def test_finds_no_deleted_message(self, index: SearchIndex, tell: Callable[..., None]) -> None:
        tell(MessagePosted(posted(64, 1, "tea")), MessagePosted(posted(64, 2, "tea")))
        tell(MessageDeleted(Message(64, 1, ANN, "", NOW, deleted=True), 1))
        assert _found(index, "tea") == [key_of(posted(64, 2, ""))]

    def test_finds_nothing_of_a_deleted_room(self, index: SearchIndex, tell: Callable[..., None]) -> None:
        tell(*(MessagePosted(posted(room, seq, "tea")) for room in (64, 128) for seq in (1, 2)))
        tell(RoomDeleted(64, (), "Tea", "", NOW, 0, True))
        assert _found(index, "tea") == [Key(NOW, 128, 2), Key(NOW, 128, 1)]

    def test_writing_twice_is_writing_once(self, index: SearchIndex, write: Write_) -> None:
        first = project(recorded(MessagePosted(posted(64, 1, "tea")), n=1))
        second = project(recorded(MessageEdited(posted(64, 1, "coffee"), 1), n=2))
        write([*first, *second])
        write([*first, *second])
        assert _found(index, "coffee") == [Key(NOW, 64, 1)]
        assert _found(index, "tea") == []

    def test_the_best_come_first(self, index: SearchIndex, tell: Callable[..., None]) -> None:
        tea = posted(64, 1, "tea tea tea")
        much = posted(64, 2, f"tea and {'other things ' * 30}")
        tell(MessagePosted(tea), MessagePosted(much), *(MessagePosted(posted(64, n, "nothing")) for n in range(3, 20)))
        assert asyncio.run(index.best(wanting("tea"), 10)) == [key_of(tea), key_of(much)]

    def test_very_many_rooms_are_looked_through_part_by_part(
        self, index: SearchIndex, tell: Callable[..., None]
    ) -> None:
        rooms = [64 * n for n in range(1, 1_201)]
        tell(*(MessagePosted(posted(room, 1, "tea", NOW + room)) for room in rooms))
        wanted = Wanted(parse("tea"), frozenset(rooms[::2]))
        assert asyncio.run(_all(index, wanted, 50)) == [Key(NOW + room, room, 1) for room in rooms[::2]][::-1]
        some = Wanted(parse("tea"), frozenset(rooms[::4]))
        assert asyncio.run(index.best(some, 1_000)) == [Key(NOW + room, room, 1) for room in rooms[::4]][::-1]


def _queries(chance: random.Random, texts: list[str]) -> Iterable[Wanted]:
    made = 0
    while made < QUERIES:
        try:
            asked = parse(a_query(chance, texts))
        except WrongQuery:
            continue
        made += 1
        rooms: Collection[int] = ROOMS if chance.random() < 0.6 else chance.sample(ROOMS, chance.randint(1, 2))
        wanted = Wanted(asked, rooms)
        if chance.random() < 0.3:
            times = {"after": NOW - chance.randrange(2 * _DAY), "before": NOW + chance.randrange(130_000)}
            one = chance.choice(("author", "mentioned", "has", "after", "before"))
            others: dict[str, Any] = {"author": ANN, "mentioned": BOB, "has": "link", **times}
            wanted = wanted._replace(**{one: others[one]})
        yield wanted


async def _all(index: SearchIndex, wanted: Wanted, limit: int) -> list[Key]:
    """All hits, page by page."""
    keys, below = list[Key](), None
    while True:
        hits = await index.newest(wanted, below, limit)
        assert len(hits.keys) <= limit
        keys += hits.keys
        if hits.through is None:
            return keys
        assert below is None or hits.through < below
        below = hits.through


def _found(index: SearchIndex, q: str) -> list[Key]:
    return asyncio.run(index.newest(wanting(q), None, 50)).keys
