"""`falcon smoke`: tries out a Falcon that was just deployed, as a client would."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from falcon.cli import calling
from falcon.cli.cluster import first_credentials
from falcon.cli.display import visible
from falcon.cli.faults import Fault

if TYPE_CHECKING:
    from falcon_chat import FalconClient

_WAY: Final = "the address, DNS, the ingress, the pods (`kubectl get pods`), and FALCON_TOKEN, --token or --token-file"
_OWNERS: Final = "docs/runbooks/partitions.md and docs/runbooks/appends.md: has every partition an owner?"
_TABLES: Final = "docs/runbooks/projection-stopped.md and docs/runbooks/projection-lag.md"
_STREAMS: Final = "docs/runbooks/streams.md, and at proxies on the way, which may hold answers back or end long ones"
# Each step in order, with what it expects and where to look if it fails.
_STEPS: Final = {
    "reach": ("Falcon to answer at every address, and to know the token", _WAY),
    "room": ("a room to be created, and to read as it was created", f"{_OWNERS}, {_TABLES}"),
    "send": ("one message for one key, with the header Falcon-Position, which proxies must pass on", _OWNERS),
    "read": ("the message at its place, once, with its text", _TABLES),
    "edit": ("the message to have its new text, as was acknowledged", _TABLES),
    "mark": ("the read mark of the only member to be where it was moved", _TABLES),
    "stream": ("to receive a new message, once, and then its deletion", _STREAMS),
    "resume": ("to receive what was missed while not connected, in order, once", _STREAMS),
    "delete": ("the room to be gone", _TABLES),
}


def smoke(
    ctx: typer.Context,
    url: Annotated[str | None, typer.Argument(metavar="URL", envvar="FALCON_URL", help="Of the server.")] = None,
    token: calling.TokenOption = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file that holds the token.")] = None,
    first_account: Annotated[bool, typer.Option("--first-account", help="Use the first account's token.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="For all steps.")] = 60.0,
    data_dir: calling.DataDirOption = calling.DEFAULT_DATA_DIR,
) -> None:
    """Try out a Falcon that was just deployed, as a client would.

    It creates a room, sends a message, sends it again with the same key, reads, edits and marks it, receives another on the stream, and receives what it missed while disconnected; then it deletes the room. It prints a line for each step. When a step fails, the last line says what is wrong, what was expected and what to look at.

    URL may be several addresses with commas; by default it is that of the `falcon up` on the data directory. --first-account finds the token in the data directory or, on a cluster, by FALCON_SECRET_FILE.

    Exit codes: 0 all is well, 1 something is wrong, 2 wrong arguments. It ends within --timeout; after a failed step it takes up to five seconds more to delete the room.

    \b
    Examples:
      falcon smoke
      FALCON_TOKEN=... falcon smoke https://chat.example.com --timeout 120
      falcon smoke http://falcon-api --token-file /etc/falcon/smoke/token
    """  # noqa: E501
    if token_file is not None:
        token = token_file.read_text(errors="replace").strip()
        if not token or not token.isascii():
            raise Fault(f"{token_file} does not hold a token")
    elif first_account:
        found = first_credentials() if os.environ.get("FALCON_KAFKA") else calling.find_credentials(data_dir)
        if found is None:
            raise Fault(f"no first account: {data_dir}/ has no credentials.json, and FALCON_KAFKA is not set")
        token = found.token
    urls, token = calling.find_server(url, token, data_dir, admin=False)
    asyncio.run(_run(urls, token, timeout, calling.outside_of(ctx)))


async def _run(urls: list[str], token: str, timeout: float, outside: calling.Outside) -> None:
    """Print each step as it ends. Raises Fault if one fails, or an address or a token cannot be one."""
    from falcon_chat import FalconClient, Problem, Unreachable

    clock = outside.clock

    def client(addresses: list[str]) -> FalconClient:
        # A Falcon that starts takes some seconds to answer.
        return FalconClient(addresses, token, timeout=min(10, timeout / 2), transport=outside.transport, clock=clock)

    logging.getLogger("falcon_chat").disabled = True  # lines about lost connections would come between the steps
    try:
        falcon, each = client(urls), [client([url]) for url in urls]
    except ValueError as fault:
        raise Fault(str(fault)) from fault
    began, visit = time.monotonic(), Visit()
    work = visit.steps(falcon, each)
    async with falcon:
        for name, (expected, look_at) in _STEPS.items():
            step_began = time.monotonic()
            try:
                async with asyncio.timeout(timeout - (step_began - began)):
                    found, wrong = await anext(work), ""
            except (Fault, Problem, Unreachable) as fault:
                wrong = str(fault)
            except TimeoutError:
                wrong = f"{visit.awaited} did not come within the --timeout of {timeout:.1f} s"
            milliseconds = (time.monotonic() - step_began) * 1000
            typer.echo(f"{name:<7} {milliseconds:>7,.0f} ms  {'failed' if wrong else visible(found)}")
            if wrong:
                raise Fault(f"{name}: {wrong}; expected {expected}; look at {look_at}{await visit.clean_up(falcon)}")
    typer.echo(f"All is well: {len(_STEPS)} steps in {time.monotonic() - began:.2f} s.")


def _check(holds: bool, wrong: str) -> None:
    """Raises Fault."""
    if not holds:
        raise Fault(wrong)


class Visit:
    """``room_id``: the room of the visit, while it is there. ``awaited``: what the step under way waits for."""

    room_id: int | None = None
    awaited: str = "an answer"

    async def clean_up(self, falcon: "FalconClient") -> str:
        """Deletes what is left. If the room cannot be deleted, the failure of the step matters more."""
        with suppress(Exception):
            async with asyncio.timeout(5):  # of its own, since --timeout may have run out
                await falcon.delete_room(self.room_id or 0)
                self.room_id = None
        return f"; room {self.room_id} could not be deleted" if self.room_id else ""

    async def steps(self, falcon: "FalconClient", each: "list[FalconClient]") -> AsyncIterator[str]:
        """Yields what each step has found. ``each``: a client for each address. Raises Fault, Problem, Unreachable."""
        from falcon_chat import CatchUp, CaughtUp, Hello, MessageDeleted, MessagePosted, Problem

        for one in each:
            async with one:
                me = await one.me()
        yield f"account {me.account_id}, {me.name}"

        run = secrets.token_hex(6)
        room = await falcon.create_room(f"Smoke test {run}", description="By `falcon smoke`; it may be deleted.")
        self.room_id = room_id = room.room_id
        read = await falcon.room(room_id)
        _check(read == room, f"room {room_id} was created and reads otherwise, as {read.name!r}")
        yield f"room {room_id}"

        sent = await falcon.post(room_id, f"{run}: sent", key=f"smoke-{run}")
        _check(bool(falcon.position), "the answer has no Falcon-Position")
        again = await falcon.post(room_id, f"{run}: sent", key=f"smoke-{run}")
        _check(again.seq == sent.seq, f"the same key made message {again.seq} beside {sent.seq}: it is there twice")
        _check(again == sent, f"the same key was answered otherwise: {again.text[:200]!r}")
        yield f"message {sent.seq}, and the same again for the same key"

        texts = {message.seq: message.text for message in (await falcon.messages(room_id, limit=200)).messages}
        instead = repr(texts[sent.seq][:200]) if sent.seq in texts else "nothing"
        _check(
            instead == repr(sent.text), f"message {sent.seq} was acknowledged and is lost: {instead} is in its place"
        )
        places = [str(seq) for seq, text in texts.items() if text == sent.text]
        _check(len(places) == 1, f"the message was sent once and is there twice, at {' and '.join(places)}")
        yield f"message {sent.seq} at its place"

        await falcon.edit(room_id, sent.seq, f"{run}: edited")
        edited = await falcon.message(room_id, sent.seq)
        _check(edited.text == f"{run}: edited", f"message {sent.seq} reads {edited.text[:200]!r}")
        yield f"message {sent.seq} has its new text"
        for wanted in (0, sent.seq):  # posting has moved the mark, so it goes back first
            await falcon.mark_read(room_id, wanted, force=True)
            marks = [member.read_seq for member in (await falcon.members(room_id)).members]
            _check(marks == [wanted], f"the mark was moved to {wanted} and reads {' and '.join(map(str, marks))}")
        yield f"read up to {sent.seq}"

        self.awaited = "the first event of the stream"
        async with falcon.stream([room_id]) as stream:
            _check(isinstance(await anext(stream), Hello), "the stream does not begin with hello")
            posted, times = await falcon.post(room_id, f"{run}: streamed"), 0
            self.awaited = f"message {posted.seq} or its deletion, which were acknowledged,"
            await falcon.delete_message(room_id, posted.seq)
            while not isinstance(event := await anext(stream), MessageDeleted):
                times += isinstance(event, MessagePosted)
        _check(times == 1, f"message {posted.seq} was sent once and delivered {times} times")
        yield f"message {posted.seq} delivered once"

        missed = [(await falcon.post(room_id, f"{run}: missed {number}")).seq for number in (1, 2)]
        self.awaited = f"what was missed, messages {missed[0]} and {missed[1]},"
        delivered = list[int]()
        async with falcon.stream([room_id], resume=event.id) as stream:
            while not isinstance(event := await anext(stream), CaughtUp):
                _check(not isinstance(event, CatchUp), "the stream does not resume: it asks for the history")
                delivered += [event.message.seq] if isinstance(event, MessagePosted) else []
        shown = " and ".join(map(str, delivered)) or "none"
        _check(delivered == missed, f"messages {missed[0]} and {missed[1]} were missed, and it delivers {shown}")
        yield f"messages {shown} delivered, which were missed"

        await falcon.delete_room(room_id)
        with suppress(Problem):
            _check(not await falcon.room(room_id), f"room {room_id} was deleted and is there")
        self.room_id = None
        yield f"room {room_id} is gone"
