"""What is missing from the read tables, or stays there, when a projection passes over an event."""

from falcon.domain.events import (
    AccountCreated,
    Event,
    MemberChanged,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    ReadMoved,
    RoomChanged,
    RoomCreated,
    RoomDeleted,
    TokenIssued,
    TokenRevoked,
)


def loss(projection: str, event: Event) -> str:
    """One line, for whoever decides to skip the event."""
    match projection, event:
        case "timeline", MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"message {m.seq} of room {m.room_id} is shown as missing until it is edited or deleted"
        case "rooms", RoomCreated(room_id=room_id):
            return f"room {room_id} is in no list, and nobody can read it"
        case "rooms", RoomChanged(room_id=room_id):
            return f"room {room_id} keeps its old name and description in lists until it is changed again"
        case "rooms", RoomDeleted(room_id=room_id):
            return f"room {room_id} stays in its members' lists, though nothing can be done in it any more"
        case "rooms", MessagePosted(message=m):
            return f"room {m.room_id} seems to end before message {m.seq} until the next one is sent there"
        case "memberships", RoomCreated(room_id=room_id):
            return f"the first members of room {room_id} cannot read it until they are removed and added again"
        case "memberships", MemberJoined(room_id=room_id, account_id=account_id):
            return f"account {account_id} cannot read room {room_id} until it is removed and added again"
        case "memberships", MemberLeft(room_id=room_id, account_id=account_id):
            return f"account {account_id} goes on reading room {room_id} until it is added and removed again"
        case "memberships", MemberChanged(room_id=room_id, account_id=account_id):
            return f"account {account_id} is shown with its old role in room {room_id} until that is changed again"
        case "memberships", RoomDeleted(room_id=room_id):
            return f"nothing, if rooms has applied it: room {room_id} is shown nowhere then"
        case "memberships", ReadMoved(room_id=room_id, account_id=account_id):
            return f"how far account {account_id} has read room {room_id}, until it reads on"
        case "memberships", MessagePosted(message=m) | MessageEdited(message=m) | MessageDeleted(message=m):
            return f"whom message {m.seq} of room {m.room_id} mentions, and that its author has read it"
        case "accounts", AccountCreated(account_id=account_id):
            return f"account {account_id} has no name, is in no list, and its tokens are refused"
        case "accounts", TokenIssued(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} is refused: issue another one"
        case "accounts", TokenRevoked(account_id=account_id, token_id=token_id):
            return f"token {token_id} of account {account_id} GOES ON WORKING though it was revoked"
        case _:
            return f"nothing: {projection} does not use it"
