"""Fixtures: people of the ``falcon`` of a conftest, and a room of theirs."""

import pytest

from tests.support.http import Falcon, Person, Room


@pytest.fixture
def anna(falcon: Falcon) -> Person:
    return falcon.account("Anna")


@pytest.fixture
def ben(falcon: Falcon) -> Person:
    return falcon.account("Ben")


@pytest.fixture
def cleo(falcon: Falcon) -> Person:
    """An account that shares no room with the others."""
    return falcon.account("Cleo")


@pytest.fixture
def room(anna: Person, ben: Person) -> Room:
    """Anna's room, with Ben."""
    return anna.makes_room("Tea kitchen", ben)
