"""Reactions in the web client, in a real browser, against real processes."""

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Route, expect

from tests.web.conftest import Open, Person, Screen, of_the_page

FACES: Final = [chr(0x1F600 + n) for n in range(50)]

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def reacts(person: Person, room: int, seq: int, emoji: str, method: str = "PUT") -> None:
    person.call(method, f"/v1/rooms/{room}/messages/{seq}/reactions/{quote(emoji)}")


def reactions(screen: Screen, seq: int = 1) -> Locator:
    return screen.page.locator(f'article[data-seq="{seq}"] .reactions button')


def picks(screen: Screen, name: str, seq: int = 1) -> None:
    screen.page.locator(f'article[data-seq="{seq}"]').hover()
    screen.page.get_by_role("button", name="Add reaction").click()
    screen.page.get_by_role("dialog").get_by_role("button", name=name).click()


@pytest.fixture
def tea(ben: Person, room: int) -> int:
    """The room with a first message."""
    ben.says(room, "Who wants tea?")
    return room


def test_a_reaction_is_chosen_seen_by_the_others_and_taken_back(
    screen: Open, anna: Person, ben: Person, tea: int
) -> None:
    hers, his = screen().signs_in(anna).opens(tea), screen().signs_in(ben).opens(tea)
    picks(hers, "Cup of tea")
    for each, pressed, name in ((hers, "true", "you"), (his, "false", anna.name)):
        expect(reactions(each)).to_have_text(["🍵1"])
        expect(reactions(each)).to_have_attribute("aria-pressed", pressed)
        expect(reactions(each)).to_have_attribute("title", name)

    reactions(his).click()
    for each, names in ((hers, f"you and {ben.name}"), (his, f"{anna.name} and you")):
        expect(reactions(each)).to_have_text(["🍵2"])
        expect(reactions(each)).to_have_accessible_name(f"🍵 2: {names}")
    expect(reactions(his)).to_have_attribute("aria-pressed", "true")

    reactions(hers).click()
    expect(reactions(his)).to_have_text(["🍵1"])
    expect(reactions(hers)).to_have_attribute("aria-pressed", "false")
    picks(his, "Cup of tea")  # the picker takes back what is chosen, too
    for each in (hers, his):
        expect(reactions(each)).to_have_count(0)
    assert anna.call("GET", f"/v1/rooms/{tea}/messages/1")["reactions"] == []


def test_reactions_are_there_when_a_room_is_opened_and_when_a_connection_is_back(
    screen: Open, anna: Person, ben: Person, tea: int
) -> None:
    for emoji in ("❤️", "🎉"):
        reacts(ben, tea, 1, emoji)
    reacts(anna, tea, 1, "🎉")
    hers = screen().signs_in(anna).opens(tea)
    expect(reactions(hers)).to_have_text(["❤️1", "🎉2"])
    expect(reactions(hers).nth(1)).to_have_attribute("aria-pressed", "true")

    hers.network.set_offline(True)
    expect(hers.page.locator(".state")).to_have_attribute("data-state", "offline")
    reacts(ben, tea, 1, "❤️", "DELETE")
    reacts(ben, tea, 1, "🚀")
    hers.network.set_offline(False)
    hers.is_connected()
    expect(reactions(hers)).to_have_text(["🎉2", "🚀1"])


def test_reactions_missed_in_a_long_absence_are_read_by_page(screen: Open, anna: Person, ben: Person, tea: int) -> None:
    hers = screen().signs_in(anna).opens(tea)
    reacts(ben, tea, 1, "❤️")
    expect(reactions(hers)).to_have_text(["❤️1"])
    hers.network.set_offline(True)
    expect(hers.page.locator(".state")).to_have_attribute("data-state", "offline")
    reacts(ben, tea, 1, "❤️", "DELETE")
    reacts(ben, tea, 1, "🎉")
    for n in range(120):  # more than the server keeps for a stream
        ben.says(tea, f"Line {n}")
    hers.network.set_offline(False)
    hers.is_connected()
    hers.opens(tea, 1)
    expect(reactions(hers)).to_have_text(["🎉1"])


def test_a_deleted_message_has_no_reactions_and_takes_none(screen: Open, anna: Person, ben: Person, tea: int) -> None:
    hers = screen().signs_in(anna).opens(tea)
    reacts(ben, tea, 1, "👍")
    expect(reactions(hers)).to_have_count(1)
    ben.call("DELETE", f"/v1/rooms/{tea}/messages/1")
    deleted = hers.page.locator("article.deleted")
    deleted.hover()
    expect(reactions(hers)).to_have_count(0)
    expect(hers.page.get_by_role("button", name="Add reaction")).to_have_count(0)
    hers.page.reload()
    deleted.wait_for()
    expect(reactions(hers)).to_have_count(0)


