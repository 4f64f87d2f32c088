"""People sign in, find each other and are managed, in a browser."""

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Open, Person, Screen
from tools.harness.falcon import Falcon
from tools.harness.waiting import until

PASSWORD = "tea for the whole kitchen"


@pytest.fixture
def owner(falcon: Falcon) -> Person:
    return Person(falcon.info["url"], falcon.info["token"], falcon.info["account_id"], "")


def link_for(owner: Person, person: Person) -> str:
    return str(owner.call("POST", f"/v1/accounts/{person.account_id}/sign-in-link")["url"])


def signs_in(screen: Screen, login: str, password: str = PASSWORD) -> Screen:
    screen.page.goto(f"{screen.url}/")
    screen.page.get_by_label("E-mail or handle").fill(login)
    screen.page.get_by_label("Password").fill(password)
    screen.page.get_by_role("button", name="Sign in").click()
    return screen


def is_out(page: Page) -> None:
    expect(page.get_by_label("E-mail or handle")).to_be_visible()


def test_a_new_colleague_comes_by_an_invitation_and_writes_in_an_open_room(
    screen: Open, owner: Person, anna: Person
) -> None:
    room = anna.makes_room("Tea for all")
    anna.call("PATCH", f"/v1/rooms/{room}", {"open": True})
    url = owner.call("POST", "/v1/invitations", {})["url"]

    hers = screen()
    began = time.monotonic()
    hers.page.goto(url)
    expect(hers.page).not_to_have_url(url)  # a code in the address would be in the history
    handle = f"yuko{room}"
    hers.page.get_by_label("Your name").fill("鈴木 ゆうこ")
    hers.page.get_by_label("Handle").fill(handle)
    hers.page.get_by_label("New password").fill(PASSWORD)
    hers.page.get_by_role("button", name="Join").click()
    hers.is_connected()
    assert hers.page.evaluate("document.cookie") == ""  # no script can read the cookie
    assert "falcon_" not in hers.page.evaluate("JSON.stringify([localStorage, sessionStorage])")

    hers.page.get_by_role("checkbox", name="Tea for all").check()
    hers.page.get_by_role("button", name="Start").click()
    hers.says("はじめまして")
    hers.sees("はじめまして")
    assert time.monotonic() - began < 60
    until(lambda: anna.log_of(room) == ["はじめまして"])

    found = screen().signs_in(anna)
    found.page.keyboard.press("Control+k")
    found.page.get_by_role("searchbox", name="Name or handle").fill("ゆう")
    expect(found.page.get_by_role("button", name="鈴木 ゆうこ")).to_be_visible()
    found.page.get_by_role("searchbox").dispatch_event("keydown", {"key": "Enter", "isComposing": True})
    expect(found.page.get_by_role("button", name="鈴木 ゆうこ")).to_be_visible()
    found.page.keyboard.press("Escape")
    expect(found.page.get_by_role("dialog")).to_have_count(0)

    used = screen().page
    used.goto(url)
    expect(used.get_by_role("alert")).to_contain_text("was used")


def test_a_first_link_opens_the_page_signed_in_and_asks_where_another_account_is(
    screen: Open, owner: Person, anna: Person, ben: Person
) -> None:
    hers = screen()
    hers.page.goto(link_for(owner, anna))
    hers.page.get_by_role("button", name="Later").click()
    hers.is_connected()
    expect(hers.page.get_by_role("group", name="Your account")).to_contain_text(anna.name)
    hers.page.reload()
    hers.is_connected()
    hers.page.goto(link_for(owner, ben))
    hers.page.reload()
    expect(hers.page.get_by_role("group", name="Your account")).to_contain_text(anna.name)
    hers.page.goto(link_for(owner, ben))
    hers.page.get_by_role("button", name="Sign in").click()
    hers.page.get_by_role("button", name="Later").click()
    hers.is_connected()
    expect(hers.page.get_by_role("group", name="Your account")).to_contain_text(ben.name)


def test_a_newcomer_takes_the_first_steps_on_a_phone_by_keyboard(screen: Open, owner: Person, anna: Person) -> None:
    handle = f"anna{anna.account_id}"
    hers = screen(viewport={"width": 360, "height": 640}, locale="ja-JP")
    hers.page.goto(link_for(owner, anna))
    handle_of = hers.page.get_by_label("ハンドル")
    expect(handle_of).to_be_focused()
    keys = hers.page.keyboard
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    assert handle_of.evaluate("input => !input.validity.valid")  # a password alone signs in nowhere
    handle_of.press_sequentially(handle)
    keys.press("Enter")
    expect(hers.page.get_by_role("dialog")).to_have_count(0)
    assert hers.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    signs_in(screen(), handle).is_connected()


