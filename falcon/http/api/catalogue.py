"""The features of the API. A new one is a module beside the others, and is named here: its operations, their group in
the documents, and its lines in exports and imports."""

from typing import Final, TypeAlias

from falcon.http.api import accounts, members, messages, reactions, rooms, tickets, typing_signals

# Routes are tried in order, so the most frequent operations come first. Those of a group are in the order in which
# one learns them.
OPERATIONS: Final = (
    *messages.OPERATIONS,
    *reactions.OPERATIONS,
    *members.OPERATIONS,
    *rooms.OPERATIONS,
    *tickets.OPERATIONS,
    *typing_signals.OPERATIONS,
    *accounts.OPERATIONS,
)
# In the order in which a developer who builds on Falcon learns them.
GROUPS: Final = (
    rooms.ROOMS,
    messages.GROUP,
    reactions.GROUP,
    tickets.GROUP,
    members.MEMBERS,
    members.READ_MARKS,
    rooms.CHANGES,
    accounts.GROUP,
)
# In the order in which an import carries them out: each refers to those before it.
LINE_KINDS: Final = (accounts.LINES, rooms.LINES, rooms.MEMBER_LINES, messages.LINES, reactions.LINES)
ImportLine: TypeAlias = (
    accounts.AccountLineShape
    | rooms.RoomLineShape
    | rooms.MembersLineShape
    | messages.MessageLineShape
    | reactions.ReactionLineShape
)
