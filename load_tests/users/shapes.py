"""How many users there are at each moment: locust asks once a second."""

from __future__ import annotations

import time

from locust import LoadTestShape

from load_tests.users.limit import Search
from load_tests.users.plans import Plan
from load_tests.users.recorder import by_kind


class Planned(LoadTestShape):
    """``people`` at most, for ``seconds``."""

    def __init__(self, plan: Plan, people: int, seconds: float) -> None:
        super().__init__()
        self._plan = plan
        self._people = people
        self._seconds = seconds

    def tick(self) -> tuple[int, float] | None:
        at: float = self.get_run_time()
        if at >= self._seconds:
            return None
        people = max(1, round(self._people * self._plan(at / self._seconds)))
        return people, float(self._people)


class FindLimit(LoadTestShape):
    """As many users as the search says."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._search = search

    def tick(self) -> tuple[int, float] | None:
        busiest = max((client.cpu_usage for client in self.runner.clients.values()), default=0) / 100
        people = self._search.people(time.monotonic(), by_kind(self.runner.stats), busiest)
        return None if people is None else (people, float(people))
