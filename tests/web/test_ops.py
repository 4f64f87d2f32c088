"""The picture of the running parts, on the operations port, in a real browser."""

from collections.abc import Iterator
from threading import Event, Thread

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Open, Person, Screen
from tools.harness.falcon import Falcon

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
def talking(anna: Person, room: int) -> Iterator[None]:
    """Anna sends and reads all the time."""
    ending = Event()

    def talk() -> None:
        while not ending.wait(0.02):
            anna.says(room, "Tea?")
            anna.call("GET", f"/v1/rooms/{room}/messages")

    thread = Thread(target=talk)
    thread.start()
    yield
    ending.set()
    thread.join()


def looks(screen: Open, falcon: Falcon, **how: object) -> Screen:
    seen = screen(**how)
    seen.page.goto(f"{falcon.info['ops_url']}/ops")
    return seen


def test_what_flows_is_shown_on_the_arrows_and_in_a_table(screen: Open, falcon: Falcon, talking: None) -> None:
    seen = looks(screen, falcon)
    expect(seen.page.get_by_role("status")).to_contain_text("Ready")
    rows = seen.page.locator("#figures tr")
    for way in ("clients → http", "shards → journal", "projections → tables", "tables → http"):
        row = rows.filter(has_text=way)
        expect(row.locator("td").last).not_to_have_text("0/s")
    seen.page.wait_for_function("document.querySelectorAll('#picture path.flowing').length >= 6")
    shown = seen.page.locator("#picture .title").all_text_contents()
    assert {"HTTP", "Mailboxes", "Shards", "Journal", "Projections", "Read tables", "Streams"} <= set(shown)
    assert seen.page.locator("#picture .absent").count() == 0


def test_a_pod_that_has_gone_is_said_and_seen_again_when_it_is_back(screen: Open, falcon: Falcon) -> None:
    seen = looks(screen, falcon)
    state = seen.page.get_by_role("status")
    expect(state).to_contain_text("Ready")
    seen.network.set_offline(True)
    expect(state).to_contain_text("does not answer")
    seen.network.set_offline(False)
    expect(state).to_contain_text("Ready")


def test_it_fits_a_phone(screen: Open, falcon: Falcon) -> None:
    seen = looks(screen, falcon, viewport={"width": 375, "height": 700})
    expect(seen.page.get_by_role("status")).to_contain_text("Ready")
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    icon = seen.page.locator("link[rel=icon]").get_attribute("href")
    assert seen.page.request.get(f"{falcon.info['ops_url']}{icon}").ok
