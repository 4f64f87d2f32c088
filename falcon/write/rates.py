"""Limits what rooms and accounts take of one shard, and refuses more."""

from collections.abc import Callable
from typing import Final

from falcon.base.buckets import Buckets
from falcon.domain.ids import AccountId, RoomId
from falcon.features.messages.rules import EditMessage, PostMessage
from falcon.write import refusals
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Unavailable

_DAY_SECONDS: Final = 86_400.0  # a day
_WINDOW_SECONDS: Final = 1.0  # limits are per second; so much may be used at once
_CROWDED_MAX: Final = 10_000  # rooms that are past their rates at a time; all are forgotten when there are more


class Rates:
    """One for each shard, whose partitions share it. A shard counts what its own rooms take.

    A room that is past its rate gives each sender the same share of it, so that a few who send as much as they may do
    not keep others from being heard. What it takes beyond its rate meanwhile, a second's messages at most, it takes
    less of afterwards.
    """

    def __init__(self, limits: ShardLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._messages = Buckets(limits.room_messages, _WINDOW_SECONDS, clock=monotonic)
        self._texts = Buckets(limits.account_bytes_a_day, _DAY_SECONDS, clock=monotonic)
        self._crowded: dict[RoomId, _Crowd] = {}

    def refusal(self, command: PostMessage | EditMessage, room_id: RoomId) -> Unavailable | None:
        """The refusal of a message that the rules of its room accept; else it counts in ``room_id``, for a thread that
        of the room whose members it reaches, and the result is None."""
        limits = self._limits
        if not limits.switch.on:
            return None
        size = 0.0
        if limits.account_bytes_a_day:
            size = len(command.text.encode())
            if limits.factors is not None:
                size /= limits.factors.factor_of(command.by)
            if wait := self._texts.consume(command.by, size):
                return refusals.account_bytes_a_day(wait)
        if limits.room_messages and isinstance(command, PostMessage):
            wait = self._messages.consume(room_id)
            if wait and not self._takes_share(room_id, command.by):
                self._texts.charge(command.by, -size)  # a client that sends it again has not written it twice
                return refusals.room_messages(wait)
        return None

    def refusal_of_text(self, by: AccountId, text: str) -> Unavailable | None:
        """The refusal of another text that the rules accept, as of a description or a note; else it counts for the day
        of its writer, and the result is None."""
        if not self._limits.switch.on:
            return None
        factors = self._limits.factors
        wait = self._texts.consume(by, len(text.encode()) / (1.0 if factors is None else factors.factor_of(by)))
        return refusals.account_bytes_a_day(wait) if wait else None

    def _takes_share(self, room_id: RoomId, account_id: AccountId) -> bool:
        """True if the sender has less than its share of a room that is past its rate, and takes of it."""
        crowd = self._crowded.get(room_id)
        if crowd is None:
            if len(self._crowded) >= _CROWDED_MAX:
                self._crowded.clear()
            crowd = self._crowded[room_id] = _Crowd()
        if not crowd.has_share(account_id, self._limits.room_messages, self._monotonic()):
            return False
        if self._messages.consume(room_id, ahead=_WINDOW_SECONDS) > _WINDOW_SECONDS:
            return False
        crowd.took(account_id)
        return True


class _Crowd:
    """Senders in a room that is past its rate: what each got of its share, in this second, and how many they
    were in the second before."""

    __slots__ = ("_before", "_began", "_senders")

    def __init__(self) -> None:
        self._began = 0.0
        self._senders: dict[AccountId, int] = {}
        self._before = 0

    def has_share(self, account_id: AccountId, quota: int, now: float) -> bool:
        seconds = now - self._began
        if seconds >= _WINDOW_SECONDS:
            self._before = len(self._senders) if seconds < 2 * _WINDOW_SECONDS else 0
            self._senders, self._began = {}, now
        taken = self._senders.setdefault(account_id, 0)
        senders = max(len(self._senders), self._before)
        return senders > 1 and taken < max(1, quota // senders)  # one alone has had all of the rate

    def took(self, account_id: AccountId) -> None:
        self._senders[account_id] += 1
