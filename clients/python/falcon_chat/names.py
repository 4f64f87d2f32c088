"""Names for the account ids in messages and events."""

from collections.abc import Iterable

from falcon_chat.client import FalconClient
from falcon_chat.models import Message

_NO_AUTHOR = 0  # of a message that the server cannot show


class Names:
    """Remembers the names that it has asked for: one request for each account, or for each page of messages.

    Accounts that have left a room are included. Each method raises Problem and Unreachable.
    """

    def __init__(self, falcon: FalconClient) -> None:
        self._falcon = falcon
        self._known: dict[int, str] = {}

    async def learn(self, room_id: int, messages: Iterable[Message]) -> None:
        """Ask for all authors of these messages of one room at once."""
        await self._ask(room_id, (message.author_id for message in messages))

    async def of(self, room_id: int, account_id: int) -> str:
        """``room_id``: a room of the caller in which the account has written."""
        await self._ask(room_id, [account_id])
        return self._known.get(account_id) or f"account {account_id}"

    async def _ask(self, room_id: int, account_ids: Iterable[int]) -> None:
        unknown = [each for each in dict.fromkeys(account_ids) if each != _NO_AUTHOR and each not in self._known]
        if unknown:
            found = await self._falcon.authors(room_id, unknown)
            self._known.update({author.account_id: author.name for author in found})
