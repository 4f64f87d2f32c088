"""Pins in the web client, in a real browser, against real processes."""

import pytest
from playwright.sync_api import Locator, expect

from tests.web.conftest import Open, Person, Screen

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def pins(screen: Screen) -> Locator:
    return screen.page.locator("details.pins li a")


def acts(screen: Screen, seq: int, name: str) -> None:
    article = screen.page.locator(f'article[data-seq="{seq}"]')
    article.hover()
    article.get_by_role("button", name=name, exact=True).click()


def test_a_message_is_pinned_seen_by_the_others_and_unpinned(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    ben.says(room, "Who wants tea?"), ben.says(room, "Coffee?")
    hers, his = screen().signs_in(anna).opens(room), screen().signs_in(ben).opens(room)
    expect(hers.page.locator("details.pins")).to_be_hidden()
    acts(hers, 1, "Pin")
    for each in (hers, his):
        expect(each.page.locator("details.pins summary")).to_have_text("1 pinned message")
    acts(his, 2, "Pin")
    for each in (hers, his):
        each.page.locator("details.pins summary").click()
        expect(pins(each)).to_have_text([f"{ben.name} Coffee?", f"{ben.name} Who wants tea?"])
    ben.call("PATCH", f"/v1/rooms/{room}/messages/1", {"text": "Who wants cake?"})
    expect(pins(hers).nth(1)).to_have_text(f"{ben.name} Who wants cake?")
    pins(hers).nth(1).click()
    expect(hers.page.locator('article[data-seq="1"]')).to_be_focused()
    acts(hers, 2, "Unpin")
    expect(pins(his)).to_have_count(1)
    ben.call("DELETE", f"/v1/rooms/{room}/messages/1")
    for each in (hers, his):
        expect(each.page.locator("details.pins")).to_be_hidden()
    assert anna.call("GET", f"/v1/rooms/{room}/pins") == {"pins": []}
