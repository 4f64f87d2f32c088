"""``falcon tail`` and a bot, on a real ``falcon up`` that is killed and started again. The scenarios of
the clients are in ``tests/clients``."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from falcon_chat import FalconClient, Message
from tools.harness.falcon import Falcon
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

BOT = Path(__file__).parents[2] / "examples/choosing_bot.py"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Falcon]:
    falcon = Falcon(tmp_path / "data")
    yield falcon.start()
    falcon.stop()


def client(server: Falcon) -> FalconClient:
    return FalconClient(server.info["url"], server.info["token"], timeout=60)


async def kill_everything(server: Falcon) -> None:
    server.kill("launcher")
    await asyncio.to_thread(server.start)


# --- falcon tail ------------------------------------------------------------------------------------------------------


def tail(server: Falcon, room: int, output: Path) -> "subprocess.Popen[bytes]":
    """Ctrl-C ends it as on a terminal. In the background, where tests may run, it would be ignored."""
    options = ["--follow", "--url", server.info["url"], "--token", server.info["token"]]
    command = [sys.executable, "-m", "falcon", "tail", str(room), *options]
    with output.open("w") as writing:
        return subprocess.Popen(command, stdout=writing, preexec_fn=_heed_ctrl_c)


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_tail_follows_a_room_over_restarts_of_the_server(server: Falcon, tmp_path: Path) -> None:
    output = tmp_path / "tail.txt"

    def shown() -> list[str]:
        return [re.sub(r"^.*?(#\d+).*?:", r"\1", line) for line in output.read_text().splitlines()]

    async def session() -> None:
        async with client(server) as falcon:
            room = (await falcon.create_room("Tea")).room_id
            for n in (1, 2, 3):
                await falcon.post(room, f"text {n}")
            following = tail(server, room, output)
            try:
                for n in (4, 5, 6, 7):
                    await falcon.post(room, f"text {n}")
                await eventually(lambda: len(shown()) == 7)
                await falcon.edit(room, 7, "text seven")
                await eventually(lambda: len(shown()) == 8)
                await kill_everything(server)
                await falcon.post(room, "text 8")
                await falcon.delete_message(room, 8)
                await falcon.post(room, "text 9")
                await eventually(lambda: "#9 text 9" in shown())
                following.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(following.wait, 10) == 130
            finally:
                following.kill()

    asyncio.run(session())
    assert shown()[:8] == [*(f"#{n} text {n}" for n in range(1, 8)), "#7 text seven (edited)"]
    # The message is shown once, and then its deletion, in whatever order the client came back.
    assert shown()[8] in ("#8 text 8", "#8 (deleted)")
    assert shown()[9:] == ["#8 (deleted)", "#9 text 9"]


# --- the bot ----------------------------------------------------------------------------------------------------------


class Bot:
    """The example as a process, with the file that has its place."""

    def __init__(self, server: Falcon, token: str, place: Path) -> None:
        self._environment = {**os.environ, "FALCON_URL": server.info["url"], "FALCON_TOKEN": token}
        self.place = place
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(BOT), str(self.place)], env=self._environment)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Asking:
    """A room with the bot and a person who asks it."""

    def __init__(self, falcon: FalconClient, room: int, bot_id: int) -> None:
        self._falcon = falcon
        self._room = room
        self._bot_id = bot_id

    async def ask(self, text: str) -> int:
        return (await self._falcon.post(self._room, text, mentions=[self._bot_id])).seq

    async def answers(self) -> list[Message]:
        page = await self._falcon.messages(self._room, limit=200)
        return [message for message in page.messages if message.author_id == self._bot_id]

    async def wait_for_answer(self, asked: int) -> None:
        async def is_answered() -> bool:
            return asked in [answer.reply_to for answer in await self.answers()]

        await eventually(is_answered, f"message {asked} is answered", every=0.05)


def test_a_bot_that_is_killed_answers_each_mention_once(server: Falcon, tmp_path: Path) -> None:
    async def session() -> None:
        admin_client = FalconClient(server.info["url"], server.info["admin_token"])
        async with client(server) as falcon, admin_client as admin:
            account = await admin.create_account("Chooser")
            room = (await falcon.create_room("Tea", members={account.account_id: "member"})).room_id
            asking = Asking(falcon, room, account.account_id)
            bot = Bot(server, account.token, tmp_path / "bot.place")
            try:
                await _three_lives(bot, asking)
            finally:
                bot.kill()

    asyncio.run(session())


async def _three_lives(bot: Bot, asking: Asking) -> None:
    bot.start()
    await eventually(bot.place.exists)
    before = bot.place.read_text()
    asked = [await asking.ask("tea or coffee?")]
    await asking.wait_for_answer(asked[0])
    bot.kill()

    asked.append(await asking.ask("now or later?"))
    bot.place.write_text(before)  # as if it had been killed after its answer, before it saved its place
    bot.start()
    await asking.wait_for_answer(asked[1])
    bot.kill()

    asked.append(await asking.ask("here or there?"))
    bot.start()
    await asking.wait_for_answer(asked[2])
    answers = await asking.answers()
    assert [answer.reply_to for answer in answers] == asked
    assert answers[0].text in ("I'd say: tea", "I'd say: coffee")


def test_a_bot_survives_the_restore_of_a_copy_at_once_and_at_its_next_start(server: Falcon, tmp_path: Path) -> None:
    async def session() -> None:
        admin_client = FalconClient(server.info["url"], server.info["admin_token"])
        async with client(server) as falcon, admin_client as admin:
            account = await admin.create_account("Chooser")
            room = (await falcon.create_room("Tea", members={account.account_id: "member"})).room_id
            bot = Bot(server, account.token, tmp_path / "bot.place")
            bot.start()
            try:
                await eventually(bot.place.exists)
                await asyncio.to_thread(copy, server.data_dir, tmp_path / "copy")
                asking = Asking(falcon, room, account.account_id)
                await asking.wait_for_answer(await asking.ask("tea or coffee?"))
                await asyncio.to_thread(server.stop)
                lost = bot.place.read_text()
                shutil.rmtree(server.data_dir)
                (tmp_path / "copy").rename(server.data_dir)
                await asyncio.to_thread(server.start)
            except BaseException:
                bot.kill()
                raise
        async with client(server) as falcon:
            try:
                asking = Asking(falcon, room, account.account_id)
                await eventually(lambda: bot.place.read_text() not in ("", lost))  # it has begun to listen again
                await asking.wait_for_answer(await asking.ask("now or later?"))
                bot.kill()
                bot.place.write_text(lost)
                bot.start()
                await eventually(lambda: bot.place.read_text() != lost)
                await asking.wait_for_answer(await asking.ask("here or there?"))
            finally:
                bot.kill()

    asyncio.run(session())


def copy(data_dir: Path, into: Path) -> None:
    command = [sys.executable, "-m", "falcon", "copy", str(into)]
    subprocess.run(command, env={**os.environ, "FALCON_DATA_DIR": str(data_dir)}, check=True, timeout=60)


def test_a_bot_without_a_place_says_how_it_is_used() -> None:
    done = subprocess.run([sys.executable, str(BOT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("usage:")
