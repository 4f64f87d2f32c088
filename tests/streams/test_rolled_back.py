"""A data folder that goes back to a snapshot of its volume begins another history. What clients know of the lost one is
refused, and not taken for something of the new one."""

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.streams.reader import Event
from tests.streams.test_several_files import known, served
from tests.support.http import Falcon, Room


def roll_back(folder: Path, snapshot: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(snapshot, folder)


class Chat:
    """Anna says things to Ben in one room. Each visit starts Falcon, and ends it."""

    def __init__(self, folder: Path, processes: int) -> None:
        self.folder = folder
        self.processes = processes
        with served(folder, processes) as (falcon, _):
            self.anna, self.ben = known(falcon.account("Anna")), known(falcon.account("Ben"))
            self._room = self.anna.at(falcon).makes_room("Tea", self.ben.at(falcon)).room_id

    def says(self, *said: str, snapshot: Path | None = None) -> list[Event]:
        """What Ben hears of it. ``snapshot``: the volume is copied there before the last of it is said."""
        with served(self.folder, self.processes) as (falcon, listen):
            stream = listen(self.ben.at(falcon))
            stream.next("hello")
            for number, text in enumerate(said, 1):
                if number == len(said) and snapshot is not None:
                    shutil.copytree(self.folder, snapshot)
                self.anna.at(falcon).says(self.room(falcon), text)
            return [stream.next("message.posted") for _ in said]

    def hello(self) -> str:
        """The token of a stream that begins."""
        with served(self.folder, self.processes) as (falcon, listen):
            return listen(self.ben.at(falcon)).next("hello").id

    def missed(self, resume: str) -> list[str] | None:
        """What Ben hears when he comes back; None if his token is refused."""
        with served(self.folder, self.processes) as (falcon, listen):
            stream = listen(self.ben.at(falcon), resume=resume)
            if stream.status == 400:
                assert msgspec.json.decode(stream.body)["code"] == "malformed"
                return None
            return [event.data["text"] for event in stream.until("caught_up")]

    def room(self, falcon: Falcon) -> Room:
        return Room(falcon, self._room)


@pytest.fixture(params=[1, 2], ids=["one process", "two"])
def chat(request: pytest.FixtureRequest, tmp_path: Path) -> Chat:
    return Chat(tmp_path / "data", request.param)


def test_a_stream_does_not_go_on_from_a_lost_history(chat: Chat, tmp_path: Path) -> None:
    kept = chat.says("kept 1", "kept 2")
    shutil.copytree(chat.folder, tmp_path / "snapshot")
    lost = chat.says("lost 1", "lost 2")
    roll_back(chat.folder, tmp_path / "snapshot")
    new = chat.says("new 1", "new 2", "new 3")
    assert [chat.missed(event.id) for event in lost] == [None, None]
    assert chat.missed(kept[0].id) == ["kept 2", "new 1", "new 2", "new 3"]
    assert chat.missed(kept[1].id) == ["new 1", "new 2", "new 3"]
    assert chat.missed(new[1].id) == ["new 3"]


def test_a_snapshot_of_a_running_falcon_is_another_history_from_its_moment_on(chat: Chat, tmp_path: Path) -> None:
    """The start that gave the lost event is in both histories."""
    kept, lost = chat.says("kept", "lost", snapshot=tmp_path / "snapshot")
    roll_back(chat.folder, tmp_path / "snapshot")
    chat.says("new 1", "new 2")
    assert chat.missed(lost.id) is None
    assert chat.missed(kept.id) == ["new 1", "new 2"]


def test_a_token_outlives_any_number_of_starts(chat: Chat) -> None:
    first = chat.says("Tea?")[-1]
    for number in range(3):
        chat.says(f"{number}")
        chat.says()
    assert chat.missed(first.id) == ["0", "1", "2"]


def test_an_export_does_not_go_on_from_a_lost_history(chat: Chat, tmp_path: Path) -> None:
    chat.says("kept")
    shutil.copytree(chat.folder, tmp_path / "snapshot")
    chat.says("lost")
    lost = _export(chat)
    roll_back(chat.folder, tmp_path / "snapshot")
    chat.says("new 1", "new 2")
    new = _export(chat)
    with served(chat.folder, chat.processes) as (falcon, _):
        for line, status in ((lost, 422), (new, 200)):
            params = {"resume": "changes", "since": msgspec.json.decode(line)["position"]}
            assert falcon.admin.get("/v1/export", params=params).status_code == status


def _export(chat: Chat) -> bytes:
    """Its first line."""
    with served(chat.folder, chat.processes) as (falcon, _):
        return falcon.admin.get("/v1/export").content.splitlines()[0]


def test_a_page_of_a_lost_history_is_not_confirmed(chat: Chat, tmp_path: Path) -> None:
    def read(path: str, etag: str = "") -> tuple[int, bytes, str]:
        with served(chat.folder, chat.processes) as (falcon, _):
            page = chat.ben.at(falcon).get(f"{chat.room(falcon)}/{path}", headers={"If-None-Match": etag})
            return page.status_code, page.content, page.headers["etag"]

    chat.says("kept")
    shutil.copytree(chat.folder, tmp_path / "snapshot")
    chat.says("lost")
    lost = [read(path) for path in ("messages", "messages/2")]
    roll_back(chat.folder, tmp_path / "snapshot")
    chat.says("new")
    for path, before in zip(("messages", "messages/2"), lost, strict=True):
        status, content, etag = read(path, before[2])
        assert (status, b"new" in content) == (200, True) and etag != before[2]
