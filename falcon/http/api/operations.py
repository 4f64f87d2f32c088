"""The table of the API's operations. It routes requests, and the documents are made from it."""

from typing import Final

from falcon.http.api import accounts, exporting, importing, messages, reactions, rooms, tickets, typing_signals

# Routes are tried in order, so the most frequent operations come first. Those of a group are in the order in which
# one learns them.
OPERATIONS: Final = (
    *messages.OPERATIONS,
    *reactions.OPERATIONS,
    *rooms.OPERATIONS,
    *tickets.OPERATIONS,
    *typing_signals.OPERATIONS,
    *accounts.OPERATIONS,
    *importing.OPERATIONS,
    *exporting.OPERATIONS,
)
# In the order in which someone who builds on Falcon learns them.
GROUPS: Final = (
    rooms.ROOMS,
    messages.GROUP,
    reactions.GROUP,
    tickets.GROUP,
    rooms.MEMBERS,
    rooms.READ_MARKS,
    rooms.CHANGES,
    accounts.GROUP,
    importing.GROUP,
)
