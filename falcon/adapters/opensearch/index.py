"""Messages in OpenSearch: their tokens and their place, no text. Beside them lies how far the log is in the index.

Each message is a document, written with its version, so that a write that comes twice or late changes nothing. One that
is deleted is left as an empty document: OpenSearch would forget the version of a deleted one.

Two aliases lead to the index. Readers use one, which it gets once it has been filled. Writers use one that is made with
it and has a name of its own: no write makes an index, and none comes into one that took the place of a deleted one.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from falcon.adapters.opensearch.client import BULK_SECONDS, IndexRefuses, NoIndex, OpenSearchClient
from falcon.domain.ids import Partition
from falcon.features.search.index import (
    RANKED_MAX,
    ForgetMessage,
    ForgetRoom,
    Hits,
    IndexMessage,
    Key,
    Wanted,
    mark_of,
)
from falcon.features.search.terms import Term, tokens_of_term
from falcon.journal.envelope import Cursor, Position
from falcon.read.store import BeingFilled, ReadStoreUnavailable, StaleProjector
from falcon.read.write import Write

Json = dict[str, Any]

SEARCH: Final = "search"
_TEXT: Final = {"type": "text", "analyzer": "whitespace"}
_SETTINGS: Final = {
    # Positions are found no sooner than the messages before them, since both are in one shard.
    "number_of_shards": 1,
    "auto_expand_replicas": "0-1",  # one node alone has no place for a copy
    # The newest come first in each segment, so that a search for them ends early.
    "sort": {"field": ["posted_at", "room_id", "seq"], "order": ["desc"] * 3},
    "refresh_interval": "-1",  # until it is shown: searches do not ask it before
    "max_terms_count": 1_000_000,  # rooms of one account
}
_SHOWN: Final = {"index": {"refresh_interval": "500ms"}}  # a message is found this much later; a search may wait 10 s
_MAPPINGS: Final = {
    "dynamic": False,
    "_source": {"enabled": False},
    "properties": {
        "marks": {**_TEXT, "norms": False, "index_options": "docs"},
        "tokens": _TEXT,
        "posted_at": {"type": "long"},
        "room_id": {"type": "long", "index": False},
        "seq": {"type": "long", "index": False},
        "note": {"type": "keyword", "store": True, "index": False, "doc_values": False},
    },
}
_NEWEST: Final = [{"posted_at": "desc"}, {"room_id": "desc"}, {"seq": "desc"}]
_NOTES: Final = "n:"  # begins the mark of each kind of notes, which no query asks for
_NOTES_MAX: Final = 10_000  # in one answer; a log has at most 4,096 partitions
_FORGET_MANY: Final = 1_000  # documents in one bulk: some 100 KB
_OUTCOMES: Final = "require_alias=true&filter_path=errors,items.*.status,items.*.error"
_GONE: Final = 404  # the index was deleted
_CONFLICT: Final = 409  # a newer version is there, or this one
_TOO_MUCH: Final = 429  # it takes no more for now

_encode: Final = msgspec.json.Encoder().encode
_positions: Final = msgspec.json.Decoder(Position)


class OpenSearchIndex:
    """``SearchIndex``, and the writes to it. Serves one event loop.

    ``log_name``: each log has an index of its own, so that a log that was restored fills a new one.
    """

    def __init__(self, client: OpenSearchClient, log_name: str) -> None:
        self._client = client
        self._shown = f"falcon-search-{log_name}"
        self._index = f"{self._shown}-1"
        self._written = ""  # the writers' alias, once it is known

    # --- the index ----------------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make the index if it is not there, and find the alias for writers."""
        prefix = f"{self._shown}-written-"
        aliases: Json = {f"{prefix}{secrets.token_hex(8)}": {}}
        body = {"settings": {"index": _SETTINGS}, "mappings": _MAPPINGS, "aliases": aliases}
        try:
            await self._client.ask("PUT", self._index, body)
        except IndexRefuses as error:
            if "resource_already_exists" not in str(error):
                raise
        found = await self._client.ask("GET", f"{self._index}/_alias")
        (self._written,) = (name for name in found[self._index]["aliases"] if name.startswith(prefix))

    async def is_there(self) -> bool:
        """False if the index that was prepared was deleted."""
        return not self._written or await self._has_alias(self._written)

    async def show(self) -> None:
        """Answer queries from now on."""
        await self._client.ask("PUT", f"{self._index}/_settings", _SHOWN)
        await self._client.ask("PUT", f"{self._index}/_alias/{self._shown}")

    async def is_shown(self) -> bool:
        return await self._has_alias(self._shown)

    async def _has_alias(self, alias: str) -> bool:
        try:
            await self._client.ask("GET", f"_alias/{alias}")
        except NoIndex:
            return False
        return True

    async def throw_away(self) -> None:
        try:
            await self._client.ask("DELETE", self._index)
        except NoIndex:
            return

    async def refresh(self) -> None:
        """Have all that was written found from now on."""
        await self._client.ask("POST", f"{self._written}/_refresh", seconds=BULK_SECONDS)

    # --- writes -------------------------------------------------------------------------------------------------------

    async def write(self, writes: Iterable[Write]) -> None:
        """Raises ReadStoreUnavailable, IndexRefuses."""
        lines: list[bytes] = []
        for write in writes:
            match write:
                case IndexMessage():
                    lines += _put(f"{write.room_id}.{write.seq}", write.version, _document(write))
                case ForgetMessage():
                    lines += _put(f"{write.room_id}.{write.seq}", write.version, {})
                case ForgetRoom():
                    await self._bulk(lines)
                    lines = []
                    await self._forget_room(write)
        await self._bulk(lines)

    async def _forget_room(self, room: ForgetRoom) -> None:
        await self.refresh()
        asked: Json = {"query": {"term": {"marks": mark_of("room", room.room_id)}}, "sort": [{"seq": "asc"}]}
        while found := await self._search(self._written, {**asked, "size": _FORGET_MANY}):
            await self._bulk([line for hit in found for line in _put(hit["_id"], room.version, {})])
            asked["search_after"] = found[-1]["sort"]

    async def move(self, after: Cursor) -> None:
        """Note the positions. Raises StaleProjector if another process has noted later ones."""
        lines: list[bytes] = []
        for partition, position in after.items():
            note = {"marks": f"{_NOTES}position", "note": _encode(position).decode()}
            lines += _put(f"position.{partition}", position.offset, note, kind="external_gte")
        if _CONFLICT in await self._bulk(lines):
            raise StaleProjector("another process has moved the positions of search")

    async def positions(self) -> dict[Partition, Position]:
        """The positions up to which what is found shows the log."""
        return _positions_in(await self.notes("position"))

    async def _bulk(self, lines: Sequence[bytes]) -> set[int]:
        """The outcomes, as statuses of HTTP."""
        if not lines:
            return set()
        path, body = f"{self._written}/_bulk?{_OUTCOMES}", b"\n".join((*lines, b""))
        said = await self._client.ask("POST", path, body, seconds=BULK_SECONDS)
        if not said["errors"]:
            return set()
        outcomes = [outcome for item in said["items"] for outcome in item.values()]
        for outcome in outcomes:
            _judge(outcome)
        return {outcome["status"] for outcome in outcomes}

    # --- notes --------------------------------------------------------------------------------------------------------

    async def note(self, kind: str, name: str, note: object) -> None:
        """Keep a value under a name. None: forget it."""
        document = {} if note is None else {"marks": f"{_NOTES}{kind}", "note": _encode(note).decode()}
        await self._bulk([_encode({"index": {"_id": f"{kind}.{name}"}}), _encode(document)])

    async def notes(self, kind: str) -> dict[str, bytes]:
        """JSON by name."""
        return await self._notes(self._written, kind)

    async def _notes(self, alias: str, kind: str) -> dict[str, bytes]:
        asked = {"query": {"term": {"marks": _NOTES + kind}}, "size": _NOTES_MAX, "stored_fields": ["note"]}
        found = await self._search(alias, asked)
        return {hit["_id"].removeprefix(f"{kind}."): hit["fields"]["note"][0].encode() for hit in found}

    # --- queries ------------------------------------------------------------------------------------------------------

    async def newest(self, wanted: Wanted, below: Key | None, limit: int) -> Hits:
        after = {} if below is None else {"search_after": list(below)}
        asked = {"bool": _filtered(wanted, [])}
        keys = await self._found({"query": asked, "size": limit, "sort": _NEWEST, **after})
        return Hits(keys, keys[-1] if len(keys) == limit else None)

    async def best(self, wanted: Wanted, limit: int) -> list[Key]:
        """Hits of the same time as the last one that is ranked are ranked, too."""
        newest = {"bool": _filtered(wanted, [])}
        last = await self._found({"query": newest, "from": RANKED_MAX - 1, "size": 1, "sort": _NEWEST})
        since = [{"range": {"posted_at": {"gte": key.posted_at}}} for key in last]
        ranked = {"bool": _filtered(wanted, since, by="must")}
        return await self._found({"query": ranked, "size": limit, "sort": ["_score", *_NEWEST]})

    async def reached(self) -> Cursor:
        try:
            return _positions_in(await self._notes(self._shown, "position"))
        except NoIndex:
            return {}

    async def _found(self, asked: Json) -> list[Key]:
        try:
            return [Key(*hit["sort"][-3:]) for hit in await self._search(self._shown, asked)]
        except NoIndex as error:
            raise BeingFilled(SEARCH) from error

    async def _search(self, alias: str, asked: Json) -> list[Json]:
        body = {**asked, "track_total_hits": False}
        # The copies of an index do not show a write at the same moment: always the same one is asked.
        answer = await self._client.ask("POST", f"{alias}/_search?preference=falcon", body)
        if answer["timed_out"] or answer["_shards"]["failed"]:
            raise ReadStoreUnavailable("a part of the index in OpenSearch does not answer")
        return list(answer["hits"]["hits"])


