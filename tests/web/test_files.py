"""The files of the web client, as the server sends them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from falcon.http.api.reactions import check_emoji
from falcon.http.problems import KINDS
from falcon.http.web import POLICY
from tests.support.http import Falcon, problem

FOLDER: Final = Path(__file__).parents[2] / "falcon" / "web"
FILES: Final = sorted(
    str(path.relative_to(FOLDER))
    for folder in (FOLDER, FOLDER / "client")
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
    assert page.content == (FOLDER / "index.html").read_bytes()
    assert page.headers["vary"] == "Accept"
    for accept in ("*/*", "application/json", "text/*", ""):
        index = falcon.send("GET", "/", headers={"Accept": accept})
        assert index.headers["content-type"] == "application/json" and index.headers["vary"] == "Accept"
        assert set(index.json()) == {"name", "docs", "openapi"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_served_as_what_it_is(falcon: Falcon, name: str) -> None:
    file = falcon.send("GET", f"/web/{name}")
    kinds = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
    assert file.headers["content-type"] == kinds[Path(name).suffix]
    assert file.content == (FOLDER / name).read_bytes()
    assert file.headers["content-security-policy"] == POLICY
    assert file.headers["cache-control"] == "no-cache"

    known = {"If-None-Match": file.headers["etag"]}
    assert falcon.send("GET", f"/web/{name}", headers=known).status_code == 304
    assert falcon.send("HEAD", f"/web/{name}").headers["etag"] == file.headers["etag"]
    assert falcon.send("GET", f"/web/{name}", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/web",
        "/web/",
        "/web/none.js",
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
    problem(falcon.send("POST", "/web/main.js"), 405, "method_not_allowed")


def test_the_page_is_all_its_own() -> None:
    """Loads nothing from other hosts, has nothing inline, and never turns text into HTML."""
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == [
        "/web/icon.svg",
        "/web/style.css",
        "/web/main.js",
        "/docs",
        "/docs",
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