def test_a_readonly_member_sees_reactions_and_cannot_react(screen: Open, anna: Person, ben: Person, tea: int) -> None:
    reacts(anna, tea, 1, "👍")
    his = screen().signs_in(ben).opens(tea)
    expect(reactions(his)).to_be_enabled()
    anna.call("PUT", f"/v1/rooms/{tea}/members/{ben.account_id}", {"role": "readonly"})
    expect(reactions(his)).to_be_disabled()
    his.page.locator('article[data-seq="1"]').hover()
    expect(his.page.get_by_role("button", name="Copy link")).to_be_visible()
    expect(his.page.get_by_role("button", name="Add reaction")).to_have_count(0)
    his.page.locator('article[data-seq="1"]').focus()
    his.page.keyboard.press("+")
    expect(his.page.get_by_role("dialog")).to_have_count(0)
    reacts(anna, tea, 1, "🎉")
    expect(reactions(his)).to_have_text(["👍1", "🎉1"])


def test_one_emoji_too_many_is_refused_in_the_language_of_the_page(
    screen: Open, anna: Person, ben: Person, tea: int
) -> None:
    for emoji in FACES:
        reacts(ben, tea, 1, emoji)
    hers = screen(locale="ja-JP").signs_in(anna).opens(tea)
    expect(reactions(hers)).to_have_count(50)
    hers.page.locator('article[data-seq="1"]').focus()
    hers.page.keyboard.press("+")
    hers.page.get_by_role("dialog").get_by_role("button", name="湯のみ").click()
    refused = hers.page.get_by_role("alert").filter(has_text="絵文字")
    expect(refused).to_contain_text("1 つのメッセージに付けられる絵文字は 50 種類までです。")
    expect(reactions(hers)).to_have_count(50)


