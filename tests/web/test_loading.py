"""How the page is loaded while its server refuses, drops connections, or is of another version."""

from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import Open

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

FROM_THE_NETWORK: Final = (
    "performance.getEntriesByType('resource')"
    ".filter(each => each.name.includes('/web/') && each.transferSize > 0).length"
)


def fails_first(page: Page, files: str, how: Callable[[Route], None], times: int = 2) -> list[str]:
    """The page's first ``times`` requests for these files fail. Returns the addresses that failed, as they do."""
    failed: list[str] = []

    def refuse(route: Route) -> None:
        if len(failed) == times:
            route.fallback()
        else:
            failed.append(route.request.url)
            how(route)

    page.route(files, refuse)
    return failed


def refused(route: Route) -> None:
    route.fulfill(status=429, content_type="application/problem+json", body="{}")


def dropped(route: Route) -> None:
    route.abort("connectionreset")


def unknown(route: Route) -> None:
    route.fulfill(status=404, content_type="application/problem+json", body="{}")


def is_ready(page: Page) -> None:
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.locator("#failed")).to_be_hidden()
    page.wait_for_function("history.state === null")  # the next trouble has all its tries


def test_a_page_that_is_loaded_again_asks_for_nothing_that_it_has(screen: Open) -> None:
    seen = screen()
    seen.page.goto(seen.url)
    is_ready(seen.page)
    assert seen.page.evaluate(FROM_THE_NETWORK) > 20
    for _ in range(10):
        seen.page.reload()
        is_ready(seen.page)
        assert seen.page.evaluate(FROM_THE_NETWORK) == 0


@pytest.mark.parametrize("how", [refused, dropped, unknown])
def test_a_page_without_one_of_its_modules_says_so_and_tries_again(screen: Open, how: Callable[[Route], None]) -> None:
    seen = screen()
    failed = fails_first(seen.page, "**/web/*/chat.js", how)
    seen.page.goto(f"{seen.url}/#/rooms/5")
    expect(seen.page.locator("#failed")).to_contain_text("tries again")
    is_ready(seen.page)
    assert len(failed) == 2 and seen.page.url.endswith("/#/rooms/5")


def test_a_page_without_its_style_gets_it_and_keeps_what_it_shows(screen: Open) -> None:
    seen = screen()
    fails_first(seen.page, "**/web/*/style.css", refused)
    seen.page.goto(seen.url)
    seen.page.get_by_label("E-mail or handle").fill("anna@exam")
    seen.page.wait_for_function("document.styleSheets.length === 1")
    expect(seen.page.get_by_label("E-mail or handle")).to_have_value("anna@exam")


def test_a_page_whose_server_is_away_meanwhile_stays_and_loads_when_it_is_back(screen: Open) -> None:
    seen = screen()
    fails_first(seen.page, "**/web/*/main.js", dropped, times=1)
    seen.page.goto(seen.url)
    asked = fails_first(seen.page, seen.url + "/", dropped)  # the page asks before it loads itself again
    expect(seen.page.locator("#failed")).to_be_visible()
    is_ready(seen.page)
    assert len(asked) == 2


def test_a_page_that_waits_for_a_module_says_so(screen: Open) -> None:
    seen = screen()
    held: list[Route] = []
    seen.page.route("**/web/*/timeline.js", lambda route: held.append(route))
    seen.page.goto(seen.url, wait_until="commit")
    expect(seen.page.get_by_text("Loading")).to_be_visible()
    for route in held:
        route.continue_()
    is_ready(seen.page)


def test_a_page_does_not_load_itself_for_ever(screen: Open) -> None:
    seen = screen()
    failed = fails_first(seen.page, "**/web/*/main.js", unknown, times=2)
    seen.page.goto(seen.url)
    seen.page.evaluate("history.replaceState({ loads: 8 }, ''); location.reload()")
    expect(seen.page.locator("#failed")).not_to_contain_text("tries again")
    expect(seen.page.locator("#failed")).to_contain_text("could not be loaded")
    assert len(failed) == 2
    seen.page.get_by_role("button", name="Try again").click()
    is_ready(seen.page)
