from collections.abc import Iterator

import apsw
import pytest


@pytest.fixture(autouse=True)
def _no_file_stays_open() -> Iterator[None]:
    """Closes the SQLite files that a test has opened: thousands of tests share one process and its descriptors."""
    before = {id(connection) for connection in apsw.connections()}
    yield
    for connection in apsw.connections():
        if id(connection) not in before:
            connection.close()
