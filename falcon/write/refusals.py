"""Every way in which the write side turns a command away without deciding it. Each has one cause, made here only.

``falcon_refusals_total`` counts them by cause, and docs/runbooks/errors.md says what to do about each. A gateway may
try a refused command again, so clients hear of fewer. What the rules of the domain refuse is a Rejection
(``falcon.domain.rejections``).
"""

from typing import Final

from falcon.telemetry import metrics
from falcon.write.protocol import Reason, Unavailable

CAUSES: "Final[dict[str, Cause]]" = {}

# Names of limits, and of what may be full; see Unavailable.
ACCOUNT_KEYS: Final = "account-keys"
ACCOUNT_BYTES_A_DAY: Final = "account-bytes-a-day"
ROOM_MESSAGES: Final = "room-messages"
ROOM_MEMBERS: Final = "room-members"
KEYS: Final = "keys"
DISK: Final = "disk"


class Cause:
    """Call it to count and return the refusal; ``answer`` is the refusal without counting.

    ``runbook``: the page in docs/runbooks. ``retry_after``: seconds, unless the call says otherwise.
    """

    def __init__(
        self, name: str, reason: Reason, runbook: str, retry_after: float = 1.0, *, limit: str = "", full: str = ""
    ) -> None:
        assert name not in CAUSES, f"two causes are called {name}"
        CAUSES[name] = self
        self.runbook = runbook
        self.answer = Unavailable(reason, retry_after, limit, full)
        self._refusals = metrics.refusals.labels(name)

    def __call__(self, retry_after: float | None = None) -> Unavailable:
        self._refusals.inc()
        if retry_after is None:
            return self.answer
        return Unavailable(self.answer.reason, retry_after, self.answer.limit, self.answer.full)


# --- in the mailbox ---------------------------------------------------------------------------------------------------

# The mailbox is full, and the account has no claim to another account's place in it.
mailbox_full: Final = Cause("mailbox_full", "overloaded", "mailbox")
# The account had most in a full mailbox: its newest command made room for another account's.
mailbox_place_given_up: Final = Cause("mailbox_place_given_up", "overloaded", "mailbox")
# The deadline passed in the queue.
expired_in_mailbox: Final = Cause("expired_in_mailbox", "expired", "mailbox")
# The shard, or the way to it, did not answer before the deadline.
no_reply: Final = Cause("no_reply", "outcome_unknown", "restarts", 0.2)
# Another process owns the partition now: the command had not been sent, or had been.
moved_while_queued: Final = Cause("moved_while_queued", "not_mine", "partitions")
moved_while_away: Final = Cause("moved_while_away", "outcome_unknown", "partitions", 0.2)

# --- on the way to the owner ------------------------------------------------------------------------------------------

# No owner of the partition is known here.
no_owner_known: Final = Cause("no_owner_known", "unavailable", "partitions")
# The owner cannot be reached, or is still starting.
owner_not_reached: Final = Cause("owner_not_reached", "unavailable", "partitions", 0.2)
# The actor has not begun, or has ended.
shard_not_running: Final = Cause("shard_not_running", "unavailable", "restarts")

# --- at the owner -----------------------------------------------------------------------------------------------------

# Another shard owns the partition, or takes it over from this one.
not_owned: Final = Cause("not_owned", "not_mine", "partitions", 0.1)
# This shard has not recovered the partition yet, or cannot.
not_recovered: Final = Cause("not_recovered", "unavailable", "partitions")
# The stored state of the room or account cannot be read.
state_unreadable: Final = Cause("state_unreadable", "unavailable", "partitions")
# The deadline passed on the way, or in front of the shard.
expired_at_owner: Final = Cause("expired_at_owner", "expired", "mailbox")
# An append of the partition has been under way for too long.
append_stalled: Final = Cause("append_stalled", "overloaded", "appends")
# The log refused the append: another owner has the partition.
append_fenced: Final = Cause("append_fenced", "not_mine", "appends", 0.1)
# The log did not say what became of the append, or of one before it.
append_unknown: Final = Cause("append_unknown", "outcome_unknown", "appends")
# The shard cannot serve the command, but its key was used for one that may be done.
key_may_be_done: Final = Cause("key_may_be_done", "outcome_unknown", "partitions")

# The disk has too little room left for what the command adds, until an operator makes some.
disk_nearly_full: Final = Cause("disk_nearly_full", "unavailable", "disk", 10.0, full=DISK)

# --- retries ----------------------------------------------------------------------------------------------------------

# The command was done or refused before, and the place of its answer is forgotten.
answer_forgotten: Final = Cause("answer_forgotten", "outcome_unknown", "appends")
# The log cannot be read there, or this version does not know the answer.
answer_unreadable: Final = Cause("answer_unreadable", "outcome_unknown", "appends")
# Too many retries wait for answers from the log.
too_many_retries: Final = Cause("too_many_retries", "outcome_unknown", "appends")

# --- limits -----------------------------------------------------------------------------------------------------------

# The account has used as many keys within the window as one may.
too_many_keys_of_account: Final = Cause("too_many_keys_of_account", "overloaded", "errors", limit=ACCOUNT_KEYS)
# The shard remembers as many keys as it has memory for.
keys_full: Final = Cause("keys_full", "overloaded", "errors", full=KEYS)
# The account has written as much text as it may in a day.
account_bytes_a_day: Final = Cause("account_bytes_a_day", "overloaded", "errors", limit=ACCOUNT_BYTES_A_DAY)
# The room takes no more messages now, or no more members.
room_messages: Final = Cause("room_messages", "overloaded", "errors", limit=ROOM_MESSAGES)
room_members: Final = Cause("room_members", "overloaded", "errors", limit=ROOM_MEMBERS)
