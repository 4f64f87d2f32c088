from collections.abc import Iterator

import pytest

from tests.support.http import Falcon, Person, Room


@pytest.fixture(scope="package")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for all: tests bring people and rooms of their own. It ends with them: its threads would disturb others."""
    with Falcon(tmp_path_factory.mktemp("falcon")) as started:
        yield started


@pytest.fixture
def admin(falcon: Falcon) -> Person:
    """May make accounts; is in no room."""
    return falcon.admin


@pytest.fixture
def anna(falcon: Falcon) -> Person:
    return falcon.account("Anna")


@pytest.fixture
def ben(falcon: Falcon) -> Person:
    return falcon.account("Ben")


@pytest.fixture
def cleo(falcon: Falcon) -> Person:
    """Somebody who is in none of the others' rooms."""
    return falcon.account("Cleo")


@pytest.fixture
def room(anna: Person, ben: Person) -> Room:
    """Anna's, with Ben in it."""
    return anna.makes_room("Tea kitchen", ben)
