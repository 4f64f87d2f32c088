"""Formatted messages: the rules by docs/formatting.json, and what a browser shows and writes."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import expect

from tests.clients.drivers import NODE
from tests.web.conftest import Open, Person

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final[list[dict[str, Any]]] = json.loads((ROOT / "docs" / "formatting.json").read_text())

# Texts of 64 KB that have an expression or a loop look at each character again and again, if anything does.
HOSTILE: Final = (
    *("*", "**", "_", "~~", "`", "``", "` ``", "*a ", "**a", "> ", "- ", "```\n", "*a*", "https://a", "http", "\n"),
    *("_a ", "@Ben", "*`", "**_~~", "`a\n", "> > > > > ", "a* *a", "1. ", "https://*", "\\*", "ー*"),
)

_PARSE: Final = """
import { parse } from "FORMATTING";
const texts = JSON.parse(await new Response(process.stdin).text());
const timed = ({ text, mentions = [] }) => {
  const begun = performance.now();
  const tree = parse(text, mentions);
  return { tree, milliseconds: performance.now() - begun };
};
console.log(JSON.stringify(texts.map(timed)));
"""


def parsed(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if NODE is None:
        reason = "no Node here: install the package nodejs"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)
    program = _PARSE.replace("FORMATTING", str(ROOT / "falcon" / "web" / "formatting.js"))
    ran = subprocess.run(
        [NODE, "--input-type=module", "--eval", program],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found


def test_the_page_reads_each_example_as_the_document_says() -> None:
    for example, found in zip(EXAMPLES, parsed(EXAMPLES), strict=True):
        assert found["tree"] == example["tree"], example["text"]


def test_no_text_takes_the_page_long() -> None:
    texts = [{"text": (part * 65_536)[:65_535], "mentions": ["@Ben"]} for part in HOSTILE]
    slow = {text["text"][:10]: found["milliseconds"] for text, found in zip(texts, parsed(texts), strict=True)}
    # Each takes some 50 ms here. A quadratic one takes 2,500.
    assert max(slow.values()) < 1_500, slow


@pytest.mark.processes
@pytest.mark.timeout(120)
class TestBrowser:
    def test_a_formatted_message_is_shown_without_its_marks_and_html_stays_text(
        self, screen: Open, anna: Person, ben: Person, room: int
    ) -> None:
        ben.says(
            room, f"**@{anna.name}**: _tea_, ~~coffee~~, `<b>`\n> a quote\n- one\n- two", mentions=[anna.account_id]
        )
        text = screen().signs_in(anna).opens(room).page.locator('article[data-seq="1"] .text')
        expect(text.locator("strong .at.me")).to_have_text(f"@{anna.name}")
        for tag, shown in (("em", "tea"), ("s", "coffee"), ("code", "<b>"), ("blockquote", "a quote")):
            expect(text.locator(tag)).to_have_text(shown)
        expect(text.locator("ul li")).to_have_text(["one", "two"])

    def test_code_gets_its_colours_when_it_is_first_shown_and_hostile_code_keeps_none(
        self, screen: Open, anna: Person, ben: Person, room: int
    ) -> None:
        ben.says(room, "```js\n" + "\n" * 19_000 + "\n```")
        ben.says(room, "```python\ndef tea():\n    return '<b>hot</b>'\n```")
        page = screen().signs_in(anna).opens(room).page
        code = page.locator('article[data-seq="2"] pre code')
        expect(code.locator(".code-kwd")).to_have_text(["def", "return"])
        expect(code).to_have_text("def tea():\n    return '<b>hot</b>'")
        expect(page.locator('article[data-seq="1"] pre code span')).to_have_count(0)

    def test_keys_and_buttons_put_marks_around_what_is_selected_and_take_them_away(
        self, screen: Open, anna: Person, room: int
    ) -> None:
        page = screen().signs_in(anna).opens(room).page
        composer = page.locator("#composer")
        composer.fill("tea")
        composer.press("Control+a")
        composer.press("Control+b")
        expect(composer).to_have_value("**tea**")
        composer.press("Control+b")
        expect(composer).to_have_value("tea")
        composer.press("Control+i")
        page.get_by_role("button", name="Strikethrough").click()
        expect(composer).to_have_value("_~~tea~~_")
        composer.press("Control+z")
        expect(composer).to_have_value("_tea_")
        composer.press("Control+a")
        page.get_by_role("button", name="Quote").click()
        composer.press("Enter")
        expect(page.locator("article[data-seq] blockquote em")).to_have_text("tea")

    def test_pasted_code_becomes_a_block_and_pasted_prose_stays_as_it_is(
        self, screen: Open, anna: Person, room: int
    ) -> None:
        paste = """text => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
            return document.querySelector("#composer").dispatchEvent(event);
        }"""
        page = screen().signs_in(anna).opens(room).page
        for prose in ("Tea at four?\nBring cups.", "- milk\n- sugar\n  - brown", "one line;"):
            assert page.evaluate(paste, prose), prose  # left to the browser
        page.locator("#composer").fill("Look:")
        page.locator("#composer").press("End")
        code = "for (const cup of cups) {\n  fill(cup);\n}"
        assert not page.evaluate(paste, code)
        expect(page.locator("#composer")).to_have_value(f"Look:\n```\n{code}\n```\n")
