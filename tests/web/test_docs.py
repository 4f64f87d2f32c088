"""The documentation page, in a real browser: its forms send operations to this server."""

import pytest
from playwright.sync_api import Locator, expect

from falcon.http.api.operations import GROUPS, OPERATIONS
from falcon.http.stream.events import STREAM_EVENTS
from tests.web.conftest import Open, Person, Screen

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def opens_docs(screen: Open, person: Person | None = None, **how: object) -> Screen:
    seen = screen(**how)
    seen.page.goto(f"{seen.url}/docs")
    if person is not None:
        seen.page.get_by_label("Token").fill(person.token)
    return seen


def opens(seen: Screen, operation: str) -> Locator:
    details = seen.page.locator(f"#{operation}")
    details.locator("summary").click()
    form = details.get_by_role("form")
    form.wait_for()
    return form


def test_the_page_lists_all_in_the_order_in_which_one_learns_it(screen: Open) -> None:
    seen = opens_docs(screen)
    seen.page.locator("section").first.wait_for()
    text = str(seen.page.evaluate("document.body.textContent"))
    places = [text.index(f"{group.name}{group.description}") for group in GROUPS]
    assert places == sorted(places)
    assert text.index("— Send a message") < text.index("— Edit a message of your own")
    for operation in OPERATIONS:
        assert f"{operation.method} {operation.path} — {operation.summary}" in text
        assert f"{operation.method} {operation.path}{operation.permission.said()}" in text
    for event in STREAM_EVENTS:
        assert f"{event.name}{' (signal)' if event.signal else ''} — {event.sent}" in text
    assert "[object" not in text and "undefined" not in text and "9,007,199,254,740,991" not in text


def test_each_link_of_the_page_leads_somewhere(screen: Open) -> None:
    seen = opens_docs(screen)
    seen.page.locator("section").first.wait_for()
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    links = seen.page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map((each) => each.hash.slice(1))")
    assert len(ids) == len(set(ids)) and set(links) <= set(ids)


def test_an_example_is_sent_as_it_stands_and_its_answer_is_shown(screen: Open, anna: Person) -> None:
    seen = opens_docs(screen, anna)
    form = opens(seen, "change_room")
    room = anna.makes_room("Tea kitchen")
    form.get_by_label("room_id").fill(str(room))
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("200 OK")
    expect(form.get_by_label("Headers of the answer")).to_contain_text("falcon-position: ")
    expect(form.get_by_label("Body of the answer")).to_contain_text('"name": "Coffee kitchen"')
    assert anna.summary(room)["name"] == "Coffee kitchen"


def test_a_query_and_a_header_are_sent(screen: Open, anna: Person, room: int) -> None:
    for text in ("One", "Two", "Three"):
        anna.says(room, text)
    seen = opens_docs(screen, anna)
    form = opens(seen, "read_page")
    form.get_by_label("room_id").fill(str(room))
    form.get_by_label("after").fill("2")
    form.get_by_label("Falcon-Wait").fill("1")
    form.get_by_role("button", name="Send").click()
    body = form.get_by_label("Body of the answer")
    expect(body).to_contain_text("Three")
    expect(body).not_to_contain_text("Two")


def test_a_refusal_is_shown_with_its_code(screen: Open) -> None:
    seen = opens_docs(screen)
    form = opens(seen, "me")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("401")
    expect(form.get_by_label("Body of the answer")).to_contain_text('"code": "unauthenticated"')


def test_a_stream_is_shown_while_it_lasts_and_can_be_stopped(screen: Open, anna: Person, room: int) -> None:
    seen = opens_docs(screen, anna)
    form = opens(seen, "stream")
    form.get_by_role("button", name="Send").click()
    body = form.get_by_label("Body of the answer")
    expect(body).to_contain_text("event: hello")
    anna.says(room, "Is anybody listening?")
    expect(body).to_contain_text("Is anybody listening?")
    form.get_by_role("button", name="Stop").click()
    expect(form.get_by_role("button", name="Send")).to_be_enabled()


def test_an_operation_is_tried_with_the_keyboard_alone(screen: Open, anna: Person, room: int) -> None:
    seen = opens_docs(screen)
    seen.page.get_by_label("Token").focus()
    seen.page.keyboard.type(anna.token)
    for operation in ("create_room", "list_rooms"):
        seen.page.keyboard.press("Tab")
        expect(seen.page.locator(f"#{operation} summary")).to_be_focused()
    seen.page.keyboard.press("Enter")
    form = seen.page.locator("#list_rooms").get_by_role("form")
    form.get_by_role("button", name="Send").wait_for()
    form.get_by_label("Falcon-Wait").focus()
    seen.page.keyboard.press("Enter")
    expect(form.get_by_label("Body of the answer")).to_contain_text(str(room))


def test_an_address_opens_the_operation_that_it_names(screen: Open) -> None:
    seen = screen()
    seen.page.goto(f"{seen.url}/docs#post_message")
    expect(seen.page.locator("#post_message").get_by_role("form")).to_be_visible()


def test_the_page_fits_a_phone(screen: Open) -> None:
    seen = opens_docs(screen, viewport={"width": 375, "height": 700})
    opens(seen, "post_message")
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
