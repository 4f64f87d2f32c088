from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.projections.embedded import Embedded


@pytest.fixture
def falcon(tmp_path: Path) -> Iterator[Embedded]:
    with Embedded(tmp_path / "falcon.db") as falcon:
        yield falcon
