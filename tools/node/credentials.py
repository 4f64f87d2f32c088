"""Credentials for the node: a token for each client, and the keys that the API server signs with. Made for each
node."""

import json
import os
import secrets
from pathlib import Path
from typing import Final

from tools.node.commands import run
from tools.node.place import NAME, SERVER

# File name: user, group.
_USERS: Final = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
}


def make(folder: Path) -> None:
    """``tokens.csv``, NAME``.kubeconfig`` for each user, and ``keys/``."""
    keys = folder / "keys"
    keys.mkdir(parents=True)
    _make_account_key(keys)
    _make_front_proxy(keys)
    lines = []
    for name, (user, group) in _USERS.items():
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{name},"{group}"' if group else f"{token},{user},{name}")
        _write(folder / f"{name}.kubeconfig", json.dumps(_kubeconfig(token, folder / "certificates" / "apiserver.crt")))
    _write(folder / "tokens.csv", "\n".join(lines) + "\n")


def _kubeconfig(token: str, certificate: Path) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": {"server": SERVER, "certificate-authority": str(certificate)}}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
    }


def _make_account_key(keys: Path) -> None:
    """The key that signs tokens of service accounts."""
    run("openssl", "genrsa", "-out", keys / "accounts.key", "2048")
    run("openssl", "rsa", "-in", keys / "accounts.key", "-pubout", "-out", keys / "accounts.pub")


def _make_front_proxy(keys: Path) -> None:
    """A certificate that shows metrics-server that a request comes through the API server."""
    authority = ("-keyout", keys / "front-ca.key", "-out", keys / "front-ca.crt", "-subj", "/CN=front-proxy-ca")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "365", *authority)
    request = ("-keyout", keys / "front.key", "-out", keys / "front.csr", "-subj", "/CN=front-proxy")
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", *request)
    signed_by = ("-CA", keys / "front-ca.crt", "-CAkey", keys / "front-ca.key", "-CAcreateserial")
    run("openssl", "x509", "-req", "-days", "365", "-in", keys / "front.csr", *signed_by, "-out", keys / "front.crt")


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