def _put(name: str, version: int, document: Mapping[str, object], kind: str = "external") -> Iterator[bytes]:
    yield _encode({"index": {"_id": name, "version": version, "version_type": kind}})
    yield _encode(document)


def _document(message: IndexMessage) -> Json:
    return {
        "marks": message.marks,
        "tokens": message.tokens,
        "posted_at": message.posted_at,
        "room_id": message.room_id,
        "seq": message.seq,
    }


def _positions_in(notes: Mapping[str, bytes]) -> dict[Partition, Position]:
    return {int(name): _positions.decode(note) for name, note in notes.items()}


def _judge(outcome: Json) -> None:
    """Raises ReadStoreUnavailable, IndexRefuses."""
    status = outcome["status"]
    if status < 300 or status == _CONFLICT:
        return
    why = f"OpenSearch answers {status}: {outcome['error']}"
    if status == _GONE:
        raise NoIndex(why)
    raise ReadStoreUnavailable(why) if status >= 500 or status == _TOO_MUCH else IndexRefuses(why)


def _filtered(wanted: Wanted, others: Iterable[Json], by: str = "filter") -> Json:
    """``by``: "must" if the terms are to be weighed."""
    filters: list[Json] = [{"terms": {"marks": [mark_of("room", room_id) for room_id in wanted.rooms]}}, *others]
    filters += [{"term": {"marks": mark}} for mark in wanted.marks]
    times = {name: at for name, at in (("gt", wanted.after), ("lt", wanted.before)) if at is not None}
    if times:
        filters.append({"range": {"posted_at": times}})
    terms = [_asked(term) for term in wanted.terms if not term.excluded]
    excluded = [_asked(term) for term in wanted.terms if term.excluded]
    if by == "filter":
        return {"filter": [*filters, *terms], "must_not": excluded}
    return {"filter": filters, by: terms, "must_not": excluded}


def _asked(term: Term) -> Json:
    tokens = tokens_of_term(term)
    if term.prefix:
        return {"prefix": {"tokens": tokens[0]}}
    if len(tokens) == 1:
        return {"term": {"tokens": tokens[0]}}
    return {"match_phrase": {"tokens": " ".join(tokens)}}
