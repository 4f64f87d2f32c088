"""The tests of the log on a real Kafka, on the simulated one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon.adapters.kafka.loop import LoopThread
from tests.adapters.test_kafka_faults import (
    described,
    join,
    test_a_broker_that_stops_leaves_unknown_what_it_was_given_and_other_partitions_go_on,
    test_a_deposed_owners_late_snapshot_hides_no_newer_one_even_after_compaction,
    test_a_member_that_joins_moves_no_partition_between_others_of_one_process,
    test_a_message_over_the_topics_limit_is_not_sent_and_the_partition_goes_on_after_a_takeover,
    test_a_record_that_does_not_decode_is_named_and_other_partitions_can_be_read,
    test_a_snapshot_that_is_newer_than_the_checkpoint_is_not_changed_by_events_that_it_holds,
    test_an_owner_deposed_while_it_recovered_leaves_no_checkpoint_that_hides_messages,
    test_another_number_of_partitions_is_refused,
    test_answers_whose_time_is_over_are_deleted_those_of_older_epochs_too,
    test_members_share_the_partitions_and_those_that_stay_are_not_disturbed,
    test_messages_just_below_the_limit_are_written_in_batches_that_fit,
    test_preparing_again_changes_nothing,
    test_reading_what_was_trimmed_stops_and_says_so,
    test_the_newest_snapshot_of_several_epochs_counts,
    test_topics_that_are_missing_are_named,
    test_topics_that_could_lose_messages_are_refused_and_left_as_they_are,
    test_what_an_older_epoch_kept_is_deleted_once_a_newer_one_has_replaced_it,
    test_what_the_brokers_refuse_poisons_the_producer_which_is_replaced,
    test_where_a_partition_ended_may_be_asked_while_the_reader_is_given_others,
    test_who_dies_is_missed_when_its_session_is_over,
    test_who_leaves_hands_over_at_once,
    test_with_two_of_three_brokers_stopped_nothing_is_written_and_a_takeover_says_so_in_time,
)
from tests.simulation.test_kafka import SimulatedLog
from tools.harness.waiting import until
from tools.simulation.kafka.brokers import Brokers as Servers

__all__ = [
    "join",
    "test_a_broker_that_stops_leaves_unknown_what_it_was_given_and_other_partitions_go_on",
    "test_a_deposed_owners_late_snapshot_hides_no_newer_one_even_after_compaction",
    "test_a_member_that_joins_moves_no_partition_between_others_of_one_process",
    "test_a_message_over_the_topics_limit_is_not_sent_and_the_partition_goes_on_after_a_takeover",
    "test_a_record_that_does_not_decode_is_named_and_other_partitions_can_be_read",
    "test_a_snapshot_that_is_newer_than_the_checkpoint_is_not_changed_by_events_that_it_holds",
    "test_an_owner_deposed_while_it_recovered_leaves_no_checkpoint_that_hides_messages",
    "test_another_number_of_partitions_is_refused",
    "test_answers_whose_time_is_over_are_deleted_those_of_older_epochs_too",
    "test_members_share_the_partitions_and_those_that_stay_are_not_disturbed",
    "test_messages_just_below_the_limit_are_written_in_batches_that_fit",
    "test_preparing_again_changes_nothing",
    "test_reading_what_was_trimmed_stops_and_says_so",
    "test_the_newest_snapshot_of_several_epochs_counts",
    "test_topics_that_are_missing_are_named",
    "test_topics_that_could_lose_messages_are_refused_and_left_as_they_are",
    "test_what_an_older_epoch_kept_is_deleted_once_a_newer_one_has_replaced_it",
    "test_what_the_brokers_refuse_poisons_the_producer_which_is_replaced",
    "test_where_a_partition_ended_may_be_asked_while_the_reader_is_given_others",
    "test_who_dies_is_missed_when_its_session_is_over",
    "test_who_leaves_hands_over_at_once",
    "test_with_two_of_three_brokers_stopped_nothing_is_written_and_a_takeover_says_so_in_time",
]

pytestmark = pytest.mark.simulated


class Brokers:
    """Brokers for faults from the test's thread, with the methods of the real ones."""

    def __init__(self, thread: LoopThread, servers: Servers) -> None:
        self._thread = thread
        self._servers = servers

    def pause(self, node: int) -> None:
        self._thread.soon(self._servers.pause, node)

    def resume(self, node: int) -> None:
        self._thread.soon(self._servers.resume, node)


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread("brokers")
    yield thread
    thread.close()


@pytest.fixture
def servers(thread: LoopThread) -> Iterator[Servers]:
    running = Servers(thread._loop)
    yield running
    thread.call(running.close())


@pytest.fixture
def log(servers: Servers, tmp_path: Path) -> Iterator[SimulatedLog]:
    made = SimulatedLog(servers, tmp_path)
    yield made
    made.close()


@pytest.fixture
def brokers(thread: LoopThread, servers: Servers, log: SimulatedLog) -> Iterator[Brokers]:
    yield Brokers(thread, servers)
    thread.soon(servers.heal)
    until(lambda: all(len(p["isr"]) == 3 for p in described(log, log.cluster.journal)["partitions"]), seconds=60)
