"""What starts OpenSearch. That it serves and keeps what it has is seen by all tests on it."""

from pathlib import Path

import httpx
import pytest

from tools.servers import opensearch as servers
from tools.servers.jars import ToolMissing
from tools.servers.opensearch import OpenSearch

pytestmark = pytest.mark.processes


def test_a_killed_opensearch_comes_back_with_what_it_acknowledged(opensearch: OpenSearch) -> None:
    _ask(opensearch, "PUT", "/tea")
    _ask(opensearch, "PUT", "/tea/_doc/1", {"leaves": "green"})
    opensearch.kill()
    assert [status.pid for status in opensearch.status()] == [None]
    assert opensearch.start().launched == 1
    opensearch.check()
    assert _ask(opensearch, "GET", "/tea/_doc/1")["_source"] == {"leaves": "green"}
    assert OpenSearch.open(opensearch.folder).url == opensearch.url
    _ask(opensearch, "DELETE", "/tea")


def test_without_a_compiler_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = tmp_path / "java"
    runtime.write_text("#!/bin/sh\necho 'Error occurred: Module jdk.compiler not found'\nexit 1\n")
    runtime.chmod(0o755)
    monkeypatch.setattr(servers, "java", lambda: str(runtime))
    (tmp_path / "opensearch").mkdir()
    with pytest.raises(ToolMissing, match="a whole JDK is needed"):
        servers._compile(tmp_path / "opensearch")


def _ask(opensearch: OpenSearch, method: str, path: str, body: object = None) -> dict[str, object]:
    answer = httpx.request(method, opensearch.url + path, json=body, timeout=60).raise_for_status()
    return dict(answer.json())
