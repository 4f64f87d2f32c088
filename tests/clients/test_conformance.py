"""One list of scenarios holds the Python and the JavaScript client to the same behaviour."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import pytest

from tests.clients.drivers import NODE, Driver, JavaScriptDriver, PythonDriver
from tests.clients.scenarios import KILLED, MISSED, SCRIPTED, SERVED, World
from tests.support.own_time import run_in_own_time
from tools.harness.falcon import Falcon

LANGUAGES: Final[dict[str, Callable[[], Driver]]] = {"python": PythonDriver, "javascript": JavaScriptDriver}


def named(scenario: Callable[..., Any]) -> str:
    return scenario.__name__


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Where there is no Node the JavaScript client is skipped; under ``CI=true`` its tests fail."""
    name = str(request.param)
    if name == "javascript" and NODE is None:
        reason = "no Node here: install the package nodejs"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    return name


async def session(language: str, scenario: Callable[[Driver], Awaitable[None]]) -> None:
    driver = LANGUAGES[language]()
    try:
        await scenario(driver)
    finally:
        await driver.end()


@pytest.fixture(scope="module")
def one_falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """It keeps few events for a stream, so that a client has soon missed too many."""
    falcon = Falcon(tmp_path_factory.mktemp("falcon"), {"stream_events": MISSED - 30})
    yield falcon
    falcon.stop()


@pytest.fixture
def falcon(one_falcon: Falcon) -> Falcon:
    """It runs, also where the scenario before has left it dead."""
    if one_falcon.process is None or one_falcon.process.poll() is not None:
        one_falcon.start()
    return one_falcon


@pytest.mark.parametrize("scenario", SCRIPTED, ids=named)
def test_a_client_answers_a_script(language: str, scenario: Callable[[Driver], Awaitable[None]]) -> None:
    (run_in_own_time if language == "python" else asyncio.run)(session(language, scenario))


@pytest.mark.processes
@pytest.mark.parametrize("scenario", SERVED, ids=named)
def test_a_client_is_served(language: str, falcon: Falcon, scenario: Callable[[World], Awaitable[None]]) -> None:
    asyncio.run(session(language, lambda driver: scenario(World(driver, falcon))))


@pytest.mark.processes
@pytest.mark.parametrize("scenario", KILLED, ids=named)
def test_a_client_outlives_its_server(
    language: str, falcon: Falcon, scenario: Callable[[World], Awaitable[None]]
) -> None:
    asyncio.run(session(language, lambda driver: scenario(World(driver, falcon))))
