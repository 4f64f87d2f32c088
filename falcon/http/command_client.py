"""Sends commands to the owners of their partitions, and turns the owners' replies into results and problems."""

import hashlib
import re
import time
from itertools import product
from typing import Final, get_args

import msgspec

from falcon.domain.ids import Seq
from falcon.domain.rejections import KeyReused, NotJoined, NotYetReadable, OutOfDate, RestsOnView
from falcon.features.catalogue import Answer, Command
from falcon.http.limits.limiter import Limiter
from falcon.http.problems import Problem, from_rejection, from_unavailable, invalid, room_not_found
from falcon.http.requests import AuthedRequest
from falcon.telemetry import metrics
from falcon.write.answers import UsedKeys
from falcon.write.gateway import CommandGateway, partition_for
from falcon.write.protocol import Accepted, CommandEnvelope, NotKnown, Rejected, Unavailable

_KEY: Final = re.compile(rb"[\x21-\x7e]{1,64}")
_ENVELOPE_BYTES: Final = 200  # about as much as an envelope adds to its command
_REPLAYED: Final = (b"idempotency-replayed", b"true")
# Every counter exists from the start: a rate does not show the first increment of a counter that begins with it.
_COMMANDS: Final = tuple(kind.__name__ for kind in get_args(Command))


class CommandResult(msgspec.Struct, frozen=True):
    """An accepted command: its answer, the place of its last event in the log, and the headers that say so."""

    answer: Answer
    partition: int
    offset: int
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def is_replayed(self) -> bool:
        """An earlier request with the same key executed the command."""
        return _REPLAYED in self.headers


class StaleView(Exception):
    """The write side knows of a change that the read tables have not shown: wait for ``offset``, read, and send the
    command again. ``seq``, ``mentions_to``: as in NotYetReadable."""

    def __init__(self, partition: int, offset: int, seq: Seq, mentions_to: Seq) -> None:
        super().__init__(f"{partition}:{offset}")
        self.partition = partition
        self.offset = offset
        self.seq = seq
        self.mentions_to = mentions_to


class AccountOutOfDate(Exception):
    """The account has changed since the sender looked at it: look again, and send another command."""


class CommandClient:
    """Dispatches the commands of one event loop.

    ``command_seconds``: the time within which a command is decided or refused. ``keys``: the Idempotency-Keys that this
    process has seen.
    """

    def __init__(
        self,
        gateway: CommandGateway,
        limiter: Limiter,
        partitions: int,
        command_seconds: float,
        keys: UsedKeys,
    ) -> None:
        self._gateway = gateway
        self._limiter = limiter
        self._partitions = partitions
        self._command_seconds = command_seconds
        self._keys = keys
        self._metrics: dict[type, _CommandMetrics] = {}
        metrics.commands.begin(*product(_COMMANDS, ("accepted", "rejected", *metrics.FAILURES)))
        metrics.command_seconds.begin(("PostMessage",))

    async def dispatch(
        self,
        request: AuthedRequest,
        command: Command,
        size: int | None = None,
        refusal: Problem | None = None,
        *,
        keyed: bool = True,
    ) -> CommandResult:
        """Send the command to its owner and wait for the decision.

        ``size``: the command's in bytes, if it is not that of the request's body. ``refusal``: raised unless the
        request has a key that the owner knows; its retry gets the answer that it had. ``keyed``: the request's key, if
        it has one, is this command's; False for a step that may be repeated.
        Raises Problem for a refusal, 503 if the command cannot be decided in time, StaleView and AccountOutOfDate.
        """
        account_id = request.account_id
        began = time.monotonic()
        key = request.headers.get(b"idempotency-key") if keyed else None
        text, fingerprint = (None, 0) if key is None else _checked(request, key)
        if text is None:
            if refusal is not None:
                raise refusal
        elif not self._keys.is_free(account_id, text, fingerprint, began):
            refusal = from_rejection(KeyReused())
        if size is None:
            known = getattr(command, "known", None)  # a short request may be about a long message
            size = len(request.body) + (len(known.text) if known is not None else 0)
        envelope = CommandEnvelope(
            partition_for(command, account_id, text, self._partitions),
            account_id,
            command,
            began + self._command_seconds,
            text,
            fingerprint,
            size + _ENVELOPE_BYTES,
            request.trace,
            refusal is not None,
        )
        kind = type(command)
        measured = self._metrics.get(kind) or self._metrics.setdefault(kind, _CommandMetrics(kind.__name__))
        reply = await self._gateway.ask(envelope)
        measured.seconds.observe(time.monotonic() - began)
        if isinstance(reply, NotKnown):
            assert refusal is not None, "the owner was not asked to decide"
            measured.rejected.inc()
            raise refusal
        if text is not None and (isinstance(reply, Accepted) or _is_remembered(reply)):
            self._keys.note(account_id, text, fingerprint, began)
        if not isinstance(reply, Accepted):
            raise self._refusal(request, reply, measured)
        measured.accepted.inc()
        partition, offset = reply.partition, max(reply.offset, 0)
        position = (b"falcon-position", b"%d:%d" % (partition, offset))
        headers = (position, _REPLAYED) if reply.replayed else (position,)
        return CommandResult(reply.answer, partition, offset, headers)

    def _refusal(self, request: AuthedRequest, reply: Rejected | Unavailable, measured: "_CommandMetrics") -> Exception:
        """The exception to raise for the reply."""
        if isinstance(reply, Rejected):
            measured.rejected.inc()
            if isinstance(reply.rejection, NotYetReadable):
                stale = reply.rejection
                return StaleView(reply.partition, reply.offset, stale.seq, stale.mentions_to)
            if isinstance(reply.rejection, OutOfDate):
                return AccountOutOfDate()
            problem = from_rejection(reply.rejection)
            if isinstance(reply.rejection, NotJoined) and request.is_guest:
                problem = room_not_found(reply.rejection.room_id)
            if reply.replayed:
                problem.headers = (_REPLAYED,)
            return problem
        if reply.limit:
            measured.rejected.inc()
            return self._limiter.refused_by_owner(reply.limit, reply.retry_after)
        metrics.commands.labels(measured.name, reply.reason).inc()
        return from_unavailable(reply)


class _CommandMetrics:
    """The metrics of one type of command, looked up once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = metrics.command_seconds.labels(name)
        self.accepted = metrics.commands.labels(name, "accepted")
        self.rejected = metrics.commands.labels(name, "rejected")


def _checked(request: AuthedRequest, key: bytes) -> tuple[str, int]:
    """The key, and 63 bits over method, path and body: requests with the same bits are the same request.

    Raises Problem 422 for a malformed key.
    """
    if _KEY.fullmatch(key) is None:
        raise invalid("Idempotency-Key", "must be 1 to 64 visible ASCII characters")
    scope = request.scope
    text = b"%s %s\n%s" % (scope["method"].encode(), scope["path"].encode(), request.body)
    return key.decode(), int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def _is_remembered(refusal: Rejected | Unavailable) -> bool:
    """True if the owner remembers the command's key, and for this request.

    A key that was used in another partition is found by the process that noted it. A request that the owner has refused
    for its key must not be noted: the right one could not be repeated here.
    """
    return isinstance(refusal, Rejected) and not isinstance(refusal.rejection, KeyReused | RestsOnView)
