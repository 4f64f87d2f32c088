"""While a cluster is updated, senders of the version before ask owners of this one, and read what they answer."""

from typing import Final

import msgspec
import pytest

from falcon.domain.catalogue import Command
from falcon.domain.commands import Invitation, PutMember
from falcon.domain.rejections import AccountNotFound, Invalid, Rejection, UnknownAccount
from tests.support.builders import ANN, BOB, DAN, ROOM, a_group, an_account
from tests.support.given import given


class CreateRoom(msgspec.Struct, tag=True):
    """The command of an earlier sender whose tables did not show one of the members."""

    by: int
    name: str
    description: str = ""
    members: tuple[Invitation, ...] = ()
    unknown: int | None = None


class OpenDirect(msgspec.Struct, tag=True):
    by: int
    peer: int
    peer_exists: bool = True


class BeforeAccountNotFound(msgspec.Struct, frozen=True, tag="account-not-found"):
    account_id: int


WITH_NOBODY: Final = CreateRoom(ANN, "Tea", members=(Invitation(BOB), Invitation(DAN)), unknown=1)


def arrived(command: msgspec.Struct) -> Command:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(command), type=Command)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        (WITH_NOBODY, Invalid("members[1].account_id", f"there is no account {DAN}")),
        (OpenDirect(ANN, BOB, peer_exists=False), AccountNotFound(BOB)),
    ],
)
def test_an_account_that_an_earlier_sender_did_not_find_is_refused(sent: msgspec.Struct, refused: Rejection) -> None:
    given(an_account(ANN)).when(arrived(sent)).then_rejected(refused)


def test_an_earlier_sender_can_read_that_a_member_to_be_is_no_account() -> None:
    asked = PutMember(ANN, ROOM, DAN, "member", account_exists=False)
    given(a_group()).when(asked).then_rejected(UnknownAccount(DAN))
    data = msgspec.msgpack.encode(UnknownAccount(DAN))
    assert msgspec.msgpack.decode(data, type=BeforeAccountNotFound) == BeforeAccountNotFound(DAN)
    assert msgspec.msgpack.decode(data, type=Rejection) == AccountNotFound(DAN)
