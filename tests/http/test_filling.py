"""While a read model is filled from the log, requests that need it hear so. All others are answered."""

import time
from pathlib import Path

import pytest

from falcon.projections.runner import ProjectionCatchUp
from falcon.run.settings import Settings
from tests.projections.embedded import lose
from tests.support.http import Falcon

_SECONDS = 60.0


def test_people_send_and_read_while_the_list_of_rooms_is_filled_and_are_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.post("/v1/rooms", {"name": "Tea kitchen"}).json()["room_id"]
    lose(Settings(data_dir=tmp_path).database, "memberships")
    held = ProjectionCatchUp.step
    monkeypatch.setattr(ProjectionCatchUp, "step", lambda self: 0)
    with Falcon(tmp_path) as falcon:
        anna.falcon = falcon
        refused = anna.get("/v1/rooms")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.json()["detail"] == "The read model memberships is new here and is being filled from the log."
        assert refused.headers["retry-after"] == "5"
        assert anna.get(f"/v1/rooms/{room}/messages").status_code == 503, "she is a member, and must not be denied"
        assert anna.get("/v1/me").status_code == 200
        sent = anna.post(f"/v1/rooms/{room}/messages", {"text": "hello"})
        assert sent.status_code == 201
        position = {"Falcon-Position": sent.headers["Falcon-Position"]}
        assert anna.get("/v1/me", headers=position).status_code == 200, "nobody waits for it"
        monkeypatch.setattr(ProjectionCatchUp, "step", held)
        until = time.monotonic() + _SECONDS
        while (found := anna.get("/v1/rooms")).status_code == 503:
            assert time.monotonic() < until, found.text
        assert [each["last_message"]["text"] for each in found.json()["rooms"]] == ["hello"]


def test_a_folder_from_before_there_were_reactions_gets_them_while_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Falcon(tmp_path) as falcon:
        anna = falcon.account("Anna")
        room = anna.makes_room("Tea kitchen")
        anna.says(room, "Tea?")
        anna.put(f"{room}/messages/1/reactions/👍")
    lose(Settings(data_dir=tmp_path).database, "reactions")
    held = ProjectionCatchUp.step
    monkeypatch.setattr(ProjectionCatchUp, "step", lambda self: 0)
    with Falcon(tmp_path) as falcon:
        anna.falcon = room.falcon = falcon
        page = anna.get(f"{room}/messages")
        assert (page.status_code, page.json()["messages"][0]["reactions"]) == (200, [])
        assert "etag" not in page.headers and "etag" not in anna.get(f"{room}/messages/1").headers
        refused = anna.put(f"{room}/messages/1/reactions/🎉")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert "reactions is new here and is being filled" in refused.json()["detail"]
        monkeypatch.setattr(ProjectionCatchUp, "step", held)
        until = time.monotonic() + _SECONDS
        while (answer := anna.put(f"{room}/messages/1/reactions/🎉")).status_code == 503:
            assert time.monotonic() < until, answer.text
        assert [each["emoji"] for each in anna.message(room, 1)["reactions"]] == ["👍", "🎉"]
