"""The table of who may do what says the same as the handlers and the owners of rooms."""

from typing import Final

import pytest

from falcon.http.api.examples import as_sent
from falcon.http.api.operation import ApiOperation
from falcon.http.api.operations import OPERATIONS
from tests.support.http import Falcon, Person

IN_A_ROOM: Final = [each for each in OPERATIONS if each.permission.room]
FOR_SOME: Final = [
    each
    for each in OPERATIONS
    if not (each.permission.for_all or each.permission.others or each.permission.more)  # handlers decide the rest
]
OF_AN_ACCOUNT: Final = [each for each in OPERATIONS if each.permission.others is not None]

QUERIES: Final = {"/v1/rooms/{room_id}/authors": "?ids=65"}  # of operations that need one


def named(operation: ApiOperation) -> str:
    return f"{operation.method} {operation.path}"


def asks(operation: ApiOperation, person: Person, **ids: object) -> int:
    """The status of the answer to the operation's example."""
    body = None if operation.body is None else as_sent(operation.body)
    path = operation.path.format(**ids) + QUERIES.get(operation.path, "")
    if operation.media_type == "application/json":
        return person.send(operation.method, path, json=body).status_code
    headers = {"content-type": operation.media_type}
    return person.send(operation.method, path, content=str(body), headers=headers).status_code


def test_what_is_about_a_room_says_which_of_its_members_may() -> None:
    about = [each for each in OPERATIONS if "{room_id}" in each.path]
    # A bookmark is one's own, also in a room that one has left.
    assert [each for each in about if (each.method, each.path[:13]) != ("DELETE", "/v1/bookmarks")] == IN_A_ROOM


@pytest.mark.parametrize("role", ["admin", "member", "readonly", "stranger"])
@pytest.mark.parametrize("operation", IN_A_ROOM, ids=named)
def test_a_role_in_a_room_may_do_what_its_row_says(falcon: Falcon, operation: ApiOperation, role: str) -> None:
    admin, caller, third = (falcon.account(name) for name in ("Admin", "Caller", "Third"))
    room = admin.makes_room("Tea kitchen", third)
    admin.says(room, "Tea?")
    if role != "stranger":
        admin.put(f"{room}/members/{caller.account_id}", {"role": "member"})
        caller.says(room, "Yes")
        admin.put(f"{room}/members/{caller.account_id}", {"role": role})
    of_caller = role != "stranger" and operation.permission.more
    status = asks(
        operation,
        caller,
        room_id=room.room_id,
        seq=2 if of_caller else 1,
        emoji="👍",
        account_id=third.account_id,
    )
    if role == "stranger":  # who may not know of the room
        assert status == 404
    else:
        assert (status == 403) == (role not in operation.permission.room)


@pytest.mark.parametrize("operation", FOR_SOME, ids=named)
def test_an_account_whose_role_is_too_low_is_refused(falcon: Falcon, anna: Person, operation: ApiOperation) -> None:
    status = asks(operation, anna, account_id=falcon.account("Ben").account_id)
    assert (status == 403) == (not operation.permission.allow("member"))


@pytest.mark.parametrize("operation", OF_AN_ACCOUNT, ids=named)
def test_an_account_does_for_itself_what_only_administrators_do_for_others(
    falcon: Falcon, anna: Person, ben: Person, operation: ApiOperation
) -> None:
    assert asks(operation, anna, account_id=ben.account_id, token_id=1) == 403
    assert asks(operation, falcon.admin, account_id=ben.account_id, token_id=1) < 300
    assert asks(operation, anna, account_id=anna.account_id, token_id=1) < 300
