from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

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
    with ExitStack() as opened:
        yield _started(opened, tmp_path_factory.mktemp("falcon"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Falcon]]:
    """One that a test may hurt, with settings of its own."""
    with ExitStack() as opened:
        yield lambda **settings: _started(opened, tmp_path, **settings)


def _started(opened: ExitStack, folder: Path, **settings: Any) -> Falcon:
    """Its loop stands still between requests, and as long as a busy machine stops the test: it must not take itself for
    a process that was stopped, which passes over typing."""
    falcon = opened.enter_context(Falcon(folder, **settings))
    patch = opened.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(falcon.edge.streams.signals, "_may_be_old", lambda: False)
    return falcon


@pytest.fixture
def listen(start: Callable[..., Falcon]) -> Iterator[Listen]:
    """Listeners have gone before the Falcon that they listen to."""
    listening = Listen()
    yield listening
    listening.close()
