"""The hostile clients, in a process of their own. It reads a target and the names of attacks, and tells what it met."""

import asyncio
import os
import resource
import sys
from collections import Counter

import msgspec
import uvloop

from tools.attack.attacks import Counts, Target, attack
from tools.attack.catalogue import ATTACKS

# The cores are the server's and the others', as if the attack came from elsewhere: it has what is left of one of them.
_NICENESS = 5


class Orders(msgspec.Struct, frozen=True):
    target: Target
    attacks: list[str]
    seconds: float


async def _obey(orders: Orders) -> dict[str, Counts]:
    counts: dict[str, Counts] = {name: Counter() for name in orders.attacks}
    work = [asyncio.create_task(attack(orders.target, ATTACKS[name], counts[name])) for name in orders.attacks]
    done, _ = await asyncio.wait(work, timeout=orders.seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()  # an attack continues for ever, so it has failed
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    return counts


def main() -> None:
    os.nice(_NICENESS)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_obey(orders))))


if __name__ == "__main__":
    main()
