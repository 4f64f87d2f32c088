"""The composition root: the one place that sees the settings together with the adapters.

This module has what is common. ``embedded`` wires Falcon on one machine, ``cluster`` on many.
"""

import asyncio
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from falcon.base.account_factors import AccountFactors
from falcon.base.buckets import Switch
from falcon.base.secret_files import WrongSecret
from falcon.domain.ids import partition_of
from falcon.domain.limits import MEMBERS_MAX
from falcon.domain.rejections import AccountNotFound, NotAllowed
from falcon.features.accounts.rules import AccountRole, CreateAccount, IssueToken
from falcon.features.messages.pages import TimelinePages
from falcon.features.reactions.pages import ReactionPages
from falcon.features.search.index import SearchIndex
from falcon.features.sign_in.api import LINK_SECONDS, now_millis
from falcon.features.sign_in.rules import IssueLink
from falcon.http import bearer_tokens
from falcon.http.authenticator import Authenticator
from falcon.http.command_client import CommandClient
from falcon.http.cookies import Origins
from falcon.http.edge import Edge
from falcon.http.freshness import Freshness
from falcon.http.limits.addresses import Addresses
from falcon.http.limits.limiter import Limiter
from falcon.http.limits.per_address import ConnectionsPerAddress
from falcon.http.limits.quotas import Quotas
from falcon.http.limits.rooms import RoomCounts
from falcon.http.passwords import Passwords
from falcon.http.problems import Problem
from falcon.http.providers import Provider, read_providers
from falcon.http.read_your_writes import ReadYourWrites
from falcon.http.stream.sessions import Streams
from falcon.http.token_uses import TokenUses
from falcon.journal.ports import JournalUnavailable, Wake
from falcon.read.catalogue import ReadStore
from falcon.read.lookups import StoreLookups
from falcon.read.names import AccountNames
from falcon.read.store import ReadStoreUnavailable
from falcon.run.settings import Settings, WrongSettings
from falcon.streams.cuts import Cuts
from falcon.streams.feed import Feed
from falcon.streams.revocations import Revocations
from falcon.streams.signals import Signals, SignalTransport
from falcon.streams.tail import Tail
from falcon.streams.watchers import Watchers
from falcon.telemetry.dispatchers import Dispatcher
from falcon.write.answers import UsedKeys
from falcon.write.gateway import CommandGateway, partition_for
from falcon.write.limits import ShardLimits
from falcon.write.protocol import Accepted, CommandEnvelope, Rejected, Reply, Unavailable
from falcon.write.refusals import DISK
from falcon.write.replies import SendReply
from falcon.write.shard import Shard

if TYPE_CHECKING:
    from falcon.http.mail import Mail

START_SECONDS = 30  # the shard has recovered by then, or a restart is the better answer
_BLOCKING_THREADS: Final = 4  # for files and look-ups of names, which are rare
_KEYS_REMEMBERED: Final = 100_000  # by an edge, of the ones that it has used
_CHECKPOINT_EVENTS: Final = 1_000  # of a partition between two checkpoints: the longest tail that a recovery reads


class FirstAccounts(msgspec.Struct, frozen=True):
    """The first account of a new Falcon, its owner, who is its administrator, too. A folder of an older version has
    two."""

    account_id: int
    token: str
    admin_account_id: int
    admin_token: str


class Announced(FirstAccounts, frozen=True):
    """``sign_in``: the code of a link for the owner of a new Falcon; empty for one that has been up before."""

    sign_in: str = ""


class HostedGateway(CommandGateway, Protocol):
    """The gateway to the shard of this process."""

    def deliver(
        self, shard: int, commands: list[CommandEnvelope], replied: Callable[[list[tuple[int, Reply]]], None]
    ) -> None:
        """Have the shard carry out the commands of another process, in one batch as they came. ``replied`` gets their
        replies, some at a time: index, reply. Raises LookupError if the shard is not here."""

    def tell_of_commits(self, *tell: Callable[[], None]) -> None:
        """Each of ``tell`` is called on this loop after each commit of the shard's journal, in this order."""

    def ready(self) -> bool:
        """Commands can be passed on now."""

    def leave(self) -> None:
        """Begin to hand over partitions. They are served until other owners have taken them."""

    def close(self) -> None: ...


