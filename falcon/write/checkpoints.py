"""When the state of a partition is captured, and when what was captured is a checkpoint."""

from collections.abc import Callable

from falcon.journal.ports import Checkpoint, JournalUnavailable, Submission
from falcon.telemetry import metrics
from falcon.write.limits import ShardLimits
from falcon.write.owned import Serving
from falcon.write.snapshots import PartMissing
from falcon.write.stored_aggregates import Unreadable


class Checkpoints:
    """Keeps the tail short that a recovery has to read, and memory free of aggregates that are not in use.

    ``on_unreadable``: called if a checkpoint cannot be made, since a stored state cannot be read.
    """

    def __init__(
        self,
        limits: ShardLimits,
        monotonic: Callable[[], float],
        on_unreadable: Callable[[Serving, Unreadable], None],
    ) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._on_unreadable = on_unreadable

    def after_decisions(self, serving: Serving, submissions: list[Submission]) -> None:
        """Capture the state after many events, or with many aggregates in memory."""
        aggregates = serving.aggregates
        is_crowded = len(aggregates.hot) > self._limits.hot_aggregates
        if is_crowded or aggregates.uncheckpointed >= self._limits.checkpoint_events:
            self.capture(serving, submissions)
            if is_crowded:
                aggregates.passivate()

    def capture(self, serving: Serving, submissions: list[Submission]) -> None:
        """Capture the state; with nothing in flight it is a checkpoint already."""
        serving.captured_at = self._monotonic()
        if not serving.aggregates.capture():
            return
        if serving.in_flight:
            serving.captured_after = serving.in_flight[-1].append
        else:
            self._make(serving, submissions)

    def confirmed(self, serving: Serving, submissions: list[Submission]) -> None:
        """The append is durable after which the state was captured, so that is a checkpoint."""
        serving.captured_after = None
        self._make(serving, submissions)

    def _make(self, serving: Serving, submissions: list[Submission]) -> None:
        try:
            submissions.append(serving.aggregates.checkpoint())
        except (PartMissing, JournalUnavailable) as fault:
            self._on_unreadable(serving, fault)

    def written(self, serving: Serving, checkpoint: Checkpoint) -> None:
        serving.aggregates.checkpointed()
        metrics.checkpoints.inc()
