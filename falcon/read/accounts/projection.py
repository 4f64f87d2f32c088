"""Accounts and the hashes of their tokens."""

from falcon.domain.events import AccountCreated, TokenIssued, TokenRevoked
from falcon.journal.envelope import Envelope
from falcon.read.store import DropToken, PutAccount, PutToken, Write
from falcon.read.times import rfc3339


def project(envelope: Envelope) -> tuple[Write, ...]:
    match envelope.event:
        case AccountCreated(account_id=account_id, name=name, is_admin=is_admin, created_at=created_at):
            return (PutAccount(account_id, name, is_admin, rfc3339(created_at)),)
        case TokenIssued(account_id=account_id, token_id=token_id, token_hash=token_hash, created_at=created_at):
            return (PutToken(account_id, token_id, token_hash, rfc3339(created_at)),)
        case TokenRevoked(account_id=account_id, token_id=token_id):
            return (DropToken(account_id, token_id),)
        case _:
            return ()
