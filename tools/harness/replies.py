"""Collects the replies of a shard, for code that hosts one."""

from falcon.write.protocol import BatchReply, Reply


class Replied:
    """Give it to a shard as ``reply``."""

    def __init__(self) -> None:
        self._batches: list[BatchReply] = []

    def __call__(self, reply: BatchReply) -> None:
        self._batches.append(reply)

    def take(self) -> list[BatchReply]:
        """The replies since the last call."""
        batches, self._batches = self._batches, []
        return batches

    def take_replies(self) -> list[Reply]:
        """Likewise, without their numbers: batch by batch, and each in the order of its commands."""
        return [reply for batch in self.take() for _, reply in sorted(batch.replies, key=lambda each: each[0])]