def test_a_person_signs_in_on_two_devices_and_out_of_one(screen: Open, owner: Person, anna: Person) -> None:
    anna.call("PUT", "/v1/me/password", {"password": "a forgotten password"})
    link = owner.call("POST", f"/v1/accounts/{anna.account_id}/sign-in-link")["url"]
    handle = f"anna{anna.account_id}"
    anna.call("PATCH", "/v1/me", {"handle": handle})
    laptop = screen()
    laptop.page.goto(link)
    expect(laptop.page.get_by_role("heading", name=anna.name)).to_be_visible()
    laptop.page.get_by_label("New password").fill(PASSWORD)
    laptop.page.get_by_role("button", name="Save and sign in").click()
    laptop.is_connected()

    phone = signs_in(screen(), handle)
    phone.is_connected()
    phone.page.get_by_role("button", name="Your account").click()
    expect(phone.page.locator(".sessions li")).to_have_count(2)
    phone.page.get_by_role("button", name="Sign out everywhere else").click()
    expect(phone.page.locator(".sessions li")).to_have_count(1)
    is_out(laptop.page)
    phone.page.get_by_role("button", name="Cancel").click()
    phone.page.get_by_role("button", name="Sign out").click()
    asked = phone.page.get_by_role("dialog", name="Sign out?")
    expect(asked).to_contain_text("other devices stay signed in")
    asked.get_by_role("button", name="Sign out").click()
    is_out(phone.page)
    phone.page.reload()
    is_out(phone.page)


def test_a_wrong_password_is_said_without_saying_what_is_wrong(screen: Open, anna: Person) -> None:
    page = signs_in(screen(), "nobody", "not the password").page
    expect(page.get_by_role("alert")).to_have_text("E-mail or handle and password do not fit together.")


def test_one_changes_the_own_name_and_others_see_it(screen: Open, anna: Person, ben: Person, room: int) -> None:
    hers, his = screen().signs_in(anna).opens(room), screen().signs_in(ben).opens(room)
    hers.page.get_by_role("button", name="Your account").click()
    hers.page.get_by_label("Your name").fill("Anna Schmidt")
    hers.page.get_by_label("Title").fill("Tea sommelier")
    hers.page.get_by_role("button", name="Save").click()
    expect(hers.page.locator(".part").first.get_by_role("status")).to_have_text("Saved.")
    hers.page.get_by_role("button", name="Cancel").click()
    hers.says("Hello")
    his.sees("Hello")
    his.page.reload()
    his.page.get_by_role("button", name="Anna Schmidt").first.click()
    expect(his.page.get_by_role("dialog")).to_contain_text("Tea sommelier")


def test_an_administrator_invites_into_a_room(screen: Open, owner: Person) -> None:
    room = owner.makes_room("Board of tea")
    owners = screen()
    owners.page.goto(f"{owner.url}/#token={owner.token}")
    owners.page.get_by_role("button", name="Continue as").click()
    owners.is_connected()
    owners.page.get_by_role("button", name="People and invitations").click()
    owners.page.get_by_label("Rooms that they join").select_option(str(room))
    owners.page.get_by_role("button", name="Create a link").click()
    url = owners.page.locator(".once input").input_value()
    hers = screen()
    hers.page.goto(url)
    expect(hers.page.get_by_role("main")).to_contain_text("You join Board of tea.")


def test_an_administrator_says_which_rooms_newcomers_join(screen: Open, owner: Person, ben: Person) -> None:
    room = ben.makes_room("Everybody's tea")
    ben.call("PATCH", f"/v1/rooms/{room}", {"open": True})
    owners = screen()
    owners.page.goto(f"{owner.url}/#token={owner.token}")
    owners.page.get_by_role("button", name="Continue as").click()
    owners.is_connected()
    owners.page.get_by_role("button", name="People and invitations").click()
    owners.page.locator(".rooms-of-all li", has_text="Everybody's tea").get_by_role("checkbox").check()
    until(lambda: ben.call("GET", f"/v1/rooms/{room}")["default"] or None)
    ben.call("PATCH", f"/v1/rooms/{room}", {"open": False})  # no other test's newcomers join it


def test_the_language_is_chosen_in_the_settings(screen: Open, anna: Person) -> None:
    hers = screen().signs_in(anna)
    hers.page.get_by_role("button", name="Your account").click()
    hers.page.get_by_role("dialog").get_by_label("Language").select_option("ja")
    hers.page.get_by_role("button", name="サインアウト").wait_for()
    expect(hers.page.get_by_role("dialog")).to_have_count(0)


def test_an_administrator_deactivates_somebody_whose_page_signs_out(
    screen: Open, falcon: Falcon, owner: Person, person: Callable[[str], Person]
) -> None:
    leaver = person("Leaver")
    his = screen().signs_in(leaver)
    owners = screen()
    owners.page.goto(f"{owner.url}/#token={owner.token}")
    owners.page.get_by_role("button", name="Continue as").click()
    owners.is_connected()
    owners.page.get_by_role("button", name="People and invitations").click()
    owners.page.get_by_role("searchbox", name="Find somebody").fill(leaver.name)
    expect(owners.page.locator(".people li")).to_have_count(1)
    owners.page.locator(".people li", has_text=leaver.name).get_by_role("button", name="Deactivate").click()
    owners.page.get_by_role("dialog", name=f"Deactivate {leaver.name}?").get_by_role(
        "button", name="Deactivate"
    ).click()
    expect(owners.page.locator(".people")).to_contain_text("Deactivated")
    is_out(his.page)
