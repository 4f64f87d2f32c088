"""Changes of profiles that concern more than one aggregate: a text that only one account may show, the last owner.

Each step may be repeated and may be the last one. The account's own change is the truth: a text that was claimed before
it, and is not shown after it, is released by the next wish of the account at the latest.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from falcon.domain.ids import AccountId
from falcon.domain.rejections import LastOwner, TextTaken
from falcon.features.accounts.rules import ChangeAccount, ProfileAnswer, Space, WantTexts, WishAnswer
from falcon.features.accounts.table import AccountRow
from falcon.features.claims.rules import ClaimAnswer, ClaimText, FindClaim, ReleaseText
from falcon.features.owners.rules import StepDown
from falcon.http.command_client import AccountOutOfDate, CommandResult
from falcon.http.edge import Edge
from falcon.http.problems import Problem, account_not_found
from falcon.http.requests import AuthedRequest

_TRIES: Final = 5  # of changes that others overtake; each of these has changed the account
_OWNERS_SHOWN: Final = 10  # one that has not stepped down is enough
_UNKNOWN: Final = Problem(404, "", "")

_under_way: Final = set[asyncio.Task[CommandResult]]()


async def holder_of(edge: Edge, request: AuthedRequest, space: Space, text: str) -> AccountId:
    """The account that has claimed the text, which may not show it; NOBODY if there is none. Raises Problem."""
    answer = (await edge.commands.dispatch(request, FindClaim(space, text), keyed=False)).answer
    assert isinstance(answer, ClaimAnswer)
    return answer.account_id


async def change_profile(
    edge: Edge,
    request: AuthedRequest,
    command: ChangeAccount,
    texts: Mapping[Space, str | None],
    *,
    keyed: bool = True,
) -> CommandResult:
    """The account after the change. ``texts``: the handle, the e-mail or both as they are to be shown. ``keyed``: the
    request's key is this command's. The steps end even if the client goes away. Raises Problem."""
    if not texts and not _may_end_an_owner(command):
        return _known(edge, command, await edge.commands.dispatch(request, command, keyed=keyed))
    task = asyncio.create_task(_change(edge, request, command, texts, keyed))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return await asyncio.shield(task)


async def _change(
    edge: Edge, request: AuthedRequest, command: ChangeAccount, texts: Mapping[Space, str | None], keyed: bool
) -> CommandResult:
    if keyed and b"idempotency-key" in request.headers:
        try:
            return await edge.commands.dispatch(request, command, refusal=_UNKNOWN)
        except Problem as problem:
            if problem is not _UNKNOWN:
                raise
    for _ in range(_TRIES):
        with contextlib.suppress(AccountOutOfDate):
            allowed = await _stepped_down(edge, request, command)
            return _known(edge, command, await _shown(edge, request, allowed, texts, keyed))
    raise Problem(503, "unavailable", "The account is being changed by others: try again.", retry_after=1)


def _known(edge: Edge, command: ChangeAccount, result: CommandResult) -> CommandResult:
    """Have this process show no older name than the answer."""
    assert isinstance(result.answer, ProfileAnswer)
    if command.name is not None:
        edge.names.know(result.answer.account_id, result.answer.name)
    return result


# --- handles and e-mails ----------------------------------------------------------------------------------------------


async def _shown(
    edge: Edge, request: AuthedRequest, command: ChangeAccount, texts: Mapping[Space, str | None], keyed: bool
) -> CommandResult:
    if not texts or command.refusal is not None:
        return await edge.commands.dispatch(request, command, keyed=keyed)
    account_id = command.account_id
    wanted = (await edge.commands.dispatch(request, WantTexts(account_id, texts, command.by_role), keyed=False)).answer
    assert isinstance(wanted, WishAnswer)
    wish = wanted.wish
    if not wish:
        return await edge.commands.dispatch(request, command, keyed=keyed)
    for space, text in wanted.left:
        await _release(edge, request, ReleaseText(space, text, account_id, wish - 1))
    try:
        for space, text in wanted.texts:
            await edge.commands.dispatch(request, ClaimText(space, text, account_id, wish), keyed=False)
        shows = replace(command, texts=texts, wish=wish)
        result = await edge.commands.dispatch(request, shows, keyed=keyed)
    except (Problem, AccountOutOfDate) as refusal:
        if isinstance(refusal, Problem) and refusal.status == 503:
            raise  # it may be shown
        for space, text in wanted.texts:
            await _release(edge, request, ReleaseText(space, text, account_id, wish))
        if isinstance(refusal, Problem) and refusal.code in ("handle_taken", "email_taken"):
            field = refusal.code.removesuffix("_taken")
            taken = replace(command, refusal=TextTaken(field))
            return await edge.commands.dispatch(request, taken, keyed=keyed)
        raise
    assert isinstance(result.answer, ProfileAnswer)
    for space, text in result.answer.replaced:
        await _release(edge, request, ReleaseText(space, text, account_id, wish - 1))
    return result


async def _release(edge: Edge, request: AuthedRequest, command: ReleaseText) -> None:
    """Try to: the next wish of the account tries again."""
    with contextlib.suppress(Problem):
        await edge.commands.dispatch(request, command, keyed=False)


# --- owners -----------------------------------------------------------------------------------------------------------


def _may_end_an_owner(command: ChangeAccount) -> bool:
    return command.role not in (None, "owner") or bool(command.deactivated)


async def _stepped_down(edge: Edge, request: AuthedRequest, command: ChangeAccount) -> ChangeAccount:
    """The command as the owners allow it: an owner steps down before it ceases to be one."""
    if not _may_end_an_owner(command):
        return command
    account_id = command.account_id
    row = (await edge.reads.newest(request, account_id, edge.store.accounts_of, [account_id])).get(account_id)
    if row is None:
        raise account_not_found(account_id)
    command = replace(command, role_changes=row.role_changes)
    if row.role != "owner" or row.deactivated:
        return command
    known = {account_id: row.role_changes, **await _other_owners(edge, request, account_id)}
    try:
        await edge.commands.dispatch(request, StepDown(account_id, known), keyed=False)
    except Problem as problem:
        if problem.code != "last_owner":
            raise
        return replace(command, refusal=LastOwner(account_id))
    return command


async def _other_owners(edge: Edge, request: AuthedRequest, account_id: AccountId) -> dict[AccountId, int]:
    """One that asks, or some that the tables show."""
    caller: AccountRow = request.account
    if caller.role == "owner" and caller.account_id != account_id:
        return {caller.account_id: caller.role_changes}
    rows = await edge.store.accounts(0, _OWNERS_SHOWN, "owner", False)
    return {row.account_id: row.role_changes for row in rows if row.account_id != account_id}
