"""Profiles of a process that has nothing to do."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest

from falcon.telemetry.profile import NoProfile, record

pytestmark = pytest.mark.processes


@pytest.fixture
def idle_pid() -> Iterator[int]:
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.terminate()


def test_an_idle_process_has_an_empty_graph(idle_pid: int) -> None:
    graph = ElementTree.fromstring(record(idle_pid, 1, format="flamegraph", idle=False))
    assert graph.tag == "{http://www.w3.org/2000/svg}svg"
    assert "the process was idle for 1 s" in "".join(graph.itertext())
    assert record(idle_pid, 1, format="raw", idle=False) == b""


def test_a_process_that_is_gone_has_none() -> None:
    with pytest.raises(NoProfile):
        record(2**22 + 1, 1, format="flamegraph", idle=False)
