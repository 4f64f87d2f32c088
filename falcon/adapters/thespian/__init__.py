"""The actors: a RoomShard in the process that serves."""
