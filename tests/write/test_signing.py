"""Owners take commands of senders with the key. A signature is good for some seconds, and keys can be changed."""

import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

import pytest

from falcon.base import secret_files
from falcon.base.secret_files import SecretFile, WrongSecret
from falcon.write.signing import AGE_SECONDS_MAX, HEADER, PROCESS_HEADER, NotSigned, Signer, Verifier
from tests.support.secret_files import write_secret

KEY = b"an internal key of a test"
PATH = "/internal/alive"


class Time:
    """All the clocks of a machine."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.seconds

    def time_ns(self) -> int:
        return int(self.seconds * 1e9)


@pytest.fixture
def clock() -> Iterator[Time]:
    clock = Time()
    with patch.object(time, "time_ns", clock.time_ns):
        yield clock


def met(verifier: Verifier) -> Signer:
    """A signer that knows to which process it speaks."""
    signer = Signer(lambda: [KEY])
    refused = verifier.check("GET", PATH, header(signer))
    assert isinstance(refused, NotSigned)
    assert signer.learns_from(401, {PROCESS_HEADER: refused.process})
    return signer


def header(signer: Signer, method: str = "GET", path: str = PATH) -> bytes:
    return signer.headers(method, path)[HEADER].encode()


def is_good(verifier: Verifier, signature: bytes, method: str = "GET", path: str = PATH) -> bool:
    return verifier.check(method, path, signature) is None


def test_a_signed_request_is_taken_once(clock: Time) -> None:
    verifier = Verifier(lambda: [KEY], clock.monotonic)
    signature = header(met(verifier))
    assert is_good(verifier, signature)
    for seconds in (0, 1, AGE_SECONDS_MAX - 1, 1, 10 * AGE_SECONDS_MAX):
        clock.seconds += seconds
        assert not is_good(verifier, signature)


def test_a_request_is_not_taken_twice_though_many_come_between(clock: Time) -> None:
    verifier = Verifier(lambda: [KEY], clock.monotonic)
    signer = met(verifier)
    clock.seconds += 2 * AGE_SECONDS_MAX  # from here on signatures are kept in another set
    for _ in range(3):
        clock.seconds += AGE_SECONDS_MAX  # ahead of the receiver's clock by as much as is allowed
        ahead = header(signer)
        clock.seconds -= AGE_SECONDS_MAX
        assert is_good(verifier, ahead)
        for _ in range(int(2 * AGE_SECONDS_MAX) + 5):
            clock.seconds += 1
            assert not is_good(verifier, ahead)
            assert is_good(verifier, header(signer, path="/another"), path="/another")


def test_what_a_process_remembers_of_signatures_does_not_grow(clock: Time) -> None:
    verifier = Verifier(lambda: [KEY], clock.monotonic)
    signer = met(verifier)
    for _ in range(1_000):
        clock.seconds += 1
        assert is_good(verifier, header(signer))
    assert len(verifier._accepted) <= 4 * AGE_SECONDS_MAX + 2


@pytest.mark.parametrize("seconds", [AGE_SECONDS_MAX + 1, -AGE_SECONDS_MAX - 1])
def test_a_request_that_is_older_or_newer_than_clocks_may_differ_is_refused(clock: Time, seconds: float) -> None:
    verifier = Verifier(lambda: [KEY], clock.monotonic)
    signature = header(met(verifier))
    clock.seconds += seconds
    assert not is_good(verifier, signature)


@pytest.mark.parametrize("seconds", [AGE_SECONDS_MAX - 1, 1 - AGE_SECONDS_MAX])
def test_clocks_may_differ_by_a_little(clock: Time, seconds: float) -> None:
    verifier = Verifier(lambda: [KEY], clock.monotonic)
    signature = header(met(verifier))
    clock.seconds += seconds
    assert is_good(verifier, signature)


def test_a_signature_is_for_one_method_path_and_process_and_for_no_body() -> None:
    verifier = Verifier(lambda: [KEY])
    signer = met(verifier)
    assert not is_good(verifier, header(signer), method="POST")
    assert not is_good(verifier, header(signer), path="/internal/dead")
    assert not is_good(verifier, header(signer).replace(sha256().hexdigest().encode(), b"0" * 64))
    assert not is_good(Verifier(lambda: [KEY]), header(signer))
    assert is_good(verifier, header(signer))


def test_no_part_of_a_signature_can_be_changed() -> None:
    verifier = Verifier(lambda: [KEY])
    signature = header(met(verifier))
    for at in range(len(signature)):
        for other in b"0123456789abcdef.":
            changed = signature[:at] + bytes([other]) + signature[at + 1 :]
            assert changed == signature or not is_good(verifier, changed)
    assert is_good(verifier, signature)


# --- the file of the keys ---------------------------------------------------------------------------------------------


@pytest.fixture
def look_at_once() -> Iterator[None]:
    with patch.object(secret_files, "_LOOK_SECONDS", 0.0):
        yield


@pytest.mark.usefixtures("look_at_once")
def test_keys_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    write_secret(path, "the first key of all\n")
    keys = SecretFile(path)
    assert keys() == (b"the first key of all",)
    write_secret(path, "the second key of all\n\n  the first key of all  \n")
    assert keys() == (b"the second key of all", b"the first key of all")
    write_secret(tmp_path / "next", "the second key of all")
    (tmp_path / "next").replace(path)  # as Kubernetes does
    assert keys() == (b"the second key of all",)


@pytest.mark.usefixtures("look_at_once")
def test_a_file_that_holds_no_key_any_more_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    write_secret(path, "the first key of all")
    keys = SecretFile(path)
    for text in ("", "short"):
        write_secret(path, text)
        assert keys() == (b"the first key of all",)
    path.unlink()
    assert keys() == (b"the first key of all",)
    assert caplog.text.count("the secrets stay as they were") == 3
    assert "the first key of all" not in caplog.text


@pytest.mark.parametrize("text", ["", "\n\n", "short", "the first key of all\nshort"])
def test_a_file_without_a_good_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    write_secret(path, text)
    with pytest.raises(WrongSecret) as refused:
        SecretFile(path)
    assert "the first key" not in str(refused.value)


def test_a_file_that_every_user_can_read_is_refused(tmp_path: Path) -> None:
    path = write_secret(tmp_path / "keys", "the first key of all")
    path.chmod(0o640)
    assert SecretFile(path)() == (b"the first key of all",)
    path.chmod(0o644)
    with pytest.raises(WrongSecret, match=r"every user of this machine can read or change it; chmod o= "):
        SecretFile(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongSecret, match=r"none cannot be read \(No such file or directory\): it must hold a secret"):
        SecretFile(tmp_path / "none")
