"""What is said beside the log: that one is typing."""

from falcon.http.edge import Call, Edge
from falcon.http.problems import Problem, room_not_found
from falcon.http.requests import Answer, identity
from falcon.read.memberships.queries import Access
from falcon.streams.signals import TYPING_SECONDS


async def say_typing(edge: Edge, call: Call) -> Answer:
    room_id = identity(call.path["room_id"], room_not_found)
    await edge.no_body(call)
    account_id = call.account.account_id
    access: Access | None = await edge.access(call, room_id)
    if access is not None and access.role == "readonly":
        access = await edge.newest(call, room_id, edge.store.access, room_id, account_id)
    if access is None:
        raise room_not_found(room_id)
    if access.role == "readonly":
        raise Problem(403, "read_only", "Your role in this room is readonly.")
    if not edge.streams.signals.typing(room_id, account_id):
        rule = f"Saying so every few seconds is enough; at most every {TYPING_SECONDS:g} s."
        raise Problem(429, "rate_limited", rule, retry_after=TYPING_SECONDS)
    return Answer(204, b"")
