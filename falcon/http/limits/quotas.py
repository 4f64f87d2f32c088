"""How much each limit allows, and the response to a client that is past one."""

import math
from typing import Final

import msgspec

from falcon.domain.limits import MEMBERS_MAX
from falcon.http.problems import Problem, broken
from falcon.streams.signals import TYPING_SECONDS

DAY_SECONDS: Final = 86_400.0  # a day
# A page of the web client is 60 files at most, so 120 people of one address may load it at once. A file takes 0.1 ms:
# at this rate one address takes 3 % of a core.
_DOCUMENTS_A_SECOND: Final = 300
_DOCUMENTS_AT_ONCE: Final = 7_500
# The budgets at once, in seconds of their rates. With the usual rates that are 16 pages of the largest size, as when a
# client opens many rooms, and two seconds of a core: no client of people comes near.
_BYTES_SENT_SECONDS: Final = 8
_CPU_SECONDS: Final = 20
# 60 people of one address open the page at once with 6 connections each, while the streams of 500 begin again. A TLS
# handshake takes 0.4 to 0.6 ms, so at this rate one address takes 2 % of a core.
_NEW_CONNECTIONS_A_SECOND: Final = 40
_NEW_CONNECTIONS_AT_ONCE: Final = 1_000
CONCURRENT: Final = "concurrent-requests"
BYTES: Final = "content-bytes"
MILLISECONDS: Final = "milliseconds"


class Quotas(msgspec.Struct, frozen=True):
    """0: no limit; for ``room_members``: MEMBERS_MAX. Commands and requests without a token have a rate a second; their
    ``burst`` is how many there may be at once. ``account_bytes_sent`` and ``account_cpu_ms`` are for a second."""

    account_commands: int = 0
    account_burst: int = 0
    account_reads: int = 0
    account_requests: int = 0
    account_streams: int = 0
    account_keys: int = 0
    account_rooms: int = 0
    account_rooms_a_day: int = 0
    account_bytes_sent: int = 0
    account_cpu_ms: int = 0
    account_bytes_a_day: int = 0
    room_messages: int = 0
    room_members: int = 0
    address_requests: int = 0
    address_burst: int = 0
    address_connections: int = 0


class Policy(msgspec.Struct, frozen=True):
    """A limit in the terms of draft-ietf-httpapi-ratelimit-headers.

    ``quota``: so many at once, and as many again in each further ``seconds``. Without ``seconds`` it is a maximum.
    ``unit``: the draft's name for things that are not requests. ``rule`` is the problem's detail.
    ``retry_seconds``: the shortest wait that a client is asked for.
    """

    name: str
    rule: str
    quota: int
    seconds: float = 0.0
    unit: str = ""
    retry_seconds: float = 1.0

    def problem(self, wait: float = 0.0) -> Problem:
        """The 429 response. ``wait``: seconds until there is room again, if that is known.

        It says only that this request was not carried out. An earlier request with the same key may have been carried
        out; sending the key again gives its answer.
        """
        seconds = math.ceil(max(wait, self.retry_seconds))
        repeat = f"send it again in {seconds} s, with the same Idempotency-Key if it has one"
        state = b'"%b";r=0;t=%d' % (self.name.encode(), seconds)
        return Problem(
            429,
            "rate_limited",
            f"{self.rule}. This request was not carried out: {repeat}.",
            broken(self.name, self.rule),
            retry_after=seconds,
            headers=((b"ratelimit", state), (b"ratelimit-policy", self._field())),
        )

    def _field(self) -> bytes:
        unit = b';qu="%b"' % self.unit.encode() if self.unit else b""
        window = b";w=%d" % math.ceil(self.seconds) if self.seconds else b""
        return b'"%b";q=%d%b%b' % (self.name.encode(), self.quota, unit, window)


_SIGN_IN_SECONDS: Final = 600.0  # a person waits for one more attempt for a minute
# A person who has forgotten a password tries a few; an attacker gets some 1,440 guesses a day, of more than a million.
SIGN_IN_LOGIN: Final = Policy("sign-in-login", "A login may be tried 10 times in 10 minutes", 10, _SIGN_IN_SECONDS)
# An office behind one address mistypes less often.
SIGN_IN_ADDRESS: Final = Policy(
    "sign-in-address", "An address may have 30 sign-ins in 10 minutes that wait or are wrong", 30, _SIGN_IN_SECONDS
)


