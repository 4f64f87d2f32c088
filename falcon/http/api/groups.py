"""The operations in groups, in the order in which someone who builds on Falcon learns them."""

from typing import Final

import msgspec


class Group(msgspec.Struct, frozen=True):
    """``operations``: their ids, in learning order."""

    name: str
    description: str
    operations: tuple[str, ...]


GROUPS: Final = (
    Group("Rooms", "Start here: create a room, and list yours.", ("me", "create_room", "list_rooms", "read_room")),
    Group(
        "Messages",
        "Send and read messages. Each has a seq, 1, 2, 3 … without gaps.",
        ("post_message", "read_page", "read_message", "edit_message", "delete_message"),
    ),
    Group(
        "Reactions",
        "React to messages with emoji.",
        ("add_reaction", "remove_reaction", "list_reactions"),
    ),
    Group(
        "Stream",
        "Hear what happens as it happens, and resume after a disconnection.",
        ("stream", "issue_ticket", "say_typing"),
    ),
    Group(
        "Members",
        "Who is in a room, with which role, and what authors are called.",
        ("list_members", "put_member", "remove_member", "list_authors", "open_direct"),
    ),
    Group("Read marks", "How far you have read.", ("move_read",)),
    Group("Changing rooms", "For admins of a room.", ("change_room", "delete_room")),
    Group(
        "Accounts and tokens",
        "For admins of Falcon, and for your own account.",
        ("create_account", "list_accounts", "issue_token", "list_tokens", "revoke_token", "sign_out"),
    ),
    Group("Moving everything", "For admins of Falcon.", ("import_lines", "export_lines")),
)

GROUP_OF: Final = {operation: group.name for group in GROUPS for operation in group.operations}
