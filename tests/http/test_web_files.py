"""The files of the web client, as the server sends them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from falcon.features.reactions.api import check_emoji
from falcon.http.problems import KINDS
from falcon.http.web import address, policy
from tests.support.http import Falcon, problem

FOLDER: Final = Path(__file__).parents[2] / "falcon" / "web"
FILES: Final = sorted(
    str(path.relative_to(FOLDER))
    for folder in (FOLDER, FOLDER / "client", FOLDER / "highlighting")
    for path in folder.iterdir()
    if path.suffix in (".js", ".css", ".svg")
)
BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Falcon]:
    """Without processes or a browser: these tests only read files."""
    with Falcon(tmp_path_factory.mktemp("falcon")) as started:
        yield started


def test_a_browser_gets_the_page_and_everybody_else_json(falcon: Falcon) -> None:
    page = falcon.send("GET", "/", headers=BROWSER)
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["vary"] == "Accept, Accept-Encoding" and page.headers["cache-control"] == "no-cache"
    known = BROWSER | {"If-None-Match": page.headers["etag"]}
    assert falcon.send("GET", "/", headers=known).status_code == 304
    for accept in ("*/*", "application/json", "text/*", ""):
        index = falcon.send("GET", "/", headers={"Accept": accept})
        assert index.headers["content-type"] == "application/json"
        assert index.headers["vary"] == "Accept, Accept-Encoding"
        assert set(index.json()) == {"name", "docs", "openapi"}


def test_the_page_names_each_module_that_it_needs_and_no_other(falcon: Falcon) -> None:
    """Otherwise a browser would ask for one only once it has read another, on a slow line seconds later."""
    needed, found = set(), {"main.js"}
    while found:
        needed |= found
        imported = (
            (name, each) for name in found for each in re.findall(r'from "(\..*?)"', (FOLDER / name).read_text())
        )
        found = {os.path.normpath(Path(name).parent / each) for name, each in imported} - needed
    page = falcon.send("GET", "/", headers=BROWSER).text
    assert {address(name) for name in needed} == set(re.findall(r'"modulepreload" href="([^"]+)"', page))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_as_what_it_is_and_kept_for_good(falcon: Falcon, name: str) -> None:
    file = falcon.send("GET", address(name))
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    assert file.headers["content-type"] == kinds[Path(name).suffix]
    assert file.content == (FOLDER / name).read_bytes()
    assert file.headers["content-security-policy"] == policy()
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"

    known = {"If-None-Match": file.headers["etag"]}
    assert falcon.send("GET", address(name), headers=known).status_code == 304
    head = falcon.send("HEAD", address(name))
    assert (head.headers["etag"], head.headers["content-length"], head.content) == (
        file.headers["etag"],
        file.headers["content-length"],
        b"",
    )


def test_the_client_has_an_address_for_pages_of_others_too(falcon: Falcon) -> None:
    file = falcon.send("GET", "/web/client/index.js")
    assert file.content == (FOLDER / "client" / "index.js").read_bytes()
    assert file.headers["cache-control"] == "no-cache"


def test_a_cold_load_is_small(falcon: Falcon) -> None:
    cold = [
        name
        for name in FILES
        if not name.startswith(
            (
                "highlighting",
                "docs.",
                "tryit.",
                "admin.",
                "settings.",
                "directory.",
                "welcome.",
                "lists.",
                "keys.",
                "thread.",
            )
        )
    ]
    sizes = [falcon.send("HEAD", address(name), headers={"Accept-Encoding": "gzip"}).headers for name in cold]
    assert sum(int(each["content-length"]) for each in sizes) < 92_000  # 270 KB without gzip


@pytest.mark.parametrize(
    "path",
    [
        "/web",
        "/web/",
        "/web/none.js",
        "/web/main.js",
        "/web/0123456789abcdef/main.js",  # of another version
        "/web/index.html",
        "/web/client/index.d.ts",
        "/web/client/",
        "/web/../http/app.py",
        "/web/..%2Fhttp%2Fapp.py",
    ],
)
def test_nothing_else_is_served_there(falcon: Falcon, path: str) -> None:
    problem(falcon.send("GET", path, headers=BROWSER), 404, "not_found")


def test_files_are_only_read(falcon: Falcon) -> None:
    problem(falcon.send("POST", address("main.js")), 405, "method_not_allowed")


def test_the_page_is_all_its_own(falcon: Falcon) -> None:
    """Loads nothing from other hosts, has nothing inline but the script that its policy names, and never turns text
    into HTML."""
    answer = falcon.send("GET", "/", headers=BROWSER)
    page = answer.text
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert answer.headers["content-security-policy"] == policy(script) != policy()
    page = page.replace(script, "")
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)[^>]+>", page)
    links = re.findall(r'(?:src|href)="([^"]+)"', re.sub(r'<link rel="modulepreload".*', "", page))
    assert links == [
        *(address(name) for name in ("icon.svg", "manifest.webmanifest", "style.css", "main.js")),
        *("/openapi.json", "/openapi.json"),
    ]
    for name in FILES:
        text = (FOLDER / name).read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|DOMParser", text
        )
        assert not re.search(r'import[^;]*["\']https?:', text)
        if name.endswith(".css"):
            assert "url(" not in text and "@import" not in text


def test_both_languages_say_the_same_things() -> None:
    text = (FOLDER / "strings.js").read_text()
    english, japanese = re.findall(r"^const (?:EN|JA) = \{(.*?)^\};", text, re.MULTILINE | re.DOTALL)

    def said(part: str) -> dict[str, set[str]]:
        lines = re.findall(r'^  "?([\w.]+)"?: (.*),$', part, re.MULTILINE)
        return {name: set(re.findall(r"\{(\w+)\}", value)) for name, value in lines}

    assert said(english) == said(japanese)
    used = {name for path in FOLDER.glob("*.js") for name in re.findall(r'\bt\("([\w.]+)"', path.read_text())}
    assert used <= said(english).keys()


def test_the_picker_offers_emoji_that_the_server_accepts_and_names_each() -> None:
    (offered,) = re.findall(r"^const EMOJI = \{(.*?)^\};", (FOLDER / "picker.js").read_text(), re.MULTILINE | re.DOTALL)
    emoji = dict(re.findall(r'(\w+): "([^"]+)"', offered))
    assert len(emoji) == len(set(emoji.values())) == 30
    assert [check_emoji(each) for each in emoji.values()] == list(emoji.values())
    named = set(re.findall(r'"emoji\.(\w+)"', (FOLDER / "strings.js").read_text()))
    assert named == emoji.keys()


def test_every_problem_of_the_server_is_told_to_people() -> None:
    """Problems that only a mistake of a program can cause share a sentence."""
    programs = {
        *("idempotency_key_reused", "internal", "malformed", "method_not_allowed", "not_found"),
        *("timeout", "token_not_found", "token_unreadable", "unauthenticated", "unsupported_media_type"),
    }
    told = set(re.findall(r'"error\.(\w+)"', (FOLDER / "strings.js").read_text()))
    assert KINDS.keys() - programs <= told
