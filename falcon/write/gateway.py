"""The way in to the write side, and which partition decides a command."""

import hashlib
import secrets
from collections.abc import Awaitable
from typing import Protocol

from falcon.domain.commands import ReadPosition
from falcon.domain.ids import AccountId, Partition, partition_of
from falcon.features.accounts.rules import CreateAccount
from falcon.features.catalogue import Command, RoomCommand
from falcon.features.decider import IDENTITY
from falcon.features.rooms.rules import CreateRoom, ImportRoom, OpenDirect
from falcon.features.threads.rules import ImportThread, StartThread
from falcon.write.mailbox import Mailbox
from falcon.write.protocol import CommandEnvelope, Reply


class CommandGateway(Protocol):
    """Sends commands to the owners of their partitions."""

    def ask(self, envelope: CommandEnvelope) -> Awaitable[Reply]:
        """The owner's reply, by the envelope's deadline at the latest. Raises nothing: what fails is Unavailable."""

    def mailbox(self, partition: Partition) -> Mailbox | None:
        """Where a command for the partition would wait; None while no owner is known."""


def partition_for(command: Command, account_id: AccountId, key: str | None, partitions: int) -> Partition:
    """Where the command is decided. A retry with the same key goes to the same place, also if it creates something."""
    if isinstance(command, RoomCommand):
        return partition_of(command.room_id, partitions)
    match command:
        case CreateRoom():
            return _hashed(f"{account_id}/{key or secrets.token_hex(8)}", partitions)
        case CreateAccount(imported_as=reference):
            return _hashed(reference or f"{account_id}/{key or secrets.token_hex(8)}", partitions)
        case ImportRoom(kind="direct", members=members) if members:
            return partition_of(min(member.account_id for member in members), partitions)
        case ImportRoom(imported_as=reference):
            return _hashed(reference, partitions)
        case StartThread(room_id=room_id) | ImportThread(room_id=room_id):
            return partition_of(room_id, partitions)
        case OpenDirect(by=by, peer=peer):
            return partition_of(min(by, peer), partitions)
        case ReadPosition(partition=partition):
            return partition
        case _:
            return partition_of(IDENTITY[type(command)](command), partitions)


def _hashed(text: str, partitions: int) -> Partition:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % partitions
