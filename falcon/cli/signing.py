"""Signing in: links for people, sessions and invitations."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from falcon.cli.asking import Named, asking
from falcon.cli.calling import KeyOption
from falcon.cli.display import day, local_minute
from falcon.cli.tables import Column, print_table

if TYPE_CHECKING:
    from falcon_chat import FalconClient, IssuedInvitation, Session, SignInLink

_DAY_SECONDS = 86_400  # a day

OwnOrOther: TypeAlias = Annotated[
    int | None,
    typer.Argument(metavar="ACCOUNT", help="Handle, id or name of the account; yours by default.", show_default=False),
    Named(str | None, "own_or_other"),
]
RoomsOption: TypeAlias = Annotated[
    list[int],
    typer.Option("--room", metavar="ROOM", help="A room that they join; may be repeated."),
    Named(list[str], "rooms"),
]


@asking(lambda link: link.url, admin=True)
async def sign_in(
    falcon: "FalconClient",
    account: OwnOrOther = None,
    opened: Annotated[bool, typer.Option("--open", help="Open the link in this machine's browser.")] = False,
    mail: Annotated[bool, typer.Option("--mail", help="Also send it to the account's e-mail.")] = False,
) -> "SignInLink":
    """Print a link by which a person signs in, and sets a password.

    It is good once, for a day. A new password ends all other sessions of the account.

    \b
    Examples:
      falcon sign-in --open
      falcon sign-in Ben --mail
    """
    account = (await falcon.me()).account_id if account is None else account
    link = await falcon.create_sign_in_link(account, mail=mail)
    if mail and not link.mailed:
        typer.echo("It was not mailed: see `falcon doctor`, and the account's e-mail.", err=True)
    if opened:
        typer.launch(link.url)
    return link


@asking(lambda invitation: invitation.url, admin=True)
async def invite(
    falcon: "FalconClient",
    role: Annotated[str, typer.Option(metavar="ROLE", help="owner, admin, member or guest.")] = "member",
    email: Annotated[str | None, typer.Option(help="The e-mail of their account, unless they name another.")] = None,
    room: RoomsOption = [],  # noqa: B006  Typer copies it
    uses: Annotated[int, typer.Option(min=1, max=1000, help="How many people may use it.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=30, help="For so many days.")] = 7,
    key: KeyOption = None,
) -> "IssuedInvitation":
    """Print a link by which people make accounts of their own.

    \b
    Examples:
      falcon invite
      falcon invite --uses 20 --days 1 --room "Tea kitchen"
      falcon invite --role guest --email carl@example.org
    """
    return await falcon.create_invitation(
        role=role,  # type: ignore[arg-type]  # the server says what is wrong
        email=email,
        rooms=room,
        uses=uses,
        expires_in=days * _DAY_SECONDS,
        key=key,
    )


def _print_sessions(sessions: "list[Session]") -> None:
    columns = (
        Column("Session", "right"),
        Column("Since"),
        Column("Last used"),
        Column("From"),
        Column("With", width_max=40),
    )
    print_table(
        columns,
        [
            (
                f"{each.session_id}{' (this)' if each.current else ''}",
                local_minute(each.created_at),
                day(each.last_used_at or each.created_at),
                each.address,
                each.user_agent,
            )
            for each in sessions
        ],
    )


@asking(_print_sessions)
async def sessions(falcon: "FalconClient") -> "list[Session]":
    """List the browsers and programs in which you are signed in.

    \b
    Examples:
      falcon session list
      falcon session list --json
    """
    return list(await falcon.sessions())


@asking()
async def end_session(
    falcon: "FalconClient",
    session_id: Annotated[
        int | None, typer.Argument(metavar="SESSION", min=1, help="Its number in the list.", show_default=False)
    ] = None,
    others: Annotated[bool, typer.Option("--others", help="All but the one that asks.")] = False,
) -> None:
    """End one of your sessions, or all others.

    \b
    Examples:
      falcon session end 7
      falcon session end --others
    """
    if (session_id is None) != others:
        raise typer.BadParameter("give either a SESSION or --others")
    if session_id is None:
        await falcon.end_other_sessions()
    else:
        await falcon.end_session(session_id)
    typer.echo("Ended.")
