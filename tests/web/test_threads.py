"""Threads in the web client, in a real browser, against real processes."""

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Open, Person, Screen
from tests.web.test_pins import acts

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def answers(screen: Screen, text: str) -> None:
    field = screen.page.locator("aside.thread textarea")
    field.fill(text)
    field.press("Enter")


def test_two_people_answer_in_a_thread_and_one_who_is_removed_sees_no_more(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    anna.says(room, "Who wants tea?")
    hers, his = screen().signs_in(anna).opens(room), screen().signs_in(ben).opens(room)
    acts(his, 1, "Answer in a thread")
    answers(his, "Me")
    link = hers.page.locator('article[data-seq="1"] a.answers')
    expect(link).to_have_text("1 answer")
    link.click()
    inside = [each.page.locator("aside.thread article .text") for each in (hers, his)]
    for each in inside:
        expect(each).to_have_text(["Me"])
    answers(hers, "Here it is")
    for each in inside:
        expect(each).to_have_text(["Me", "Here it is"])
    expect(hers.page.locator("main article")).to_have_count(1)
    anna.call("DELETE", f"/v1/rooms/{room}/members/{ben.account_id}")
    expect(his.page.locator("aside.thread")).to_have_count(0)
    answers(hers, "Between us")
    expect(inside[0]).to_have_count(3)
    his.page.get_by_role("button", name="Threads").click()
    expect(his.page.locator("dialog")).to_contain_text("Nothing here.")


def test_an_answer_stands_in_the_room_too_if_one_wants(screen: Open, anna: Person, room: int) -> None:
    anna.says(room, "Tea?")
    hers = screen().signs_in(anna).opens(room)
    acts(hers, 1, "Answer in a thread")
    hers.page.locator("aside.thread textarea").wait_for()
    hers.page.get_by_label("Also in").check()
    answers(hers, "Ready")
    expect(hers.page.locator("main article .text")).to_have_text(["Tea?", "Ready"])
    hers.page.get_by_role("button", name="Close the thread").click()
    expect(hers.page.locator("aside.thread")).to_have_count(0)


def test_a_thread_is_open_to_readers_and_after_its_message_is_deleted(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    anna.says(room, "Tea?"), anna.says(room, "Cake?")
    thread = anna.call("PUT", f"/v1/rooms/{room}/messages/1/thread")["room_id"]
    anna.says(thread, "Green")
    anna.call("PUT", f"/v1/rooms/{room}/members/{ben.account_id}", {"role": "readonly"})
    his = screen().signs_in(ben).opens(room)
    inside = his.page.locator("aside.thread article .text")
    his.page.locator('article[data-seq="1"] a.answers').click()
    expect(inside).to_have_text(["Green"])
    his.page.get_by_role("button", name="Close the thread").click()
    his.page.locator('article[data-seq="2"]').hover()
    expect(his.page.get_by_role("button", name="Answer in a thread")).to_have_count(0)
    anna.call("DELETE", f"/v1/rooms/{room}/messages/1")
    his.page.locator('article.deleted[data-seq="1"] a.answers').click()
    expect(inside).to_have_text(["Green"])
    anna.says(thread, "Still here")
    expect(inside).to_have_text(["Green", "Still here"])
    his.page.reload()
    expect(inside).to_have_text(["Green", "Still here"])


def test_unread_threads_are_counted_and_opened_by_the_keyboard_on_a_phone_in_japanese(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    anna.says(room, "お茶はいかがですか")
    phone = screen(viewport={"width": 360, "height": 640}, color_scheme="dark", locale="ja-JP")
    page = phone.signs_in(anna).opens(room).page
    page.locator('article[data-seq="1"]').focus()
    page.keyboard.press("t")
    field = page.locator("aside.thread textarea")
    expect(field).to_be_focused()
    page.keyboard.type("@")
    page.keyboard.press("Escape")  # the names go, and the thread stays
    expect(field).to_have_value("@")
    assert page.evaluate("document.documentElement.scrollWidth <= 360")
    field.fill("はい")
    page.keyboard.press("Enter")
    expect(page.locator("aside.thread article .text")).to_have_text(["はい"])
    page.keyboard.press("Escape")
    expect(page.locator("aside.thread")).to_have_count(0)
    expect(page.locator('article[data-seq="1"] a.answers')).to_have_text("返信 1 件")
    page.evaluate("location.hash = '#/'")
    thread = anna.call("GET", "/v1/threads")["threads"][0]["room_id"]
    ben.says(thread, "紅茶をください")
    page.get_by_role("button", name="未読スレッド 1 件").press("Enter")
    link = page.locator("dialog .messages a")
    expect(link).to_have_count(1)
    link.press("Enter")
    expect(page.locator("aside.thread article .text")).to_have_text(["はい", "紅茶をください"])
    expect(page.get_by_role("button", name="未読スレッド")).to_have_count(0)


def test_an_answer_is_found_by_its_words_and_opened_in_its_thread(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    anna.says(room, "Tea?")
    thread = ben.call("PUT", f"/v1/rooms/{room}/messages/1/thread")["room_id"]
    ben.says(thread, "次の会議で話しましょう")
    hers = screen().signs_in(anna).opens(room)
    hers.page.keyboard.press("Control+Shift+F")
    hers.page.get_by_role("searchbox", name="Words").fill("会議")
    hers.page.locator("dialog .messages a").click()
    expect(hers.page.locator("aside.thread article .text")).to_have_text(["次の会議で話しましょう"])
