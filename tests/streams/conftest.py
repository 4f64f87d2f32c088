from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.streams.reader import Listen
from tests.support.http import Falcon, Person, Room


@pytest.fixture(scope="package")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for all who do not hurt it: tests bring people and rooms of their own."""
    with Falcon(tmp_path_factory.mktemp("falcon")) as started:
        yield started


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
    """Anna's, with Ben in it."""
    return anna.makes_room("Tea kitchen", ben)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Falcon]]:
    """One that a test may hurt, with settings of its own."""
    with ExitStack() as started:
        yield lambda **settings: started.enter_context(Falcon(tmp_path, **settings))


@pytest.fixture
def listen(start: Callable[..., Falcon]) -> Iterator[Listen]:
    """Listeners have gone before the Falcon that they listen to."""
    listening = Listen()
    yield listening
    listening.close()
