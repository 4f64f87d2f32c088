"""The actors: a Supervisor and its RoomShards, in this process or as processes of their own."""
