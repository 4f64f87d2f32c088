"""Limits of what a shard takes, keeps and waits for."""

import msgspec

from falcon.base.account_factors import AccountFactors
from falcon.base.buckets import Switch
from falcon.domain.ids import Millis
from falcon.domain.limits import MEMBERS_MAX


class ShardLimits(msgspec.Struct, frozen=True):
    """Times are in seconds unless their name says otherwise.

    ``answer_window_ms``: how long a retry finds its answer. ``checkpoint_events``: the longest tail of a recovery.
    ``passivate_seconds``: an aggregate leaves memory when unused for one to two of these. ``hot_aggregates``: with more
    of them in use in a partition, unused ones leave earlier. ``recovery_retry_seconds``: the first pause of a partition
    that cannot be taken over; each pause is twice the last, up to ``recovery_retry_seconds_max``.
    ``undecodable_retry_seconds``: the pause if the log holds an event of a newer version. ``stall_seconds``: with an
    append under way for longer, its partition takes no more commands. ``refusal_age_seconds``: an answer that no event
    stands for, such as a refusal, rests on a state that was the log's at most so long ago; None if no other process
    can depose the owner. ``reclaim_seconds``: the pause before a shard asks for a partition that it lost.
    ``room_messages``: what a room takes in a second, and at once; 0 for any number. ``room_members``: the most that a
    room may have. ``answers_bytes``: memory for the keys of commands. ``account_keys``: keys of one account; 0 for any
    number. Beyond these two, commands with a new key are refused. ``account_bytes_a_day``: of text that an account may
    write, 0 for any number. ``switch``: while it is off, limits of rooms and texts do not hold. ``factors``: of
    accounts that may take more or less than others.
    """

    answer_window_ms: Millis = 600_000
    checkpoint_events: int = 1_000
    checkpoint_seconds: float = 10.0
    passivate_seconds: float = 60.0
    hot_aggregates: int = 2_000
    recovery_retry_seconds: float = 0.25
    recovery_retry_seconds_max: float = 5.0
    undecodable_retry_seconds: float = 30.0
    stall_seconds: float = 5.0
    refusal_age_seconds: float | None = None
    reclaim_seconds: float = 1.0
    room_messages: int = 0
    room_members: int = MEMBERS_MAX
    answers_bytes: int = 512 << 20
    account_keys: int = 0
    account_bytes_a_day: int = 0
    switch: Switch = msgspec.field(default_factory=Switch)
    factors: AccountFactors | None = None
