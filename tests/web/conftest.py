"""A Falcon with its processes, and Chromium to open its pages."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import BrowserContext, Error, Page, expect, sync_playwright

from falcon.http.web import address
from tools.harness.falcon import Falcon

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Without these the browser asks hosts of its maker at every start.
_QUIET: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# What does not come within this time, in milliseconds, does not come.
_PATIENCE: Final = 60_000

Json = dict[str, Any]

_client = httpx.Client(timeout=60)
expect.set_options(_PATIENCE)


class Person:
    """A person with an account, who also uses the API."""

    def __init__(self, url: str, token: str, account_id: int, name: str) -> None:
        self.url = url
        self.token = token
        self.account_id = account_id
        self.name = name

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = _client.request(method, self.url + path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def makes_room(self, name: str, *members: "Person") -> int:
        invited = [{"account_id": person.account_id, "role": "member"} for person in members]
        return int(self.call("POST", "/v1/rooms", {"name": name, "members": invited})["room_id"])

    def says(self, room: int, text: str, **more: Any) -> int:
        return int(self.call("POST", f"/v1/rooms/{room}/messages", {"text": text, **more})["seq"])

    def log_of(self, room: int) -> list[str]:
        """The texts of all messages, as the API gives them. Checks that their seqs are 1, 2, 3 …"""
        messages: list[Json] = []
        while True:
            page = self.call("GET", f"/v1/rooms/{room}/messages?limit=200&after={len(messages)}")
            messages += page["messages"]
            if not page["has_after"]:
                break
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        return [message["text"] for message in messages]

    def summary(self, room: int) -> Json:
        rooms: list[Json] = self.call("GET", "/v1/rooms?limit=200")["rooms"]
        return next(each for each in rooms if each["room_id"] == room)


class Screen:
    """A page in a browser of its own. ``faults``: errors of the page, without those of the network."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.set_default_timeout(_PATIENCE)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self._said(line.type, line.text))

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:
            self.faults.append(text)

    @property
    def network(self) -> BrowserContext:
        return self.page.context

    def signs_in(self, person: Person, fragment: str = "") -> "Screen":
        self.page.goto(f"{self.url}/#token={person.token}")
        self.page.get_by_role("button", name=person.name).click()
        self.is_connected()
        if fragment:
            self.page.evaluate("fragment => { location.hash = fragment }", fragment)
        return self

    def opens(self, room: int, seq: int | None = None) -> "Screen":
        to = f"#/rooms/{room}" if seq is None else f"#/rooms/{room}/{seq}"
        self.page.evaluate("fragment => { location.hash = fragment }", to)
        self.page.locator("#composer").wait_for()
        return self

    def is_connected(self) -> None:
        self.page.locator(".state[data-state=connected]").wait_for(state="attached")

    def says(self, text: str) -> None:
        self.page.locator("#composer").fill(text)
        self.page.locator("#composer").press("Enter")

    def sees(self, text: str) -> None:
        self.page.locator("article[data-seq]:not(.deleted) .text", has_text=text).first.wait_for()

    def texts(self) -> list[str]:
        """The texts of the messages that the page shows, without unsent ones. Checks that their seqs have no gap."""
        found: list[tuple[int, str]] = self.page.evaluate(
            "[...document.querySelectorAll('article[data-seq]')]"
            ".map(a => [Number(a.dataset.seq), a.querySelector('.text').textContent])"
        )
        seqs = [seq for seq, _ in found]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs))) if seqs else True
        return [text for _, text in found]

    def shows(self, texts: list[str]) -> None:
        """Waits until the page shows exactly these texts, in this order, and nothing is unsent."""
        self.page.wait_for_function(
            "n => document.querySelectorAll('article[data-seq]').length === n"
            " && !Object.keys(localStorage).some(key => key.startsWith('falcon.outbox.'))"
            " && !document.querySelector('article.unsent')",
            arg=len(texts),
        )
        assert self.texts() == texts


Open = Callable[..., Screen]


def of_the_page(script: str) -> str:
    """The script with the modules that the page has loaded, in place of /web/NAME."""
    return script.replace("'/web/", f"'{address('')}")


@pytest.fixture(scope="package")
def chromium() -> Iterator[Chromium]:
    """Without Chromium the tests are skipped; under ``CI=true`` they fail."""
    if CHROMIUM is None:
        reason = "no Chromium here: install the package chromium"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """It keeps few events, so that a stream soon misses too many to replay them."""
    falcon = Falcon(tmp_path_factory.mktemp("falcon"), {"stream_events": 100}).start()
    yield falcon
    falcon.stop()


@pytest.fixture(scope="package")
def url(falcon: Falcon) -> str:
    return str(falcon.info["url"])


@pytest.fixture(scope="package")
def person(falcon: Falcon) -> Callable[[str], Person]:
    """Creates an account. A number after the name keeps the accounts of tests apart."""
    admin = Person(falcon.info["url"], falcon.info["admin_token"], 0, "")
    numbers = itertools.count(1)

    def make(name: str) -> Person:
        name = f"{name} {next(numbers)}"
        made = admin.call("POST", "/v1/accounts", {"name": name})
        return Person(admin.url, made["token"], made["account_id"], name)

    return make


@pytest.fixture
def anna(person: Callable[[str], Person]) -> Person:
    return person("Anna")


@pytest.fixture
def ben(person: Callable[[str], Person]) -> Person:
    return person("Ben")


@pytest.fixture
def room(anna: Person, ben: Person) -> int:
    return anna.makes_room("Tea kitchen", ben)


@pytest.fixture
def screen(chromium: Chromium, url: str) -> Iterator[Open]:
    """Opens a browser of its own. At the end no page may have reported a violation of its policy or an error."""
    opened: list[Screen] = []

    def open_screen(**how: Any) -> Screen:
        how = {"viewport": {"width": 1100, "height": 700}, "locale": "en-GB", **how}
        made = Screen(chromium.new_context(**how).new_page(), url)
        opened.append(made)
        return made

    yield open_screen
    for each in opened:
        try:
            each.network.close()
        except Error:  # the test has closed it
            continue
    assert [fault for each in opened for fault in each.faults] == []
