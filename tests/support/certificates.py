"""Certificates for tests, made by openssl."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]


class Pair(NamedTuple):
    """``together``: key and certificate in one file, as Kafka wants them."""

    certificate: Path
    key: Path
    together: Path


class Authority:
    """Issues certificates into ``folder``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        extensions = [
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]
        command = ["req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", *extensions]
        _openssl(*command, "-keyout", self._key, "-out", self.certificate)

    def issue(self, name: str, alternative_names: str = "DNS:localhost", days: int = 2) -> Pair:
        """A certificate for the subject ``CN=name``, valid for so many days. It replaces one of the same name, each
        file atomically."""
        made = {kind: self._folder / f"{name}.{kind}.new" for kind in ("request", "crt", "key", "pem", "extensions")}
        made["extensions"].write_text(
            f"subjectAltName={alternative_names}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", made["key"], "-out", made["request"])
        by: list[str | Path] = [
            "-CA",
            self.certificate,
            "-CAkey",
            self._key,
            "-CAcreateserial",
            "-extfile",
            made["extensions"],
        ]
        _openssl("x509", "-req", "-in", made["request"], *by, "-days", str(days), "-out", made["crt"])
        made["pem"].write_text(made["key"].read_text() + made["crt"].read_text())
        return Pair(*(made[kind].replace(self._folder / f"{name}.{kind}") for kind in ("crt", "key", "pem")))


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
