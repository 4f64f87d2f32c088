"""Bookmarks and readers in the web client, in a real browser, against real processes."""

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Open, Person
from tests.web.test_pins import acts

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def test_a_message_is_bookmarked_found_again_and_removed(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "Who wants tea?"), ben.says(room, "Coffee?")
    hers = screen().signs_in(anna).opens(room)
    acts(hers, 1, "Bookmark")
    expect(hers.page.get_by_text("Bookmarked.")).to_be_visible()
    ben.call("PATCH", f"/v1/rooms/{room}/messages/1", {"text": "Who wants cake?"})
    hers.page.get_by_role("button", name="Bookmarks").click()
    listed = hers.page.locator("dialog .messages li")
    expect(listed).to_have_count(1)
    expect(listed).to_contain_text(f"{ben.name} Who wants cake?")
    listed.locator("a").click()
    expect(hers.page.locator('article[data-seq="1"]')).to_be_focused()
    hers.page.get_by_role("button", name="Bookmarks").click()
    listed.get_by_role("button", name="Remove bookmark").click()
    expect(listed).to_have_count(0)
    assert anna.call("GET", "/v1/bookmarks")["bookmarks"] == []


def test_an_author_sees_who_has_read_a_message(screen: Open, anna: Person, ben: Person, room: int) -> None:
    anna.says(room, "Tea?")
    ben.call("PUT", f"/v1/rooms/{room}/read", {"seq": 1})
    hers = screen().signs_in(anna).opens(room)
    acts(hers, 1, "Read by")
    expect(hers.page.locator("dialog li .name")).to_have_text([ben.name])
