from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.streams.reader import Listen
from tests.support.http import Falcon
from tests.support.people import anna as anna
from tests.support.people import ben as ben
from tests.support.people import cleo as cleo
from tests.support.people import room as room
from tests.support.ticking import ticking as ticking


@pytest.fixture(scope="package")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """One for all who do not hurt it: tests bring people and rooms of their own."""
    with Falcon(tmp_path_factory.mktemp("falcon")) as started, pytest.MonkeyPatch.context() as patch:
        # Its loop stands still between requests: it would take itself for a process that was stopped.
        patch.setattr(started.edge.streams.signals, "_may_be_old", lambda: False)
        yield started


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