class Policies:
    """One for each limit. Without a limit the quota is 0 and nothing is refused here; owners with other settings may
    still refuse."""

    def __init__(self, quotas: Quotas) -> None:
        q = quotas
        self.account_commands = _rate(
            "account-commands", "An account may send {} commands a second", q.account_commands, q.account_burst
        )
        self.account_reads = _rate("account-reads", "An account may send {} reads a second", q.account_reads)
        self.account_requests = Policy(
            "account-requests",
            f"An account may have {q.account_requests} requests under way",
            q.account_requests,
            unit=CONCURRENT,
        )
        self.account_streams = Policy(
            "account-streams",
            f"An account may have {q.account_streams} streams",
            q.account_streams,
            unit=CONCURRENT,
            retry_seconds=5.0,
        )
        self.account_keys = Policy(
            "account-keys",
            f"A server remembers {q.account_keys} Idempotency-Keys of an account",
            q.account_keys,
            retry_seconds=60.0,
        )
        self.account_rooms = Policy(
            "account-rooms",
            f"An account may be an admin of {q.account_rooms} rooms: delete some, or leave them",
            q.account_rooms,
            retry_seconds=60.0,
        )
        self.account_new_rooms = Policy(
            "account-new-rooms",
            f"An account may make {q.account_rooms_a_day} rooms and threads a day",
            q.account_rooms_a_day,
            DAY_SECONDS,
        )
        self.account_bytes_sent = _rate(
            "account-bytes-sent",
            "Falcon sends an account {} bytes of pages and missed events a second",
            q.account_bytes_sent,
            q.account_bytes_sent * _BYTES_SENT_SECONDS,
            BYTES,
        )
        self.account_cpu = _rate(
            "account-processor",
            "Requests of an account may take {} ms of processor time a second",
            q.account_cpu_ms,
            q.account_cpu_ms * _CPU_SECONDS,
            MILLISECONDS,
        )
        self.account_bytes_a_day = Policy(
            "account-bytes-a-day",
            f"An account may write {q.account_bytes_a_day} bytes of text a day",
            q.account_bytes_a_day,
            DAY_SECONDS,
            BYTES,
        )
        self.room_messages = _rate("room-messages", "A room takes {} messages a second", q.room_messages)
        members = q.room_members or MEMBERS_MAX
        self.room_members = Policy("room-members", f"A room has at most {members} members", members, retry_seconds=60.0)
        self.address_requests = _rate(
            "address-requests",
            "Without a token that is good an address may send {} requests a second",
            q.address_requests,
            q.address_burst,
        )
        self.address_documents = _rate(
            "address-documents",
            "An address may load {} pages and files a second",
            _DOCUMENTS_A_SECOND if q.address_requests else 0,
            _DOCUMENTS_AT_ONCE,
        )
        self.address_connections = Policy(
            "address-connections",
            f"An address may have {q.address_connections} connections",
            q.address_connections,
            retry_seconds=5.0,
        )
        self.address_new_connections = _rate(
            "address-new-connections",
            "An address may open {} connections a second",
            _NEW_CONNECTIONS_A_SECOND if q.address_connections else 0,
            _NEW_CONNECTIONS_AT_ONCE,
        )
        self.typing = Policy(
            "typing", "Saying it every few seconds is enough", 1, TYPING_SECONDS, retry_seconds=TYPING_SECONDS
        )
        self.sign_in_login = SIGN_IN_LOGIN
        self.sign_in_address = SIGN_IN_ADDRESS
        self.by_name = {policy.name: policy for policy in vars(self).values()}


def _rate(name: str, rule: str, quota: int, burst: int = 0, unit: str = "") -> Policy:
    """``quota``: uses a second; ``burst``: uses at once, and at least those of a second."""
    most = max(burst, quota)
    at_once = f", and {most} at once" if most != quota else ""
    return Policy(name, rule.format(quota) + at_once, most, most / quota if quota else 0.0, unit)