def test_a_reaction_is_added_and_removed_by_keyboard_alone(screen: Open, anna: Person, ben: Person, tea: int) -> None:
    hers = screen().signs_in(anna).opens(tea)
    page = hers.page
    message = page.locator('article[data-seq="1"]')
    message.focus()
    page.keyboard.press("+")
    picker = page.get_by_role("dialog", name="Add reaction")
    expect(picker.get_by_role("button", name="Thumbs up")).to_be_focused()
    expect(picker).to_be_in_viewport(ratio=1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(picker.get_by_role("button", name="Heart eyes")).to_be_focused()
    page.keyboard.press("End")
    expect(picker.get_by_role("button", name="Cup of tea")).to_be_focused()
    page.keyboard.press("Enter")
    expect(picker).to_have_count(0)
    expect(message).to_be_focused()
    expect(reactions(hers)).to_have_text(["🍵1"])

    page.keyboard.press("Tab")
    expect(reactions(hers)).to_be_focused()
    reacts(ben, tea, 1, "🍵")  # the message is shown again, and the focus stays
    expect(reactions(hers)).to_have_text(["🍵2"])
    expect(reactions(hers)).to_be_focused()
    page.keyboard.press("Space")
    expect(reactions(hers)).to_have_text(["🍵1"])
    expect(reactions(hers)).to_be_focused()

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("+")
    page.keyboard.press("Escape")
    expect(picker).to_have_count(0)
    expect(message).to_be_focused()
    expect(reactions(hers)).to_have_text(["🍵1"])


def test_a_title_names_the_first_accounts_and_counts_the_others(
    screen: Open, person: Callable[[str], Person], anna: Person
) -> None:
    people = [person("Cleo") for _ in range(12)]
    room = anna.makes_room("Tea kitchen", *people)
    anna.says(room, "Who wants tea?")
    for each in people:
        reacts(each, room, 1, "🍵")
    anna.call("DELETE", f"/v1/rooms/{room}/members/{people[0].account_id}")  # keeps the name
    hers = screen().signs_in(anna).opens(room)
    names = ", ".join(each.name for each in people[:10])
    expect(reactions(hers)).to_have_attribute("title", f"{names} and 2 others")


def test_a_reaction_that_a_page_does_not_name_can_be_taken_back(
    screen: Open, person: Callable[[str], Person], anna: Person
) -> None:
    """A page names the first 20 accounts, so the client learns from the server's answer that the reaction is there."""
    people = [person("Cleo") for _ in range(20)]
    room = anna.makes_room("Tea kitchen", *people)
    anna.says(room, "Who wants tea?")
    for each in (*people, anna):
        reacts(each, room, 1, "🍵")
    hers = screen().signs_in(anna).opens(room)
    expect(reactions(hers)).to_have_text(["🍵21"])
    expect(reactions(hers)).to_have_attribute("aria-pressed", "false")
    reactions(hers).click()
    expect(reactions(hers)).to_have_attribute("aria-pressed", "true")
    expect(reactions(hers)).to_have_text(["🍵21"])
    reactions(hers).click()
    expect(reactions(hers)).to_have_text(["🍵20"])
    expect(reactions(hers)).to_have_attribute("aria-pressed", "false")


def test_a_reaction_that_is_refused_changes_nothing_and_says_why(
    screen: Open, anna: Person, ben: Person, tea: int
) -> None:
    reacts(ben, tea, 1, "👍")
    hers = screen().signs_in(anna).opens(tea)

    def refuse(route: Route) -> None:
        problem = {"type": "about:blank", "status": 403, "code": "not_allowed", "detail": "no", "errors": []}
        route.fulfill(status=403, json=problem, content_type="application/problem+json")

    hers.page.route("**/reactions/**", refuse)
    reactions(hers).click()
    expect(hers.page.get_by_role("alert").filter(has_text="not allowed")).to_be_visible()
    expect(reactions(hers)).to_have_attribute("aria-pressed", "false")
    hers.page.unroute("**/reactions/**")
    reactions(hers).click()
    expect(reactions(hers)).to_have_text(["👍2"])


def test_a_phone_in_the_dark_has_the_picker_at_its_bottom(screen: Open, anna: Person, ben: Person, tea: int) -> None:
    phone = screen(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True, color_scheme="dark")
    page = phone.signs_in(anna).opens(tea).page
    page.locator('article[data-seq="1"]').tap()
    page.get_by_role("button", name="Add reaction").tap()
    picker = page.get_by_role("dialog")
    whole = picker.bounding_box()
    assert whole and (whole["x"], whole["width"], whole["y"] + whole["height"]) == (0, 360, 640)
    picker.get_by_role("button", name="Fire").tap()
    expect(reactions(phone)).to_have_text(["🔥1"])
    reactions(phone).tap()
    expect(reactions(phone)).to_have_count(0)
    for emoji in FACES[:20]:
        reacts(ben, tea, 1, emoji)
    expect(reactions(phone)).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollWidth <= 360")


EVENTS_AROUND_PAGES = """async () => {
  const { Reactions } = await import('/web/reactions.js');
  const summary = ([emoji, count, accounts]) => ({ emoji, count, accounts });
  const page = (...reactions) => [{ seq: 1, reactions: reactions.map(summary) }];
  const event = (account_id, emoji, count) => ({ seq: 1, account_id, emoji, count });
  const steps = [
    reactions => reactions.heard(event(2, 'a', 1), true), // before the page, which does not show it yet
    reactions => reactions.read(page()),
    reactions => reactions.read(page(['a', 3, [2, 3, 9]], ['b', 1, [3]])), // ahead of the events
    reactions => reactions.heard(event(3, 'a', 2), true),
    reactions => reactions.heard(event(9, 'a', 3), true),
    reactions => reactions.heard(event(9, 'a', 3), true), // twice
    reactions => reactions.heard(event(3, 'b', 0), false),
    reactions => reactions.read([{ seq: 1 }]), // the tables are being prepared
    reactions => reactions.settle(),
    reactions => reactions.read(page(['a', 1, [3]])), // after missed events the page is right
    reactions => reactions.heard(event(3, 'a', 0), false),
  ];
  const reactions = new Reactions(9, () => true);
  return steps.map(step => {
    step(reactions);
    return reactions.of(1).map(({ emoji, count, mine }) => `${emoji}${count}${mine ? '!' : ''}`).join(' ');
  });
}"""


def test_pages_and_events_in_any_order_come_to_the_same_reactions(screen: Open, anna: Person) -> None:
    shown = screen().signs_in(anna).page.evaluate(of_the_page(EVENTS_AROUND_PAGES))
    expected = ["a1", "a1", "a1! b1", "a2! b1", "a3! b1", "a3! b1", "a3!", "a3!", "a3!", "a1", ""]
    assert shown == expected


MANY_EVENTS = """async () => {
  const { Reactions } = await import('/web/reactions.js');
  const reactions = new Reactions(9, seq => seq <= 500); // the messages that are loaded
  for (let seq = 1; seq <= 1000; seq++) reactions.heard({ seq, account_id: 2, emoji: 'a', count: 1 }, true);
  return [1, 500, 501, 600, 601, 1000].filter(seq => reactions.of(seq).length);
}"""


def test_a_page_that_is_open_for_days_keeps_reactions_to_what_it_shows(screen: Open, anna: Person) -> None:
    kept = screen().signs_in(anna).page.evaluate(of_the_page(MANY_EVENTS))
    assert kept == [1, 500, 601, 1000]  # and those of the last 400 messages
