"""Bookmarks, readers and what one types by names, in the web client, in a real browser, against real processes."""

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Open, Person
from tests.web.test_pins import acts
from tools.harness.waiting import until

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


def test_a_bookmark_in_an_open_room_that_one_has_left_bears_its_name(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    anna.says(room, "Who wants tea?")
    anna.call("PATCH", f"/v1/rooms/{room}", {"open": True})
    ben.call("PUT", f"/v1/bookmarks/{room}/1", {})
    name = anna.call("GET", f"/v1/rooms/{room}")["name"]
    ben.call("DELETE", f"/v1/rooms/{room}/members/{ben.account_id}")
    his = screen().signs_in(ben)
    his.page.get_by_role("button", name="Bookmarks").click()
    expect(his.page.locator("dialog .messages li")).to_contain_text(f"{name} · ")


def test_an_author_sees_who_has_read_a_message(screen: Open, anna: Person, ben: Person, room: int) -> None:
    anna.says(room, "Tea?")
    ben.call("PUT", f"/v1/rooms/{room}/read", {"seq": 1})
    hers = screen().signs_in(anna).opens(room)
    acts(hers, 1, "Read by")
    expect(hers.page.locator("dialog li .name")).to_have_text([ben.name])


def test_a_message_is_marked_unread(screen: Open, anna: Person, ben: Person, room: int) -> None:
    for text in ("Tea?", "Coffee?", "Cake?"):
        ben.says(room, text)
    hers = screen().signs_in(anna).opens(room)
    hers.sees("Cake?")
    until(lambda: anna.summary(room)["unread"] == 0)
    acts(hers, 2, "Mark unread")
    until(lambda: anna.summary(room)["unread"] == 2)
    expect(hers.page.locator(f'a[href="#/rooms/{room}"] .badge')).to_contain_text("2 unread")


def test_an_emoji_is_found_by_its_name_in_both_languages(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    for typed, emoji in (("Well done :tad", "🎉"), ("おめでとう :クラッカ", "🎉")):
        field = hers.page.locator("#composer")
        field.press_sequentially(typed)
        expect(hers.page.locator("#names li").first).to_contain_text(emoji)
        field.press("Enter")
        expect(field).to_have_value(f"{typed.partition(':')[0]}{emoji} ")
        field.fill("")


def test_everybody_is_mentioned_by_one_word(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    hers.page.get_by_role("button", name="Members").click()
    field = hers.page.locator("#composer")
    field.press_sequentially("@al")
    expect(hers.page.locator("#names")).to_contain_text("All 1 others")
    field.fill("@all tea?")
    field.press("Enter")
    hers.sees("@all tea?")
    until(lambda: ben.summary(room)["mentions"] == 1)


def test_keys_are_explained_and_the_page_can_be_installed(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    hers.page.locator("h2").first.click()
    hers.page.keyboard.press("?")
    expect(hers.page.get_by_text("Search messages")).to_be_visible()
    address = hers.page.locator('link[rel="manifest"]').get_attribute("href")
    assert hers.page.request.get(f"{hers.url}{address}").json()["display"] == "standalone"


def test_a_word_of_two_kanji_is_found_and_jumped_to(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "次の会議は15時です")
    for number in range(30):
        ben.says(room, f"Message {number}")
    other = anna.makes_room("Elsewhere", ben)
    anna.says(other, "会議室は空いています")
    hers = screen().signs_in(anna).opens(room)
    hers.sees("Message 29")
    hers.page.keyboard.press("Control+Shift+F")
    hers.page.get_by_role("searchbox", name="Words").fill("会議")
    found = hers.page.locator("dialog .messages li")
    expect(found).to_have_count(2)
    expect(found.locator("mark")).to_have_text(["会議", "会議"])
    today = hers.page.evaluate("new Date().toLocaleDateString('sv')")
    for label, chosen, all_of_them in (("From this day on", today, 2), ("Up to this day", "2020-02-29", 0)):
        hers.page.get_by_label(label).fill(chosen)
        expect(found).to_have_count(all_of_them)
    hers.page.get_by_label("Up to this day").fill(today)
    expect(found).to_have_count(2)
    for label, chosen in (("From", ben.name), ("Where", "Tea kitchen")):
        hers.page.get_by_label(label, exact=True).select_option(label=chosen)
        expect(found).to_have_count(1)
    found.locator("a").click()
    expect(hers.page.locator('article[data-seq="1"]')).to_be_focused()
