"""The neighbour: the chat that one writes by hand on Starlette and PostgreSQL.

Each send is one durable transaction that allots the room's next `seq`, and each request checks its token and the
membership in the database. A competent engineer would write it so: asyncpg's pool as it comes, statements that it
prepares by itself, one statement to authorise and one to send or read, the JSON by msgspec.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tools.bench.peers.serve import serve
from tools.bench.peers.shapes import Message, MessagePage, SendBody

SCHEMA = """
CREATE TABLE accounts (account_id bigserial PRIMARY KEY, name text NOT NULL);
CREATE TABLE tokens (hash bytea PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts);
CREATE TABLE rooms (
    room_id bigserial PRIMARY KEY,
    name text NOT NULL,
    last_seq bigint NOT NULL DEFAULT 0,
    updated_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE TABLE members (
    room_id bigint NOT NULL REFERENCES rooms,
    account_id bigint NOT NULL REFERENCES accounts,
    role text NOT NULL,
    read_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (room_id, account_id)
);
CREATE INDEX members_account ON members (account_id);
CREATE TABLE messages (
    room_id bigint NOT NULL,
    seq bigint NOT NULL,
    author_id bigint NOT NULL,
    text text NOT NULL,
    posted_at timestamptz(3) NOT NULL DEFAULT now(),
    edited_at timestamptz(3),
    deleted boolean NOT NULL DEFAULT false,
    reply_to bigint,
    mentions bigint[] NOT NULL DEFAULT '{}',
    idempotency_key text,
    PRIMARY KEY (room_id, seq)
);
CREATE UNIQUE INDEX messages_idempotency ON messages (author_id, idempotency_key);
"""

AUTHORISE = """
SELECT t.account_id, m.role
FROM tokens t LEFT JOIN members m ON m.account_id = t.account_id AND m.room_id = $2
WHERE t.hash = $1
"""

# One statement is one transaction: the row lock on the room allots seq, and a key that exists undoes both.
SEND = """
WITH room AS (UPDATE rooms SET last_seq = last_seq + 1, updated_at = now() WHERE room_id = $1 RETURNING last_seq)
INSERT INTO messages (room_id, seq, author_id, text, reply_to, mentions, idempotency_key)
SELECT $1, room.last_seq, $2, $3, $4, $5, $6 FROM room
RETURNING seq, posted_at
"""

COLUMNS = "seq, author_id, text, posted_at, edited_at, deleted, reply_to, mentions"
BY_KEY = f"SELECT room_id, {COLUMNS} FROM messages WHERE author_id = $1 AND idempotency_key = $2"
LATEST = f"SELECT {COLUMNS} FROM messages WHERE room_id = $1 ORDER BY seq DESC LIMIT $2"
BEFORE = f"SELECT {COLUMNS} FROM messages WHERE room_id = $1 AND seq < $3 ORDER BY seq DESC LIMIT $2"

# Enough connections for PostgreSQL to join commits; 8 and 32 were no faster on one core, 64 were slower.
POOL_SIZE = 16

_decode_body = msgspec.json.Decoder(SendBody).decode
_encode = msgspec.json.Encoder().encode


def _problem(status: int, code: str) -> Response:
    return Response(
        _encode({"type": "about:blank", "status": status, "code": code}), status, media_type="application/problem+json"
    )


def _message(room_id: int, row: Mapping[str, Any]) -> Message:
    return Message(
        room_id,
        row["seq"],
        row["author_id"],
        row["text"],
        row["posted_at"],
        row["edited_at"],
        row["deleted"],
        row["reply_to"],
        tuple(row["mentions"]),
    )


def _token_hash(request: Request) -> bytes:
    return hashlib.sha256(request.headers.get("authorization", "").removeprefix("Bearer ").encode()).digest()


async def send(request: Request) -> Response:
    room_id: int = request.path_params["room_id"]
    try:
        body = _decode_body(await request.body())
    except msgspec.DecodeError:
        return _problem(400, "malformed")
    if not 1 <= len(body.text.encode()) <= 65_535:
        return _problem(422, "invalid")
    key = request.headers.get("idempotency-key")
    async with request.state.pool.acquire() as connection:
        who = await connection.fetchrow(AUTHORISE, _token_hash(request), room_id)
        if who is None:
            return _problem(401, "unauthenticated")
        if who["role"] is None:
            return _problem(404, "room_not_found")
        if who["role"] == "readonly":
            return _problem(403, "read_only")
        author_id: int = who["account_id"]
        try:
            row = await connection.fetchrow(SEND, room_id, author_id, body.text, body.reply_to, body.mentions, key)
        except asyncpg.UniqueViolationError:
            first = await connection.fetchrow(BY_KEY, author_id, key)
            if first["room_id"] != room_id or first["text"] != body.text:
                return _problem(422, "idempotency_key_reused")
            answer = _encode(_message(room_id, first))
            return Response(answer, 201, {"idempotency-replayed": "true"}, media_type="application/json")
    message = Message(
        room_id, row["seq"], author_id, body.text, row["posted_at"], None, False, body.reply_to, body.mentions
    )
    return Response(_encode(message), 201, media_type="application/json")


async def latest(request: Request) -> Response:
    room_id: int = request.path_params["room_id"]
    try:
        limit = int(request.query_params.get("limit", "50"))
        before = int(request.query_params["before"]) if "before" in request.query_params else None
    except ValueError:
        return _problem(422, "invalid")
    async with request.state.pool.acquire() as connection:
        who = await connection.fetchrow(AUTHORISE, _token_hash(request), room_id)
        if who is None:
            return _problem(401, "unauthenticated")
        if who["role"] is None:
            return _problem(404, "room_not_found")
        if before is None:
            rows = await connection.fetch(LATEST, room_id, limit)
        else:
            rows = await connection.fetch(BEFORE, room_id, limit, before)
    rows.reverse()
    page = MessagePage(
        [_message(room_id, row) for row in rows],
        has_before=bool(rows) and rows[0]["seq"] > 1,
        has_after=before is not None,
    )
    return Response(_encode(page), media_type="application/json")


def build_app(dsn: str) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with asyncpg.create_pool(dsn, min_size=POOL_SIZE, max_size=POOL_SIZE) as pool:
            yield {"pool": pool}

    path = "/v1/rooms/{room_id:int}/messages"
    return Starlette(
        routes=[
            Route(path, send, methods=["POST"]),
            Route(path, latest, methods=["GET"]),
        ],
        lifespan=lifespan,
    )


async def fill(dsn: str, accounts: int, rooms: int) -> tuple[list[str], list[int]]:
    """Make the tables, the accounts and the rooms that all of them are members of: (their tokens, the rooms' ids)."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SCHEMA)
        tokens = [secrets.token_urlsafe(32) for _ in range(accounts)]
        for number, token in enumerate(tokens):
            account_id = await connection.fetchval(
                "INSERT INTO accounts (name) VALUES ($1) RETURNING account_id", f"account {number}"
            )
            await connection.execute(
                "INSERT INTO tokens VALUES ($1, $2)", hashlib.sha256(token.encode()).digest(), account_id
            )
        await connection.executemany(
            "INSERT INTO rooms (name) VALUES ($1)", [(f"room {number}",) for number in range(rooms)]
        )
        await connection.execute(
            "INSERT INTO members (room_id, account_id, role)"
            " SELECT room_id, account_id, 'member' FROM rooms CROSS JOIN accounts"
        )
        room_ids = [row["room_id"] for row in await connection.fetch("SELECT room_id FROM rooms ORDER BY room_id")]
    finally:
        await connection.close()
    return tokens, room_ids


if __name__ == "__main__":
    serve(build_app(os.environ["PEER_DSN"]))
