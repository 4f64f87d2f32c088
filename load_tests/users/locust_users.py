"""Locust's view of people: the classes that it spawns, in which proportion, and ends again.

``environment.falcon_thread`` and ``environment.falcon_stage`` must be there before the first is spawned.
"""

from __future__ import annotations

from typing import Any, ClassVar

from locust import User, task

from load_tests.users import bot, chatter, lurker, newcomer, reconnector
from load_tests.users.person import Person


class FalconUser(User):
    """One person: a coroutine on the asyncio thread, for which its greenlet waits."""

    abstract = True
    person: ClassVar[type[Person]]

    @task
    def live(self) -> None:
        stage = self.environment.falcon_stage
        identity, chance = stage.enter()
        self.environment.falcon_thread.run(self.person(stage, identity, chance).live())


class ChatterUser(FalconUser):
    weight = 10
    person = chatter.Chatter


class LurkerUser(FalconUser):
    weight = 5
    person = lurker.Lurker


class BotUser(FalconUser):
    weight = 2
    person = bot.Bot


class ReconnectorUser(FalconUser):
    weight = 2
    person = reconnector.Reconnector


class NewcomerUser(FalconUser):
    weight = 1
    person = newcomer.Arrivals


CLASSES: tuple[Any, ...] = (ChatterUser, LurkerUser, BotUser, ReconnectorUser, NewcomerUser)


def acts_each_second() -> float:
    """Acts of an average user, weighted by the proportions of the kinds."""
    total = sum(each.weight for each in CLASSES)
    mean: float = sum(each.weight * each.person.acts for each in CLASSES) / total
    return mean