@cache
def blocking(settings: Settings) -> Dispatcher:
    """The process's dispatcher for blocking calls that have none of their own."""
    return Dispatcher("blocking", threads=_BLOCKING_THREADS, queue=256)


def shard_limits(settings: Settings, refusal_age_seconds: float | None = None) -> ShardLimits:
    switch = limits_switch(settings)
    return ShardLimits(
        answer_window_ms=round(settings.answer_window_seconds * 1000),
        checkpoint_events=_CHECKPOINT_EVENTS,
        hot_aggregates=settings.hot_aggregates,
        refusal_age_seconds=refusal_age_seconds,
        room_messages=quotas(settings).room_messages,
        room_members=quotas(settings).room_members or MEMBERS_MAX,
        answers_bytes=settings.answers_bytes,
        account_keys=quotas(settings).account_keys * switch.on,  # counted from the start, or not at all
        account_bytes_a_day=quotas(settings).account_bytes_a_day,
        switch=switch,
        factors=account_factors(settings),
    )


def quotas(settings: Settings) -> Quotas:
    """The quotas of accounts, rooms and addresses, which hold while :func:`limits_switch` is on; none if the settings
    turn limits off."""
    if settings.limits == "off":
        return Quotas()
    return Quotas(**{name: getattr(settings, name) for name in Quotas.__struct_fields__})


@cache
def limits_switch(settings: Settings) -> Switch:
    """One for all limits of this process. It is off while only programs on this machine reach Falcon; the first request
    that a proxy passes on turns it on."""
    return Switch(on=settings.has_limits)


def account_factors(settings: Settings) -> AccountFactors | None:
    """None if all accounts have the same limits."""
    return AccountFactors(settings.account_limits_file) if settings.account_limits_file else None


def limiter(settings: Settings) -> Limiter:
    addresses = Addresses(settings.trusted_proxies)
    return Limiter(quotas(settings), addresses, switch=limits_switch(settings), factors=account_factors(settings))


def connections_per_address(settings: Settings) -> ConnectionsPerAddress:
    return ConnectionsPerAddress(quotas(settings), Addresses(settings.trusted_proxies), limits_switch(settings))


def start_gateway(settings: Settings, build: Callable[[Wake, SendReply], Shard], number: int = 0) -> HostedGateway:
    """Start the shard of this process. ``number``: its place among the processes of the machine. Thespian is imported
    only when it is used."""
    from falcon.adapters.thespian.local import LocalGateway

    return LocalGateway(build, settings.mailbox_bound, str(number))


def start_edge(
    settings: Settings,
    gateway: CommandGateway,
    store: ReadStore,
    freshness: Freshness,
    tail: Tail,
    transport: SignalTransport,
    instance: str,
    secret: bytes,
    cuts: Cuts | None = None,
    search: SearchIndex | None = None,
) -> Edge:
    """An edge on the running event loop. Its streams have been started, and must be stopped before what they use.

    ``instance`` names the log; ``secret`` is the server's own. ``cuts``: for short resume tokens of many segments.
    """
    allowed = limiter(settings)
    partitions = settings.partitions
    names = AccountNames(store, lambda: revocations.is_following())
    lookups = StoreLookups(names)
    feed = Feed(
        tail,
        lookups,
        instance,
        partitions,
        remembered=settings.stream_events,
        cuts=cuts,
    )
    revocations = Revocations(store, feed)
    revocations.changed.append(lambda event: names.know(event.account_id, event.name))
    revocations.began.append(names.forget)
    signals = Signals(transport, feed)
    revocations.changed.append(Watchers(store, signals).account_changed)
    reads = ReadYourWrites(store, names, freshness, partitions)
    origins, uses = Origins(settings.allowed_origins), TokenUses(gateway, partitions)
    authenticator = Authenticator(store, reads, allowed, revocations, secret, origins, uses)
    keys = UsedKeys(_KEYS_REMEMBERED, settings.answer_window_seconds)
    streams = Streams(
        store,
        feed,
        signals,
        lookups,
        names,
        authenticator,
        allowed,
        secret,
        settings.streams_max,
        settings.stream_buffer,
    )
    streams.start()
    commands = CommandClient(gateway, allowed, partitions, settings.command_seconds, keys)
    return Edge(
        instance=instance,
        partitions=partitions,
        secret=secret,
        gateway=gateway,
        store=store,
        names=names,
        pages=TimelinePages(store),
        reactions=ReactionPages(store),
        search=search,
        tail=tail,
        authenticator=authenticator,
        commands=commands,
        reads=reads,
        limiter=allowed,
        room_counts=RoomCounts(allowed, store),
        streams=streams,
        passwords=Passwords(),
        providers=providers(settings),
        mail=mail(settings),
    )


