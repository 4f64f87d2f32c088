import gc
from collections.abc import Iterator

import pytest

from tests.support.http import Falcon, Person
from tests.support.people import anna as anna
from tests.support.people import ben as ben
from tests.support.people import cleo as cleo
from tests.support.people import room as room
from tests.support.ticking import ticking as ticking


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
def only_counted_references() -> Iterator[None]:
    """The collector frees nothing meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
