"""The web client, in a real browser, against real processes."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, Route, expect

from falcon.run.bootstrap import embedded
from falcon.run.bootstrap.embedded import own_name
from falcon.run.settings import Settings
from tests.web.conftest import Open, Person, Screen, of_the_page
from tools.harness.falcon import Falcon
from tools.harness.waiting import until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


# --- two who talk -----------------------------------------------------------------------------------------------------


def test_two_browsers_chat(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    his = screen().signs_in(ben).opens(room)
    hers.says("Who wants tea?")
    his.sees("Who wants tea?")

    his.page.locator("article", has_text="Who wants tea?").hover()
    his.page.get_by_role("button", name="Reply").click()
    his.says("I do")
    hers.sees("I do")
    expect(hers.page.locator("article", has_text="I do").locator(".quote")).to_contain_text("Who wants tea?")

    his.page.locator("#composer").press("ArrowUp")  # edits the newest message of your own
    expect(his.page.locator("#composer")).to_have_value("I do")
    his.says("I do, please")
    hers.sees("I do, please")
    expect(hers.page.locator("article", has_text="I do, please")).to_contain_text("edited")

    his.page.locator("article", has_text="I do, please").hover()
    his.page.get_by_role("button", name="Delete").click()
    his.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(hers.page.locator("article.deleted")).to_have_text(re.compile("This message was deleted"))
    until(lambda: anna.log_of(room) == ["Who wants tea?", ""])


def test_counts_of_unread_and_mentions_go_up_and_down(screen: Open, anna: Person, ben: Person, room: int) -> None:
    other = anna.makes_room("Elsewhere", ben)
    hers = screen().signs_in(anna).opens(other)
    link = hers.page.locator(f'.room-list a[href="#/rooms/{room}"]')
    ben.says(room, "One")
    ben.says(room, f"Two, @{anna.name}", mentions=[anna.account_id])
    expect(link.locator(".badge:not(.mention)")).to_contain_text("2 unread messages")
    expect(link.locator(".badge.mention")).to_contain_text("1 mention")
    expect(hers.page.locator(".room-list li a").first).to_have_attribute("href", f"#/rooms/{room}")
    until(lambda: anna.summary(room)["unread"] == 2)

    link.click()
    hers.sees("Two")
    expect(link.locator(".badge")).to_have_count(0)
    until(lambda: anna.summary(room)["unread"] == 0)
    expect(hers.page.locator("article.mentions-me .at.me")).to_have_text(f"@{anna.name}")


def test_own_and_deleted_messages_do_not_count_as_unread(screen: Open, anna: Person, ben: Person, room: int) -> None:
    other = anna.makes_room("Elsewhere", ben)
    hers = screen().signs_in(anna).opens(other)
    badge = hers.page.locator(f'.room-list a[href="#/rooms/{room}"] .badge')
    ben.says(room, "One")
    ben.says(room, "Two")
    for text in ("From her phone", "And once more"):
        anna.says(room, text)
    expect(badge).to_contain_text("2 unread messages")
    expect(hers.page.locator(".room-list")).to_contain_text("And once more")
    expect(badge).to_contain_text("2 unread messages")
    ben.call("DELETE", f"/v1/rooms/{room}/messages/2")
    expect(badge).to_contain_text("1 unread message")


def test_the_list_of_rooms_knows_that_its_last_message_is_an_own_one(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    ben.says(room, "One")
    anna.says(room, "From her phone")
    hers = screen().signs_in(anna)
    badge = hers.page.locator(f'.room-list a[href="#/rooms/{room}"] .badge')
    expect(badge).to_contain_text("1 unread message")


def test_what_is_not_looked_at_is_not_read(screen: Open, anna: Person, ben: Person, room: int) -> None:
    for n in range(60):
        ben.says(room, f"Line {n}")
    hers = screen(viewport={"width": 900, "height": 500}).signs_in(anna).opens(room)
    hers.sees("Line 0")
    until(lambda: anna.summary(room)["read_seq"] > 0)
    time.sleep(0.6)
    assert 0 < anna.summary(room)["read_seq"] < 20
    hers.page.locator(".latest").click()
    until(lambda: anna.summary(room)["unread"] == 0)


# --- the network and the server ---------------------------------------------------------------------------------------


def test_a_cut_network_loses_nothing_and_doubles_nothing(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    his = screen().signs_in(ben).opens(room)
    hers.says("Before")
    his.sees("Before")

    his.network.set_offline(True)
    expect(his.page.locator(".state")).to_have_attribute("data-state", "offline")
    expect(his.page.locator(".state")).to_contain_text("offline")
    his.says("From the tunnel, one")
    his.says("From the tunnel, two")
    hers.says("Meanwhile")
    hers.sees("Meanwhile")
    expect(his.page.locator("article.unsent.pending")).to_have_count(2)
    expect(his.page.locator("article.unsent").first).to_contain_text("waiting for the connection")

    his.network.set_offline(False)
    his.is_connected()
    log = ["Before", "Meanwhile", "From the tunnel, one", "From the tunnel, two"]
    his.shows(log)
    hers.shows(log)
    until(lambda: anna.log_of(room) == log)


def test_what_is_not_sent_yet_outlives_a_reload(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    hers.page.route("**/messages", lambda route: route.abort())
    hers.says("Kept")
    expect(hers.page.locator("article.unsent")).to_contain_text("Kept")
    hers.page.reload()
    expect(hers.page.locator("article.unsent")).to_contain_text("Kept")
    hers.page.unroute("**/messages")
    hers.shows(["Kept"])
    until(lambda: anna.log_of(room) == ["Kept"])


def test_an_answer_that_is_lost_makes_no_second_message(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    lost = loses_answers(hers, then_cut=False)
    hers.says("Once")
    hers.shows(["Once"])
    assert lost
    until(lambda: anna.log_of(room) == ["Once"])


def test_nor_does_one_that_was_lost_longer_ago_than_keys_are_known(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    anna.says(room, "Once")  # the same text, in another message
    hers.shows(["Once"])
    lost = loses_answers(hers, then_cut=True)
    hers.says("Once")
    while not lost:
        hers.page.wait_for_timeout(50)  # routes are only served while the test waits for the page
    hers.page.evaluate("""() => {
        const key = Object.keys(localStorage).find(each => each.startsWith('falcon.outbox.'));
        const entry = JSON.parse(localStorage[key]);
        localStorage[key] = JSON.stringify({...entry, since: entry.since - 3_600_000});
    }""")
    hers.page.unroute("**/messages")
    tries: list[str] = []
    hers.page.on("request", lambda request: tries.append(request.url) if request.method == "POST" else None)
    hers.page.reload()
    hers.shows(["Once", "Once"])
    assert lost and tries == []
    until(lambda: anna.log_of(room) == ["Once", "Once"])


def test_a_long_absence_is_read_by_page(screen: Open, anna: Person, ben: Person, room: int) -> None:
    for n in range(3):
        ben.says(room, f"Line {n}")
    hers = screen().signs_in(anna).opens(room)
    elsewhere = ben.makes_room("New meanwhile", anna)
    hers.shows(["Line 0", "Line 1", "Line 2"])
    hers.network.set_offline(True)
    expect(hers.page.locator(".state")).to_have_attribute("data-state", "offline")
    for n in range(3, 130):
        ben.says(room, f"Line {n}")
    ben.call("DELETE", f"/v1/rooms/{room}/messages/1")
    ben.call("PATCH", f"/v1/rooms/{room}/messages/2", {"text": "Line one"})
    ben.says(elsewhere, f"@{anna.name}", mentions=[anna.account_id])
    hers.network.set_offline(False)
    hers.is_connected()
    hers.shows(["This message was deleted.", "Line one", *(f"Line {n}" for n in range(2, 130))])
    link = hers.page.locator(f'.room-list a[href="#/rooms/{elsewhere}"]')
    expect(link.locator(".badge.mention")).to_contain_text("1 mention")


EVENTS_OUT_OF_ORDER = """async ([mine, theirs]) => {
  const { Chat } = await import('/web/chat.js');
  const since = '2026-11-25T09:00:00.000Z';
  const message = (seq, more = {}) => ({
    room_id: 1, seq, author_id: theirs, text: `m${seq}`, posted_at: `2026-11-25T09:30:00.${100 + seq}Z`,
    edited_at: null, deleted: false, reply_to: null, mentions: [], ...more,
  });
  const room = {
    room_id: 1, kind: 'group', name: 'R', description: '', role: 'member', last_seq: 0, created_at: since,
    read_seq: 0, unread: 0, mentions: 0, last_message: null, updated_at: since,
  };
  const asked = [];
  const falcon = {
    authors: async () => [],
    messages: async (room, { after }) => {
      asked.push(after);
      return { messages: [3, 4, 5].map(seq => message(seq)), has_after: false };
    },
  };
  const chat = new Chat(falcon, { account_id: mine, name: 'Me' });
  chat.take('hello', { rooms: [room], truncated: false });
  const here = chat.rooms.get(1);
  here.loaded = true;
  chat.take('message.posted', message(1));
  chat.take('message.posted', message(2));
  chat.take('message.edited', message(2, { text: 'edited', edited_at: '2026-11-25T09:31:00.000Z' }));
  chat.take('message.posted', message(2)); // again, as it was
  chat.take('message.deleted', message(1, { deleted: true, text: '' }));
  chat.take('message.edited', message(1, { text: 'late', edited_at: '2026-11-25T09:32:00.000Z' }));
  chat.take('message.posted', message(5)); // 3 and 4 are missing
  const during = here.messages.map(m => m.seq);
  await new Promise(done => setTimeout(done, 1200));
  return [during, here.messages.map(m => [m.seq, m.text]), asked];
}"""


def test_events_twice_late_or_missing_make_one_history(screen: Open, anna: Person, ben: Person) -> None:
    page = screen().signs_in(anna).page
    during, after, asked = page.evaluate(of_the_page(EVENTS_OUT_OF_ORDER), [anna.account_id, ben.account_id])
    assert during == [1, 2]  # nothing is shown after a gap
    assert after == [[1, ""], [2, "edited"], [3, "m3"], [4, "m4"], [5, "m5"]]
    assert asked == [2]


OUTBOX: Final = """async mine => {
  const { Outbox } = await import('/web/outbox.js');
  const { Problem, Unreachable } = await import('/web/client/index.js');
  const tries = [], looked = [];
  let answered;
  const room = { roomId: 1, lastSeq: 0 };
  const chat = Object.assign(new EventTarget(), {
    me: { account_id: mine },
    rooms: new Map([[1, room]]),
    posted: message => (room.lastSeq = message.seq),
    falcon: {
      post: (room_id, text, { key }) => new Promise((resolve, reject) => {
        tries.push({ text, key, yes: seq => resolve({ room_id, seq, text, author_id: mine }), no: reject });
        answered?.();
      }),
      messages: async (room_id, { after }) => (looked.push(after), { messages: [], has_after: false }),
    },
  });
  const outbox = new Outbox(chat);
  const tried = async n => {
    while (tries.length < n) await new Promise(done => (answered = done));
    return tries[n - 1];
  };
  const heard = (seq, text) => {
    chat.dispatchEvent(new CustomEvent('posted', { detail: { message: { room_id: 1, seq, text, author_id: mine } } }));
  };
  const lost = () => new Unreachable('no answer', new Error('network'));
  const now = Date.now;
"""


def of_the_outbox(page: Page, script: str) -> Any:
    """Run the script with an outbox, which puts its messages into a list of ``tries``. Returns the script's result."""
    return page.evaluate(of_the_page(f"{OUTBOX} {script} }}"), 2**50)


def test_a_message_like_the_last_one_is_shown_until_it_is_sent(screen: Open, anna: Person) -> None:
    shown = of_the_outbox(
        screen().signs_in(anna).page,
        """
        outbox.add(room, 'ok', null, []);
        outbox.add(room, 'ok', null, []);
        (await tried(1)).yes(1);
        await tried(2);
        heard(1, 'ok'); // the event of the first comes after its answer
        const between = outbox.shown(1).length;
        heard(2, 'ok');
        return [between, outbox.shown(1).length];
        """,
    )
    assert shown == [1, 0]


def test_messages_keep_their_order_and_keys_when_the_clock_is_put_back(screen: Open, anna: Person) -> None:
    found = of_the_outbox(
        screen().signs_in(anna).page,
        """
        outbox.add(room, 'one', null, []);
        await tried(1);
        Date.now = () => now() - 3_600_000;
        outbox.add(room, 'two', null, []);
        tries[0].no(lost());
        const again = await tried(2);
        again.yes(1);
        (await tried(3)).yes(2);
        Date.now = now;
        return [tries.map(({ text }) => text), looked, tries[0].key === again.key];
        """,
    )
    assert found == [["one", "one", "two"], [0], False]  # how old the key is was unknown, so the room was looked at


def test_an_answer_of_another_server_does_not_say_that_a_message_failed(screen: Open, anna: Person) -> None:
    found = of_the_outbox(
        screen().signs_in(anna).page,
        """
        outbox.add(room, 'one', null, []);
        (await tried(1)).no(new Problem(200, 'not_falcon', 'a page of a hotel'));
        const again = await tried(2);
        const [{ state }] = outbox.all();
        again.yes(1);
        return [state, tries[0].key === again.key];
        """,
    )
    assert found == ["pending", True]


LISTED_AGAIN: Final = """async () => {
  const { Chat } = await import('/web/chat.js');
  const { Unreachable } = await import('/web/client/index.js');
  const room = {
    room_id: 1, kind: 'group', name: 'R', description: '', role: 'member', last_seq: 0, created_at: '',
    read_seq: 0, unread: 0, mentions: 0, last_message: null, updated_at: '',
  };
  let tries = 0;
  const rooms = async () => {
    if (++tries < 3) throw new Unreachable('no answer', new Error('network'));
    return { rooms: [room], next_cursor: null };
  };
  const chat = new Chat({ rooms }, { account_id: 1, name: 'Me' });
  chat.take('hello', { rooms: [], truncated: false });
  chat.take('catch_up', { rooms: [{ room_id: 1, last_seq: 0 }] });
  while (!chat.rooms.has(1)) await new Promise(done => chat.addEventListener('rooms', done, { once: true }));
  return [...chat.rooms.keys()];
}"""


def test_a_list_of_rooms_that_cannot_be_read_is_read_again(screen: Open, anna: Person) -> None:
    assert screen().signs_in(anna).page.evaluate(of_the_page(LISTED_AGAIN)) == [1]


def loses_answers(screen: Screen, *, then_cut: bool) -> list[str]:
    """The next message is sent, and its answer is lost. ``then_cut``: later requests fail. Returns what was lost."""
    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method != "POST" or (lost and not then_cut):
            route.continue_()
        elif lost:
            route.abort()
        else:
            lost.append(route.fetch().text())
            route.abort()

    screen.page.route("**/messages", lose)
    return lost


def test_a_refusal_shows_with_what_can_be_done(screen: Open, anna: Person, ben: Person, room: int) -> None:
    his = screen().signs_in(ben).opens(room)
    his.network.set_offline(True)
    his.says("Too late")
    anna.call("PUT", f"/v1/rooms/{room}/members/{ben.account_id}", {"role": "readonly"})
    his.network.set_offline(False)
    failed = his.page.locator("article.unsent.failed")
    expect(failed).to_contain_text("You can read here, but not write")
    expect(his.page.locator("#composer")).to_be_disabled()
    anna.call("PUT", f"/v1/rooms/{room}/members/{ben.account_id}", {"role": "member"})
    failed.get_by_role("button", name="Send again").click()
    his.shows(["Too late"])


def test_a_server_that_is_killed_takes_nothing_with_it(
    screen: Open, falcon: Falcon, anna: Person, ben: Person, room: int
) -> None:
    hers = screen().signs_in(anna).opens(room)
    his = screen().signs_in(ben).opens(room)
    for n in range(12):
        if n == 4:
            falcon.kill("serve")
        (hers if n % 2 else his).says(f"Message {n}")
    until(lambda: len(anna.log_of(room)) == 12)
    log = anna.log_of(room)
    assert sorted(log) == sorted(f"Message {n}" for n in range(12))
    for who in (0, 1):  # the messages of each person in the order of writing
        assert [text for text in log if int(text.split()[1]) % 2 == who] == [f"Message {n}" for n in range(who, 12, 2)]
    hers.is_connected()
    his.is_connected()
    hers.shows(log)
    his.shows(log)


def test_a_token_that_is_revoked_ends_it(screen: Open, anna: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    (token,) = anna.call("GET", f"/v1/accounts/{anna.account_id}/tokens")["tokens"]
    anna.call("DELETE", f"/v1/accounts/{anna.account_id}/tokens/{token['token_id']}")
    expect(hers.page.get_by_role("alert")).to_contain_text("no longer valid")
    assert hers.page.evaluate("sessionStorage.getItem('falcon.token')") is None


# --- history ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_room(anna: Person, ben: Person, room: int) -> int:
    """150 messages, of one line and of several, all read by Anna."""
    for n in range(1, 151):
        ben.says(room, f"Line {n}" + "\nand more" * (n % 4))
    anna.call("PUT", f"/v1/rooms/{room}/read", {"seq": 150})
    return room


FIRST_IN_SIGHT = """() => {
  const box = document.querySelector('.scroller').getBoundingClientRect();
  const first = [...document.querySelectorAll('article')].find(a => a.getBoundingClientRect().bottom > box.top + 1);
  return [Number(first.dataset.seq), first.getBoundingClientRect().top];
}"""


def test_older_history_comes_without_a_jump(screen: Open, anna: Person, ben: Person, long_room: int) -> None:
    hers = screen().signs_in(anna).opens(long_room)
    hers.sees("Line 150")
    before = hers.page.locator("article").first.get_attribute("data-seq")
    # At once: the old position, the scroll that loads more, and a new message at the other end.
    hers.page.evaluate("document.querySelector('.scroller').scrollTop = 300")
    where = hers.page.evaluate(FIRST_IN_SIGHT)
    ben.says(long_room, "Something new")
    hers.page.wait_for_function("n => Number(document.querySelector('article').dataset.seq) < n", arg=int(before or 0))
    hers.page.locator(".latest", has_text="1 new message").wait_for()
    after = hers.page.evaluate(FIRST_IN_SIGHT)
    assert after[0] == where[0] and abs(after[1] - where[1]) <= 1.5, (where, after)
    until(lambda: anna.summary(long_room)["unread"] == 1)  # it has arrived, but Anna has not seen it

    def is_at_the_start() -> bool:
        hers.page.evaluate("document.querySelector('.scroller').scrollTop = 0")
        return bool(hers.page.locator(".beginning").count())

    until(is_at_the_start, every=0.1)
    assert len(hers.texts()) == 151


def test_a_message_has_an_address(screen: Open, anna: Person, long_room: int) -> None:
    hers = screen().signs_in(anna).opens(long_room, 20)
    found = hers.page.locator('article[data-seq="20"]')
    expect(found).to_be_in_viewport()
    expect(found).to_be_focused()
    assert not any(text.startswith("Line 150") for text in hers.texts())
    hers.page.locator(".latest").click()
    hers.sees("Line 150")
    hers.page.locator('article[data-seq="150"] a.time').click(force=True)
    expect(hers.page).to_have_url(re.compile(rf"#/rooms/{long_room}/150$"))


# --- rooms and members ------------------------------------------------------------------------------------------------


def test_a_room_from_its_making_to_leaving_it(screen: Open, anna: Person, ben: Person) -> None:
    hers = screen().signs_in(anna)
    his = screen().signs_in(ben)
    hers.page.get_by_role("button", name="New room").click()
    hers.page.get_by_label("Name", exact=True).fill("Book club")
    hers.page.get_by_role("button", name="Create room").click()
    expect(hers.page.get_by_role("heading", name="Book club")).to_be_visible()

    hers.page.get_by_role("button", name="Members").click()
    hers.page.get_by_role("button", name="Add member").click()
    adding = hers.page.get_by_role("dialog")
    adding.get_by_label("Name or handle").fill("Nobody at all")
    expect(adding.get_by_role("listbox")).to_have_text("Nobody is called that.")
    adding.get_by_role("button", name="Add member").click()
    expect(adding.get_by_role("alert")).to_have_text("Choose a person from the list.")
    adding.get_by_label("Name or handle").fill(ben.name.lower())
    adding.get_by_role("option", name=ben.name).click()
    adding.get_by_role("button", name="Add member").click()
    expect(hers.page.locator(".member-list")).to_contain_text(ben.name)

    his.page.get_by_role("link", name="Book club").click()
    hers.says("Chapter one?")
    his.sees("Chapter one?")
    his.page.get_by_role("button", name="Members").click()
    his.page.get_by_role("button", name=f"Write to {anna.name}").click()
    expect(his.page.get_by_role("heading", name=anna.name)).to_be_visible()
    his.says("Just between us")
    expect(hers.page.get_by_role("link", name=ben.name)).to_contain_text("Just between us")

    his.page.get_by_role("link", name="Book club").click()
    his.page.get_by_role("button", name="Members").click()
    his.page.get_by_role("button", name="Leave room").click()
    his.page.get_by_role("dialog").get_by_role("button", name="Leave room").click()
    expect(his.page.get_by_role("link", name="Book club")).to_have_count(0)
    expect(hers.page.locator(".member-list")).not_to_contain_text(ben.name)


def test_who_has_left_keeps_the_name_in_the_history(screen: Open, anna: Person, ben: Person, room: int) -> None:
    first = ben.says(room, "I am off, ask Anna")
    anna.says(room, "Bye!", reply_to=first)
    ben.call("DELETE", f"/v1/rooms/{room}/members/{ben.account_id}")
    hers = screen().signs_in(anna).opens(room)
    expect(hers.page.locator(f'article[data-seq="{first}"] .author')).to_have_text(ben.name)
    expect(hers.page.locator(".quote strong")).to_have_text(ben.name)


def test_a_broken_rule_is_said_in_the_language_of_the_page(screen: Open, anna: Person, room: int) -> None:
    hers = screen(locale="ja-JP").signs_in(anna).opens(room)
    hers.page.get_by_role("button", name="ルームの設定").click()
    dialog = hers.page.get_by_role("dialog")
    dialog.get_by_label("名前").fill("Tea\u202ekitchen")
    dialog.get_by_role("button", name="保存").click()
    refused = dialog.get_by_role("alert")
    expect(refused).to_contain_text("名前に使えない値があります（制御文字と、文字の向きを変える文字は使えません）。")


def test_an_admin_renames_describes_and_deletes_a_room(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    his = screen().signs_in(ben).opens(room)
    expect(his.page.get_by_role("button", name="Room settings")).to_have_count(0)  # Ben is not an admin

    hers.page.get_by_role("button", name="Room settings").click()
    dialog = hers.page.get_by_role("dialog")
    expect(dialog.get_by_label("Name")).to_have_value("Tea kitchen")
    dialog.get_by_label("Name").fill("Tea\u202ekitchen")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The name must have no control characters")
    dialog.get_by_label("Name").fill("Coffee kitchen")
    dialog.get_by_label("Description").fill("Who fills the machine")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    for each in (hers, his):
        expect(each.page.get_by_role("heading", name="Coffee kitchen")).to_be_visible()
        expect(each.page.locator(".titles")).to_contain_text("2 members · Who fills the machine")

    hers.page.get_by_role("button", name="Room settings").click()
    hers.page.get_by_role("button", name="Delete room").click()
    confirm = hers.page.get_by_role("dialog", name="Delete Coffee kitchen?")
    confirm.get_by_role("button", name="Delete room").click()
    for each in (hers, his):
        expect(each.page.locator(".toasts")).to_contain_text("Coffee kitchen was deleted.")
        expect(each.page.get_by_role("link", name="Coffee kitchen")).to_have_count(0)


def test_people_who_are_known_are_written_to_by_name(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    expect(hers.page.locator(".titles")).to_contain_text("2 members")
    hers.page.get_by_role("button", name="Direct message", exact=True).click()
    account = hers.page.get_by_label("Name or handle")
    account.fill(ben.name.lower())
    hers.page.get_by_role("option", name=ben.name).wait_for()
    account.press("Enter")
    hers.page.get_by_role("button", name="Start conversation").click()
    expect(hers.page.get_by_role("heading", name=ben.name)).to_be_visible()
    expect(hers.page.locator(".beginning")).to_contain_text(f"This is the start of your conversation with {ben.name}.")


def test_a_link_in_a_rooms_description_is_one(screen: Open, anna: Person, room: int) -> None:
    anna.call("PATCH", f"/v1/rooms/{room}", {"description": "Rules: https://example.org/tea (all of them)"})
    page = screen().signs_in(anna).opens(room).page
    page.get_by_role("button", name="Members").click()
    for place in (".titles", ".beginning", ".about-room"):
        expect(page.locator(place)).to_contain_text("Rules: https://example.org/tea (all of them)")
        expect(page.locator(f"{place} a")).to_have_attribute("href", "https://example.org/tea")


def test_a_dropped_file_does_not_replace_the_page(screen: Open, anna: Person, room: int) -> None:
    page = screen().signs_in(anna).opens(room).page
    dropped = """isFile => {
      const dataTransfer = new DataTransfer();
      if (isFile) dataTransfer.items.add(new File(['tea'], 'tea.txt'));
      else dataTransfer.setData('text/plain', 'tea');
      const over = new DragEvent('dragover', { bubbles: true, cancelable: true, dataTransfer });
      document.querySelector('#composer').dispatchEvent(over);
      return over.defaultPrevented;
    }"""
    assert [page.evaluate(dropped, kind) for kind in (True, False)] == [True, False]


def test_a_person_has_one_colour_everywhere(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "Hello")
    direct = int(anna.call("PUT", f"/v1/direct/{ben.account_id}")["room_id"])
    hers = screen().signs_in(anna).opens(room)
    hers.page.get_by_role("button", name="Members").click()
    hue = re.compile(r"hue-\d")
    shown = [
        hers.page.locator("article", has_text="Hello").locator(".avatar"),
        hers.page.locator(f'.member-list li[data-account="{ben.account_id}"] .avatar'),
        hers.page.locator(f'.room-list a[href="#/rooms/{direct}"] .avatar'),
    ]
    colours = [hue.findall(each.get_attribute("class") or "") for each in shown]
    assert len(colours[0]) == 1 and colours == [colours[0]] * 3


NOTIFICATIONS = """
window.told = [];
window.looking = true;
document.hasFocus = () => window.looking;
window.Notification = class extends EventTarget {
  static permission = "default";
  static requestPermission = async () => (window.Notification.permission = "granted");
  constructor(title, { body }) {
    super();
    window.told.push([title, body]);
    window.latest = this;
  }
  close() {}
};
"""


def test_what_is_meant_for_someone_who_looks_elsewhere_is_notified_with_consent(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    hers = screen()
    hers.page.add_init_script(NOTIFICATIONS)
    hers.signs_in(anna).opens(room)
    page = hers.page
    direct = int(ben.call("PUT", f"/v1/direct/{anna.account_id}")["room_id"])

    def told() -> list[list[str]]:
        return list(page.evaluate("window.told"))

    page.evaluate("window.looking = false")
    ben.says(room, "Nobody asked for this", mentions=[anna.account_id])
    hers.sees("Nobody asked")
    assert told() == []
    page.get_by_role("button", name="Notify me of mentions and direct messages").click()
    expect(page.get_by_role("button", name="Stop notifications")).to_be_visible()

    ben.says(room, "For all")
    ben.says(room, f"Tea, @{anna.name}?", mentions=[anna.account_id])
    ben.says(direct, "Just us")
    until(lambda: len(told()) == 2)
    assert told() == [[f"{ben.name} in Tea kitchen", f"Tea, @{anna.name}?"], [ben.name, "Just us"]]
    page.evaluate("window.latest.dispatchEvent(new Event('click'))")
    expect(page.get_by_role("heading", name=ben.name)).to_be_visible()

    page.evaluate("window.looking = true")
    ben.says(direct, "You see this")
    hers.sees("You see this")
    page.evaluate("window.looking = false")
    page.get_by_role("button", name="Stop notifications").click()
    ben.says(direct, "Are you there?")
    hers.sees("Are you there?")
    assert len(told()) == 2


# --- hands and eyes ---------------------------------------------------------------------------------------------------


def test_the_keyboard_is_enough(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "Hello")
    page = screen().page
    page.goto(f"{anna.url}/")
    expect(page.get_by_label("E-mail or handle")).to_be_focused()
    page.get_by_role("button", name="Use a token").press("Enter")
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    page.keyboard.type(anna.token)
    page.keyboard.press("Enter")
    link = page.locator(f'.room-list a[href="#/rooms/{room}"]')
    link.wait_for()

    def tab_to(css: str, key: str = "Tab") -> None:
        for _ in range(20):
            if page.evaluate("css => document.activeElement.matches(css)", css):
                return
            page.keyboard.press(key)
        raise AssertionError(f"{css} cannot be reached")

    tab_to(".room-list a")
    page.keyboard.press("Enter")
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.type(f"@{ben.name[:3]}")
    expect(page.get_by_role("option", name=ben.name)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    page.locator("article[data-seq]", has_text=f"@{ben.name} hello").wait_for()
    until(lambda: ben.summary(room)["mentions"] == 1)

    tab_to("article", "Shift+Tab")
    page.keyboard.press("Home")
    expect(page.locator("article").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("e")
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    page.locator("article", has_text="hello!").wait_for()
    tab_to("article", "Shift+Tab")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")  # the answer to the question has the focus
    page.locator("article.deleted").wait_for()


def test_text_is_never_html(screen: Open, anna: Person, ben: Person, room: int) -> None:
    text = (
        "<img src=x onerror=\"document.title='gone'\"><b>bold</b> &amp; <script>alert(1)</script> javascript:alert(1)"
    )
    ben.says(room, text)
    named = ben.makes_room("<i>Room</i>", anna)
    hers = screen().signs_in(anna).opens(room)
    hers.sees("<b>bold</b>")
    assert hers.texts() == [text]
    assert hers.page.locator("article .text *").count() == 0
    expect(hers.page.locator(f'.room-list a[href="#/rooms/{named}"] .name')).to_have_text("<i>Room</i>")


def test_new_messages_are_said_to_those_who_listen(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    expect(hers.page.locator("h2", has_text="Tea kitchen")).to_be_visible()
    ben.says(room, "Ding")
    expect(hers.page.locator("#announcer[aria-live=polite]")).to_contain_text(f"{ben.name}: Ding")


def test_a_message_that_comes_before_its_author_s_name_is_said_with_the_name(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    hers = screen().signs_in(anna)
    late: list[Route] = []
    for path in ("members", "authors"):
        hers.page.route(f"**/{path}?*", lambda route: late.append(route))
    hers.opens(room)
    ben.says(room, "Ding")
    hers.sees("Ding")
    expect(hers.page.locator("#announcer")).to_be_empty()
    for route in late:
        route.continue_()
    expect(hers.page.locator("#announcer")).to_contain_text(f"{ben.name}: Ding")


def test_it_speaks_japanese(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "お茶にしませんか")
    hers = screen(locale="ja-JP").signs_in(anna).opens(room)
    page = hers.page
    assert page.evaluate("document.documentElement.lang") == "ja"
    hers.sees("お茶にしませんか")
    expect(page.locator(".state")).to_contain_text("接続中")
    breaks = "css => getComputedStyle(document.querySelector(css)).wordBreak"
    assert page.evaluate(breaks, ".state .what") == "keep-all"  # 接続していません is not cut between ま and せん
    assert page.evaluate(breaks, "article .text") == "normal"  # messages may be in any language
    # The Enter that ends a conversion does not send.
    composer = page.locator("#composer")
    composer.fill("はい")
    composer.dispatch_event("keydown", {"key": "Enter", "keyCode": 229, "isComposing": True})
    expect(composer).to_have_value("はい")
    composer.press("Enter")
    hers.sees("はい")
    hers.network.set_offline(True)
    expect(page.locator(".state .what")).to_contain_text("接続していません")
    lines = """() => {
      const words = document.createRange();
      words.selectNodeContents(document.querySelector('.state .what').firstChild);
      return words.getClientRects().length;
    }"""
    assert page.evaluate(lines) == 1
    hers.network.set_offline(False)
    hers.is_connected()

    page.get_by_label("言語").select_option("en")
    expect(page.locator(".state")).to_contain_text("Connected")
    hers.sees("はい")
    page.reload()
    hers.is_connected()
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_phone_shows_one_thing_at_a_time(screen: Open, anna: Person, ben: Person, room: int) -> None:
    ben.says(room, "A " * 300 + "https://example.org/" + "long" * 60)
    phone = screen(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True).signs_in(anna)
    page = phone.page

    def shows_only(part: str) -> None:
        for css in ("nav.rooms", "main", "aside.members"):
            expect(page.locator(css)).to_be_visible(visible=css == part)
        assert page.evaluate("document.documentElement.scrollWidth <= 360")

    shows_only("nav.rooms")
    page.get_by_role("link", name="Tea kitchen").tap()
    phone.sees("https://example.org")
    shows_only("main")
    page.get_by_role("button", name="Members").tap()
    shows_only("aside.members")
    page.get_by_role("button", name="Close").tap()
    page.get_by_role("link", name="Rooms").tap()
    shows_only("nav.rooms")


def test_on_a_phone_the_bar_of_a_touched_message_leaves_its_text_to_be_read(
    screen: Open, anna: Person, ben: Person, room: int
) -> None:
    ben.says(room, "One")
    ben.says(room, "Another one")
    phone = screen(viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True).signs_in(anna).opens(room)
    for seq in (1, 2):
        message = phone.page.locator(f'article[data-seq="{seq}"]')
        message.locator(".text").tap()
        bar, text = (message.locator(part).bounding_box() for part in (".actions", ".text"))
        assert bar is not None and text is not None
        assert bar["y"] + bar["height"] <= text["y"] + 1


def test_after_a_restore_the_page_shows_what_is_there_and_keeps_what_is_not_sent(
    chromium: Chromium, tmp_path: Path
) -> None:
    falcon = Falcon(tmp_path / "data").start()
    try:
        anna = Person(falcon.info["url"], falcon.info["token"], 0, own_name())
        room = anna.makes_room("Tea kitchen")
        hers = Screen(chromium.new_context().new_page(), anna.url).signs_in(anna).opens(room)
        hers.says("Before the copy")
        hers.shows(["Before the copy"])
        embedded.copy(Settings(data_dir=falcon.data_dir), tmp_path / "copy")
        hers.says("Lost")
        hers.shows(["Before the copy", "Lost"])
        falcon.stop()
        hers.page.locator("#composer").fill("A thought")
        shutil.rmtree(falcon.data_dir)
        (tmp_path / "copy").rename(falcon.data_dir)
        falcon.start()
        hers.shows(["Before the copy"])
        expect(hers.page.locator("#composer")).to_have_value("A thought")
        until(lambda: anna.log_of(room) == ["Before the copy"])
        hers.network.close()
    finally:
        falcon.stop()


# --- signing in, and the files ----------------------------------------------------------------------------------------


def signs_out(page: Page, how: str = "End the token") -> None:
    page.get_by_role("button", name="Sign out").click()
    asked = page.get_by_role("dialog", name="Sign out?")
    expect(asked).to_contain_text("signs you out on every device")
    asked.locator(".buttons").get_by_role("button", name=how).click()


def test_a_token_in_the_address_goes_from_there_and_signs_nobody_in(screen: Open, anna: Person, ben: Person) -> None:
    hers = screen()
    page = hers.page
    page.goto(f"{anna.url}/#token={anna.token}")
    page.get_by_role("button", name=f"Continue as {anna.name}").wait_for()
    assert anna.token not in page.url
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
    page.get_by_label("Stay signed in").check()
    page.get_by_role("button", name=f"Continue as {anna.name}").click()
    hers.is_connected()
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 1]
    # A link with the token of another account asks first, and changes nothing before the answer.
    page.goto(f"{anna.url}/#token={ben.token}")
    page.get_by_role("button", name=f"Continue as {ben.name}").wait_for()
    page.reload()
    hers.is_connected()
    expect(page.locator(".account")).to_contain_text(anna.name)
    signs_out(page)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]


def test_signing_out_ends_the_token_at_the_server(screen: Open, anna: Person, ben: Person) -> None:
    headers = {"Authorization": f"Bearer {anna.token}"}
    page = screen().signs_in(anna).page
    assert httpx.get(f"{anna.url}/v1/me", headers=headers, timeout=60).status_code == 200
    signs_out(page)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert httpx.get(f"{anna.url}/v1/me", headers=headers, timeout=60).status_code == 401


def test_signing_out_on_one_device_leaves_the_token_to_the_others(screen: Open, anna: Person) -> None:
    page, phone = screen().signs_in(anna).page, screen().signs_in(anna)
    signs_out(page, "Cancel")
    expect(page.locator(".account")).to_contain_text(anna.name)
    signs_out(page, "Sign out here")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
    phone.page.reload()
    phone.is_connected()


def test_who_signs_out_while_falcon_is_out_of_reach_is_told_that_the_token_is_valid_yet(
    screen: Open, anna: Person
) -> None:
    hers = screen().signs_in(anna)
    hers.page.route("**/v1/me/token", lambda route: route.abort())
    signs_out(hers.page)
    expect(hers.page.get_by_role("alert")).to_contain_text("still valid")
    assert hers.page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]


def test_the_admins_only_token_survives_signing_out(screen: Open, falcon: Falcon) -> None:
    url, token = falcon.info["url"], falcon.info["admin_token"]
    page = screen().signs_in(Person(url, token, 0, own_name())).page
    signs_out(page)
    expect(page.get_by_role("alert")).to_contain_text("stays valid")
    assert httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {token}"}, timeout=60).status_code == 200


def test_a_wrong_token_is_said_to_be_wrong(screen: Open, anna: Person) -> None:
    page = screen().page
    page.goto(f"{anna.url}/")
    page.get_by_role("button", name="Use a token").click()
    page.get_by_label("Token", exact=True).fill("falcon_1_nothing")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")


# --- beside the log ---------------------------------------------------------------------------------------------------


def test_who_types_is_seen_until_the_message_comes(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers, his = screen().signs_in(anna).opens(room), screen().signs_in(ben).opens(room)
    typing = hers.page.locator(".typing")

    def is_seen() -> bool:
        his.page.locator("#composer").press_sequentially("Tea ")
        return typing.text_content() == f"{ben.name} is typing …"

    until(is_seen, every=0.5)  # a process that was stopped for two seconds passes typing over
    expect(his.page.locator(".typing")).to_have_text("")
    his.says("Tea?")
    hers.sees("Tea?")
    expect(typing).to_have_text("")


def test_who_is_there_is_seen_among_the_members(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers = screen().signs_in(anna).opens(room)
    hers.page.get_by_role("button", name="Members").click()
    his = hers.page.locator(f'.member-list li[data-account="{ben.account_id}"]')
    expect(his).to_be_visible()
    expect(his.locator(".online")).to_have_count(0)
    screen().signs_in(ben)
    expect(his.locator(".online")).to_have_text("online")


def test_online_is_seen_beside_a_long_name(screen: Open, person: Callable[[str], Person], anna: Person) -> None:
    long = person("Bartholomew Constantine Featherstonehaugh-Cholmondeley the Elder")
    room = anna.makes_room("Tea kitchen", long)
    hers = screen().signs_in(anna).opens(room)
    screen().signs_in(long)
    hers.page.get_by_role("button", name="Members").click()
    item = hers.page.locator(f'.member-list li[data-account="{long.account_id}"]')
    online = item.locator(".online")
    expect(online).to_have_text("online")
    whole, shown = item.bounding_box(), online.bounding_box()
    assert whole and shown
    assert whole["x"] <= shown["x"] and shown["x"] + shown["width"] <= whole["x"] + whole["width"]
    hidden = online.evaluate(
        "small => { const { x, y, width, height } = small.getBoundingClientRect();"
        " return document.elementFromPoint(x + width / 2, y + height / 2) !== small }"
    )
    assert not hidden


@pytest.mark.parametrize(("locale", "shown"), [("en-US", r"\d?\d:\d\d [AP]M"), ("ja-JP", r"\d?\d:\d\d")])
def test_times_are_written_as_the_language_writes_them(
    screen: Open, anna: Person, room: int, locale: str, shown: str
) -> None:
    anna.says(room, "Hello")
    hers = screen(locale=locale).signs_in(anna).opens(room)
    text = hers.page.locator("article time").first.inner_text()
    assert re.fullmatch(shown, text.replace("\u202f", " ")) and not re.match(r"0\d:\d\d [AP]M", text)
