"""What the in-memory read models share."""

from typing import Any, Protocol, TypeAlias

from falcon.read.write import Write


class ModelTables(Protocol):
    """The tables of one read model."""

    def apply(self, write: Write) -> None: ...


MemoryModel: TypeAlias = type[ModelTables]


class MemoryQueryContext(Protocol):
    """The tables during one query."""

    def tables(self, projection: str) -> Any:
        """The tables of a read model. Raises BeingFilled."""

    def generation(self, projection: str) -> int:
        """How often the tables were rebuilt."""
