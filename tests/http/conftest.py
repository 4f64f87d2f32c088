from collections.abc import Iterator

import pytest

from tests.support.http import Falcon, Person, Room


@pytest.fixture(scope="package")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """Shared by all tests here, which make people and rooms of their own. It ends with them: its threads would disturb
    other tests."""
    with Falcon(tmp_path_factory.mktemp("falcon")) as started:
        yield started


@pytest.fixture
def admin(falcon: Falcon) -> Person:
    """May make accounts, and is in no room."""
    return falcon.admin


@pytest.fixture
def anna(falcon: Falcon) -> Person:
    return falcon.account("Anna")


@pytest.fixture
def ben(falcon: Falcon) -> Person:
    return falcon.account("Ben")


@pytest.fixture
def cleo(falcon: Falcon) -> Person:
    """Is in none of the others' rooms."""
    return falcon.account("Cleo")


@pytest.fixture
def room(anna: Person, ben: Person) -> Room:
    """Anna's room, with Ben."""
    return anna.makes_room("Tea kitchen", ben)
