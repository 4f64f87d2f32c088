"""Counts what a Falcon asks of its read tables."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.http import Falcon


class StoreCalls:
    """``made``: the queries of the store by their names, in turn."""

    def __init__(self, falcon: Falcon, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        store = falcon.edge.store
        for name in (name for name in dir(store) if not name.startswith("_")):
            if asyncio.iscoroutinefunction(query := getattr(store, name)):
                monkeypatch.setattr(store, name, self._counted(name, query))

    def _counted(self, name: str, query: Callable[..., Any]) -> Callable[..., Any]:
        async def asked(*args: Any, **kwargs: Any) -> Any:
            self.made.append(name)
            return await query(*args, **kwargs)

        return asked