async def create_account(
    edge: Edge, name: str, *, role: AccountRole, secret: str, reference: str | None = None
) -> tuple[int, str]:
    """Create an account and return its token. With a ``reference`` it is made once, however often it is asked for.

    Raises JournalUnavailable, also if the disk is nearly full, and ReadStoreUnavailable if no table shows it in time.
    """
    command = CreateAccount(name, role, bearer_tokens.hash_of(secret), imported_as=reference)
    deadline = time.monotonic() + START_SECONDS
    while True:
        partition = partition_for(command, 0, None, edge.partitions)
        reply = await edge.gateway.ask(CommandEnvelope(partition, 0, command, deadline))
        if isinstance(reply, Accepted):
            # The token must be good when the account's owner gets it.
            try:
                await edge.reads.freshness.reach(reply.partition, reply.offset, START_SECONDS)
            except Problem as late:
                raise ReadStoreUnavailable(f"the first account is in the log, and in no table: {late.detail}") from late
            account_id: int = reply.answer.account_id  # type: ignore[union-attr]
            return account_id, bearer_tokens.token(account_id, secret)
        if isinstance(reply, Unavailable) and reply.full == DISK:
            raise JournalUnavailable(
                "the disk has too little room left for the first account: make some, and start again"
            )
        if time.monotonic() > deadline:
            raise JournalUnavailable(f"the first account could not be made: {reply}")
        await asyncio.sleep(0.1)


def providers(settings: Settings) -> dict[str, Provider]:
    """The OpenID Connect providers by their names. Raises WrongSettings."""
    if settings.oidc_file is None:
        return {}
    from falcon.http.oidc import OidcProvider  # takes 15 MB

    try:
        return {each.provider: OidcProvider(each) for each in read_providers(settings.oidc_file)}
    except (OSError, ValueError, WrongSecret) as error:
        raise WrongSettings(f"FALCON_OIDC_FILE: {error}") from error


def mail(settings: Settings) -> "Mail | None":
    """Raises WrongSettings."""
    if settings.mail_file is None:
        return None
    from falcon.http.mail import read_mail  # its libraries take a while

    try:
        return read_mail(settings.mail_file)
    except (OSError, ValueError, WrongSecret) as error:
        raise WrongSettings(f"FALCON_MAIL_FILE: {error}") from error


async def issue_link(edge: Edge, account_id: int) -> str:
    """The code of a sign-in link for the account; empty if its owner does not give one."""
    secret = bearer_tokens.new_secret(edge.secret)
    command = IssueLink(account_id, bearer_tokens.hash_of(secret), now_millis() + LINK_SECONDS * 1_000)
    partition = partition_of(account_id, edge.partitions)
    envelope = CommandEnvelope(partition, account_id, command, time.monotonic() + START_SECONDS)
    return f"{account_id}_{secret}" if isinstance(await edge.gateway.ask(envelope), Accepted) else ""


class NotIssued(Exception):
    """The account gets no further token. The message says why."""


async def issue_token(edge: Edge, account_id: int) -> str:
    """Issue another token for an account, without an administrator's token. Raises NotIssued."""
    secret = bearer_tokens.new_secret(edge.secret)
    deadline = time.monotonic() + START_SECONDS
    command = IssueToken(account_id, bearer_tokens.hash_of(secret))
    reply = await edge.gateway.ask(
        CommandEnvelope(partition_of(account_id, edge.partitions), account_id, command, deadline)
    )
    match reply:
        case Accepted():
            return bearer_tokens.token(account_id, secret)
        case Rejected(rejection=AccountNotFound()):
            raise NotIssued(f"there is no account {account_id}")
        case Rejected(rejection=NotAllowed(rule=rule)):
            raise NotIssued(rule)
        case _:
            raise NotIssued(f"the account's owner did not do it ({reply}); see `falcon account revoke`, and try again")
