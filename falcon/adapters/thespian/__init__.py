"""The actors: a Supervisor and its RoomShards, in this process or as processes of their own."""

from typing import Final

# The key of the actor system in the environment of its processes, in hex; the launcher makes it at each start.
KEY_VARIABLE: Final = "FALCON_ACTORS_KEY"
KEY_BYTES: Final = 32
