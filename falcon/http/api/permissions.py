"""Permissions say who may do what: each operation has a row.

The edge refuses by the role of the account before the handler is called, and ``/docs`` prints the rows. Owners of
rooms decide by the roles of members. A row names these for readers, and a test walks all rows to see that both say the
same.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from falcon.features.accounts.rules import RANKS, AccountRole
from falcon.http.problems import account_not_found, check_scopes, not_allowed
from falcon.http.requests import AuthedRequest

RoomRole: TypeAlias = Literal["admin", "member", "readonly"]

_REFUSALS: Final = {
    "owner": "requires an owner's token",
    "admin": "requires an administrator's token",
    "member": "is not for guests",
}


class Permission(msgspec.Struct, frozen=True):
    """``role``: the lowest that may; None if no token is needed. ``others``: the lowest that may if the path names
    another account than the caller's. ``room``: the roles in the room of the path that may; none if the path has no
    room. ``more``: what else must be true, for readers."""

    role: AccountRole | None = "guest"
    others: AccountRole | None = None
    room: tuple[RoomRole, ...] = ()
    more: str = ""

    def allow(self, role: AccountRole) -> bool:
        return self.role is None or RANKS[role] >= RANKS[self.role]

    def said(self) -> str:
        """The row in words."""
        if self.role is None:
            return "everybody, without a token"
        who = {"guest": "every account", "member": "every account but guests", "admin": "administrators and owners"}
        parts = [
            "their own account; others: " + who[self.others] if self.others else who[self.role],
            *([f"in the room: {', '.join(self.room)}"] if self.room else []),
            *([self.more] if self.more else []),
        ]
        return "; ".join(parts)

    @property
    def for_all(self) -> bool:
        """Every account may, whatever its role."""
        return self.role in ("guest", None) and self.others is None

    @property
    def is_public(self) -> bool:
        """The operation needs no token, and does not look at one."""
        return self.role is None

    def check(self, request: AuthedRequest) -> None:
        """Raises Problem 403; 404 for a text that is no account."""
        assert self.role is not None, "an operation without a token has no account to check"
        needed = self.role
        if self.others is not None and request.path_id("account_id", account_not_found) != request.account_id:
            needed = self.others
        if RANKS[request.account.role] < RANKS[needed]:
            raise not_allowed("Authorization", _REFUSALS[needed])
        if needed in ("owner", "admin"):
            check_scopes(request.account.token, ("admin",))


STRANGERS: Final = Permission(None)
EVERYBODY: Final = Permission()
MEMBERS: Final = Permission("member")
ADMINS: Final = Permission("admin")
ONESELF: Final = Permission(others="admin")
READERS: Final = Permission(room=("admin", "member", "readonly"))
WRITERS: Final = Permission(room=("admin", "member"))
AUTHORS: Final = Permission(room=("admin", "member"), more="the author alone")
AUTHORS_OR_ADMINS: Final = Permission(room=("admin", "member"), more="the author, or an admin of the room")
ROOM_ADMINS: Final = Permission(room=("admin",))
ROOM_ADMINS_OR_ONESELF: Final = Permission(room=("admin",), more="everybody for their own account")
