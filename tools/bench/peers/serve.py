"""Serves both peers: one uvicorn process in its fastest setting, on the port in PEER_PORT."""

from __future__ import annotations

import os

import uvicorn
from starlette.applications import Starlette


def serve(app: Starlette) -> None:
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        ws="none",
        server_header=False,
    )
